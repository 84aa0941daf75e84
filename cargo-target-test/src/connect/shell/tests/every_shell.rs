//! Tests of all scripts with bash, dash and busybox. With busybox, all programs of a script are its applets.

use std::{
    fs,
    io::Write as _,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink},
        process::CommandExt as _,
    },
    path::PathBuf,
    process::{Child, Command as Process, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use target_fixtures::wire::{Exit, Question};

use super::{super::*, line};
use crate::connect::{CommandOutput, FileMode};

/// A shell with the programs that its scripts find.
struct Machine {
    name: &'static str,
    shell: PathBuf,
    path: String,
    /// The folder of applets.
    _applets: Option<tempfile::TempDir>,
}

/// Calls `check` for each shell.
fn on_every_shell(check: impl Fn(&Machine)) {
    let path = std::env::var("PATH").unwrap();
    for name in ["bash", "dash"] {
        check(&Machine {
            name,
            shell: which::which(name).unwrap(),
            path: path.clone(),
            _applets: None,
        });
    }
    let busybox = which::which("busybox").expect("busybox: run `.ci/setup --tests`");
    let applets = tempfile::tempdir().unwrap();
    let listed = Process::new(&busybox).arg("--list").output().unwrap();
    for applet in String::from_utf8(listed.stdout).unwrap().lines() {
        symlink(&busybox, applets.path().join(applet)).unwrap();
    }
    check(&Machine {
        name: "busybox",
        shell: applets.path().join("sh"),
        path: applets.path().display().to_string(),
        _applets: Some(applets),
    });
}

impl Machine {
    fn command(&self, script: &str) -> Process {
        let shell = self.shell.to_str().unwrap();
        let mut command = Process::new(shell);
        command.arg("-c").arg(script.replace("/bin/sh", shell));
        command.env("PATH", &self.path);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, script: &str, stdin: &[u8]) -> Output {
        let mut child = self.command(script).stdin(Stdio::piped()).spawn().unwrap();
        // Fails if the script does not read its input.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        child.wait_with_output().unwrap()
    }

    /// Runs a script that must succeed without a word on standard error.
    fn output(&self, script: &str, stdin: &[u8]) -> Vec<u8> {
        let output = self.run(script, stdin);
        let (name, stderr) = (self.name, String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{name}: {output:?}: {script}");
        assert_eq!(stderr, "", "{name}: {script}");
        output.stdout
    }

    fn text(&self, script: &str) -> String {
        String::from_utf8(self.output(script, b"")).unwrap()
    }

    fn code(&self, script: &str) -> Option<i32> {
        self.run(script, b"").status.code()
    }

    /// Starts a wrapped command in a process group of its own, and waits until it has printed `up`.
    fn start(&self, text: &str, lease: &str) -> Started {
        let wrapped = wrap(&line(text), lease, false).unwrap();
        let mut child = self.command(&wrapped.line);
        let mut child = child.process_group(0).spawn().unwrap();
        let (mut filter, mut out) = (Filter::new(&wrapped.nonce), Vec::new());
        let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let mut byte = [0];
        while filter.group().is_none() {
            std::io::Read::read_exact(&mut stderr, &mut byte).unwrap();
            filter.stderr(&byte);
        }
        while !out.ends_with(b"up\n") {
            std::io::Read::read_exact(&mut stdout, &mut byte).unwrap();
            out.extend(filter.stdout(&byte));
        }
        Started {
            child,
            wrapped,
            group: filter.group().unwrap(),
            _streams: (stdout, stderr),
        }
    }

    /// Sends a signal as a transport does.
    fn signal(&self, to: &Started, group: Option<u32>, name: &str) -> crate::error::Result<()> {
        let output = self.run(&signal(&to.wrapped, group, name).line, b"");
        let exit = Exit::Code(output.status.code().unwrap());
        let (stdout, stderr) = (output.stdout, output.stderr);
        signalled(
            name,
            CommandOutput {
                exit,
                stdout,
                stderr,
            },
        )
    }

    fn answer(&self, question: &Question) -> Option<serde_json::Value> {
        let output = self.run(&ask(question).unwrap().unwrap(), b"");
        let exit = Exit::Code(output.status.code().unwrap());
        answer(question, &exit, &String::from_utf8(output.stdout).unwrap())
    }
}

/// A wrapped command, killed when it is dropped.
struct Started {
    child: Child,
    wrapped: WrappedLine,
    group: u32,
    _streams: (std::process::ChildStdout, std::process::ChildStderr),
}

impl Started {
    /// Waits until the command has ended.
    fn ended(&mut self) {
        let until = Instant::now() + Duration::from_secs(30);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "the command still runs");
            std::thread::yield_now();
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}

#[test]
fn commands_run() {
    on_every_shell(|machine| {
        let mut command =
            line("printf '%s|' \"$@\" \"$GREETING\" \"$TARGET_TEST_LEASE\" \"$PWD\"; cat; exit 7");
        command.words = vec!["a b".to_owned(), "it's $x\n\\".to_owned()];
        command
            .env
            .insert("GREETING".to_owned(), "tä 'x'".to_owned());
        command.directory = Some("/proc".to_owned());
        let wrapped = wrap(&command, "l1", true).unwrap();
        let output = machine.run(&wrapped.line, b"in\0put");
        let mut filter = Filter::new(&wrapped.nonce);
        let out = filter.stdout(&output.stdout);
        let err = filter.stderr(&output.stderr);
        assert_eq!(
            (
                String::from_utf8_lossy(&out),
                String::from_utf8_lossy(&err),
                filter.exit()
            ),
            (
                "a b|it's $x\n\\|tä 'x'|l1|/proc|in\0put".into(),
                "".into(),
                Some(Exit::Code(7))
            ),
            "{}",
            machine.name
        );
    });
}

#[test]
fn signals_find_the_command_or_fail() {
    on_every_shell(|machine| {
        let name = machine.name;
        let sleeps = "echo up; sleep 1000";
        // Whether the group is known or must be found.
        for known in [true, false] {
            let mut started = machine.start(sleeps, "");
            let group = known.then_some(started.group);
            machine.signal(&started, group, "TERM").expect(name);
            started.ended();
            // A process that was killed may be there until init has noticed its end.
            let until = Instant::now() + Duration::from_secs(30);
            let error = loop {
                match machine.signal(&started, group, "TERM") {
                    Err(error) => break error.to_string(),
                    Ok(()) => assert!(Instant::now() < until, "{name}"),
                }
            };
            assert_eq!(error, "no process of the command is left", "{name}");
            machine.signal(&started, group, "KILL").expect(name);
        }
        let mut started = machine.start(sleeps, "");
        // A program between the login shell and the command has created another group.
        machine
            .signal(&started, Some(started.group + 1_000_000), "KILL")
            .expect(name);
        started.ended();
        let started = machine.start(sleeps, "");
        let error = machine
            .signal(&started, Some(started.group), "NONE")
            .unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Usage, "{name}: {error}");
    });
}

#[test]
fn sweeps_kill_the_processes_of_their_lease_only() {
    on_every_shell(|machine| {
        let lease = format!("l{}", nonce());
        // By the arguments of the wrapper, and by the environment of a process in another session.
        let mut ours = [
            machine.start("echo up; while :; do sleep 0.1; done", &lease),
            machine.start("setsid sh -c 'echo up; exec sleep 1000'", &lease),
        ];
        let mut other = machine.start("echo up; sleep 1000", &format!("{lease}0"));
        // A variable that looks like the name of another process's file.
        let forged = format!(
            "\n==> /proc/{}/environ <==\nTARGET_TEST_LEASE={lease}",
            other.group
        );
        let mut forger = machine.command("echo up; exec sleep 1000");
        let mut forger = forger.env("FORGED", forged).spawn().unwrap();
        let mut up = [0; 3];
        std::io::Read::read_exact(forger.stdout.as_mut().unwrap(), &mut up).unwrap();

        machine.text(&sweep(&lease));
        for ours in &mut ours {
            ours.ended();
        }
        assert!(
            other.child.try_wait().unwrap().is_none(),
            "{}",
            machine.name
        );
        forger.kill().unwrap();
        forger.wait().unwrap();
    });
}

#[test]
fn a_scan_of_many_processes_takes_little_time() {
    on_every_shell(|machine| {
        let mut many: Vec<_> = (0..300)
            .map(|_| {
                let mut process = Process::new("sleep");
                process.arg("1000").env("FILL", "x".repeat(2000));
                process.spawn().unwrap()
            })
            .collect();
        let started = Instant::now();
        machine.text(&sweep("no such lease"));
        let took = started.elapsed();
        for process in &mut many {
            process.kill().unwrap();
            process.wait().unwrap();
        }
        assert!(took < Duration::from_secs(2), "{}: {took:?}", machine.name);
    });
}

/// Writes a file as [`files::put`](crate::connect::files::put) does; returns the exit code.
fn put(machine: &Machine, path: &str, content: &[u8], mode: FileMode) -> Option<i32> {
    let paths = upload_paths(path).unwrap();
    let received = machine.run(&receive(&paths), content);
    if !received.status.success() {
        machine.run(&discard(&paths), b"");
        return received.status.code();
    }
    let length = String::from_utf8_lossy(&received.stdout).trim().to_owned();
    assert_eq!(
        length,
        content.len().to_string(),
        "{}: {path}",
        machine.name
    );
    machine.text(&install(&paths, mode));
    Some(0)
}

#[test]
fn files_and_folders_are_transferred() {
    on_every_shell(|machine| {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let file = path("a 'b' \"c\" $d ü\\");
        assert_eq!(machine.code(&get(&file).unwrap()), Some(MISSING));
        assert_eq!(machine.code(&look(&file).unwrap()), Some(MISSING));
        assert_eq!(machine.code(&get("/").unwrap()), Some(DIRECTORY));
        assert_eq!(put(machine, &file, b"x\0y", FileMode::Set(0o755)), Some(0));
        assert_eq!(machine.output(&get(&file).unwrap(), b""), b"x\0y");
        assert!(
            machine
                .text(&look(&file).unwrap())
                .starts_with("-rwxr-xr-x")
        );
        let said = machine.text(&hash_of_file(&file, 3).unwrap());
        assert_eq!(said.split_whitespace().next().map(str::len), Some(64));
        assert_eq!(machine.text(&hash_of_file(&file, 4).unwrap()), "");
        assert_eq!(
            put(machine, &path("none/x"), b"", FileMode::New(0o644)),
            Some(MISSING)
        );
        let in_folder = folder.path().to_str().unwrap();
        assert_eq!(
            put(machine, in_folder, b"", FileMode::New(0o644)),
            Some(DIRECTORY)
        );

        // A folder as an archive, with a link and a folder inside, into a new folder.
        fs::create_dir_all(path("from/in")).unwrap();
        fs::write(path("from/in/x"), "x").unwrap();
        symlink("in/x", path("from/l")).unwrap();
        let archive = machine.output(&pack(&path("from")).unwrap(), b"");
        machine.output(&unpack(&path("to/new"), 0o750), &archive);
        assert_eq!(fs::read_to_string(path("to/new/l")).unwrap(), "x");
        assert_eq!(mode(&path("to/new")), 0o750, "{}", machine.name);
        symlink("none", path("to/new/dangling")).unwrap();
        let names = b"./in/x\0./l\0./dangling\0./none\0";
        let said = machine.output(&look_in_folder(&path("to/new")).unwrap(), names);
        let said = String::from_utf8(said).unwrap();
        assert_eq!(
            said.matches("./in/x").count(),
            2,
            "{}: {said}",
            machine.name
        );
        assert_eq!(said.lines().count(), 5, "{}: {said}", machine.name);
        assert_eq!(machine.text(&look_in_folder(&path("none")).unwrap()), "");
    });
}

fn mode(path: &str) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn files_are_replaced_and_what_must_stay_is_written_in_place() {
    on_every_shell(|machine| {
        let name = machine.name;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let text = |name: &str| fs::read_to_string(path(name)).unwrap();
        let number = |name: &str| fs::metadata(path(name)).unwrap().ino();
        let (kept, set) = (FileMode::New(0o600), FileMode::Set(0o640));
        let put = |name: &str, content: &str, mode| put(machine, name, content.as_bytes(), mode);

        // The end of a chain of links is replaced, and keeps owner, group and mode unless one is given.
        fs::create_dir(path("in")).unwrap();
        fs::write(path("in/file"), "0").unwrap();
        fs::set_permissions(path("in/file"), fs::Permissions::from_mode(0o4751)).unwrap();
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            std::os::unix::fs::chown(path("in/file"), Some(12345), Some(54321)).unwrap();
            fs::set_permissions(path("in/file"), fs::Permissions::from_mode(0o4751)).unwrap();
        }
        symlink("in/file", path("link")).unwrap();
        symlink("link", path("chain")).unwrap();
        let before = number("in/file");
        assert_eq!(put(&path("chain"), "1", kept), Some(0));
        assert!(
            fs::symlink_metadata(path("chain")).unwrap().is_symlink(),
            "{name}"
        );
        assert_eq!(
            (text("in/file").as_str(), mode(&path("in/file"))),
            ("1", 0o4751),
            "{name}"
        );
        assert_ne!(number("in/file"), before, "{name}: not replaced");
        if is_root {
            let metadata = fs::metadata(path("in/file")).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (12345, 54321), "{name}");
        }
        assert_eq!(put(&path("chain"), "2", set), Some(0));
        assert_eq!(
            (text("in/file").as_str(), mode(&path("in/file"))),
            ("2", 0o640),
            "{name}"
        );
        assert_eq!(put(&path("new"), "n", kept), Some(0));
        assert_eq!(mode(&path("new")), 0o600, "{name}");

        symlink("none", path("dangling")).unwrap();
        assert_eq!(put(&path("dangling"), "x", kept), Some(DANGLING), "{name}");

        fs::hard_link(path("new"), path("other")).unwrap();
        assert_eq!(put(&path("new"), "both", set), Some(0));
        assert_eq!(
            (text("other").as_str(), mode(&path("other"))),
            ("both", 0o640),
            "{name}"
        );

        let device = mode("/dev/null");
        assert_eq!(put("/dev/null", "x", set), Some(0));
        assert!(
            fs::metadata("/dev/null")
                .unwrap()
                .file_type()
                .is_char_device()
        );
        assert_eq!(mode("/dev/null"), device, "{name}");
        assert_eq!(
            put("/dev/full", "x", kept),
            Some(1),
            "{name}: an error of a device"
        );

        let fifo = path("fifo");
        let made = machine.code(&format!("mkfifo '{fifo}'"));
        assert_eq!(made, Some(0));
        let reader = std::thread::spawn({
            let fifo = fifo.clone();
            move || fs::read_to_string(fifo).unwrap()
        });
        assert_eq!(put(&fifo, "through", kept), Some(0));
        assert_eq!(reader.join().unwrap(), "through", "{name}");
        let left = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = left
            .filter(|name| name.to_string_lossy().starts_with('.'))
            .collect();
        assert!(left.is_empty(), "{name}: {left:?}");
    });
}

