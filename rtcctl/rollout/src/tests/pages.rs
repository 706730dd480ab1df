//! Lists as they come over the wire.

use serde_json::json;

use super::*;
use crate::objects::Page;

#[test]
fn a_page_holds_what_its_items_are_one_by_one() {
    let mut kinds = 0;
    for text in [include_str!("data/base.ndjson"), include_str!("data/rolling.ndjson")] {
        for line in lines(text) {
            let Some(kind) = line.list else { continue };
            let list = json!({ "metadata": { "resourceVersion": "7" }, "items": line.items });
            let page = Page::read(kind, list.to_string().as_bytes()).unwrap();
            let one_by_one: Vec<Object> =
                line.items.iter().map(|item| Object::read(kind, item).unwrap()).collect();
            assert_eq!((page.objects, page.resource_version.as_str()), (one_by_one, "7"));
            assert!(page.unread.is_empty() && page.rest.is_empty());
            kinds += usize::from(!line.items.is_empty());
        }
    }
    assert!(kinds > 3, "{kinds} lists with something in them");
}

#[test]
fn an_item_that_cannot_be_read_hides_no_other_of_its_page() {
    let list = json!({
        "metadata": { "continue": "more", "resourceVersion": null },
        "items": [
            { "metadata": { "name": "a", "uid": "1" } }, { "metadata": { "name": "b", "uid": "2" }, "spec": 7 },
            { "metadata": { "name": "c" } }, { "metadata": { "name": "d", "uid": "4" }, "spec": { "containers": null } },
        ],
    });
    let page = Page::read(Kind::Pod, list.to_string().as_bytes()).unwrap();
    let names: Vec<&str> = page.objects.iter().map(|object| object.meta().name.as_str()).collect();
    assert_eq!((names, page.rest.as_str(), page.unread.len()), (vec!["a", "d"], "more", 2));
}

#[test]
fn what_has_no_items_is_no_list_and_null_is_an_empty_one() {
    let read = |text: &str| Page::read(Kind::Pod, text.as_bytes());
    assert_eq!(read(r#"{"metadata":{},"items":null}"#).unwrap().objects, []);
    for text in [r#"{"metadata":{}}"#, r#"{"items":{}}"#, "<html>", "[]", "", r#"{"items":["#] {
        assert!(read(text).is_err(), "{text}");
    }
}
