//! Processes that a killed program leaves behind and an ordinary user cannot kill: `sudo`.
//!
//! This test binary is also the program, run by another user.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use cargo_target_test::provision::{PoolProvisioner, Provisioner, Request};
use rustix::process::Signal;
use tempfile::TempDir;

use super::{DOWN, Lab, UP, alive, in_child, target};
use crate::support::{Sshd, Started, Tool, User, eventually};

const MODE: &str = "REMAINS_CHILD";

/// The other user's program, which deploys; nothing in an ordinary run of the tests.
#[test]
fn main() {
    in_child(MODE, async |playbook| {
        let machines = PoolProvisioner::open(playbook).expect("the playbook");
        let lease = machines.acquire(Request::one("alpha")).await;
        eprintln!("acquired: {}", lease.is_ok());
        drop(lease);
        machines.finish(false).await.expect("the pool");
    });
}

/// A user who may use `sudo`, with a pool, a playbook and the ledger of its machines.
struct Desk {
    user: User,
    folder: TempDir,
}

/// Works as root until it is told to go on, or the test is over, whatever signals it gets from us.
const ROOT: &str = "sudo sh -c 'trap : TERM HUP; echo $$ >works.new; mv works.new works; \
                    while [ -e works ] && [ ! -e go ]; do sleep 0.01; done; '\n";

