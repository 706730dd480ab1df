//! Documents and layouts.

mod archive;
mod docker;
mod document;
mod layout;
mod reference;
mod registry;
mod transfer;
mod trust;

use crate::{Descriptor, Image, Layout, Manifest, Platform, document::RootFs, media};

/// An image of one layer in a layout, untagged.
pub(crate) fn image(layout: &Layout, content: &[u8]) -> Descriptor {
    let layer = layout.put_blob(content).unwrap().descriptor(media::LAYER);
    let mut image = Image::new(Platform::parse("linux/amd64").unwrap());
    image.rootfs = RootFs { kind: "layers".to_owned(), diff_ids: vec![layer.digest] };
    let config = layout.put_document(media::CONFIG, &image).unwrap();
    layout.put_document(media::MANIFEST, &Manifest::new(config, vec![layer])).unwrap()
}
