//! A real terminal, by tmux: what is typed, and what is on the screen.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

/// As a person's shell does: runs the program, whose Ctrl-C is not its own, and then has its exit code.
const SHELL: &str = "trap : INT; \"$@\"; echo $? >\"$CODE\"; exec sleep 1000";

/// The usual number of columns.
const WIDE: &str = "130";

/// As a window of one program: the program leads the terminal's session. Its exit code is that of the window.
const ALONE: &str = "exec \"$@\"";

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Tool, eventually};

/// A terminal in which one program runs; closed when the test lets go of it.
pub(crate) struct Terminal {
    folder: TempDir,
}

impl Terminal {
    /// True if tmux is installed. A missing tmux is a failure if `TARGET_TEST_NO_SKIP` is set.
    pub(crate) fn is_here() -> bool {
        let found = Command::new("tmux").arg("-V").output();
        if let Err(why) = &found {
            assert!(
                std::env::var_os("TARGET_TEST_NO_SKIP").is_none(),
                "no tmux here: {why}"
            );
            eprintln!("skipped, since there is no tmux here: {why}");
        }
        found.is_ok()
    }

    /// Opens a terminal of 30 lines for this program.
    #[track_caller]
    pub(crate) fn open(tool: Tool) -> Self {
        Self::with(SHELL, WIDE, tool)
    }

    /// Opens a terminal of 80 columns for this program.
    #[track_caller]
    pub(crate) fn narrow(tool: Tool) -> Self {
        Self::with(SHELL, "80", tool)
    }

    /// Opens a terminal whose session this program leads.
    #[track_caller]
    pub(crate) fn leading(tool: Tool) -> Self {
        Self::with(ALONE, WIDE, tool)
    }

    #[track_caller]
    fn with(shell: &str, columns: &str, tool: Tool) -> Self {
        let program = tool.into_command();
        let this = Self {
            folder: TempDir::new().expect("a temporary folder"),
        };
        let mut tmux = this.tmux();
        tmux.env_clear();
        for (name, value) in program.get_envs() {
            tmux.env(name, value.expect("only set"));
        }
        tmux.current_dir(program.get_current_dir().expect("a folder"));
        tmux.env("CODE", this.folder.path().join("code"));
        tmux.args([
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            columns,
            "-y",
            "30",
        ]);
        tmux.args(["--", "sh", "-c", shell, "sh"]);
        tmux.arg(program.get_program()).args(program.get_args());
        // The screen and the exit code stay when the program has ended.
        tmux.args([";", "set-option", "remain-on-exit", "on"]);
        check(tmux.output().expect("tmux"));
        this
    }

    /// The text on the screen.
    pub(crate) fn screen(&self) -> String {
        self.ask(&["capture-pane", "-p"])
    }

    /// The same, with the sequences of styles.
    pub(crate) fn coloured_screen(&self) -> String {
        self.ask(&["capture-pane", "-e", "-p"])
    }

    /// Waits until this is on the screen.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        let mut screen = String::new();
        let what = format!("{text:?} on the screen");
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(&what, || {
                screen = self.screen();
                // A long line is wrapped.
                screen.contains(text) || screen.replace('\n', "").contains(text)
            });
        }));
        assert!(seen.is_ok(), "{what} never came:\n{screen}");
    }

    /// Types a line.
    pub(crate) fn line(&self, text: &str) {
        self.ask(&["send-keys", "-l", "--", text]);
        self.key("Enter");
    }

    /// Presses a key: `C-c`.
    pub(crate) fn key(&self, key: &str) {
        self.ask(&["send-keys", key]);
    }

    /// Waits for the program's end; its exit code.
    #[track_caller]
    pub(crate) fn code(&self) -> i32 {
        let mut code = None;
        eventually("the exit code of what runs in the terminal", || {
            let text = std::fs::read_to_string(self.folder.path().join("code"));
            let text = text.unwrap_or_else(|_| self.code_of_window());
            code = text.trim().parse().ok();
            code.is_some()
        });
        code.unwrap_or(-1)
    }

    /// The exit code of the window's own program; empty while it runs.
    fn code_of_window(&self) -> String {
        let said = self.ask(&["display", "-p", "#{pid} #{pane_dead} #{pane_dead_status}"]);
        let words: Vec<_> = said.split_whitespace().collect();
        match words.as_slice() {
            [_, "1", code] => (*code).to_owned(),
            // tmux sometimes misses the signal that tells of the end.
            [tmux, "1"] => {
                let tmux = tmux.parse().ok().and_then(Pid::from_raw).expect("tmux");
                kill_process(tmux, Signal::CHILD).expect("tmux");
                String::new()
            }
            _ => String::new(),
        }
    }

    /// Closes the terminal under its program.
    pub(crate) fn close(self) {}

    fn ask(&self, words: &[&str]) -> String {
        let mut tmux = self.tmux();
        check(tmux.args(words).output().expect("tmux"))
    }

    fn tmux(&self) -> Command {
        let mut tmux = Command::new("tmux");
        let socket: PathBuf = self.folder.path().join("socket");
        tmux.arg("-u").arg("-S").arg(socket);
        tmux
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").output();
    }
}

fn check(output: Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "tmux: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
