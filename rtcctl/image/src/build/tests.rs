//! Images of programs made by hand, built and read back.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use oci::media::Compression;
use oci::{Document, Image, document};
use tempfile::TempDir;

use super::*;
use crate::files::{self, Files, What};
use crate::fixture::{AARCH64, LOADER, Made, X86_64, project, put, recompile, workspace};
use crate::settings::{Base, Extra, Materials};

fn layout(folder: &std::path::Path) -> Layout {
    Layout::create(folder.join("layout")).unwrap()
}

fn quietly(settings: &Settings, layout: &Layout) -> Result<Built> {
    build(settings, layout, &|_| {})
}

fn prepared() -> (TempDir, Settings, Layout) {
    let folder = tempfile::tempdir().unwrap();
    let settings = project(folder.path());
    let layout = layout(folder.path());
    (folder, settings, layout)
}

fn manifest(layout: &Layout, descriptor: &Descriptor) -> Manifest {
    match layout.document(descriptor).unwrap() {
        Document::Manifest(manifest) => manifest,
        Document::Index(index) => panic!("{index:?}"),
    }
}

fn config(layout: &Layout, image: &BuiltImage) -> Image {
    document::read("configuration", &layout.read_blob(&image.config).unwrap()).unwrap()
}

fn files_of(layout: &Layout, image: &BuiltImage) -> Files {
    files::image(layout, &manifest(layout, &image.manifest)).unwrap()
}

fn origins(image: &BuiltImage) -> Vec<(Option<Concern>, Origin)> {
    image.layers.iter().map(|built| (built.concern, built.layer.origin)).collect()
}

#[test]
fn a_program_comes_with_what_it_needs_and_runs_as_nobody_special() {
    let (_folder, settings, layout) = prepared();
    let built = quietly(&settings, &layout).unwrap();
    let image = &built.images[0];
    let files = files_of(&layout, image);
    for path in [
        "usr/lib64/ld-linux-x86-64.so.2",
        "usr/lib/x86_64-linux-gnu/libc.so.6",
        "usr/lib/x86_64-linux-gnu/libm.so.6",
        "etc/passwd",
        "etc/ssl/certs/ca-certificates.crt",
        "usr/share/zoneinfo/Asia/Seoul",
        "usr/local/bin/rtcd",
    ] {
        assert!(matches!(files[path].what, What::File { .. }), "{path}");
    }
    assert_eq!(files["lib64"].what, What::Link("usr/lib64".to_owned()));
    assert_eq!(files["usr/local/bin/rtcd"].mode, 0o555);
    assert_eq!((files["home/nonroot"].uid, files["home/nonroot"].gid), (65_532, 65_532));
    let run = config(&layout, image).config.unwrap();
    assert_eq!(run.user.as_deref(), Some("65532:65532"));
    assert_eq!(run.entrypoint.unwrap(), ["/usr/local/bin/rtcd"]);
    assert_eq!(image.platform.to_string(), "linux/amd64");
    assert_eq!(image.manifest, built.descriptor);
}

#[test]
fn the_configuration_and_the_layers_belong_together() {
    let (_folder, mut settings, layout) = prepared();
    settings.ports = vec!["8080".to_owned(), "9000/udp".to_owned()];
    settings.environment = [("LOG".to_owned(), "info".to_owned())].into();
    settings.labels = [("team".to_owned(), "rtc".to_owned())].into();
    settings.cmd = Some(vec!["serve".to_owned()]);
    settings.workdir = Some("/var/lib/rtc".to_owned());
    settings.volumes = vec!["/var/lib/rtc".to_owned()];
    settings.stop_signal = Some("SIGTERM".to_owned());
    settings.epoch = 1_700_000_000;
    settings.revision = Some("abc123".to_owned());
    settings.source = Some("https://example.org/rtc".to_owned());
    let built = quietly(&settings, &layout).unwrap();
    let image = config(&layout, &built.images[0]);
    let diff_ids: Vec<Digest> = built.images[0].layers.iter().map(|built| built.layer.diff_id).collect();
    assert_eq!(image.rootfs.diff_ids, diff_ids);
    assert_eq!(image.history.len(), 3);
    assert_eq!(image.created.as_deref(), Some("2023-11-14T22:13:20Z"));
    let run = image.config.unwrap();
    assert_eq!(run.exposed_ports.unwrap().into_keys().collect::<Vec<_>>(), ["8080/tcp", "9000/udp"]);
    assert_eq!(run.env.unwrap()[1], "LOG=info");
    assert_eq!(run.labels.unwrap()["team"], "rtc");
    assert_eq!(run.cmd.unwrap(), ["serve"]);
    assert_eq!(run.working_dir.as_deref(), Some("/var/lib/rtc"));
    assert_eq!(run.stop_signal.as_deref(), Some("SIGTERM"));
    assert!(run.volumes.unwrap().contains_key("/var/lib/rtc"));
    let annotations = manifest(&layout, &built.descriptor).annotations.unwrap();
    assert_eq!(annotations["org.opencontainers.image.revision"], "abc123");
    assert_eq!(annotations["org.opencontainers.image.source"], "https://example.org/rtc");
    assert!(!annotations.contains_key("org.opencontainers.image.base.name"));
}

