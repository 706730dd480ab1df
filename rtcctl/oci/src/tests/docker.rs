//! Logins from files and helpers, and challenges.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::Error;
use crate::credentials::{Credentials as _, Login};
use crate::docker::Files;

struct Home {
    folder: TempDir,
}

impl Home {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A helper that is a shell script.
    fn helper(&self, name: &str, script: &str) {
        let path = self.file(&format!("docker-credential-{name}"), &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    async fn login(&self, config: &str, registry: &str) -> Result<Login, Error> {
        let files =
            Files::new(vec![self.folder.path().join("absent.json"), self.file("config.json", config)])
                .with_helpers_in(self.folder.path().to_owned());
        files.login(registry).await.map(|grant| grant.login)
    }
}

fn password(user: &str, password: &str) -> Login {
    Login::Password { user: user.to_owned(), password: password.to_owned() }
}

#[tokio::test]
async fn logins_are_found_under_every_spelling_of_a_registry() {
    let home = Home::new();
    let config = r#"{"auths": {
        "https://index.docker.io/v1/": {"auth": "aHViOnNlY3JldA=="},
        "ghcr.io": {"auth": "YTpiOmM="},
        "http://localhost:5000/v2/": {"username": "me", "password": "here"},
        "token.example.com": {"auth": "PHRva2VuPjo=", "identitytoken": "refresh"},
        "empty.example.com": {}
    }, "unknown": 1}"#;
    for (registry, login) in [
        ("docker.io", password("hub", "secret")),
        ("ghcr.io", password("a", "b:c")),
        ("localhost:5000", password("me", "here")),
        ("token.example.com", Login::Identity("refresh".to_owned())),
        ("empty.example.com", Login::Anonymous),
        ("example.com", Login::Anonymous),
    ] {
        assert_eq!(home.login(config, registry).await.unwrap(), login, "{registry}");
    }
    assert_eq!(Files::default().login("ghcr.io").await.unwrap().login, Login::Anonymous);
}

#[tokio::test]
async fn the_login_that_says_most_about_a_repository_is_taken() {
    let home = Home::new();
    let config = r#"{"auths": {
        "quay.io/team": {"auth": "dGVhbTpi"},
        "quay.io/team/shop": {"auth": "c2hvcDpi"},
        "quay.io/team/shop/empty": {},
        "quay.io": {"auth": "YWxsOmI="},
        "ghcr.io/other": {"auth": "b3RoZXI6Yg=="},
        "docker.io/library": {"auth": "aHViOmI="}
    }}"#;
    let files = Files::new(vec![home.file("config.json", config)]);
    for (registry, repository, user) in [
        ("quay.io", "team/shop", Some("shop")),
        ("quay.io", "team/shop/web", Some("shop")),
        ("quay.io", "team/shop/empty", Some("shop")),
        ("quay.io", "team/shopping", Some("team")),
        ("quay.io", "teams/shop", Some("all")),
        ("ghcr.io", "team/shop", None),
        ("ghcr.io", "other/x", Some("other")),
        ("docker.io", "library/nginx", Some("hub")),
    ] {
        let found = files.login_for(registry, repository).await.unwrap().login;
        assert_eq!(
            found,
            user.map_or(Login::Anonymous, |user| password(user, "b")),
            "{registry}/{repository}"
        );
    }
    assert_eq!(files.login("quay.io").await.unwrap().login, password("all", "b"));
    assert_eq!(files.login("ghcr.io").await.unwrap().login, Login::Anonymous);
}

#[tokio::test]
async fn a_file_with_nothing_in_it_is_passed_by() {
    let home = Home::new();
    let last = home.file("last.json", r#"{"auths": {"ghcr.io": {"auth": "YTpi"}}}"#);
    for nothing in [
        "",
        " \n",
        "{}",
        r#"{"auths": null, "credsStore": null, "credHelpers": null}"#,
        r#"{"auths": {"ghcr.io": null}}"#,
        r#"{"auths": {"ghcr.io": {"auth": null}}}"#,
    ] {
        let files = Files::new(vec![home.file("config.json", nothing), last.clone()]);
        assert_eq!(files.login("ghcr.io").await.unwrap().login, password("a", "b"), "{nothing}");
    }
}

#[tokio::test]
async fn helpers_are_asked_before_files() {
    let home = Home::new();
    home.helper(
        "own",
        r#"read -r host; printf '{"ServerURL":"%s","Username":"for","Secret":"%s"}' "$host" "$host""#,
    );
    home.helper("all", r#"printf '{"Username":"<token>","Secret":"refresh"}'"#);
    home.helper("none", "echo 'credentials not found in native keychain'; exit 1");
    let config = r#"{"credsStore": "all", "credHelpers": {"ghcr.io": "own", "quay.io": "none"},
        "auths": {"quay.io": {"auth": "YTpi"}}}"#;
    assert_eq!(home.login(config, "ghcr.io").await.unwrap(), password("for", "ghcr.io"));
    assert_eq!(home.login(config, "example.com").await.unwrap(), Login::Identity("refresh".to_owned()));
    assert_eq!(home.login(config, "quay.io").await.unwrap(), password("a", "b"));
}

#[tokio::test]
async fn what_is_wrong_with_a_login_is_said_without_the_secret() {
    let home = Home::new();
    home.helper("broken", "echo 'hunter2 {' ; exit 0");
    home.helper("locked", "echo 'hunter2 does not open the keychain' >&2; exit 1");
    home.helper("endless", "yes hunter2");
    for (config, part) in [
        (r#"{"credsStore": "absent"}"#, "docker-credential-absent cannot be run"),
        (r#"{"credsStore": "broken"}"#, "something else than a login"),
        (r#"{"credsStore": "locked"}"#, "docker-credential-locked get says why"),
        (r#"{"credsStore": "endless"}"#, "docker-credential-endless failed"),
        (r#"{"auths": {"ghcr.io": {"auth": "aHVudGVyMg=="}}}"#, "user:password"),
        (r#"{"auths": [1]}"#, "not valid"),
        (r#"{"auths": {"ghcr.io": "hunter2"}}"#, "not valid"),
    ] {
        let error = home.login(config, "ghcr.io").await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let shown = format!("{:?} {:?}", password("me", "hunter2"), Login::Ready("hunter2".to_owned()));
    assert!(!shown.contains("hunter2"), "{shown}");
}
