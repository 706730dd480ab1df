//! Documents as bytes.

use serde_json::json;

use crate::document::{encode, read};
use crate::{Descriptor, Digest, Document, Error, Image, Index, Manifest, Platform, media};

fn descriptor(media_type: &str) -> Descriptor {
    Descriptor::of(media_type, b"x")
}

#[test]
fn a_manifest_is_written_in_the_order_of_the_specification_and_without_what_it_has_not() {
    let manifest = Manifest::new(descriptor(media::CONFIG), vec![descriptor(media::LAYER_GZIP)]);
    let digest = Digest::of(b"x");
    assert_eq!(
        String::from_utf8(encode(&manifest)).unwrap(),
        format!(
            concat!(
                r#"{{"schemaVersion":2,"mediaType":"{}","#,
                r#""config":{{"mediaType":"{}","digest":"{}","size":1}},"#,
                r#""layers":[{{"mediaType":"{}","digest":"{}","size":1}}]}}"#
            ),
            media::MANIFEST,
            media::CONFIG,
            digest,
            media::LAYER_GZIP,
            digest
        )
    );
}

#[test]
fn a_configuration_keeps_what_it_does_not_know() {
    let text = json!({
        "created": "2026-01-01T00:00:00Z", "architecture": "arm64", "os": "linux", "variant": "v8",
        "config": {
            "User": "65532", "ExposedPorts": {"8080/tcp": {}}, "Env": ["PATH=/bin"], "Entrypoint": ["/rtcd"],
            "Labels": {"b": "2", "a": "1"}, "Healthcheck": {"Test": ["NONE"]}, "ArgsEscaped": true
        },
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"x")]},
        "history": [{"created_by": "rtcctl", "empty_layer": true}],
        "docker_version": "27", "moby.buildkit.buildinfo.v1": "…"
    });
    let image: Image = read("config", text.to_string().as_bytes()).unwrap();
    assert_eq!(image.platform.to_string(), "linux/arm64/v8");
    let execution = image.config.clone().unwrap();
    assert_eq!(execution.user.as_deref(), Some("65532"));
    assert_eq!(execution.others.keys().collect::<Vec<_>>(), ["Healthcheck", "ArgsEscaped"]);
    let again: serde_json::Value = serde_json::from_slice(&encode(&image)).unwrap();
    assert_eq!(again, text);
    assert_eq!(encode(&image), encode(&image.clone()));
}

#[test]
fn a_document_is_what_it_was_served_as_or_refused() {
    let manifest = Manifest::new(descriptor(media::CONFIG), vec![descriptor(media::LAYER)]);
    let bytes = encode(&manifest);
    assert_eq!(Document::parse("a", media::MANIFEST, &bytes).unwrap(), Document::Manifest(manifest));
    let reason = |media_type: &str, bytes: &[u8]| match Document::parse("a", media_type, bytes) {
        Err(Error::Invalid { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert!(reason(media::INDEX, &bytes).contains("says it is"));
    assert!(reason("text/html", b"{}").contains("neither"));
    assert!(reason(media::MANIFEST, br#"{"schemaVersion":1}"#).contains("schema 1"));
    assert!(reason(media::MANIFEST, b"<html>").contains("expected value"));
    // Docker's are read too, and so is one that does not repeat its type.
    let list = br#"{"schemaVersion":2,"manifests":[]}"#;
    assert!(matches!(Document::parse("a", media::DOCKER_LIST, list).unwrap(), Document::Index(_)));
}

#[test]
fn parts_come_in_their_order_and_without_layers_that_are_elsewhere() {
    let mut foreign = descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip");
    foreign.urls = vec!["https://example.com/layer".to_owned()];
    let manifest = Manifest::new(descriptor(media::CONFIG), vec![foreign, descriptor(media::LAYER)]);
    let document = Document::Manifest(manifest);
    let kinds: Vec<&str> = document.parts().iter().map(|part| part.media_type.as_str()).collect();
    assert_eq!(kinds, [media::CONFIG, media::LAYER]);
    assert_eq!(Document::Index(Index::new(vec![descriptor(media::MANIFEST)])).parts().len(), 1);
}

#[test]
fn a_platform_has_two_or_three_parts() {
    assert_eq!(Platform::parse("linux/arm/v7").unwrap().to_string(), "linux/arm/v7");
    for wrong in ["linux", "linux/", "a/b/c/d", ""] {
        assert!(Platform::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn layers_say_how_they_are_packed() {
    use media::Compression::{Gzip, None as Plain, Zstd};
    assert_eq!(media::compression(media::LAYER), Some(Plain));
    assert_eq!(media::compression(media::DOCKER_LAYER), Some(Gzip));
    assert_eq!(media::compression("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"), Some(Gzip));
    assert_eq!(media::compression(media::LAYER_ZSTD), Some(Zstd));
    assert_eq!(media::compression(media::CONFIG), None);
}
