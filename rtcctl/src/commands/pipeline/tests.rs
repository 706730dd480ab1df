//! Commands as they are typed, against a Jenkins that keeps to the facts.

mod looking;
mod refused;
mod running;
mod stopping;
mod syncing;

use jenkins::testing::{Script, Standin, World, choice_parameter, flag_parameter, text_parameter};
use serde_json::{Value, json};

use crate::commands::testing::{Came, Typed};

const TOML: &str = r#"
[jenkins]
repository = "https://git.example/rtc.git"
poll = "0s"

[pipelines.shop]
job = "shop"
about = "the shop"
parameters = { TARGET = "prod" }

[environments.local]
kind = "embedded"

[environments.prod]
kind = "remote"
protected = "yes"
"#;

async fn with(arrange: impl FnOnce(&mut World)) -> (Standin, Typed) {
    let standin = Standin::start(arrange).await;
    let mut typed = Typed::alone();
    typed.set("RTCCTL_JENKINS", &standin.url);
    typed.write("rtc.toml", TOML.as_bytes());
    (standin, typed)
}

fn shop(world: &mut World) {
    scripted(Script::default())(world);
}

fn scripted(script: Script) -> impl FnOnce(&mut World) {
    move |world| {
        let parameters = vec![
            text_parameter("VERSION", "1"),
            choice_parameter("TARGET", &["dev", "prod"]),
            flag_parameter("DRY", false),
        ];
        world.pipeline("shop", parameters, script);
    }
}

fn question(id: &str, parameters: &Value) -> Value {
    json!({"id": id, "message": "Deploy?", "proceedText": "Go", "inputs": parameters})
}

fn code(came: &Came, exit: u8, code: &str) -> Value {
    let error = came.error();
    assert_eq!((came.exit, error["code"].as_str()), (exit, Some(code)), "{}{}", came.stdout, came.stderr);
    assert!(!error["hints"].as_array().unwrap().is_empty(), "{error}");
    error
}

fn posts(standin: &Standin) -> Vec<String> {
    standin.world().requests.iter().filter(|request| request.starts_with("POST")).cloned().collect()
}
