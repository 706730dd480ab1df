//! What is wrong with what an image is made of: each with its code, what it is about, and what to do.

use oci::{Descriptor, Digest, Manifest, document, media};

use super::*;

/// The program with some of its bytes changed.
fn edited(change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = std::fs::read(PROGRAM).unwrap();
    change(&mut bytes);
    bytes
}

fn machine(bytes: &mut [u8], machine: u16) {
    bytes[18..20].copy_from_slice(&machine.to_le_bytes());
}

#[tokio::test]
async fn a_library_that_is_nowhere_is_named_with_who_needs_it() {
    let typed = typed("127.0.0.1:1");
    let needy = edited(|bytes| {
        let (name, other) = (b"\0libc.so.6\0", b"\0libq.so.9\0");
        while let Some(at) = bytes.windows(name.len()).position(|window| window == name) {
            bytes[at..at + name.len()].copy_from_slice(other);
        }
    });
    typed.write("needy", &needy);
    for more in [&[][..], &["--dry-run"]] {
        let words = ["image", "build", "--binary", "needy", "--tag", "t", "-o", "json"];
        let error = refused(&typed.run(&[&words[..], more].concat()).await, 21, "IMG005");
        says(&error, "libq.so.9");
        says(&error, "needy");
        hints(&error, "install the package that has it");
    }
}

