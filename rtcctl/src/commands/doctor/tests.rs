//! How the checks add up, and what is in the way.

use super::*;

fn scene(folder: &std::path::Path, port: u16) -> Scene {
    Scene {
        data: DataDir::new(folder.to_owned()),
        root: None,
        beside: None,
        running: None,
        host: "127.0.0.1".to_owned(),
        port,
        admin_port: 0,
    }
}

fn check(verdict: Verdict) -> Check {
    Check::new(&codes::DOC005, "API port", verdict, "8080 is occupied")
}

#[test]
fn a_failure_ends_with_the_exit_code_of_a_missing_prerequisite() {
    let report = report(&[check(Verdict::Ok), check(Verdict::Failed)], false);
    assert_eq!((report.status, report.exit), ("failed", exit::CONFIGURATION));
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].hints, [codes::DOC005.action]);
    assert_eq!(report.names, ["DOC005"]);
}

#[test]
fn a_warning_fails_only_when_strict() {
    assert_eq!(report(&[check(Verdict::Warning)], false).exit, exit::DONE);
    assert_eq!(report(&[check(Verdict::Warning)], true).exit, exit::CONFIGURATION);
    assert_eq!(report(&[check(Verdict::Skipped)], true).exit, exit::DONE);
}

#[tokio::test]
async fn an_occupied_port_fails_and_a_free_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().port();
    let checks = platform::ports(&scene(folder.path(), taken)).await;
    assert_eq!((checks[0].verdict, checks[0].code.id), (Verdict::Failed, "DOC005"));
    assert_eq!(checks[1].verdict, Verdict::Ok);
    drop(listener);
    assert_eq!(platform::ports(&scene(folder.path(), taken)).await[0].verdict, Verdict::Ok);
}

#[tokio::test]
async fn a_lock_without_a_platform_fails() {
    let folder = tempfile::tempdir().unwrap();
    let scene = scene(folder.path(), 0);
    assert_eq!(platform::lock(&scene, None).await.verdict, Verdict::Ok);
    let file = std::fs::File::create(scene.data.lock_file()).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    assert_eq!(platform::lock(&scene, None).await.verdict, Verdict::Failed);
}

#[test]
fn without_a_workspace_and_without_rtcd_there_is_nothing_to_run() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(platform::program(&scene(folder.path(), 0)).verdict, Verdict::Failed);
}
