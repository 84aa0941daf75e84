//! A container engine with a store of its own, shared by all tests and kept between runs for its image.

use std::{
    ffi::OsStr,
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use super::repository;

/// The variable that `tests/support/podman` reads.
const STORE: &str = "TEST_CONTAINERS";

/// The engine.
pub(crate) struct Engine {
    store: PathBuf,
    rootfs: PathBuf,
    program: PathBuf,
    /// The process whose network namespace the engine is in; `None` for that of the host.
    namespace: Option<Child>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(mut namespace) = self.namespace.take() {
            let _ = namespace.kill();
            let _ = namespace.wait();
            let _ = fs::remove_file(&self.program);
        }
    }
}

impl Engine {
    /// Proves that a container can run.
    ///
    /// # Errors
    /// Why none can.
    pub(crate) fn start() -> Result<Self, String> {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let store = folder.join("containers");
        let this = Self {
            program: store.join("podman"),
            store,
            rootfs: folder.join("rootfs.tar"),
            namespace: None,
        };
        this.make_rootfs(&[])?;
        this.write_program("");
        let tried = this
            .command(&["info", "--format", "{{.Host.OCIRuntime.Name}}"])
            .output();
        let tried = tried.map_err(|error| error.to_string())?;
        match tried.status.success() {
            true => Ok(this),
            false => Err(String::from_utf8_lossy(&tried.stderr).into_owned()),
        }
    }

    /// The same, with the C library and the Perl of this host in its containers.
    ///
    /// # Errors
    /// The reason that no container can run.
    pub(crate) fn with_glibc() -> Result<Self, String> {
        let mut this = Self::start()?;
        this.rootfs.set_file_name("rootfs-perl.tar");
        let ours = std::env::current_exe().expect("the test binary");
        this.make_rootfs(&[ours.as_os_str()])?;
        Ok(this)
    }

    /// The same in a network namespace of its own, where it can make networks.
    ///
    /// # Errors
    /// The reason that it cannot.
    pub(crate) fn in_namespace(mut self) -> Result<Self, String> {
        let mut process = Command::new("unshare");
        process.args([
            "--net",
            "sh",
            "-c",
            "ip link set lo up && echo && exec sleep 1000",
        ]);
        let process = process.stdout(Stdio::piped()).spawn();
        let mut process = process.map_err(|error| error.to_string())?;
        let mut ready = [0];
        let stdout = process.stdout.as_mut().expect("a pipe");
        let read = stdout.read_exact(&mut ready);
        let pid = process.id();
        self.program = self.store.join(format!("podman-in-{pid}"));
        self.namespace = Some(process);
        read.map_err(|error| format!("no network namespace: {error}"))?;
        self.write_program(&format!("nsenter --net=/proc/{pid}/ns/net "));
        Ok(self)
    }

    /// The names of the networks of pools.
    pub(crate) fn networks(&self) -> Vec<String> {
        let list = [
            "network",
            "ls",
            "--filter",
            "label=cargo-target-test",
            "--format",
            "{{.Name}}",
        ];
        self.run(&list).lines().map(str::to_owned).collect()
    }

    fn make_rootfs(&self, more: &[&OsStr]) -> Result<(), String> {
        let mut rootfs = Command::new(repository().join("tests/support/rootfs"));
        let made = rootfs.arg(&self.rootfs).args(more).output();
        let made = made.map_err(|error| error.to_string())?;
        match made.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&made.stderr).into_owned()),
        }
    }

    /// A program that is the engine by itself.
    pub(crate) fn program(&self) -> PathBuf {
        self.program.clone()
    }

    /// `within` is a program with arguments that starts the engine.
    fn write_program(&self, within: &str) {
        let podman = repository().join("tests/support/podman");
        let text = format!(
            "#!/bin/sh\n{STORE}={:?} exec {within}{podman:?} \"$@\"\n",
            self.store
        );
        if fs::read_to_string(self.program()).ok().as_ref() == Some(&text) {
            return;
        }
        // Other tests may start it at this moment: it comes to its place whole.
        fs::create_dir_all(&self.store).expect("a folder");
        let new = self.store.join(format!("podman.{}", std::process::id()));
        fs::write(&new, text).expect("a script");
        fs::set_permissions(&new, PermissionsExt::from_mode(0o755)).expect("a script");
        fs::rename(new, self.program()).expect("a script");
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.program());
        command.args(args);
        command
    }

    /// Runs the engine; returns what it printed.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        let output = self.command(args).output().expect("the engine");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The names of the containers that carry a pool's label.
    pub(crate) fn labelled(&self, label: &str) -> Vec<String> {
        let filter = format!("label=cargo-target-test={label}");
        let names = self.run(&["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"]);
        names.lines().map(str::to_owned).collect()
    }

    /// A target's table; more keys can follow.
    pub(crate) fn target(&self, name: &str) -> String {
        format!(
            "[[targets]]\nname = {name:?}\nplatform = \"container\"\nengine = {:?}\nrootfs = {:?}\nnetwork = \"none\"\n",
            self.program(),
            self.rootfs
        )
    }
}
