//! Real sshd on loopback ports with throw-away keys, one per machine (`tests/support/sshd`).

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::repository;

/// Some sshd, stopped when the test lets go of them. Each has `TARGET_IDENTITY` set to its name.
pub(crate) struct Sshd {
    directory: TempDir,
}

impl Sshd {
    /// Starts one sshd per name.
    #[track_caller]
    pub(crate) fn start(names: &[&str]) -> Self {
        Self::with(names, "")
    }

    /// The same, with lines of configuration that win over the usual ones.
    #[track_caller]
    pub(crate) fn with(names: &[&str], config: &str) -> Self {
        let directory = TempDir::new().expect("a temporary folder");
        let this = Self { directory };
        this.script("start", names, config);
        this
    }

    /// The same, for machines whose sessions see the boot id of the file `boot`, and find programs in the folder `bin`
    /// first. The shell of a session is `$SESSION`'s child. Needs root, which may mount a file.
    #[track_caller]
    pub(crate) fn with_boot_id(names: &[&str], boot: &Path, bin: &Path) -> Self {
        let this = Self {
            directory: TempDir::new().expect("a temporary folder"),
        };
        let session = this.directory.path().join("session");
        let text = format!(
            "#!/bin/sh\nexport SESSION=$PPID PATH={}:$PATH\n\
             exec unshare -m sh -c 'mount --bind {} /proc/sys/kernel/random/boot_id && \
             exec sh -c \"$SSH_ORIGINAL_COMMAND\"'\n",
            bin.display(),
            boot.display(),
        );
        fs::write(&session, text).expect("a script");
        fs::set_permissions(&session, PermissionsExt::from_mode(0o755)).expect("a script");
        let force = format!("ForceCommand {}", session.display());
        this.script("start", names, &force);
        this
    }

    /// The client's configuration, for `ssh -F`: every name is a host.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("ssh_config")
    }

    /// The folder with everything of these sshd.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A machine's address, `127.0.0.1:2201`.
    #[track_caller]
    pub(crate) fn address(&self, name: &str) -> String {
        format!(
            "{}:{}",
            self.setting(name, "hostname"),
            self.setting(name, "port")
        )
    }

    /// A value of the client's configuration as ssh reads it: `port`, `user`, `identityfile`, ...
    #[track_caller]
    pub(crate) fn setting(&self, name: &str, key: &str) -> String {
        let ssh = Command::new("ssh")
            .arg("-F")
            .arg(self.config())
            .args(["-G", name])
            .output();
        let text = String::from_utf8(ssh.expect("ssh").stdout).expect("UTF-8 of `ssh -G`");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("`ssh -G {name}` has no `{key}`"))
            .to_owned()
    }

    /// A playbook of targets on platform `ssh`: `[("alpha", &["alpha-0", "alpha-1"])]`.
    #[track_caller]
    pub(crate) fn playbook(&self, targets: &[(&str, &[&str])]) -> String {
        let any = targets[0].1[0];
        let mut toml = format!(
            "[platforms.ssh]\nuser = {:?}\nidentity = {:?}\nknown-hosts = {:?}\n",
            self.setting(any, "user"),
            self.setting(any, "identityfile"),
            self.setting(any, "userknownhostsfile"),
        );
        for (name, machines) in targets {
            let hosts: Vec<_> = machines
                .iter()
                .map(|machine| self.address(machine))
                .collect();
            let _ = write!(
                toml,
                "\n[[targets]]\nname = {name:?}\nplatform = \"ssh\"\nhosts = {hosts:?}\n"
            );
        }
        toml
    }

    #[track_caller]
    fn script(&self, verb: &str, names: &[&str], config: &str) {
        let script = repository().join("tests/support/sshd");
        let done = Command::new(script)
            .arg(verb)
            .arg(self.directory.path())
            .args(names)
            .env("TARGET_TEST_SSHD_CONFIG", config)
            .output();
        let done = done.expect("tests/support/sshd");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(
            done.status.success(),
            "tests/support/sshd {verb}: {}\n{said}",
            done.status
        );
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let script = repository().join("tests/support/sshd");
            let _ = Command::new(script)
                .arg("stop")
                .arg(self.directory.path())
                .output();
        } else {
            self.script("stop", &[], "");
        }
    }
}