/// What a child of the test below does: where there is a file `order`, it builds there and leaves the digest.
#[test]
fn a_build_gives_one_digest_wherever_it_runs() {
    let here = std::env::current_dir().unwrap();
    let (_kept, folder, backwards) = match std::fs::read_to_string(here.join("order")) {
        Ok(order) => (None, here, order == "backwards"),
        Err(_) => {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().to_owned();
            (Some(folder), path, false)
        }
    };
    let mut extras: Vec<PathBuf> = Vec::new();
    let names = ["a", "b", "c"];
    for index in 0..names.len() {
        let name = if backwards { names[names.len() - 1 - index] } else { names[index] };
        extras.push(put(folder.join("extra").join(name), name.as_bytes()));
    }
    let mut settings = project(&folder);
    for extra in extras {
        let target = format!("/etc/rtc/{}", extra.file_name().unwrap().to_str().unwrap());
        settings.extras.push(Extra { source: extra, target, mode: 0o640 });
    }
    settings.materials =
        Some(Materials { lock: workspace(&folder.join("source")), package: "rtcd".to_owned() });
    let layout = layout(&folder);
    let built = quietly(&settings, &layout).unwrap();
    let sbom = built.images[0].sbom.as_ref().unwrap().digest;
    std::fs::write(folder.join("digest"), format!("{} {sbom}", built.digest())).unwrap();
    assert_eq!(layout.blob_size(&built.digest()).unwrap(), Some(built.descriptor.size));
}

#[test]
fn folders_umasks_time_zones_languages_and_the_order_of_files_change_no_digest() {
    let folder = tempfile::tempdir().unwrap();
    let build = |name: &str, umask: &str, zone: &str, language: &str, order: &str| {
        let here = folder.path().join(name);
        put(here.join("order"), order.as_bytes());
        let status = Command::new("sh")
            .args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "build::tests::a_build_gives_one_digest_wherever_it_runs"])
            .current_dir(&here)
            .env("TZ", zone)
            .env("LANG", language)
            .output()
            .unwrap();
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
        let mode = std::fs::metadata(here.join("build/rtcd")).unwrap().permissions().mode();
        (std::fs::read_to_string(here.join("digest")).unwrap(), mode)
    };
    let (one, open) = build("here", "000", "Asia/Seoul", "ko_KR.UTF-8", "forwards");
    let (other, closed) = build("quite/another/place", "077", "America/New_York", "C", "backwards");
    assert_ne!(open & 0o777, closed & 0o777, "the umask was another one");
    assert_eq!(one, other);
}

#[test]
fn a_changed_byte_of_the_program_changes_the_application_layer_and_no_other() {
    let (_folder, settings, layout) = prepared();
    let first = quietly(&settings, &layout).unwrap();
    recompile(&settings, b"two");
    let second = quietly(&settings, &layout).unwrap();
    assert_ne!(first.digest(), second.digest());
    let expected = [
        (Some(Concern::Root), Origin::Kept),
        (Some(Concern::World), Origin::Kept),
        (Some(Concern::Application), Origin::Packed),
    ];
    assert_eq!(origins(&second.images[0]), expected);
    let digests = |built: &Built| {
        let layers = built.images[0].layers.iter();
        layers.map(|built| built.layer.descriptor.digest).collect::<Vec<_>>()
    };
    let (first, second) = (digests(&first), digests(&second));
    assert_eq!(first[..2], second[..2]);
    assert_ne!(first[2], second[2]);
    recompile(&settings, b"one");
    assert_eq!(digests(&quietly(&settings, &layout).unwrap()), first);
}

