//! Commands as they are typed, run in this process against a platform that a test makes up.

mod aws;
mod typing;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use kernel::SystemClock;
use serde_json::Value;

pub(crate) use self::typing::Key;
use crate::io::{Captured, Io, Sink};
use crate::signals::{Interrupts, Signal};

/// A folder to work in and the addresses of a platform, if there is one.
pub(crate) struct Typed {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

/// What came of a command.
pub(crate) struct Came {
    pub(crate) exit: u8,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Came {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    /// The last line of stderr, which is the error under `-o json`.
    pub(crate) fn error(&self) -> Value {
        serde_json::from_str(self.stderr.lines().last().unwrap_or_default())
            .unwrap_or_else(|error| panic!("{error}: {}", self.stderr))
    }
}

impl Typed {
    pub(crate) fn alone() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    /// Serves `app` as both ports for as long as the test's runtime lives.
    pub(crate) async fn against(app: axum::Router) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let mut typed = Self::alone();
        typed
            .variables
            .extend([("RTCCTL_API_URL".to_owned(), url.clone()), ("RTCCTL_ADMIN_URL".to_owned(), url)]);
        typed
    }

    /// Sets a variable of the command's environment.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn api_url(&self) -> &str {
        self.variables.first().map_or("", |(_, url)| url)
    }

    pub(crate) fn secret(&self, name: &str, text: &str) {
        let folder = self.folder.path().join("data/secrets");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(crate) async fn run(&self, words: &[&str]) -> Came {
        self.run_until(words, std::future::pending()).await
    }

    /// Runs a command; `signal` says when and how it is asked to stop.
    pub(crate) async fn run_until(&self, words: &[&str], signal: impl Future<Output = Signal>) -> Came {
        self.run_with(words, None, |_, _| signal).await
    }

    /// Runs a command to its end; `act` is done once as soon as it has told `what` on stderr.
    pub(crate) async fn run_and_once_told(&self, words: &[&str], what: &str, act: impl FnOnce()) -> Came {
        let once = |_, stderr: Captured| async move {
            while !stderr.text().contains(what) {
                tokio::task::yield_now().await;
            }
            act();
            std::future::pending().await
        };
        self.run_with(words, None, once).await
    }

    /// The same before a keyboard on which something is typed each time that something is read on the screen.
    pub(crate) async fn run_asking(
        &self,
        words: &[&str],
        keys: &[Key],
        signal: impl Future<Output = Signal>,
    ) -> Came {
        self.run_with(words, Some(keys), |_, _| signal).await
    }

    /// The same until what it has written is enough; then Ctrl-C is pressed.
    pub(crate) async fn run_until_said(&self, words: &[&str], is_enough: impl Fn(&str) -> bool) -> Came {
        let enough = |stdout: Captured, _| async move {
            while !is_enough(&stdout.text()) {
                tokio::task::yield_now().await;
            }
            Signal::Interrupt
        };
        self.run_with(words, None, enough).await
    }

    async fn run_with<F: Future<Output = Signal>>(
        &self,
        words: &[&str],
        keys: Option<&[Key]>,
        signal: impl FnOnce(Captured, Captured) -> F,
    ) -> Came {
        let (stdout, stderr) = (Captured::default(), Captured::default());
        let (keyboard, screen) = typing::desk(keys.unwrap_or_default(), stderr.clone());
        let io = Io {
            stdin: Box::new(keyboard),
            stdout: Sink::new(stdout.clone()),
            stderr: Sink::new(screen),
            stdin_is_terminal: keys.is_some(),
            stdout_is_terminal: false,
            stderr_is_terminal: false,
            width: None,
            variables: self.variables.iter().cloned().collect(),
            current_dir: self.folder.path().to_owned(),
            executable: None,
        };
        let words = std::iter::once("rtcctl").chain(words.iter().copied()).map(Into::into);
        let (trigger, interrupts) = Interrupts::new();
        let signal = signal(stdout.clone(), stderr.clone());
        let asking = async {
            trigger.fire(signal.await);
            std::future::pending::<Infallible>().await
        };
        let exit = tokio::select! {
            exit = Box::pin(crate::run(words, io, interrupts, Arc::new(SystemClock))) => exit,
            never = asking => match never {},
        };
        Came { exit: exit.code(), stdout: stdout.text(), stderr: stderr.text() }
    }
}