/// As a user without privileges: read-only files, folders that are not writable, files of others, sticky folders.
#[test]
fn files_that_the_user_may_not_replace() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    on_every_shell(|machine| {
        let name = machine.name;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let make = |name: &str, owner: u32, bits: u32| {
            std::os::unix::fs::chown(path(name), Some(owner), Some(owner)).unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(bits)).unwrap();
        };
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for (folder, owner, bits) in [
            ("open", 1, 0o777),
            ("closed", 1, 0o755),
            ("sticky", 1, 0o1777),
        ] {
            fs::create_dir(path(folder)).unwrap();
            for (file, owner, bits) in [
                ("theirs", 1, 0o666),
                ("locked", 2, 0o444),
                ("mine", 2, 0o644),
            ] {
                fs::write(path(&format!("{folder}/{file}")), "old").unwrap();
                make(&format!("{folder}/{file}"), owner, bits);
            }
            make(folder, owner, bits);
        }
        let user = |script: &str, input: &[u8]| {
            let mut command = machine.command(script);
            command.uid(2).gid(2).stdin(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let _ = child.stdin.take().unwrap().write_all(input);
            child.wait_with_output().unwrap()
        };
        for at in ["open", "closed", "sticky"] {
            for file in ["theirs", "mine"] {
                let at = format!("{at}/{file}");
                let before = fs::metadata(path(&at)).unwrap();
                let paths = upload_paths(&path(&at)).unwrap();
                let received = user(&receive(&paths), b"new");
                assert!(received.status.success(), "{name}: {at}: {received:?}");
                let installed = user(&install(&paths, FileMode::New(0o600)), b"");
                assert!(installed.status.success(), "{name}: {at}: {installed:?}");
                assert_eq!(
                    fs::read_to_string(path(&at)).unwrap(),
                    "new",
                    "{name}: {at}"
                );
                let after = fs::metadata(path(&at)).unwrap();
                assert_eq!(
                    (after.uid(), after.gid(), after.mode()),
                    (before.uid(), before.gid(), before.mode()),
                    "{name}: {at}"
                );
            }
            let locked = path(&format!("{at}/locked"));
            let received = user(&receive(&upload_paths(&locked).unwrap()), b"new");
            assert_eq!(received.status.code(), Some(READ_ONLY), "{name}: {at}");
            assert_eq!(fs::read_dir(path(at)).unwrap().count(), 3, "{name}: {at}");
        }
    });
}

