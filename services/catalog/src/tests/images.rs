//! Pictures: judged by their content, kept under their hash, served so that no browser takes them for more.

use serde_json::json;

use super::*;
use crate::http::IMAGE_BYTES_MAX;

pub const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest of a picture";

pub fn form(declared: &str, bytes: &[u8]) -> Vec<u8> {
    named_form("image", declared, bytes)
}

fn named_form(name: &str, declared: &str, bytes: &[u8]) -> Vec<u8> {
    let mut body = format!(
        "--b\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"../../etc/passwd\"\r\ncontent-type: {declared}\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(bytes);
    body.extend_from_slice(b"\r\n--b--\r\n");
    body
}

pub async fn upload(house: &House, id: &str, body: Vec<u8>) -> Answer {
    let path = format!("/api/v1/products/{id}/images");
    let call = house.post(&path).token(&seller(house));
    call.bytes("multipart/form-data; boundary=b", body).send().await
}

pub fn stored_files(house: &House) -> Vec<String> {
    let mut names = Vec::new();
    let mut open = vec![house.directory.path().join("objects")];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                open.push(entry.path());
            } else {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    names
}

#[tokio::test]
async fn a_picture_is_kept_and_served_for_ever() {
    let house = house().await;
    let id = create(&house, &tea("TEA-1")).await;
    let view = upload(&house, &id, form("image/png", PNG)).await.expect(201);
    let image = view["images"][0].as_str().unwrap().to_owned();
    assert_eq!(view["version"], 2);
    assert_eq!(show(&house, &id).await.expect(200), view);
    let answer = house.get(&image).send().await;
    assert_eq!((answer.status, answer.bytes.as_slice()), (200, PNG));
    assert_eq!(answer.header("content-type"), Some("image/png"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(answer.header("cache-control").unwrap().contains("immutable"));
    let etag = answer.header("etag").unwrap().to_owned();
    assert_eq!(house.get(&image).header("if-none-match", &etag).send().await.status, 304);
    // The same picture again changes nothing, and there is one file of it.
    let again = upload(&house, &id, form("image/png", PNG)).await.expect(201);
    assert_eq!(again, view);
    assert_eq!(stored_files(&house), [image.rsplit('/').next().unwrap()]);
    let name = image.rsplit('/').next().unwrap();
    let path = format!("/api/v1/products/{id}/images/{name}");
    let without = house.call("DELETE", &path).token(&seller(&house)).if_match(2).send().await.expect(200);
    assert_eq!((&without["images"], &without["version"]), (&json!([]), &json!(3)));
    house.settle().await;
}

#[tokio::test]
async fn what_the_sender_says_of_the_type_does_not_count() {
    let house = house().await;
    let id = create(&house, &tea("TEA-1")).await;
    let svg: &[u8] = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
    for (declared, bytes) in [
        ("image/png", svg),
        ("image/svg+xml", svg),
        ("image/jpeg", b"<!doctype html>"),
        ("image/gif", b"GIF"),
        ("image/webp", b"RIFFxxxxWAVE"),
        ("image/png", b""),
    ] {
        upload(&house, &id, form(declared, bytes)).await.expect_problem(415, "image_type_unsupported");
    }
    assert!(stored_files(&house).is_empty());
    for (declared, bytes, served) in [
        ("text/html", PNG, "image/png"),
        ("image/png", b"\xff\xd8\xff\xe0JFIF".as_slice(), "image/jpeg"),
        ("image/png", b"GIF89a....", "image/gif"),
        ("image/png", b"RIFF....WEBPVP8 ", "image/webp"),
    ] {
        let view = upload(&house, &id, form(declared, bytes)).await.expect(201);
        let image = view["images"].as_array().unwrap().last().unwrap().as_str().unwrap().to_owned();
        assert_eq!(house.get(&image).send().await.header("content-type"), Some(served));
    }
    house.settle().await;
}

#[tokio::test]
async fn what_is_too_large_or_no_form_is_refused() {
    let house = house().await;
    let id = create(&house, &tea("TEA-1")).await;
    let picture = |length: usize| {
        let mut bytes = PNG.to_vec();
        bytes.resize(length, 7);
        form("image/png", &bytes)
    };
    upload(&house, &id, picture(IMAGE_BYTES_MAX + 1)).await.expect_problem(413, "image_too_large");
    upload(&house, &id, picture(IMAGE_BYTES_MAX + 200_000)).await.expect_problem(413, "image_too_large");
    upload(&house, &id, picture(IMAGE_BYTES_MAX)).await.expect(201);
    upload(&house, &id, b"--b--\r\n".to_vec()).await.expect_problem(400, "multipart_invalid");
    upload(&house, &id, named_form("other", "image/png", PNG)).await.expect_problem(400, "multipart_invalid");
    upload(&house, &id, b"no form".to_vec()).await.expect_problem(400, "multipart_invalid");
    let path = format!("/api/v1/products/{id}/images");
    let json = house.post(&path).token(&seller(&house)).json(&json!({})).send().await;
    json.expect_problem(415, "unsupported_media_type");
    let unknown = format!("prd_{}", "0".repeat(32));
    upload(&house, &unknown, form("image/png", PNG)).await.expect_problem(404, "product_not_found");
    house.settle().await;
}

#[tokio::test]
async fn a_product_has_ten_pictures_at_most() {
    let house = house().await;
    let id = create(&house, &tea("TEA-1")).await;
    for n in 0..10 {
        upload(&house, &id, form("image/png", &[PNG, &[n]].concat())).await.expect(201);
    }
    upload(&house, &id, form("image/png", PNG)).await.expect_problem(409, "images_full");
    house.settle().await;
}

#[tokio::test]
async fn no_name_leads_out_of_the_folder() {
    let house = house().await;
    std::fs::create_dir_all(house.directory.path().join("objects")).unwrap();
    std::fs::write(house.directory.path().join("secret.png"), "secret").unwrap();
    let hash = "a".repeat(64);
    for name in [
        "..%2fsecret.png".to_owned(),
        "..%2f..%2fetc%2fpasswd".to_owned(),
        "%2e%2e".to_owned(),
        "secret.png".to_owned(),
        format!("{hash}.svg"),
        format!("{hash}.png%00"),
        format!("{}.png", hash.to_uppercase()),
        format!("..%2f{hash}.png"),
        format!("{hash}.png"),
    ] {
        let answer = house.get(&format!("/api/v1/images/{name}")).send().await;
        answer.expect_problem(404, "image_not_found");
    }
}
