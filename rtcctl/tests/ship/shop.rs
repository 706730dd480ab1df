//! A release that is judged by what a real shop measures while it takes orders.

use std::fs;

use serde_json::Value;

use crate::ground::{Budgets, Came, Ground, wait_until};

/// A running rtcd, stopped with the test.
struct Shop<'a>(&'a Ground);

impl Drop for Shop<'_> {
    fn drop(&mut self) {
        let _ = self.0.local(&["down"]).output();
    }
}

/// Orders that come until they are stopped.
struct Load(std::process::Child);

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_beside_a_shop_that_takes_orders_is_judged_by_its_objectives() {
    let ground = Ground::new("shop").await;
    let description = fs::read_to_string(ground.path("rtc.toml")).unwrap();
    let local = "[environments.local]\nkind = \"embedded\"\ndata = \"data\"\n";
    tokio::task::block_in_place(|| {
        fs::write(ground.path("rtc.toml"), format!("{description}\n{local}")).unwrap();
        let program = ground.program();
        let up = ["up", "--detach", "--port", "0", "--admin-port", "0", "--rtcd", &program];
        Came::of(&ground.local(&up).output().unwrap()).ended_with(0);
    });
    let _shop = Shop(&ground);
    let run: Value =
        serde_json::from_str(&fs::read_to_string(ground.path("data/run.json")).unwrap()).unwrap();
    ground.scrape(run["admin_url"].as_str().unwrap().trim_start_matches("http://"));
    ground.describe_gate(Budgets::Full, "");
    fs::OpenOptions::new()
        .append(true)
        .open(ground.path("rtc.toml"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, local.as_bytes()))
        .unwrap();

    // It is stopped by hand, when the release is over.
    let load = ["load", "--scenario", "shop", "--rate", "20", "--duration", "1h", "--settle-timeout", "0s"];
    let mut load = Load(ground.local(&load).spawn().unwrap());
    let known = |document: &Value, name: &str| {
        let all = document["data"].as_array().or_else(|| document["data"]["objectives"].as_array());
        all.into_iter().flatten().any(|one| one["name"] == name && one["budget_left"].is_number())
    };
    tokio::task::block_in_place(|| {
        wait_until(
            || {
                let seen = ground.rtcctl(&["metrics", "slo"]);
                serde_json::from_str(&seen.stdout).is_ok_and(|seen| known(&seen, "checkout"))
            },
            "an objective about orders with a value",
        );
    });
    let released = ground.ship(&[]).ended_with(0).document();
    assert!(load.0.try_wait().unwrap().is_none(), "the orders were over before the release was");
    drop(load);

    let step = |name: &str| {
        released["data"]["steps"]
            .as_array()
            .unwrap()
            .iter()
            .find(|step| step["step"] == name)
            .unwrap()
            .clone()
    };
    let stood = step("budget")["given"]["stood"].clone();
    let verdicts = step("gate")["given"]["verdicts"].clone();
    for objective in ["availability", "checkout"] {
        let before = stood.as_array().unwrap().iter().find(|one| one["measure"] == objective).unwrap();
        assert_eq!(before["stands"], "well", "{before}");
        let after = verdicts.as_array().unwrap().iter().find(|one| one["name"] == objective).unwrap();
        assert_eq!(
            (&after["compared"], &after["before"]["stands"]),
            (&"well".into(), &"well".into()),
            "{after}"
        );
        assert!(after["error_ratio"].is_number(), "{after}");
    }
}