impl Desk {
    fn new(options: &str) -> Option<Self> {
        let user = User::new("secret")?;
        user.may_sudo_freely(options);
        let folder = tempfile::Builder::new()
            .prefix("tt-")
            .tempdir()
            .expect("a folder");
        let desk = Self { user, folder };
        for name in ["ledger", "state", "run", "config", "cache"] {
            fs::create_dir(desk.path(name)).expect("a folder");
        }
        desk.script("up", UP);
        desk.script("down", DOWN);
        desk.write("target-test.toml", &target("alpha", 1, "retries = 0"));
        let (uid, gid) = user_ids(desk.user.name());
        let mut all = vec![desk.folder.path().to_path_buf()];
        all.extend(["ledger", "state", "run", "config", "cache"].map(|name| desk.path(name)));
        for path in all {
            chown(path, Some(uid), Some(gid)).expect("the user's folder");
        }
        Some(desk)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    fn script(&self, name: &str, text: &str) {
        self.write(name, text);
        let mode = PermissionsExt::from_mode(0o755);
        fs::set_permissions(self.path(name), mode).expect("a script");
    }

    /// A program, run by the user.
    fn by_user(&self, program: &Path, args: &[&str]) -> Tool {
        let name = self.user.name();
        let tool = Tool::program("setpriv", self.folder.path(), self.folder.path());
        tool.args(["--reuid", name, "--regid", name, "--clear-groups"])
            .args([program])
            .args(args)
            .env("HOME", self.folder.path())
            .env("USER", name)
    }

    /// The program that deploys.
    fn start(&self) -> Started {
        let program = std::env::current_exe().expect("this program");
        let args = ["faults::remains::main", "--exact", "--nocapture"];
        let tool = self.by_user(&program, &args);
        tool.env(MODE, self.path("target-test.toml")).start()
    }

    fn delete(&self) -> Tool {
        let tool = Path::new(env!("CARGO_BIN_EXE_cargo-target-test"));
        self.by_user(tool, &["--delete-targets", "--all"])
    }

    /// The process that works as root.
    fn worker(&self) -> String {
        let file = self.path("works");
        eventually("the work of root", || file.exists());
        fs::read_to_string(file)
            .expect("its number")
            .trim()
            .to_owned()
    }

    fn go(&self) {
        self.write("go", "");
    }

    fn machines(&self) -> usize {
        fs::read_dir(self.path("ledger"))
            .expect("the ledger")
            .count()
    }
}

fn user_ids(name: &str) -> (u32, u32) {
    let number = |option| {
        let id = Command::new("id")
            .args([option, name])
            .output()
            .expect("id");
        String::from_utf8_lossy(&id.stdout)
            .trim()
            .parse()
            .expect("a number")
    };
    (number("-u"), number("-g"))
}

/// The machine is made only after root's work: by then nothing may have called it deleted.
fn makes_late(desk: &Desk) {
    let late = ROOT.replace("done; '", "done; echo late >ledger/'$unique");
    desk.script(
        "up",
        &UP.replace("echo \"$instance\"", &format!("{late}exit 1\n#")),
    );
}

/// Kills a run in the midst of its deploy; returns the process of root that still works.
fn killed_run(desk: &Desk) -> String {
    let run = desk.start();
    let worker = desk.worker();
    run.signal(Signal::KILL);
    let _ = run.wait();
    worker
}

#[test]
fn a_deploy_that_root_still_works_for_is_waited_for() {
    for options in ["!use_pty", "use_pty"] {
        let Some(desk) = Desk::new(options) else {
            return;
        };
        makes_late(&desk);
        let worker = killed_run(&desk);
        assert!(alive(&worker), "{options}");
        let mut delete = desk.delete().start();
        delete.wait_for("`sudo` (pid ");
        desk.go();
        delete.wait().code(0).says("deleted alpha-0");
        assert!(!alive(&worker), "{options}");
        assert_eq!(desk.machines(), 0, "{options}");
        desk.delete().run().code(0).says("nothing to delete");
    }
}

#[test]
fn a_deploy_that_root_works_for_for_ever_is_named_and_stays_recorded() {
    let Some(desk) = Desk::new("use_pty") else {
        return;
    };
    makes_late(&desk);
    let worker = killed_run(&desk);
    let failed = desk.delete().run().code(69);
    failed
        .says("failed to delete `alpha-0`: the interrupted `deploy` of `alpha-0` still works")
        .says(&format!("(pid {worker}, user root)"));
    desk.go();
    desk.delete().run().code(0).says("deleted alpha-0");
    assert_eq!(desk.machines(), 0);
}

#[test]
fn a_deploy_that_takes_too_long_is_waited_for() {
    let Some(desk) = Desk::new("use_pty") else {
        return;
    };
    makes_late(&desk);
    let more = "retries = 0\ntimeout = \"1s\"";
    desk.write("target-test.toml", &target("alpha", 1, more));
    let mut run = desk.start();
    let worker = desk.worker();
    run.wait_for("`sudo` (pid ");
    assert!(alive(&worker));
    desk.go();
    run.wait().code(0).says("acquired: false");
    assert_eq!(desk.machines(), 0);
}

#[test]
fn what_stays_of_a_deploy_that_answered_is_the_machine() {
    let Some(desk) = Desk::new("!use_pty") else {
        return;
    };
    // `down` ends it, by root too.
    let serve = "sudo sh -c 'echo $$ >works; while [ ! -e go ]; do sleep 0.01; done' >/dev/null 2>&1 &\n\
                 until [ -e works ]; do sleep 0.01; done\n";
    desk.script("up", &UP.replace("echo '{", &format!("{serve}echo '{{")));
    desk.script("down", &format!("{DOWN}touch go\n"));
    let run = desk.start();
    run.wait().code(0).says("acquired: true");
    let worker = desk.worker();
    eventually("the server's end", || !alive(&worker));
    assert_eq!(desk.machines(), 0);
}

#[test]
fn a_recipe_that_root_still_works_for_is_waited_for() {
    let Some(desk) = Desk::new("use_pty") else {
        return;
    };
    let line = format!("cd {} && {}", desk.folder.path().display(), ROOT.trim());
    let recipe = format!("[recipes.slow]\nsteps = [{{ run = {line:?} }}]\n");
    let alpha = target("alpha", 1, "retries = 0\nrecipe = \"slow\"");
    desk.write("target-test.toml", &format!("{recipe}{alpha}"));
    desk.script("down", &format!("{DOWN}touch deleted\n"));
    let worker = killed_run(&desk);
    assert!(alive(&worker));
    let mut delete = desk.delete().start();
    delete.wait_for("`sudo` (pid ");
    assert!(!desk.path("deleted").exists());
    desk.go();
    delete.wait().code(0).says("deleted alpha-0");
    assert_eq!(desk.machines(), 0);
}

/// A step on a host that the tool did not make, by a login that is not root, with and without a terminal of `sudo`'s own.
#[test]
fn ctrl_c_ends_a_step_of_root_on_a_host() {
    let password = "lab-word 7f3a91c4";
    for options in ["!use_pty", "use_pty"] {
        let Some(user) = User::new(password) else {
            return;
        };
        user.may_sudo_freely(options);
        let (sshd, lab) = (
            Sshd::with(&["one"], "PasswordAuthentication yes"),
            Lab::new(1),
        );
        let file = lab.path("step");
        let step = format!("echo $$ >{}; while :; do sleep 0.1; done", file.display());
        lab.playbook(&format!(
            "[[targets]]\nname = \"alpha\"\nplatform = \"ssh\"\nhosts = [{:?}]\nuser = {:?}\n\
             known-hosts = {:?}\npassword = {{ env = \"LAB_PASSWORD\" }}\nrecipe = \"slow\"\n\
             [recipes.slow]\nsteps = [{{ sudo = {step:?} }}]\n",
            sshd.address("one"),
            user.name(),
            sshd.setting("one", "userknownhostsfile"),
        ));
        let run = lab.tool(&["quick"]).env("LAB_PASSWORD", password).start();
        let [step] = lab.said("step");
        run.signal(Signal::INT);
        let run = run.wait().code(130);
        // What stays is said: `clean-up took too long`, `failed to ...`.
        run.never_says("took too long").never_says("failed to");
        eventually("the end of the step", || !alive(&step));
        lab.clean(options);
    }
}
