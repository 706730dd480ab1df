//! The screen of a release in a real terminal: a line a step while it goes on, and what it came to.

use std::process::Command;

use crate::ground::{Ground, wait_until};

/// A terminal of its own, with a shell in the ground's folder.
struct Terminal {
    socket: String,
}

impl Terminal {
    fn open(ground: &Ground, width: u16, height: u16) -> Self {
        let terminal = Self { socket: ground.path("tmux").display().to_string() };
        let size = (width.to_string(), height.to_string());
        let shell =
            format!("cd {}; {} exec env PS1='ready> ' ENV= sh", ground.path("").display(), ground.exports());
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &size.0, "-y", &size.1, &shell]);
        terminal.sees("ready>");
        terminal
    }

    fn tmux(&self, words: &[&str]) -> String {
        let output = Command::new("tmux").args(["-S", &self.socket]).args(words).output().unwrap();
        assert!(output.status.success(), "tmux {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    fn run(&self, command: &str) {
        self.tmux(&["send-keys", command, "Enter"]);
    }

    /// The screen as soon as it shows something.
    fn sees(&self, text: &str) -> String {
        let mut screen = String::new();
        wait_until(
            || {
                screen = self.screen();
                screen.contains(text)
            },
            &format!("{text} on the screen"),
        );
        screen
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-S", &self.socket, "kill-server"]).output();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_is_a_line_on_the_screen_and_the_end_is_a_table() {
    for (width, height) in [(80, 24), (200, 60)] {
        let ground = Ground::new("terminal").await;
        ground.let_terraform_wait();
        tokio::task::block_in_place(|| {
            let terminal = Terminal::open(&ground, width, height);
            let program = env!("CARGO_BIN_EXE_rtcctl");
            terminal.run(&format!("clear; {program} ship --env dev --yes; echo ended $?"));
            wait_until(|| ground.path("begun").exists(), "the provisioner");
            let under_way = terminal.sees("▸ apply");
            println!("{under_way}");
            let line = |step: &str| under_way.lines().filter(|line| line.contains(step)).count();
            for step in
                ["✓ budget", "✓ plan", "▸ apply", "· build", "· push", "· deploy", "· gate", "· notice"]
            {
                assert_eq!(line(step), 1, "{step}:\n{under_way}");
            }
            assert!(under_way.lines().all(|line| line.chars().count() <= usize::from(width)), "{under_way}");
            std::fs::write(ground.path("go"), "").unwrap();
            let over = terminal.sees("ended 0");
            println!("{over}");
            assert!(over.contains("released rtcd sha256:"), "{over}");
            let is_of_the_board = |line: &str| ["▸", "·", "✓", "–"].iter().any(|mark| line.starts_with(mark));
            assert!(!over.lines().any(is_of_the_board), "what is over stands in the table alone:\n{over}");
            let shown = over.lines().filter(|line| line.contains("+  create  terraform_data.once")).count();
            assert!(shown <= 1, "the plan is shown once:\n{over}");
            for step in ["budget", "apply", "deploy", "gate"] {
                assert_eq!(over.lines().filter(|line| line.starts_with(step)).count(), 1, "{step}:\n{over}");
            }
        });
    }
}