#[test]
fn each_compression_packs_the_same_files() {
    let (_folder, mut settings, layout) = prepared();
    let mut found = Vec::new();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        settings.compression = compression;
        let built = quietly(&settings, &layout).unwrap();
        let diff_ids: Vec<Digest> = built.images[0].layers.iter().map(|built| built.layer.diff_id).collect();
        found.push((diff_ids, files_of(&layout, &built.images[0])));
    }
    assert_eq!(found[0], found[1]);
    assert_eq!(found[0], found[2]);
}

#[test]
fn a_static_program_needs_no_libraries() {
    let (folder, mut settings, layout) = prepared();
    settings.binaries[0].path = Made::static_program(X86_64).write(folder.path().join("static"));
    settings.certificates = crate::root::Certificates::None;
    settings.zones = crate::root::Zones::None;
    let built = quietly(&settings, &layout).unwrap();
    assert_eq!(built.images[0].linkage, Linkage::Static);
    let concerns: Vec<Option<Concern>> =
        origins(&built.images[0]).into_iter().map(|(concern, _)| concern).collect();
    assert_eq!(
        concerns,
        [Some(Concern::Root), Some(Concern::Application)],
        "nothing of the world was wanted"
    );
    let files = files_of(&layout, &built.images[0]);
    assert!(files.keys().all(|path| !path.contains("lib")), "{:?}", files.keys());
}

#[test]
fn what_lies_beside_the_program_and_folders_it_may_write() {
    let (folder, mut settings, layout) = prepared();
    let plugin = put(folder.path().join("plugin.so"), b"plugin");
    settings.extras = vec![Extra { source: plugin, target: "/lib/rtc/plugin.so".to_owned(), mode: 0o444 }];
    settings.owned = vec!["/var/lib/rtc".to_owned()];
    let built = quietly(&settings, &layout).unwrap();
    let files = files_of(&layout, &built.images[0]);
    assert_eq!(files["usr/lib/rtc/plugin.so"].mode, 0o444, "through the link");
    assert_eq!(files["lib"].what, What::Link("usr/lib".to_owned()));
    assert_eq!((files["var/lib/rtc"].uid, files["var/lib"].uid), (65_532, 0));
}

fn for_arm(folder: &std::path::Path, settings: &mut Settings) {
    let root = folder.join("arm");
    Made::library(AARCH64, "ld-linux-aarch64.so.1").write(root.join("lib/ld-linux-aarch64.so.1"));
    Made::library(AARCH64, "libc.so.6").write(root.join("lib/libc.so.6"));
    let path = Made::program(AARCH64, "/lib/ld-linux-aarch64.so.1")
        .needs("libc.so.6")
        .write(folder.join("build/rtcd-arm"));
    settings.binaries.push(Binary {
        path,
        platform: Some(Platform::parse("linux/arm64/v8").unwrap()),
        sysroot: root,
    });
}

#[test]
fn several_binaries_give_an_index_over_their_platforms() {
    let (folder, mut settings, layout) = prepared();
    for_arm(folder.path(), &mut settings);
    let built = quietly(&settings, &layout).unwrap();
    assert_eq!(built.descriptor.media_type, media::INDEX);
    let Document::Index(index) = layout.document(&built.descriptor).unwrap() else { panic!("no index") };
    let platforms: Vec<String> =
        index.manifests.iter().map(|manifest| manifest.platform.as_ref().unwrap().to_string()).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    let world = (Some(Concern::World), Origin::Kept);
    assert_eq!(origins(&built.images[1])[1], world, "certificates are the same on every platform");
    assert!(layout.reachable(&[built.descriptor]).unwrap().len() > 7);
}

