//! `cargo xtask conformance`: schemathesis asks every operation of the served OpenAPI document, as a customer and as the
//! administrator, with what the schemas allow and with what they do not.
//!
//! Invariant: an answer with a status, a media type or a body that the document does not promise is a failure, as is any 5xx.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::engines::{script, tool};
use crate::platform::{Profile, Server, Shop};
use crate::run::{Outcome, check, root};
use crate::suites::Extent;

const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// Limits would answer instead of what is behind them.
const LIMITS: [&str; 8] = [
    "login",
    "register",
    "refresh",
    "verification",
    "verification_confirm",
    "images",
    "open_account",
    "place_hold",
];

/// Fewer would mean that what is asked has fallen behind what the API wants.
const SUCCEEDED_MIN: usize = 45;

/// Whom the API is asked as. Tokens are got by `rtc_hooks.py`, anew whenever one is about to expire.
struct Caller {
    name: &'static str,
    /// E-mail and password.
    account: Option<(&'static str, String)>,
}

pub fn run(extent: Extent) -> Outcome {
    check(script(&["install", "tools"]))?;
    Profile::Dev.build()?;
    let shop = Shop::seeded(Profile::Dev, "conformance")?;
    let limits: String = LIMITS.iter().map(|name| format!("{name} = 0\n")).collect();
    std::fs::write(shop.data().join("rtcd.toml"), format!("[limits]\n{limits}"))
        .map_err(|error| error.to_string())?;
    let mut server = shop.serve(&[])?;
    let known = known(&server)?;
    let admin = || server.secret("admin_password").map(|password| (ADMIN, password));
    let callers = [
        Caller { name: "nobody", account: None },
        Caller { name: "customer", account: Some((CUSTOMER, CUSTOMERS_PASSWORD.to_owned())) },
        Caller { name: "admin", account: Some(admin()?) },
    ];
    let examples = if extent == Extent::Whole { "400" } else { "40" };
    let mut findings = Vec::new();
    for caller in &callers {
        eprintln!("--> as {}", caller.name);
        // Signing out would end the session that the other operations need, and the live numbers never end.
        let others = ["--exclude-operation-id", SIGN_OUT, "--exclude-operation-id", LIVE];
        findings.extend(ask(&server, caller, &known, &others, examples));
    }
    eprintln!("--> signing out");
    let leaving = Caller { name: "whoever signs out", account: Some(admin()?) };
    findings.extend(ask(&server, &leaving, &known, &["--include-operation-id", SIGN_OUT], examples));
    let (count, never) = succeeded(&server)?;
    eprintln!("{count} operations answered with success; never: {}", never.join(", "));
    if count < SUCCEEDED_MIN {
        findings.push(format!("only {count} operations ever answered with success: little was looked at"));
    }
    if !server.is_running() {
        findings.push("rtcd is not running any more".to_owned());
    }
    if findings.is_empty() { Ok(()) } else { Err(findings.join("; ")) }
}

const CUSTOMER: &str = "demo@rtc.local";
const CUSTOMERS_PASSWORD: &str = "demo shopper 2026";
const ADMIN: &str = "admin@rtc.local";

/// What `rtc_hooks.py` sends too.
const PIN: &str = "2468";

const SIGN_OUT: &str = "delete_sessions_current";
const LIVE: &str = "get_analytics_stream";

/// How often the tool may break by itself: its interpreter fails now and then where two of its threads read sources. Hence
/// one worker as well.
const BREAKS_MAX: u32 = 1;

/// What it found as `caller`. A run that broke and found nothing says nothing, and is made again.
fn ask(server: &Server, caller: &Caller, known: &Value, only: &[&str], examples: &str) -> Option<String> {
    for _ in 0..=BREAKS_MAX {
        let ended = match schemathesis(server, caller, known, only, examples).output() {
            Ok(ended) => ended,
            Err(error) => return Some(format!("schemathesis: {error}")),
        };
        let said = String::from_utf8_lossy(&ended.stdout);
        println!("{said}{}", String::from_utf8_lossy(&ended.stderr));
        if ended.status.success() {
            return None;
        }
        let broke = said.contains("Runtime Error") && said.contains("SystemError: AST constructor");
        if !broke || said.contains("= FAILURES =") {
            break;
        }
    }
    Some(format!("as {}: see above", caller.name))
}

fn schemathesis(
    server: &Server,
    caller: &Caller,
    known: &Value,
    only: &[&str],
    examples: &str,
) -> std::process::Command {
    let document = format!("{}/api/v1/openapi.json", server.api());
    let folder = root().join("xtask/conformance");
    let mut schemathesis = tool("schemathesis");
    schemathesis.arg("--config-file").arg(folder.join("schemathesis.toml"));
    schemathesis.args(["run", &document, "--checks", CHECKS, "--phases", "examples,coverage,fuzzing"]);
    // A fixed seed: what a change did not touch must not fail it.
    schemathesis.args(["--max-examples", examples, "--seed", "20261121"]);
    schemathesis.args(["--continue-on-failure", "--workers", "1"]).args(only);
    if let Some((email, password)) = &caller.account {
        let caller = json!({ "api": server.api(), "email": email, "password": password });
        schemathesis.env("RTC_CONFORMANCE_CALLER", caller.to_string());
    }
    schemathesis.env("RTC_CONFORMANCE_KNOWN", known.to_string()).env("PYTHONPATH", folder);
    schemathesis
}

/// Things that are there, so that operations on one thing are asked about one: by the end of a path and its parameter.
fn known(server: &Server) -> Result<Value, String> {
    let shopper = server.sign_in(CUSTOMER, CUSTOMERS_PASSWORD)?;
    let me = server.ask("GET", "/api/v1/users/me", &shopper, None)?;
    let products = server.ask("GET", "/api/v1/products?limit=1", "", None)?;
    let product = &products["data"][0];
    let order = || {
        let lines = json!({ "lines": [{ "product_id": product["id"], "quantity": 1 }] });
        server.ask("POST", "/api/v1/orders?wait=terminal", &shopper, Some(&lines))
    };
    let (order, fulfilled) = (order()?, order()?);
    let accounts = server.ask("GET", "/api/v1/accounts?limit=1", &shopper, None)?;
    let opened = json!({ "currency": "KRW", "pin": PIN });
    let account = server.ask("POST", "/api/v1/accounts", &shopper, Some(&opened))?;
    let number = account["number"].as_str().unwrap_or_default().to_owned();
    let admin = server.sign_in(ADMIN, &server.secret("admin_password")?)?;
    let amount = json!({ "amount": 1_000_000, "currency": "KRW" });
    let path = format!("/api/v1/accounts/{number}/deposits");
    server.ask("POST", &path, &admin, Some(&json!({ "amount": amount })))?;
    let hold = |key: &str| {
        let path = format!("/api/v1/accounts/{number}/holds");
        let amount = json!({ "amount": 10_000, "currency": "KRW" });
        server.ask("POST", &path, &shopper, Some(&json!({ "key": key, "amount": amount, "pin": PIN })))
    };
    let (captured, released) = (hold("captured")?, hold("released")?);
    let mail = server.ask("GET", "/api/v1/mailbox?limit=1", &admin, None)?;
    Ok(json!({
        "paths": {
            "/users/{id}": { "id": me["id"] },
            "/products/{id}": { "id": product["id"] },
            "/stock/{sku}": { "sku": product["sku"] },
            "/orders/{id}/fulfil": { "id": fulfilled["id"] },
            "/orders/{id}": { "id": order["id"] },
            "/payments/{order_id}": { "order_id": order["id"] },
            "/accounts/{number}": { "number": number },
            "/holds/{id}/release": { "id": released["id"] },
            "/holds/{id}": { "id": captured["id"] },
            "/mailbox/{id}": { "id": mail["data"][0]["id"] },
        },
        "fields": {
            "product_id": product["id"],
            "account": accounts["data"][0]["number"],
            "currency": "KRW",
            "quantity": 1,
            "unit_price": null,
        },
    }))
}

/// How many operations answered with success at least once, and the names of the others: what was only ever refused was
/// hardly looked at.
fn succeeded(server: &Server) -> Result<(usize, Vec<String>), String> {
    let metrics = server.metrics()?;
    let label = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=\""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let mut answered = BTreeSet::new();
    for line in metrics.lines().filter(|line| line.starts_with("http_server_request_duration_seconds_count"))
    {
        if let (Some(method), Some(route), Some(status)) = (
            label(line, "http_request_method"),
            label(line, "http_route"),
            label(line, "http_response_status_code"),
        ) && status.starts_with('2')
        {
            answered.insert((method.to_ascii_lowercase(), route));
        }
    }
    let document = server.ask("GET", "/api/v1/openapi.json", "", None)?;
    let (mut count, mut never) = (0, Vec::new());
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for method in item.as_object().into_iter().flat_map(|item| item.keys()) {
            if answered.contains(&(method.clone(), path.clone())) {
                count += 1;
            } else {
                never.push(format!("{} {path}", method.to_ascii_uppercase()));
            }
        }
    }
    Ok((count, never))
}
