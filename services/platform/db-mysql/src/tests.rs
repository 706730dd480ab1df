//! What can be said without a server; the rest is said by the conformance suite on a real one.

use db::Error;

use crate::{Options, open};

#[test]
fn nobody_at_the_address_is_unreachable_and_the_password_is_not_told() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("mysql://shop:secret@127.0.0.1:{port}/rtc");
    let Err(error) = open(&url, Options::default()) else { panic!("nobody is there") };
    assert!(matches!(error, Error::Unreachable(_)) && error.is_transient(), "{error}");
    assert!(
        error.to_string().contains(&port.to_string()) && !error.to_string().contains("secret"),
        "{error}"
    );
}

#[test]
fn a_password_that_cannot_be_had_is_said() {
    let password: crate::Password = std::sync::Arc::new(|| Err("the file is gone".to_owned()));
    let Err(error) = open("mysql://shop@127.0.0.1:1/rtc", Options { password: Some(password) }) else {
        panic!("there is no password")
    };
    assert!(error.to_string().contains("the file is gone"), "{error}");
}
