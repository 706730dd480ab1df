//! The full screen in a real terminal: drawn, resized, driven by keys, and left as it was found.

use std::time::Duration;

use axum::Router;
use axum::extract::Query;
use axum::routing::get;
use kernel::{Clock, SystemClock};
use serde_json::json;
use tokio::net::TcpListener;

use crate::processes::{output, rtcctl, until};

/// A terminal of its own, with a shell in it.
struct Terminal {
    folder: tempfile::TempDir,
    socket: String,
}

impl Terminal {
    async fn open(width: u16, height: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("tmux").display().to_string();
        let terminal = Self { folder, socket };
        let size = (width.to_string(), height.to_string());
        let shell = "env PS1='ready> ' ENV= sh";
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &size.0, "-y", &size.1, shell]);
        terminal.shows("ready>").await;
        terminal
    }

    fn tmux(&self, args: &[&str]) -> String {
        output("tmux", &[&["-S", &self.socket], args].concat())
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Presses keys, each by its name.
    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn run(&self, command: &str) {
        self.press(&[command, "Enter"]);
    }

    async fn shows(&self, text: &str) -> String {
        until(text, async || {
            let screen = self.screen();
            if screen.contains(text) { Ok(screen) } else { Err(screen) }
        })
        .await
    }

    /// Whether a program has taken the other screen, and whether the cursor can be seen.
    fn state(&self) -> String {
        self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]).trim().to_owned()
    }

    /// The shell has its line editing back, the first screen and its cursor.
    async fn is_as_before(&self) {
        assert_eq!(self.state(), "0 1", "{}", self.screen());
        self.run("stty -a | tr ' ' '\\n' | grep -xE -e '-?(echo|icanon|isig|opost);?' | tr '\\n' ' '; echo and that is all");
        let screen = self.shows("and that is all").await;
        for mode in ["isig", "icanon", "echo", "opost"] {
            assert!(!screen.contains(&format!("-{mode} ")), "{mode} is switched off:\n{screen}");
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = std::process::Command::new("tmux").args(["-S", &self.socket, "kill-server"]).output();
    }
}

/// A platform with a history; its address.
async fn platform() -> String {
    let app = Router::new()
        .route("/admin/status", get(|| async { json!({"version": "0.1.0", "services": []}).to_string() }))
        .route(
            "/admin/metrics/history",
            get(|Query(query): Query<Vec<(String, i64)>>| async move {
                let now_ms = SystemClock.now().as_millis();
                let start_ms = now_ms - now_ms % 5_000 - 120 * 5_000;
                let steps: Vec<i64> = (0..=120).filter(|n| start_ms + n * 5_000 > query[0].1).collect();
                let times: Vec<i64> = steps.iter().map(|n| start_ms + n * 5_000).collect();
                let of = |service: &str, route: &str, a_step: i64| {
                    json!({
                        "name": "http_server_request_duration_seconds_count",
                        "labels": {"service": service, "http_route": route, "http_request_method": "GET",
                                   "http_response_status_code": "200"},
                        "values": times.iter().map(|at| at / 5_000 % 1_000_000 * a_step).collect::<Vec<_>>(),
                    })
                };
                json!({"interval_ms": 5000, "times": times, "series": [
                    of("orders", "/orders/{id}", 500), of("catalog", "/products", 900),
                ]})
                .to_string()
            }),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

async fn watching(width: u16, height: u16) -> Terminal {
    let url = platform().await;
    let terminal = Terminal::open(width, height).await;
    let program = rtcctl().display().to_string();
    let folder = terminal.folder.path().display().to_string();
    terminal
        .run(&format!("export RTCCTL_API_URL={url} RTCCTL_ADMIN_URL={url} T={program}; cd {folder}; clear"));
    terminal.run("echo before; $T metrics watch --every 300ms; echo ended $?");
    terminal.shows("LAG BY GROUP").await;
    terminal
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_screen_is_drawn_driven_by_keys_and_left_clean() {
    let terminal = watching(80, 24).await;
    let screen = terminal.shows("100/s").await;
    println!("{screen}");
    assert_eq!(screen.lines().count(), 24);
    assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
    assert!(screen.contains("> catalog") && screen.contains("180/s"), "{screen}");
    assert!(!screen.contains("before"), "the other screen is another one");
    assert_eq!(terminal.state(), "1 0");

    terminal.press(&["s"]);
    terminal.shows("RATE▼").await;
    terminal.press(&["Down", "Enter"]);
    terminal.shows("orders: ROUTES").await;
    terminal.shows("GET /orders/{id}").await;
    terminal.press(&["Escape"]);
    terminal.shows("SERVICES").await;
    terminal.press(&["/", "c", "a", "t"]);
    terminal.shows("filter: cat").await;
    terminal.press(&["Enter", "p"]);
    terminal.shows("PAUSED").await;

    terminal.tmux(&["resize-window", "-x", "132", "-y", "40"]);
    let screen = until("the wide screen", async || {
        let screen = terminal.screen();
        let foot = screen.lines().nth(39).unwrap_or_default();
        if foot.starts_with("q quit") { Ok(screen) } else { Err(screen) }
    })
    .await;
    assert!(screen.lines().any(|line| line.chars().count() > 120), "{screen}");

    terminal.press(&["q"]);
    let screen = terminal.shows("ended 0").await;
    assert!(screen.contains("before") && !screen.contains("SERVICES"), "{screen}");
    terminal.is_as_before().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_leaves_the_terminal_clean() {
    for (signal, keys, ended) in [("TERM", None, "ended 143"), ("", Some("C-c"), "ended 130")] {
        let terminal = watching(80, 24).await;
        match keys {
            Some(keys) => terminal.press(&[keys]),
            None => {
                let shell = terminal.tmux(&["display-message", "-p", "#{pane_pid}"]);
                let watching = output("pgrep", &["-P", shell.trim()]);
                output("kill", &["-s", signal, watching.trim()]);
            }
        }
        terminal.shows(ended).await;
        terminal.is_as_before().await;
    }
}

/// What [`a_panic_leaves_the_terminal_clean`] runs in its terminal; on its own it does nothing.
#[tokio::test]
async fn the_program_that_panics() {
    if !std::env::args().any(|arg| arg == "--exact") {
        return;
    }
    let sink = rtcctl::io::Sink::new(std::io::stdout());
    let mut screen =
        rtcctl::metrics::watch::FullScreen::enter(sink, rtcctl::metrics::watch::Raw::On).unwrap();
    screen.terminal.draw(|frame| frame.render_widget("on the other screen", frame.area())).unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    // Elsewhere in the process: nobody unwinds through the owner of the screen.
    let _ = tokio::spawn(async { panic!("something broke") }).await;
    std::process::exit(7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_leaves_the_terminal_clean() {
    let terminal = Terminal::open(80, 24).await;
    let program = std::env::current_exe().unwrap().display().to_string();
    terminal.run(&format!("export T={program} RUST_BACKTRACE=0; clear"));
    terminal.run("echo before; $T --exact terminal::the_program_that_panics --nocapture; echo ended $?");
    terminal.shows("on the other screen").await;
    let screen = terminal.shows("ended 7").await;
    assert!(screen.contains("before") && screen.contains("something broke"), "{screen}");
    terminal.is_as_before().await;
}