#[test]
fn a_base_keeps_its_layers_its_user_and_its_environment() {
    let (_folder, mut settings, layout) = prepared();
    settings.environment = [("A".to_owned(), "base".to_owned()), ("B".to_owned(), "base".to_owned())].into();
    settings.owned = vec!["/srv".to_owned()];
    let below = quietly(&settings, &layout).unwrap();
    let base = Base { name: "registry/below:1".to_owned(), manifest: below.images[0].manifest.clone() };
    settings.foundation = Foundation::Bases(vec![base]);
    settings.environment = [("B".to_owned(), "mine".to_owned()), ("C".to_owned(), "mine".to_owned())].into();
    settings.owned = vec!["/data".to_owned()];
    settings.name = "other".to_owned();
    let built = quietly(&settings, &layout).unwrap();
    let image = &built.images[0];
    let layers = |image: &BuiltImage| {
        image.layers.iter().map(|built| built.layer.descriptor.clone()).collect::<Vec<_>>()
    };
    assert_eq!(layers(image)[..3], layers(&below.images[0]));
    assert_eq!(origins(image)[0], (None, Origin::Base));
    assert_eq!(image.layers.len(), 4);
    let own = files::layer(&layout, &image.layers[3].layer.descriptor).unwrap();
    assert_eq!(
        own.items.keys().collect::<Vec<_>>(),
        ["data", "usr/local/bin/other"],
        "no folders of the base"
    );
    assert_eq!(own.items["data"].uid, 65_532, "the user of the base");
    let config = config(&layout, image);
    assert_eq!((config.rootfs.diff_ids.len(), config.history.len()), (4, 4));
    let run = config.config.unwrap();
    assert_eq!(run.env.unwrap()[1..], ["A=base", "B=mine", "C=mine"]);
    assert_eq!(run.user.as_deref(), Some("65532:65532"));
    assert_eq!(run.entrypoint.unwrap(), ["/usr/local/bin/other"]);
    let annotations = manifest(&layout, &image.manifest).annotations.unwrap();
    assert_eq!(annotations["org.opencontainers.image.base.name"], "registry/below:1");
    assert_eq!(annotations["org.opencontainers.image.base.digest"], below.digest().to_string());

    settings.account = Some(Account { name: "x".to_owned(), uid: 7, gid: 8, home: "/".to_owned() });
    let built = quietly(&settings, &layout).unwrap();
    let run = super::tests::config(&layout, &built.images[0]).config.unwrap();
    assert_eq!(run.user.as_deref(), Some("7:8"));
}

#[test]
fn a_base_for_another_platform_or_without_its_layers_is_refused() {
    let (folder, mut settings, layout) = prepared();
    let below = quietly(&settings, &layout).unwrap();
    let base = Base { name: "below".to_owned(), manifest: below.images[0].manifest.clone() };
    let mut arm = settings.clone();
    for_arm(folder.path(), &mut arm);
    arm.binaries.remove(0);
    arm.foundation = Foundation::Bases(vec![base.clone()]);
    let refused = quietly(&arm, &layout);
    assert!(
        matches!(&refused, Err(Error::WrongPlatform { base, wanted, found })
            if base == "below" && wanted.architecture == "arm64" && found.architecture == "amd64"),
        "{refused:?}"
    );
    arm.foundation = Foundation::Bases(vec![base.clone(), base.clone()]);
    assert!(matches!(quietly(&arm, &layout), Err(Error::NoBase { .. })));

    settings.foundation = Foundation::Bases(vec![base]);
    let layer = &below.images[0].layers[0].layer.descriptor;
    std::fs::remove_file(layout.blob_path(&layer.digest)).unwrap();
    assert!(matches!(quietly(&settings, &layout), Err(Error::Base { .. })));
}

#[test]
fn every_wrong_input_has_its_own_error_and_nothing_is_packed() {
    let (folder, good, layout) = prepared();
    let at = |path: PathBuf| {
        let mut settings = good.clone();
        settings.binaries[0].path = path;
        quietly(&settings, &layout).unwrap_err()
    };
    let script = put(folder.path().join("script"), b"#!/bin/sh\nexec rtcd\n");
    assert!(matches!(at(script.clone()), Error::NotElf { path } if path == script));
    assert!(matches!(at(folder.path().join("absent")), Error::Unreadable { .. }));
    let library = Made::library(X86_64, "lib.so").write(folder.path().join("lib.so"));
    assert!(matches!(at(library), Error::NotExecutable { .. }));
    let needy = Made::program(X86_64, LOADER).needs("libabsent.so").write(folder.path().join("needy"));
    assert!(matches!(at(needy), Error::MissingLibrary { name, .. } if name == "libabsent.so"));

    let with = |change: &dyn Fn(&mut Settings)| {
        let mut settings = good.clone();
        change(&mut settings);
        quietly(&settings, &layout).unwrap_err()
    };
    let arm = Platform::parse("linux/arm64").unwrap();
    let error = with(&|settings| settings.binaries[0].platform = Some(arm.clone()));
    assert!(matches!(error, Error::WrongMachine { wanted, .. } if *wanted == arm));
    let error = with(&|settings| settings.binaries.push(settings.binaries[0].clone()));
    assert!(matches!(error, Error::SamePlatform { .. }));
    assert!(matches!(with(&|settings| settings.binaries.clear()), Error::NoBinary));
    assert!(matches!(with(&|settings| settings.target = Some("rtcd".to_owned())), Error::Path { .. }));
    let error = with(&|settings| settings.target = Some("/etc/passwd/x".to_owned()));
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    for taken in
        ["/etc/passwd", "/tmp", "/lib64", "/lib64/ld-linux-x86-64.so.2", "/etc/ssl/certs/ca-certificates.crt"]
    {
        let error = with(&|settings| settings.target = Some(taken.to_owned()));
        assert!(matches!(error, Error::Covers { .. }), "{taken}: {error:?}");
    }
    let lock = folder.path().join("Cargo.lock");
    let error = with(&|settings| {
        settings.materials = Some(Materials { lock: lock.clone(), package: "rtcd".to_owned() });
    });
    assert!(matches!(error, Error::Unreadable { path, .. } if path == lock));
    assert!(matches!(with(&|settings| settings.ports = vec!["http".to_owned()]), Error::Port { .. }));
    assert!(matches!(with(&|settings| settings.epoch = u64::MAX), Error::Time { .. }));
    assert_eq!(std::fs::read_dir(layout.root().join("blobs/sha256")).unwrap().count(), 0);
}

