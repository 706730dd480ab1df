//! Images of several platforms: programs of machines that are not this one, with libraries of their own.

use image::elf::Elf;
use image::libraries;
use image::platform::same;
use image::sysroot::Sysroot;
use oci::{Descriptor, Digest, Document, Index, Manifest, Platform, document, media};

use super::*;

const ARM64: (u16, &str) = (183, "linux/arm64");
const AMD64: (u16, &str) = (62, "linux/amd64");
const RISCV64: (u16, &str) = (243, "linux/riscv64");

fn native() -> Platform {
    Elf::read(Path::new(PROGRAM)).unwrap().platform
}

/// A machine that this is not.
pub fn foreign() -> (u16, &'static str) {
    match same(&native(), &Platform::parse(ARM64.1).unwrap()) {
        true => AMD64,
        false => ARM64,
    }
}

fn for_machine(path: &Path, machine: u16) -> Vec<u8> {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[18..20].copy_from_slice(&machine.to_le_bytes());
    bytes
}

/// The program as another machine would have it, and a root with all that it is loaded with.
fn put_foreign(typed: &Typed, name: &str, machine: u16) {
    typed.write(name, &for_machine(Path::new(PROGRAM), machine));
    let elf = Elf::read(Path::new(PROGRAM)).unwrap();
    let needed =
        libraries::resolve(Path::new(PROGRAM), &elf, "/usr/local/bin/x", &Sysroot::new("/")).unwrap();
    let root = typed.path(&format!("{name}-root"));
    let put = |path: &str, bytes: &[u8]| {
        let path = root.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let loader = needed.loader.unwrap();
    put(&loader.path, &for_machine(&loader.source, machine));
    for library in &needed.libraries {
        // Where every machine looks.
        put(&format!("/usr/lib/{}", library.name), &for_machine(&library.source, machine));
    }
    for (path, target) in needed.links.iter().filter(|(path, _)| path.matches('/').count() == 1) {
        std::os::unix::fs::symlink(target, root.join(path.trim_start_matches('/'))).unwrap();
    }
}

fn describe(typed: &Typed, binaries: &str) {
    let text = format!("[images.shop]\nbinaries = {binaries}\nzones = [\"UTC\"]\ncompression = \"zstd\"\n");
    typed.write("rtc.toml", text.as_bytes());
}

fn both(other: &str, platform: &str) -> String {
    format!(
        "[\"{PROGRAM}\", {{ path = \"{other}\", platform = \"{platform}\", sysroot = \"{other}-root\" }}]"
    )
}

async fn build(typed: &Typed, words: &[&str]) -> Value {
    let came = typed.run(&[&["image", "build", "--no-sbom", "-o", "json"], words].concat()).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    came.json()["data"].clone()
}

#[tokio::test]
async fn programs_of_two_machines_make_an_index_each_with_its_own_libraries() {
    let typed = typed("127.0.0.1:1");
    let (machine, platform) = foreign();
    put_foreign(&typed, "other", machine);
    describe(&typed, &both("other", platform));
    let built = build(&typed, &["--tag", "v1"]).await;
    let platforms: Vec<&str> =
        built["images"].as_array().unwrap().iter().map(|one| one["platform"].as_str().unwrap()).collect();
    assert_eq!(platforms, [native().to_string().as_str(), platform]);

    let outline = typed.run(&["image", "build", "--tag", "v1", "--dry-run", "-o", "json"]).await.json();
    let images = outline["data"]["images"].as_array().unwrap();
    assert!(images.iter().all(|one| one["linkage"] == "dynamic"), "{outline}");
    let libraries: Vec<&str> =
        images[1]["libraries"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    assert!(libraries.contains(&"/usr/lib/libc.so.6"), "{libraries:?}");

    // The same by flags, whatever rtc.toml names.
    describe(&typed, &format!("[\"{PROGRAM}\"]"));
    let (program, sysroot) = (format!("other={platform}"), format!("{platform}=other-root"));
    let flags = ["--binary", PROGRAM, "--binary", &program, "--sysroot", &sysroot, "--tag", "v2"];
    assert_eq!(build(&typed, &flags).await["digest"], built["digest"]);
    // What the file says of itself is enough.
    let flags = ["--binary", PROGRAM, "--binary", "other", "--sysroot", &sysroot, "--tag", "v3"];
    assert_eq!(build(&typed, &flags).await["digest"], built["digest"]);

    let seen = typed.run(&["image", "inspect", "oci:target/images/shop:v1", "-o", "json"]).await.json();
    assert_eq!(seen["data"]["images"].as_array().unwrap().len(), 2);
    let words = ["image", "inspect", "oci:target/images/shop:v1", "--platform", platform, "-o", "json"];
    let seen = typed.run(&words).await.json();
    assert_eq!(seen["data"]["images"][0]["digest"], built["images"][1]["digest"]);
    assert_eq!(seen["data"]["images"].as_array().unwrap().len(), 1);
    let words = ["image", "inspect", "oci:target/images/shop:v1", "--platform", "linux/s390x", "-o", "json"];
    hints(&refused(&typed.run(&words).await, 5, "IMG009"), platform);
}

#[tokio::test]
async fn a_sysroot_that_is_none_is_told_so() {
    let typed = typed("127.0.0.1:1");
    for (sysroot, exit, code) in [
        ("absent", 21, "IMG006"),
        ("/dev/null", 21, "IMG006"),
        ("windows/amd64=absent", 2, "USE001"),
        ("", 2, "USE001"),
        ("linux/arm64=", 2, "USE001"),
    ] {
        let came = typed.run(&["image", "build", "--sysroot", sysroot, "--tag", "t", "-o", "json"]).await;
        let error = came.error();
        assert_eq!((came.exit, error["code"].as_str()), (exit, Some(code)), "{sysroot}: {error}");
        says(&error, if sysroot.is_empty() { "--sysroot" } else { sysroot });
    }
}

#[tokio::test]
async fn indexes_are_compared_platform_by_platform_and_what_is_equal_is_not_fetched() {
    let server = Server::start(Rules::default()).await;
    let typed = typed(&server.host());
    let (machine, platform) = foreign();
    put_foreign(&typed, "other", machine);
    put_foreign(&typed, "third", RISCV64.0);
    describe(&typed, &both("other", platform));
    let first = build(&typed, &["--tag", "v1", "--push"]).await;
    let program = typed.path("other");
    let mut bytes = std::fs::read(&program).unwrap();
    bytes.extend_from_slice(b"changed");
    std::fs::write(&program, bytes).unwrap();
    build(&typed, &["--tag", "v2", "--push"]).await;
    describe(&typed, &both("third", RISCV64.1));
    build(&typed, &["--tag", "v3", "--push"]).await;
    describe(&typed, &format!("[\"{PROGRAM}\"]"));
    build(&typed, &["--tag", "v4", "--push"]).await;
    server.take_requests();

    let compare = async |words: &[&str]| {
        let came = typed.run(&[&["image", "diff"], words, &["--exit-code", "-o", "json"]].concat()).await;
        (came.exit, came.json()["data"].clone())
    };
    let changes = |data: &Value| -> Vec<(String, String)> {
        let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
        data["platforms"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (text(one, "platform"), text(one, "change")))
            .collect()
    };
    let own = native().to_string();
    let pair = |platform: &str, change: &str| (platform.to_owned(), change.to_owned());

    let (exit, found) = compare(&["shop:v1", "shop:v2"]).await;
    assert_eq!((exit, changes(&found)), (10, vec![pair(&own, "same"), pair(platform, "changed")]));
    assert_eq!(found["platforms"][1]["files"][0]["path"], "usr/local/bin/shop");
    let fetched: Vec<String> = server.take_requests().into_iter().map(|request| request.path).collect();
    for layer in
        first["images"][0]["layers"].as_array().unwrap().iter().filter(|layer| layer["of"] == "application")
    {
        let digest = layer["digest"].as_str().unwrap();
        assert!(!fetched.iter().any(|path| path.contains(digest)), "{fetched:?}");
    }
    assert!(fetched.iter().any(|path| path.contains("/blobs/")), "what differs was fetched");

    let (exit, found) = compare(&["shop:v1", "shop:v2", "--platform", &own]).await;
    assert_eq!((exit, changes(&found)), (0, vec![pair(&own, "same")]));
    let (exit, found) = compare(&["shop:v2", "shop:v3"]).await;
    let wanted = vec![pair(&own, "same"), pair(platform, "removed"), pair(RISCV64.1, "added")];
    assert_eq!((exit, changes(&found)), (10, wanted));
    assert!(found["added_bytes"].as_u64().unwrap() > 0);
    server.take_requests();
    // One image beside several is compared with the one of its platform.
    let (exit, found) = compare(&["shop:v1", "shop:v4"]).await;
    assert_eq!((exit, changes(&found)), (0, vec![pair(&own, "same")]));
    let (exit, _) = compare(&["shop:v1", "shop:v1"]).await;
    assert_eq!(exit, 0);
    assert!(
        !server
            .take_requests()
            .iter()
            .any(|request| request.method == "GET" && request.path.contains("layer"))
    );
}

#[tokio::test]
async fn an_index_with_odd_entries_is_shown_with_all_of_them() {
    let server = Server::start(Rules::default()).await;
    let typed = typed(&server.host());
    describe(&typed, &format!("[\"{PROGRAM}\"]"));
    let built = build(&typed, &["--tag", "v1", "--push"]).await;
    let digest: Digest = built["digest"].as_str().unwrap().parse().unwrap();
    let image = server.manifest("rtc/shop", &digest).unwrap();
    let plant = |kind: &str, bytes: Vec<u8>| {
        let described = Descriptor::of(kind, &bytes);
        server.plant_manifest("rtc/shop", described.digest, kind, bytes);
        described
    };
    let blob = |kind: &str, bytes: Vec<u8>| {
        let described = Descriptor::of(kind, &bytes);
        server.plant_blob("rtc/shop", described.digest, bytes);
        described
    };
    let unknown = Platform::parse("unknown/unknown").unwrap();
    let config = blob(media::CONFIG, document::encode(&oci::Image::new(unknown.clone())));
    let proof = Manifest::new(config, vec![Descriptor::of("application/vnd.in-toto+json", b"{}")]);
    let proof = plant(media::MANIFEST, document::encode(&proof))
        .with_platform(unknown)
        .with_annotation("vnd.docker.reference.type", "attestation-manifest");
    let chart = blob("application/vnd.cncf.helm.config.v1+json", b"{\"name\":\"shop\"}".to_vec());
    let chart = plant(media::MANIFEST, document::encode(&Manifest::new(chart, Vec::new())));
    let damaged = blob(media::CONFIG, b"[]".to_vec());
    let damaged = plant(media::MANIFEST, document::encode(&Manifest::new(damaged, Vec::new())));
    let inner = plant(media::INDEX, document::encode(&Index::new(Vec::new())));
    let absent = Descriptor::of(media::MANIFEST, b"nowhere");
    let strange = Descriptor::of("application/vnd.example.strange", b"strange");
    let shop = Descriptor::of(media::MANIFEST, &image).with_platform(native());
    let index = Index::new(vec![shop, proof, chart, damaged, inner, absent, strange]);
    server.plant_tag("rtc/shop", "odd", media::INDEX, document::encode(&index));

    let came = typed.run(&["image", "inspect", "shop:odd", "-o", "json"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    let seen = came.json();
    let kinds: Vec<&str> =
        seen["data"]["images"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["image", "attestation", "artifact", "unreadable", "index", "unreadable", "unknown"]);
    assert!(seen["data"]["images"][3]["problem"].as_str().unwrap().contains("configuration"), "{seen}");
    assert_eq!(typed.run(&["image", "inspect", "shop:odd"]).await.exit, 0);
    // What is no image of a platform stands in the way of no comparison.
    let same = typed.run(&["image", "diff", "shop:v1", "shop:odd", "--exit-code"]).await;
    assert_eq!(same.exit, 0, "{}{}", same.stdout, same.stderr);
    let own = native().to_string();
    let one = typed.run(&["image", "inspect", "shop:odd", "--platform", &own, "-o", "json"]).await.json();
    assert_eq!(one["data"]["images"][0]["digest"], built["digest"]);
    assert!(matches!(Document::parse("it", media::MANIFEST, &image), Ok(Document::Manifest(_))));
}
