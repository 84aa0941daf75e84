//! A user with a password, who exists for one test.

use std::{
    fs::File,
    io::Write as _,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// A user; gone when the test lets go of it.
pub(crate) struct User {
    name: String,
}

impl User {
    /// Makes a user with this password; `None`, said on standard error, where that needs another user than we are.
    #[track_caller]
    pub(crate) fn new(password: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            let why = "only root can make a user with a password";
            let must = std::env::var_os("TARGET_TEST_NO_SKIP").is_some();
            assert!(!must, "{why}");
            eprintln!("skipped: {why}");
            return None;
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let user = Self {
            name: format!("tt{}x{count}", std::process::id()),
        };
        let _alone = alone();
        super::eventually("a user of this machine's", || {
            let made = Command::new("useradd")
                .args(["--no-create-home", "--home-dir", "/", "--shell", "/bin/sh"])
                .arg(&user.name)
                .output();
            made.expect("useradd").status.success()
        });
        super::eventually("the user's password", || {
            let chpasswd = Command::new("chpasswd").stdin(Stdio::piped()).spawn();
            let mut chpasswd = chpasswd.expect("chpasswd");
            let line = format!("{}:{password}\n", user.name);
            let stdin = chpasswd.stdin.take();
            let _ = stdin.expect("a pipe").write_all(line.as_bytes());
            chpasswd.wait().expect("chpasswd").success()
        });
        Some(user)
    }

    /// Lets it become root, where it says its password again.
    pub(crate) fn may_sudo(&self) {
        let rule = format!("{} ALL=(ALL) ALL\nDefaults:{0} !lecture\n", self.name);
        std::fs::write(self.sudoers(), rule).expect("sudo's rules");
    }

    /// Lets it become root without a password, with an option of `sudo`: `use_pty`.
    pub(crate) fn may_sudo_freely(&self, option: &str) {
        let name = &self.name;
        let rule = format!("{name} ALL=(ALL) NOPASSWD: ALL\nDefaults:{name} !lecture, {option}\n");
        std::fs::write(self.sudoers(), rule).expect("sudo's rules");
    }

    fn sudoers(&self) -> String {
        format!("/etc/sudoers.d/{}", self.name)
    }

    /// The login name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// The right to change this machine's users, held until it is dropped: programs that change them side by side have left
/// `/etc/shadow` empty.
fn alone() -> File {
    let lock = File::create(std::env::temp_dir().join("tt-users.lock")).expect("a lock file");
    lock.lock().expect("the lock of this machine's users");
    lock
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.sudoers());
        let ours = |line: &str| line.starts_with(&format!("{}:", self.name));
        let _alone = alone();
        // What sshd started for it may live a moment longer.
        super::eventually("the end of a user", || {
            let _ = Command::new("userdel")
                .args(["--force", &self.name])
                .output();
            let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
            !users.lines().any(ours)
        });
    }
}
