//! A disk that is full while a layer is written: a file system of a quarter of a megabyte, which the test alone sees.

use std::path::Path;

use serde_json::Value;

use crate::ground::Ground;

#[test]
fn a_full_disk_is_told_as_such_and_nothing_half_written_stays() {
    let ground = Ground::with(Path::new("/bin/sh"));
    std::fs::create_dir(ground.path("small")).unwrap();
    let script = "mount -t tmpfs -o size=256k none small && \"$@\"; exit=$?; ls -A small/layout/blobs/sha256; exit $exit";
    let mut command = ground.wrapped(
        &["unshare", "--mount", "sh", "-c", script, "sh"],
        &["image", "build", "--tag", "v1", "--layout", "small/layout"],
    );
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    let error: Value = serde_json::from_str(told.lines().last().unwrap_or_default()).expect(&told);
    assert_eq!((output.status.code(), error["code"].as_str()), (Some(21), Some("IMG006")), "{told}");
    assert!(error.to_string().contains("No space left on device"), "{error}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "", "no blob stays");
}