#[tokio::test]
async fn a_program_for_another_machine_is_told_with_both() {
    let typed = typed("127.0.0.1:1");
    let wanted = format!("{PROGRAM}=linux/s390x");
    let words = ["image", "build", "--binary", &wanted, "--tag", "t", "-o", "json"];
    let error = refused(&typed.run(&words).await, 21, "IMG004");
    says(&error, "linux/s390x was asked for");
    says(&error, PROGRAM);

    typed.write("odd", &edited(|bytes| machine(bytes, 0xfeed)));
    let words = ["image", "build", "--binary", "odd", "--tag", "t", "-o", "json"];
    let error = refused(&typed.run(&words).await, 21, "IMG004");
    says(&error, "for the machine 65261");

    // Its loader is one of this machine.
    let (machine_of, platform) = super::platforms::foreign();
    typed.write("foreign", &edited(|bytes| machine(bytes, machine_of)));
    let words = ["image", "build", "--binary", "foreign", "--tag", "t", "-o", "json"];
    let error = refused(&typed.run(&words).await, 21, "IMG005");
    says(&error, &format!("is for {platform}"));
    says(&error, "sysroot");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named_with_the_reason() {
    let typed = typed("127.0.0.1:1");
    // A file whose first byte nobody can read, not root either: no memory is at 0.
    let words = ["image", "build", "--binary", "/proc/self/mem", "--tag", "t", "-o", "json"];
    let error = refused(&typed.run(&words).await, 21, "IMG006");
    says(&error, "/proc/self/mem cannot be read");
    says(&error, "os error 5");
    let words = ["image", "build", "--binary", "absent", "--tag", "t", "-o", "json"];
    let error = refused(&typed.run(&words).await, 21, "IMG006");
    says(&error, "absent cannot be read: No such file");
    hints(&error, "is it built?");
}

#[tokio::test]
async fn a_disk_that_is_full_is_told_as_such() {
    let typed = typed("127.0.0.1:1");
    let words = ["image", "build", "--tag", "t", "--no-sbom", "--tarball", "/dev/full", "-o", "json"];
    let error = refused(&typed.run(&words).await, 21, "IMG006");
    says(&error, "/dev/full: No space left on device");
    hints(&error, "nothing that was finished before is lost");
}

#[tokio::test]
async fn a_base_that_is_not_what_its_digest_says_is_not_built_upon() {
    let server = Server::start(Rules::default()).await;
    let typed = typed(&server.host());
    let build =
        async |base: &str| typed.run(&["image", "build", "--base", base, "--tag", "t", "-o", "json"]).await;
    let wanted = Digest::of(b"another document");
    server.plant_manifest("base", wanted, media::MANIFEST, "{\"schemaVersion\":2}");
    let error = refused(&build(&format!("{}/base@{wanted}", server.host())).await, 21, "IMG007");
    says(&error, &format!("instead of {wanted}"));
    hints(&error, "by its digest");

    // Its document is right, and one of its layers is not.
    let layer = Descriptor::of(media::LAYER, b"as it was");
    server.plant_blob("base", layer.digest, "as it is!");
    let config = oci::Image::new(image::elf::Elf::read(Path::new(PROGRAM)).unwrap().platform);
    let config = document::encode(&config);
    let described = Descriptor::of(media::CONFIG, &config);
    server.plant_blob("base", described.digest, config);
    let manifest = document::encode(&Manifest::new(described, vec![layer.clone()]));
    let digest = server.plant_tag("base", "1", media::MANIFEST, manifest);
    let error = refused(&build(&format!("{}/base@{digest}", server.host())).await, 21, "IMG007");
    says(&error, &format!("instead of {}", layer.digest));
}

#[tokio::test]
async fn a_page_of_a_website_is_quoted_and_taken_for_no_registry() {
    let server = Server::start(Rules { is_portal: true, ..Rules::default() }).await;
    let typed = typed(&server.host());
    typed.run(&["image", "build", "--tag", "v1", "--no-sbom", "--compression", "zstd"]).await;
    let error = refused(&typed.run(&["image", "push", "-o", "json"]).await, 22, "IMG015");
    says(&error, "<!DOCTYPE html>");
    hints(&error, "look at the address");
    // Who only looks has pushed nothing.
    refused(&typed.run(&["image", "ls", "-o", "json"]).await, 9, "IMG015");
}

#[tokio::test]
async fn a_registry_that_is_away_is_waited_for_no_longer_than_was_asked() {
    // Nobody listens there, and nobody else can.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let typed = typed(&socket.local_addr().unwrap().to_string());
    typed.run(&["image", "build", "--tag", "v1", "--no-sbom", "--compression", "zstd"]).await;
    let came = typed.run(&["image", "push", "--timeout", "2s", "-o", "json"]).await;
    refused(&came, 6, "IMG024");
    assert!(came.stderr.contains("manifest v1 again in "), "{}", came.stderr);
    let quiet = typed.run(&["image", "push", "--timeout", "200ms", "-q"]).await;
    assert!(!quiet.stderr.contains("again in "), "{}", quiet.stderr);
}

#[tokio::test]
async fn a_value_that_cannot_be_meant_is_refused_with_its_key_and_its_line() {
    for (wrong, key, hint) in [
        ("user = 0", "images.shop.user:", "65532"),
        ("environment = { \"\" = \"x\" }", "images.shop.environment.\"\":", "environment"),
        ("environment = { \"A=B\" = \"x\" }", "images.shop.environment.\"A=B\":", "environment"),
        ("environment = { \"A\\u0000B\" = \"x\" }", "images.shop.environment.", "environment"),
        ("environment = { A = \"x\\u0000\" }", "images.shop.environment.\"A\":", "value of A"),
        ("labels = { \"\" = \"x\" }", "images.shop.labels.\"\":", "labels"),
        ("labels = { \"a=b\" = \"x\" }", "images.shop.labels.\"a=b\":", "labels"),
        ("path = \"usr/bin/shop\"", "images.shop.path:", "absolute"),
        ("path = \"/usr/../etc/x\"", "images.shop.path:", "absolute"),
        ("path = \"/\"", "images.shop.path:", "absolute"),
        ("path = \"/etc/passwd\"", "images.shop.path:", "another path"),
        ("path = \"/proc/shop\"", "images.shop.path:", "another path"),
        ("workdir = \"srv\"", "images.shop.workdir:", "absolute"),
        ("folders = [\"/srv\", \"data/\"]", "images.shop.folders:", "absolute"),
        ("ports = [0]", "images.shop.ports:", "65535"),
        ("stop_signal = \"SIGTREM\"", "images.shop.stop_signal:", "did you mean SIGTERM?"),
        ("entrypoint = [\"\"]", "images.shop.entrypoint:", "entrypoint"),
        ("repository = { name = \"Upper\" }", "images.shop.repository.name:", "lower case"),
        ("repository = { kept_releases = 0 }", "images.shop.repository.kept_releases:", "kept_releases"),
        ("binaries = [\"\"]", "images.shop.binaries[0]:", "binaries"),
        (
            "binaries = [{ path = \"x\", platform = \"arm64\" }]",
            "images.shop.binaries[0].platform:",
            "linux/arm64",
        ),
        (
            "binaries = [{ path = \"x\", platform = \"windows/amd64\" }]",
            "images.shop.binaries[0]",
            "linux/arm64",
        ),
    ] {
        let typed = Typed::alone();
        let others = if wrong.starts_with("binaries") { "" } else { "binaries = [\"/bin/sh\"]\n" };
        typed.write("rtc.toml", format!("[images.shop]\nabout = \"x\"\n{others}{wrong}\n").as_bytes());
        let error = refused(&typed.run(&["config", "validate", "-o", "json"]).await, 3, "CFG004");
        let line = if others.is_empty() { 3 } else { 4 };
        says(&error, &format!("rtc.toml:{line}: {key}"));
        hints(&error, hint);
    }
    for (wrong, words) in
        [("[{ path = \"x\", sysrot = \"y\" }]", "sysrot"), ("[3]", "a path, or {"), ("[{}]", "path")]
    {
        let typed = Typed::alone();
        typed.write("rtc.toml", format!("[images.shop]\nbinaries = {wrong}\n").as_bytes());
        let came = typed.run(&["config", "validate", "-o", "json"]).await;
        assert_eq!(came.exit, 3);
        says(&came.error(), words);
    }
}

#[tokio::test]
async fn a_program_lies_over_nothing_that_the_root_has() {
    let typed = typed("127.0.0.1:1");
    let text = std::fs::read_to_string(typed.path("rtc.toml")).unwrap();
    for (path, exit, code) in [("/usr/share/zoneinfo/UTC", 3, "IMG002"), ("/tmp", 3, "IMG002")] {
        let described = text.replacen("ports = ", &format!("path = {path:?}\nports = "), 1);
        typed.write("rtc.toml", described.as_bytes());
        for more in [&[][..], &["--dry-run"]] {
            let words = [&["image", "build", "--tag", "t", "-o", "json"][..], more].concat();
            let error = refused(&typed.run(&words).await, exit, code);
            says(&error, path);
            hints(&error, "images.shop.path");
        }
    }
}