/// A file that is a mount point, such as `/etc/hosts` of a container.
#[test]
fn mount_points_are_written_in_place() {
    on_every_shell(|machine| {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("hosts"), "old").unwrap();
        fs::write(path("mounted"), "old").unwrap();
        let paths = upload_paths(&path("hosts")).unwrap();
        let script = format!(
            "mount --bind '{mounted}' '{hosts}' && ({receive}) >'{length}' && ({install})",
            mounted = path("mounted"),
            hosts = path("hosts"),
            length = path("length"),
            receive = receive(&paths),
            install = install(&paths, FileMode::New(0o600)),
        );
        let script = script.replace("/bin/sh", machine.shell.to_str().unwrap());
        let mut command = Process::new("unshare");
        command.args(["--mount", machine.shell.to_str().unwrap(), "-c", &script]);
        command.env("PATH", format!("{}:/usr/bin:/bin", machine.path));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(b"new");
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("not permitted") || said.contains("ermission denied") {
            eprintln!("skipped: mount points cannot be made here: {said}");
            return;
        }
        assert!(output.status.success(), "{}: {output:?}", machine.name);
        assert_eq!(
            fs::read_to_string(path("mounted")).unwrap(),
            "new",
            "{}",
            machine.name
        );
        assert_eq!(
            fs::read_to_string(path("hosts")).unwrap(),
            "old",
            "{}",
            machine.name
        );
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            3,
            "{}",
            machine.name
        );
    });
}