#[test]
fn a_named_image_lists_its_bill_of_materials() {
    let (folder, mut settings, layout) = prepared();
    settings.materials =
        Some(Materials { lock: workspace(&folder.path().join("source")), package: "rtcd".to_owned() });
    let built = quietly(&settings, &layout).unwrap();
    built.name(&layout, "1.0").unwrap();
    assert_eq!(layout.find(Some("1.0")).unwrap().digest, built.digest());
    let sbom = built.images[0].sbom.as_ref().unwrap();
    let listed = layout.index().unwrap().manifests;
    assert!(listed.iter().any(|descriptor| descriptor.digest == sbom.digest));
    let referrer = manifest(&layout, sbom);
    assert_eq!(referrer.subject.as_ref().map(|subject| subject.digest), Some(built.digest()));
    assert_eq!(referrer.artifact_type(), media::SPDX);
    assert_eq!(layout.read_blob(&referrer.config).unwrap(), b"{}");
}

#[test]
fn bills_of_materials_of_an_image_that_lost_its_name_are_listed_no_more() {
    let (folder, mut settings, layout) = prepared();
    for_arm(folder.path(), &mut settings);
    settings.materials =
        Some(Materials { lock: workspace(&folder.path().join("source")), package: "rtcd".to_owned() });
    let named = |code: &[u8], name: &str| {
        recompile(&settings, code);
        let built = quietly(&settings, &layout).unwrap();
        built.name(&layout, name).unwrap();
        let sboms = built.images.into_iter().map(|image| image.sbom.unwrap().digest);
        sboms.collect::<Vec<_>>().try_into().unwrap()
    };
    let [first, arm]: [Digest; 2] = named(b"one", "1");
    let [second, _] = named(b"two", "1");
    let listed = || layout.index().unwrap().manifests.iter().map(|each| each.digest).collect::<Vec<_>>();
    assert!(!listed().contains(&first), "nothing has its image any more");
    assert!(listed().contains(&second) && listed().contains(&arm), "the new index has theirs");
    assert_eq!(listed().len(), 3);
    named(b"three", "2");
    assert!(listed().contains(&second), "the other name has its image");
    assert_eq!(listed().len(), 5);
}

#[test]
fn what_would_be_built_is_known_before_and_refused_alike() {
    let (folder, mut settings, _) = prepared();
    for_arm(folder.path(), &mut settings);
    let outlines = check(&settings).unwrap();
    let told: Vec<(String, usize)> =
        outlines.iter().map(|one| (one.platform.to_string(), one.libraries.len())).collect();
    assert_eq!(told, [("linux/amd64".to_owned(), 3), ("linux/arm64".to_owned(), 2)]);
    let length = std::fs::metadata(&settings.binaries[0].path).unwrap().len();
    assert!(outlines[0].bytes > length, "what comes with it counts too");
    // On a base only the program is packed, and the base is not asked for.
    let mut based = settings.clone();
    based.foundation = Foundation::Bases(Vec::new());
    let outlines = check(&based).unwrap();
    assert_eq!((outlines[0].libraries.len(), outlines[0].bytes), (0, length));

    let needy = Made::program(X86_64, LOADER).needs("libabsent.so").write(folder.path().join("needy"));
    settings.binaries[0].path = needy;
    assert!(matches!(check(&settings), Err(Error::MissingLibrary { .. })));
    settings.binaries.remove(0);
    settings.target = Some("/etc/passwd".to_owned());
    assert!(matches!(check(&settings), Err(Error::Covers { .. })));
}

