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

mod files;
mod processes;
mod shared;

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
        let (mut started, mut filter) = self.begin(text, lease);
        let (mut out, mut byte) = (Vec::new(), [0]);
        while !out.ends_with(b"up\n") {
            std::io::Read::read_exact(&mut started.streams.0, &mut byte).unwrap();
            out.extend(filter.stdout(&byte));
        }
        started
    }

    /// Starts a wrapped command in a process group of its own, and waits until the group is known.
    fn begin(&self, text: &str, lease: &str) -> (Started, Filter) {
        let wrapped = wrap(&line(text), lease, false).unwrap();
        let mut child = self.command(&wrapped.line);
        let mut child = child.process_group(0).spawn().unwrap();
        let mut filter = Filter::new(&wrapped.nonce);
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let mut byte = [0];
        while filter.group().is_none() {
            std::io::Read::read_exact(&mut stderr, &mut byte).unwrap();
            filter.stderr(&byte);
        }
        let started = Started {
            child,
            wrapped,
            group: filter.group().unwrap(),
            streams: (stdout, stderr),
        };
        (started, filter)
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
    streams: (std::process::ChildStdout, std::process::ChildStderr),
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
        let system = machine.text(SYSTEM);
        let words: Vec<_> = system.split_whitespace().collect();
        assert!(
            matches!(words[..], [boot, pid, net]
                if boot == facts["boot-id"] && pid.starts_with("pid:[") && net.starts_with("net:[")),
            "{name}: {system}"
        );
        assert_eq!(
            machine.text(&SYSTEM.replace("/proc/", "/none/")),
            "",
            "{name}"
        );
        // Without programs and files, in a place where `sh` finds nothing but its built-ins.
        let script = FACTS
            .replace("/proc/", "/none/")
            .replace("/sys/", "/none/")
            .replace("/etc/", "/none/")
            .replace("/lib/", "/none/");
        let facts = super::super::facts(&machine.text(&format!(
            "nproc() {{ :; }}; getconf() {{ false; }}; df() {{ echo Filesystem 1024-blocks; }}; uname() {{ :; }}; {script}"
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
        let package = |name: &str| {
            machine.answer(&Question::Package {
                name: name.to_owned(),
            })
        };
        match name {
            "busybox" => assert_eq!(package("bash"), None, "{name} has no packages"),
            _ => assert_eq!(package("no-such"), Some(serde_json::Value::Null), "{name}"),
        }
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

/// The names of machines are written once, and others replace them; the rest of the file stays.
#[test]
fn hosts_files_have_one_block_of_machines() {
    on_every_shell(|machine| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hosts");
        let path = file.to_str().unwrap();
        let write = |machines: &[(&str, &str)]| {
            machine.output(&name_machines(path, machines.iter().copied()), b"");
            fs::read_to_string(&file).unwrap()
        };
        let block = |lines: &str| {
            let name = "machines by cargo-target-test";
            format!("# begin of {name}\n{lines}# end of {name}\n")
        };
        let one = block("10.0.0.1\tgateway\n");
        assert_eq!(write(&[("gateway", "10.0.0.1")]), one, "{}", machine.name);
        let (before, after) = ("127.0.0.1\tlocalhost\n", "10.0.0.9\tprinter\n");
        fs::write(&file, format!("{before}{one}{after}")).unwrap();
        let two = block("10.0.0.7\tgateway\n10.0.0.2\ttester1\n");
        for _ in 0..2 {
            let written = write(&[("gateway", "10.0.0.7"), ("tester1", "10.0.0.2")]);
            assert_eq!(written, format!("{before}{after}{two}"), "{}", machine.name);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    });
}

/// The programs are fakes that print their arguments. Only they are in `PATH`; those that would do harm have names that
/// busybox has no applet for.
#[test]
fn reboot_clock_and_packages_call_their_programs() {
    on_every_shell(|machine| {
        let says = |program: &str, script: &str| {
            let folder = tempfile::tempdir().unwrap();
            let fake = folder.path().join(program);
            let text = format!("#!{}\necho \"$@\" >&2\n", machine.shell.display());
            fs::write(&fake, text).unwrap();
            fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
            let mut command = machine.command(script);
            let output = command.env("PATH", folder.path()).output().unwrap();
            let code = output.status.code();
            (code, String::from_utf8(output.stderr).unwrap())
        };
        let name = machine.name;
        let script = REBOOT.replace("exec reboot", "exec fake-reboot");
        assert_eq!(
            says("fake-reboot", &script),
            (Some(0), "\n".to_owned()),
            "{name}"
        );
        let script = set_clock(7).replace("date", "fake-date");
        let expected = (Some(0), "-u -s @7\n".to_owned());
        assert_eq!(
            says("fake-date", &script.replace(" >/dev/null", "")),
            expected,
            "{name}"
        );
        let script = install_packages(&["fio".into(), "libaio1=0.3+x".into()]).unwrap();
        for (program, words) in [
            (
                "apt-get",
                "-q -o DPkg::Lock::Timeout=300 -y --no-install-recommends install",
            ),
            ("dnf", "-q -y install"),
            ("yum", "-q -y install"),
            ("zypper", "--quiet --non-interactive install"),
            ("apk", "add --quiet"),
            ("pacman", "-S --noconfirm --needed"),
        ] {
            let expected = (Some(0), format!("{words} fio libaio1=0.3+x\n"));
            assert_eq!(says(program, &script), expected, "{name}: {program}");
        }
        let (code, text) = says("no-manager", &script);
        assert!(
            code == Some(1) && text.contains("none of apt-get, "),
            "{name}: {text}"
        );
    });
    for name in ["", "-y", "a b", "$(x)", "a;b"] {
        assert!(install_packages(&[name.to_owned()]).is_err(), "{name}");
    }
}

#[test]
fn ports_are_joined_and_shells_are_opened() {
    on_every_shell(|machine| {
        let name = machine.name;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let echo = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut word = [0; 4];
            std::io::Read::read_exact(&mut stream, &mut word).unwrap();
            stream.write_all(&word).unwrap();
        });
        let output = machine.run(&connect_to(port), b"ping");
        assert_eq!(output.stdout, b"ping", "{name}: {output:?}");
        echo.join().unwrap();

        // busybox has no program for sockets.
        if machine.name != "busybox" {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("it's: \"a\", (b) [c] {d} !e \\f $g");
            let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
            let echo = std::thread::spawn(move || {
                let (mut stream, mut word) = (listener.accept().unwrap().0, [0; 4]);
                std::io::Read::read_exact(&mut stream, &mut word).unwrap();
                stream.write_all(&word).unwrap();
            });
            let line = connect_to_socket(path.to_str().unwrap());
            let output = machine.run(&line, b"ping");
            assert_eq!(output.stdout, b"ping", "{name}: {output:?}");
            echo.join().unwrap();
        }

        let env = std::collections::BTreeMap::from([("A".to_owned(), "it's".to_owned())]);
        let script = format!("SHELL=/bin/sh; {}", login(env.iter()));
        let output = machine.run(&script, b"echo \"$A\"; exit 3\n");
        assert_eq!(
            (output.stdout.as_slice(), output.status.code()),
            (&b"it's\n"[..], Some(3)),
            "{name}"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        machine.text(&remove(file.path().to_str().unwrap()));
        assert!(!file.path().exists(), "{name}");
    });
}