#[test]
fn facts_are_numbers_or_unknown() {
    on_every_shell(|machine| {
        let name = machine.name;
        let facts = facts(&machine.text(FACTS));
        for key in ["cores", "disk", "memory"] {
            let number = facts[key].parse::<u64>();
            assert!(number.is_ok_and(|number| number > 0), "{name}: {facts:?}");
        }
        for key in ["arch", "boot-id", "kernel", "nics", "os"] {
            assert!(facts.contains_key(key), "{name}: {facts:?}");
        }
        // Without programs and files, in a place where `sh` finds nothing but its built-ins.
        let script = FACTS
            .replace("/proc/", "/none/")
            .replace("/sys/", "/none/")
            .replace("/etc/", "/none/");
        let facts = super::super::facts(&machine.text(&format!(
            "nproc() {{ :; }}; df() {{ echo Filesystem 1024-blocks; }}; uname() {{ :; }}; {script}"
        )));
        assert!(facts.is_empty(), "{name}: {facts:?}");
    });
}

#[test]
fn questions_are_answered() {
    on_every_shell(|machine| {
        let name = machine.name;
        let facts = machine.answer(&Question::Facts).unwrap();
        for key in ["arch", "cores", "disk", "hostname", "memory", "uptime"] {
            assert!(facts[key].is_string(), "{name}: {key}: {facts}");
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let listens = Question::Listens { port };
        assert_eq!(machine.answer(&listens), Some(json!(true)), "{name}");
        drop(listener);
        assert_eq!(machine.answer(&listens), Some(json!(false)), "{name}");
        let blind = super::super::listens(port).replace("/proc/", "/none/");
        assert_eq!(machine.code(&blind), Some(UNKNOWN), "{name}");
        let user = |name: &str| {
            machine.answer(&Question::User {
                name: name.to_owned(),
            })
        };
        assert_eq!(user("root").unwrap()["uid"], 0, "{name}");
        assert_eq!(
            user("no-such-user"),
            Some(serde_json::Value::Null),
            "{name}"
        );
        let file = |path: &str| {
            machine.answer(&Question::File {
                path: path.to_owned(),
            })
        };
        assert_eq!(file("/proc/self").unwrap()["kind"], "link", "{name}");
        assert_eq!(file("/proc/mounts").unwrap()["kind"], "link", "{name}");
        assert_eq!(file("/").unwrap()["kind"], "folder", "{name}");
        assert_eq!(file("/none"), Some(serde_json::Value::Null), "{name}");
    });
}

#[test]
fn commands_run_as_root_with_and_without_a_password() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: `sudo` may ask for a password");
        return;
    }
    on_every_shell(|machine| {
        assert_eq!(machine.text(&as_root("id -u; cat")), "0\n");
        let said = machine.output(&as_root_by_password("id -u; cat"), b"secret\nrest");
        assert_eq!(
            String::from_utf8_lossy(&said),
            "0\nrest",
            "{}",
            machine.name
        );
        assert_eq!(machine.text(BOOT_ID).trim().len(), 36, "{}", machine.name);
        machine.text(&invocation("printf", &["%s".to_owned(), "x y".to_owned()]));
    });
}