#[test]
fn what_is_told_of_a_program_is_of_what_was_packed() {
    let (folder, mut settings, layout) = prepared();
    settings.materials =
        Some(Materials { lock: workspace(&folder.path().join("source")), package: "rtcd".to_owned() });
    let path = settings.binaries[0].path.clone();
    let packed = Digest::of(&std::fs::read(&path).unwrap());
    // It is replaced by another of the same length once its layer is packed.
    let replace = |event: Event<'_>| {
        if let Event::Done { concern: Concern::Application, .. } = event {
            recompile(&settings, b"two");
        }
    };
    let built = build(&settings, &layout, &replace).unwrap();
    let sbom = manifest(&layout, built.images[0].sbom.as_ref().unwrap());
    let bill = String::from_utf8(layout.read_blob(&sbom.layers[0]).unwrap()).unwrap();
    assert_ne!(Digest::of(&std::fs::read(&path).unwrap()), packed);
    assert!(bill.contains(&packed.hex()), "{bill}");
}

#[test]
fn a_program_that_is_another_when_it_is_packed_than_when_it_was_looked_at_is_refused() {
    let (folder, settings, layout) = prepared();
    let path = settings.binaries[0].path.clone();
    let other = Made::program(X86_64, LOADER).needs("libm.so.6").needs("libc.so.6").code(b"two");
    let other = other.write(folder.path().join("build/other"));
    let replace = |event: Event<'_>| {
        if let Event::Done { concern: Concern::Root, .. } = event {
            std::fs::rename(&other, &path).unwrap();
        }
    };
    let refused = build(&settings, &layout, &replace);
    assert!(matches!(&refused, Err(Error::ChangedMeanwhile { path: told }) if *told == path), "{refused:?}");
}

#[test]
fn what_goes_on_is_told() {
    let (_folder, settings, layout) = prepared();
    let told = std::cell::RefCell::new((0, 0, Vec::new()));
    let tell = |event: Event<'_>| {
        let mut told = told.borrow_mut();
        match event {
            Event::Begun { bytes, .. } => told.0 += bytes,
            Event::Read { bytes } => told.1 += bytes,
            Event::Done { concern, .. } => told.2.push(concern),
        }
    };
    build(&settings, &layout, &tell).unwrap();
    let (begun, read, done) = told.into_inner();
    assert_eq!((begun, done), (read, vec![Concern::Root, Concern::World, Concern::Application]));
}

/// Most of what this process has held in memory, in bytes.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// What a child of the test below does: where there is a file `length`, it packs one of that many bytes there.
#[test]
fn a_large_program_is_packed() {
    let here = std::env::current_dir().unwrap();
    let length = std::fs::read_to_string(here.join("length")).ok();
    let other = tempfile::tempdir().unwrap();
    let folder = if length.is_some() { here } else { other.path().to_owned() };
    let length = length.map_or(10 << 20, |length| length.parse().unwrap());
    let mut settings = project(&folder);
    let layout = layout(&folder);
    let program = std::fs::OpenOptions::new().write(true).open(&settings.binaries[0].path).unwrap();
    program.set_len(length).unwrap();
    for compression in [Compression::Gzip, Compression::Zstd] {
        settings.compression = compression;
        let built = quietly(&settings, &layout).unwrap();
        assert_eq!(files_of(&layout, &built.images[0])["usr/local/bin/rtcd"].size(), length);
    }
    std::fs::write(folder.join("memory"), most_memory().to_string()).unwrap();
}

#[test]
fn memory_does_not_grow_with_a_file() {
    const LENGTH: u64 = 300 << 20;
    let folder = tempfile::tempdir().unwrap();
    put(folder.path().join("length"), LENGTH.to_string().as_bytes());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "build::tests::a_large_program_is_packed"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let memory: u64 = std::fs::read_to_string(folder.path().join("memory")).unwrap().parse().unwrap();
    assert!(memory < 64 << 20, "{memory} bytes for {LENGTH}");
}
