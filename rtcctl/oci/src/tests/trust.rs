//! What a registry is told, and what is told of it: logins, addresses and names.

use std::sync::{Arc, Mutex};

use super::registry::{anonymous, content, index, open, options, password};
use crate::credentials::{Credentials, Grant, Login};
use crate::registry::{Access, Registry, Tagging};
use crate::testing::{Guard, Rules, Server};
use crate::{Digest, Error, Result};

#[tokio::test]
async fn a_token_is_in_no_error_and_is_read_however_it_is_written() {
    for (answer, is_taken) in [
        (r#"{"token": "hunter2", "expires_in": "300""#, false),
        ("hunter2", false),
        (r#"{"token": ["hunter2"]}"#, false),
        (r#"["hunter2"]"#, false),
        (r#"{"token": "c2VjcmV0LQ1", "expires_in": "300"}"#, true),
        (r#"{"token": "", "access_token": "c2VjcmV0LQ1", "expires_in": 299.5}"#, true),
        (r#"{"token": null, "access_token": "c2VjcmV0LQ1", "expires_in": null}"#, true),
        (r#"{"token": "c2VjcmV0LQ1", "expires_in": 18446744073709551615}"#, true),
    ] {
        let rules = Rules { guard: Guard::Bearer, token_answer: Some(answer), ..Rules::default() };
        let server = Server::start(rules).await;
        let found = open(&server, password(), "a").has_blob(&Digest::of(b"x")).await;
        match found {
            Ok(found) => assert!(is_taken && found.is_none(), "{answer}"),
            Err(error) => {
                let said = format!("{error} {error:?}");
                assert!(!is_taken && said.contains("token"), "{answer}: {said}");
                assert!(!said.contains("hunter2"), "{said}");
            }
        }
    }
}

#[tokio::test]
async fn an_address_is_in_an_error_without_what_it_is_signed_with() {
    for is_elsewhere in [false, true] {
        let upload_answer = Some((400, "<html>no</html>"));
        let server = Server::start(Rules { upload_answer, is_elsewhere, ..Rules::default() }).await;
        let (descriptor, content, _) = content(10);
        let refused = anonymous(&server, "a").put_blob(&descriptor, &content, None, |_| ()).await;
        let Err(Error::NotARegistry { url, .. }) = refused else { panic!("{refused:?}") };
        assert!(url.ends_with("/v2/a/blobs/uploads/upload-1"), "{url}");
    }
}

#[tokio::test]
async fn an_upload_that_no_login_opens_is_refused_after_one_renewal() {
    let upload_answer = Some((401, ""));
    let server = Server::start(Rules { guard: Guard::Basic, upload_answer, ..Rules::default() }).await;
    let credentials = server.credentials();
    let (descriptor, content, _) = content(10);
    let repository = open(&server, credentials.clone(), "a");
    let refused = repository.put_blob(&descriptor, &content, None, |_| ()).await;
    assert!(matches!(refused, Err(Error::Denied { status: 401, .. })), "{refused:?}");
    assert_eq!((server.count("PUT", ""), credentials.asked()), (2, 2));
}

#[tokio::test]
async fn what_is_no_tag_gets_into_no_address() {
    let server = Server::start(Rules::default()).await;
    let repository = anonymous(&server, "a");
    let (descriptor, bytes) = index("one");
    let is_refused = |error: Error| matches!(error, Error::Reference { .. });
    for text in ["", "v1?x=y", "v1#x", "..", "../../b/manifests/v1", "v1/..", "v 1", "sha256:12", "%2e%2e"] {
        assert!(is_refused(repository.head_manifest(text).await.unwrap_err()), "{text}");
        assert!(is_refused(repository.get_manifest(text).await.unwrap_err()), "{text}");
        assert!(is_refused(repository.delete_manifest(text).await.unwrap_err()), "{text}");
        for tagging in [Tagging::Movable, Tagging::Immutable] {
            let refused = repository.publish(&descriptor, &bytes, Some(text), tagging).await;
            assert!(is_refused(refused.unwrap_err()), "{text}");
        }
    }
    let (blob, bytes, _) = content(10);
    for from in ["b&x=y", "../b", "B"] {
        let refused = repository.put_blob(&blob, &bytes, Some(from), |_| ()).await;
        assert!(is_refused(refused.unwrap_err()), "{from}");
    }
    assert!(server.take_requests().is_empty());
}

/// Says who it was asked for.
#[derive(Default)]
struct Asked(Mutex<Vec<String>>);

#[async_trait::async_trait]
impl Credentials for Asked {
    async fn login(&self, registry: &str) -> Result<Grant> {
        panic!("{registry} was asked for as a whole")
    }

    async fn login_for(&self, _registry: &str, repository: &str) -> Result<Grant> {
        self.0.lock().unwrap().push(repository.to_owned());
        Ok(Login::Ready("c2VjcmV0LQ1".to_owned()).into())
    }
}

#[tokio::test]
async fn a_login_is_asked_for_once_for_each_repository() {
    let server = Server::start(Rules { guard: Guard::Basic, ..Rules::default() }).await;
    let asked = Arc::new(Asked::default());
    let registry = Registry::new(&server.host(), asked.clone(), options()).unwrap();
    for name in ["team/a", "team/b", "team/a"] {
        let repository = registry.repository(name, Access::Push).unwrap();
        assert_eq!(repository.head_manifest("v1").await.unwrap(), None);
    }
    assert_eq!(*asked.0.lock().unwrap(), ["team/a", "team/b"]);
}
