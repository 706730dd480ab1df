//! The image of rtcd, as tools that are not ours read it, and as a system that it is entered as.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::ground::{Ground, tool};

#[test]
fn skopeo_reads_it_and_copies_it_without_changing_it() {
    let ground = Ground::with_rtcd();
    let built = ground.build("v1");
    let here = format!("oci:{}:v1", ground.path("target/images/rtcd").display());
    let seen: Value = serde_json::from_str(&tool("skopeo", &["inspect", &here])).unwrap();
    assert_eq!(seen["Digest"], built["digest"]);
    assert_eq!((seen["Os"].as_str(), seen["Layers"].as_array().map(Vec::len)), (Some("linux"), Some(3)));
    let there = ground.path("copy");
    tool("skopeo", &["copy", "--quiet", &here, &format!("oci:{}:v1", there.display())]);
    let copied: Value =
        serde_json::from_str(&tool("skopeo", &["inspect", &format!("oci:{}:v1", there.display())])).unwrap();
    assert_eq!(copied["Digest"], built["digest"]);
}

#[test]
fn skopeo_reads_it_as_one_file() {
    let ground = Ground::with_rtcd();
    let file = ground.path("image.tar");
    let built = ground.run(&["image", "build", "--tag", "v1", "--tarball", &file.display().to_string()]);
    let seen = tool("skopeo", &["inspect", &format!("oci-archive:{}:v1", file.display())]);
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen["Digest"], built["digest"]);
}

#[test]
fn what_umoci_unpacks_runs_as_the_user_of_the_image_and_serves() {
    let ground = Ground::with_rtcd();
    ground.run(&["image", "build", "--tag", "v1", "--compression", "gzip"]);
    let bundle = ground.path("bundle");
    let image = format!("{}:v1", ground.path("target/images/rtcd").display());
    tool("umoci", &["unpack", "--image", &image, &bundle.display().to_string()]);
    let root = bundle.join("rootfs").display().to_string();
    let enter = ["--userspec=65532:65532", &root, "/usr/local/bin/rtcd"];
    assert!(tool("chroot", &[&enter[..], &["--version"]].concat()).starts_with("rtcd "));

    let mut serving = Serving::start(&[&enter[..], &["serve", "--data", "/var/lib/rtc"]].concat());
    assert_eq!(serving.ready(), "HTTP/1.1 200 OK");
}

/// rtcd in the unpacked image, ended with the test.
struct Serving {
    child: Child,
}

impl Serving {
    fn start(words: &[&str]) -> Self {
        let mut command = Command::new("chroot");
        // Settings of rtcd are in variables, and the image has none of this machine's.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RTC")) {
            command.env_remove(name);
        }
        let child = command
            .args(words)
            .args(["--api-bind", "127.0.0.1:0", "--admin-bind", "127.0.0.1:0", "--log-format", "text"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child }
    }

    /// The first line that `/readyz` answers, once it says where it serves.
    fn ready(&mut self) -> String {
        let mut lines = BufReader::new(self.child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else { panic!("it ended before it served:\n{said}") };
            if let Some((_, rest)) = line.split_once("admin=") {
                break rest.split_whitespace().next().unwrap().to_owned();
            }
            said.push_str(&line);
            said.push('\n');
        };
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.lines().next().unwrap().to_owned()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
