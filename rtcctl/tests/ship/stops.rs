//! A release that somebody stops, and one whose Terraform works on alone.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStderr, Command};

use crate::ground::{Came, Ground, wait_until};

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
}

fn end(child: Child) -> Came {
    tokio::task::block_in_place(|| Came::of(&child.wait_with_output().unwrap()))
}

/// Reads what it says up to a line that has `what`; the rest has to be read too.
fn hears(child: &mut Child, what: &str) -> BufReader<ChildStderr> {
    let mut heard = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    tokio::task::block_in_place(|| {
        while !said.contains(what) {
            assert!(heard.read_line(&mut said).unwrap() > 0, "{what} was not said: {said}");
        }
    });
    heard
}

fn begun(ground: &Ground) {
    tokio::task::block_in_place(|| wait_until(|| ground.path("begun").exists(), "the provisioner"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_that_is_stopped_ends_what_is_under_way_and_says_where_it_goes_on() {
    let ground = Ground::new("stopped").await;
    ground.let_terraform_wait();
    let under_way = ground.begin_ship(&[]);
    begun(&ground);
    signal(&under_way, "TERM");
    let stopped = end(under_way).ended_with(143);
    let document = stopped.document();
    assert_eq!(
        (&document["status"], &document["data"]["failure"]["step"]),
        (&"stopped".into(), &"apply".into())
    );
    let run = document["data"]["run"].as_str().unwrap();
    let hint = format!("rtcctl ship --env dev --resume {run}");
    assert!(document["findings"].to_string().contains(&hint), "{document}");
    assert!(ground.notices().is_empty(), "who stops it knows");
    assert_eq!(ground.applied(), 0);

    // What could be created in half is created anew, and once.
    std::fs::write(ground.path("go"), "").unwrap();
    ground.ship(&["--resume", run]).ended_with(0);
    assert_eq!(ground.applied(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_wait_for_the_first_signal_is_told_what_that_costs() {
    let ground = Ground::new("hurry").await;
    // A Terraform that finishes what it does, however long that takes.
    let script = "#!/bin/sh\ncase \"$1\" in init) mkdir -p .terraform;; plan) trap '' INT; echo begun >> ../begun; \
                  while [ ! -e ../go ]; do sleep 0.1; done; exit 1;; esac\n";
    let program = ground.path("terraform");
    std::fs::write(&program, script).unwrap();
    assert!(Command::new("chmod").arg("755").arg(&program).status().unwrap().success());
    let text = std::fs::read_to_string(ground.path("rtc.toml")).unwrap();
    let text =
        text.replace("terraform = \"infra\"", "terraform = \"infra\"\nterraform_binary = \"./terraform\"");
    std::fs::write(ground.path("rtc.toml"), text).unwrap();

    let mut under_way = ground.begin_ship(&[]);
    begun(&ground);
    signal(&under_way, "INT");
    let mut heard = hears(&mut under_way, "stopping:");
    signal(&under_way, "INT");
    let mut said = String::new();
    tokio::task::block_in_place(|| std::io::Read::read_to_string(&mut heard, &mut said).unwrap());
    let left = end(under_way);
    assert_eq!(left.exit, 130, "{said}");
    assert!(said.contains("leaving now: "), "{said}");
    // Nobody was there to write an end: the run can be gone on with.
    let open = ground.rtcctl(&["runs", "list", "--open", "--of", "ship"]).ended_with(0).document();
    std::fs::write(ground.path("go"), "").unwrap();
    assert_eq!(open["data"].as_array().map(Vec::len), Some(1), "{open}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terraform_that_works_on_alone_is_named_and_waited_for_by_whoever_wants_to() {
    let ground = Ground::new("alone").await;
    ground.let_terraform_wait();
    let mut killed = ground.begin_ship(&[]);
    begun(&ground);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let refused = ground.ship(&["--resume", "last"]).ended_with(8).document();
    assert_eq!(refused["data"]["failure"]["code"], "INF014", "{refused}");
    let said = refused["findings"].to_string();
    assert!(said.contains("process ") && said.contains("--wait"), "{said}");

    let mut waiting = ground.begin_ship(&["--resume", "last", "--wait"]);
    let heard = hears(&mut waiting, "waiting for terraform");
    std::fs::write(ground.path("go"), "").unwrap();
    let rest = std::thread::spawn(move || std::io::Read::read_to_string(&mut { heard }, &mut String::new()));
    let released = end(waiting).ended_with(0).document();
    rest.join().unwrap().unwrap();
    assert_eq!(released["status"], "ok");
    assert!(released["findings"].to_string().contains("finished by itself"), "{released}");
    assert_eq!(ground.applied(), 1, "what it did alone is not done again");
}
