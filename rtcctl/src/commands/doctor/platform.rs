//! What must not be in the way: ports, the lock; and what must be at hand: rtcd.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::net::TcpListener;

use super::{Check, Scene, Verdict};
use crate::api::Platform;
use crate::local::Lock;

pub(super) fn program(scene: &Scene) -> Check {
    let check = |verdict, detail: String| Check::new(&codes::DOC010, "rtcd", verdict, detail);
    match (&scene.root, &scene.beside) {
        (Some(root), _) => check(Verdict::Ok, format!("is built from {}", root.display())),
        (None, Some(path)) => check(Verdict::Ok, path.display().to_string()),
        (None, None) => {
            check(Verdict::Failed, "there is neither a workspace nor an rtcd beside this program".to_owned())
        }
    }
}

pub(super) async fn ports(scene: &Scene) -> Vec<Check> {
    let (api, admin) = tokio::join!(
        port(scene, "API port", scene.port, |run| &run.api_url),
        port(scene, "admin port", scene.admin_port, |run| &run.admin_url),
    );
    vec![api, admin]
}

async fn port(
    scene: &Scene,
    name: &'static str,
    port: u16,
    url: impl Fn(&crate::local::RunFile) -> &String,
) -> Check {
    let check = |verdict, detail: String| Check::new(&codes::DOC005, name, verdict, detail);
    if port == 0 {
        return check(Verdict::Ok, "any free one".to_owned());
    }
    if let Some((run, process)) = &scene.running
        && url(run).trim_end_matches('/').ends_with(&format!(":{port}"))
    {
        return check(Verdict::Ok, format!("{port} is used by the running platform (pid {})", process.id()));
    }
    match TcpListener::bind((scene.host.as_str(), port)).await {
        Ok(_) => check(Verdict::Ok, format!("{port} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            check(Verdict::Failed, format!("{port} is occupied by another program"))
                .with_hint(format!("stop that program, or run rtcctl up --port {}", port.saturating_add(1)))
        }
        Err(error) => check(Verdict::Failed, format!("{}:{port} cannot be bound: {error}", scene.host)),
    }
}

pub(super) async fn lock(scene: &Scene, platform: Option<&Platform>) -> Check {
    let check = |verdict, detail: String| Check::new(&codes::DOC006, "lock", verdict, detail);
    match (scene.data.lock(), &scene.running, platform) {
        (_, Some((_, process)), Some(platform)) => {
            let id = process.id();
            match platform.admin.probe("livez", Duration::from_secs(5)).await {
                Some(200) => check(Verdict::Ok, format!("held by the running platform (pid {id})")),
                Some(status) => check(Verdict::Failed, format!("rtcd (pid {id}) says {status} of itself")),
                None => check(Verdict::Failed, format!("rtcd (pid {id}) does not answer")),
            }
        }
        (Lock::Held, _, _) => {
            let holder =
                scene.data.lock_holder().map_or_else(String::new, |pid| format!(" by process {pid}"));
            check(Verdict::Failed, format!("{} is held{holder}", scene.data.lock_file().display()))
        }
        (Lock::Free, _, _) => check(Verdict::Ok, "free".to_owned()),
    }
}
