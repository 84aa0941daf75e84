//! Kept shells: several commands in one login, which find what a login of their own would give them.

use std::os::unix::fs::PermissionsExt;

use cargo_target_test::{ErrorKind, connect::ContainerReach};

use super::*;
use crate::support::{Project, container::Engine, here};

/// A server whose login shell counts the logins in its `.bashrc`.
struct Host {
    farm: Farm,
    home: PathBuf,
}

impl Host {
    /// `None` if the user's login shell does not read a `.bashrc`.
    fn new(config: &str) -> Option<Self> {
        let farm = Farm::with("alpha-0", config);
        let home = farm.path().join("alpha-0/home");
        let this = Self { farm, home };
        this.bashrc("");
        block_on(async { run(&*this.farm.transport("alpha-0"), ":").await });
        if this.logins() == 0 {
            eprintln!("skipped: the login shell of this user reads no .bashrc");
            return None;
        }
        Some(this)
    }

    fn bashrc(&self, more: &str) {
        let count = format!("echo x >>'{}'\n{more}", self.counted().display());
        fs::write(self.home.join(".bashrc"), count).unwrap();
    }

    fn counted(&self) -> PathBuf {
        self.farm.path().join("logins")
    }

    fn logins(&self) -> usize {
        let text = fs::read_to_string(self.counted()).unwrap_or_default();
        text.lines().count()
    }

    fn transports(&self) -> [Arc<dyn Transport>; 2] {
        [self.farm.transport("alpha-0"), self.farm.openssh("alpha-0")]
    }

    /// Returns the processes of kept shells.
    fn shells(&self) -> Vec<u32> {
        let sessions = self.farm.sessions("alpha-0");
        let all = sessions.into_iter().flat_map(children);
        all.filter(|pid| {
            let title = fs::read_to_string(format!("/proc/{pid}/cmdline"));
            title.is_ok_and(|title| title.starts_with("target-test shell"))
        })
        .collect()
    }
}

/// Runs a test with each client on a host of its own.
fn on_hosts<F: Future<Output = ()>>(
    config: &str,
    test: impl Fn(Arc<Host>, Arc<dyn Transport>) -> F,
) {
    for client in 0..2 {
        let Some(host) = Host::new(config) else {
            return;
        };
        let host = Arc::new(host);
        block_on(async {
            let transport = Arc::clone(&host.transports()[client]);
            test(host, transport).await;
        });
    }
}

/// Runs a few commands, after which a shell is kept.
async fn warm(transport: &dyn Transport) {
    for _ in 0..3 {
        run(transport, ":").await;
    }
}

async fn fresh(transport: &dyn Transport, text: &str) -> TransportOutput {
    let command = ShellCommand {
        fresh_login: true,
        ..line(text)
    };
    finish(transport.exec(&command, &lease("any"), None))
        .await
        .unwrap()
}

#[test]
fn many_commands_few_logins_kept() {
    on_hosts("", async |host, transport| {
        let before = host.logins();
        for number in 0..50 {
            let said = run(&*transport, &format!("echo {number}")).await;
            assert_eq!(said.text(), format!("{number}\n"));
        }
        // The first one shows what later logins start with.
        assert!(host.logins() - before <= 3, "{}", host.logins() - before);
        assert_eq!(host.shells().len(), 1);
        drop(transport);
        eventually("the end of the shell", || host.shells().is_empty()).await;
    });
}

/// A burst of commands leaves as many shells, which end by themselves while the connection stays.
#[test]
fn idle_kept_shells_end() {
    on_hosts("", async |host, transport| {
        warm(&*transport).await;
        let all = (0..4).map(|_| transport.exec(&line("sleep 0.5"), "", None));
        for running in all.collect::<Vec<_>>() {
            finish(running).await.unwrap();
        }
        assert!(!host.shells().is_empty());
        eventually("the end of the shells", || host.shells().is_empty()).await;
        assert!(!host.farm.sessions("alpha-0").is_empty());
        assert_eq!(run(&*transport, "echo next").await.text(), "next\n");
    });
}

/// Scripts that show what a command sees, its end, and what it leaves behind.
const SCRIPTS: &[&str] = &[
    "[ $PPID -gt 1 ] && echo $0 $# $-",
    "trap 'echo bye' EXIT; echo hi; exit 3",
    "pwd; umask; ulimit -a; cat /proc/self/oom_score_adj; nice",
    "env | grep -v -e ^SSH_CLIENT -e ^SSH_CONNECTION | sort; set | grep -c .",
    "grep -e ^Sig[^Q] -e ^Cap -e Seccomp -e ^NoNew /proc/self/status",
    "kill -9 $$; echo no",
    "kill -TERM $$; echo no",
    "kill -SEGV $$; echo no",
    "trap 'echo term' TERM; kill 0; echo after",
    "sh -c 'kill -9 $$'; echo $?",
    "exit 137",
    "exit 255",
    "false",
    "no-such-program",
    "if",
    "seq 200000 | head -c 1048576; seq 300000 | head -c 1048576 >&2",
    "printf 'abc'; printf '\\000\\036\\377' >&2",
    "exec >&-; echo no; exit 4",
    "exec 2>&-; echo yes",
    "cat; wc -c; read -r x; echo $?",
    "ls /proc/self/fd; readlink /proc/self/fd/0; readlink /proc/self/fd/1 | tr -d 0-9; echo x >/dev/stderr",
    "set -- $(cut -d' ' -f5 /proc/$$/stat); [ $1 = $PPID ] && echo the parent leads the group",
    "exec setsid sh -c 'sleep 0.1; echo waited'",
    "setsid sh -c 'echo waited'",
    "sleep 300 >/dev/null 2>&1 & kill -9 $!; wait; echo gone",
    "cd /no/such/folder; echo $?",
    "tr '\\000' '\\n' </proc/$$/environ | grep TARGET_TEST_LEASE",
    "trap '' PIPE; yes | head -n 1",
    "yes | head -n 1",
    "exec sh -c 'exit 9'",
];

/// The processes and streams that a command sees, its end, and the processes that it leaves behind.
#[test]
fn kept_commands_equal_fresh_ones() {
    on_hosts("", async |host, transport| {
        for script in SCRIPTS {
            let expected = fresh(&*transport, script).await;
            warm(&*transport).await;
            let before = host.logins();
            let said = run(&*transport, script).await;
            assert_eq!(
                host.logins(),
                before,
                "`{script}` was not run by a kept shell"
            );
            let [out, want] = [&said, &expected].map(|output| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                (
                    text(&output.stdout),
                    text(&output.stderr),
                    output.exit.clone(),
                )
            });
            assert!(out == want, "`{script}`: {out:.2000?}, not {want:.2000?}");
        }
        let mut command = line("pwd; echo $OLDPWD; echo $A $1");
        command.directory = Some("/usr".to_owned());
        command.words = vec!["it's".to_owned()];
        command.env.insert("A".to_owned(), "two\nlines=".to_owned());
        for directory in ["/usr", "/no/such/folder"] {
            command.directory = Some(directory.to_owned());
            let run = |fresh_login| {
                let command = ShellCommand {
                    fresh_login,
                    ..command.clone()
                };
                finish(transport.exec(&command, "", None))
            };
            let expected = run(true).await.unwrap();
            warm(&*transport).await;
            assert_eq!(run(false).await.unwrap(), expected);
        }
    });
}

/// A change of a file on which a login depends is seen by the next command, however small and however made.
#[test]
fn a_changed_start_up_file_is_seen_at_once_by_kept() {
    on_hosts("", async |host, transport| {
        let (rc, ssh) = (host.home.join(".bashrc"), host.home.join(".ssh"));
        host.bashrc("export COLOR=red\n");
        let text = fs::read_to_string(&rc).unwrap();
        fs::write(host.home.join("blue"), text.replace("red", "blu")).unwrap();
        fs::write(host.home.join("old"), text.replace("red", "old")).unwrap();
        let color = async || {
            run(&*transport, "echo $COLOR")
                .await
                .text()
                .trim()
                .to_owned()
        };
        warm(&*transport).await;
        for (change, wanted) in [
            (":", "red"),
            ("cat blue >.bashrc", "blu"),
            ("sed -i s/=blu/=tan/ .bashrc", "tan"),
            ("touch -d '2 days ago' old; cp -p old .bashrc", "old"),
            ("mv blue .bashrc", "blu"),
            ("echo COLOR=$COLOR-1 >>.bashrc", "blu-1"),
            ("touch .profile", "blu-1"),
            ("rm .bashrc", ""),
        ] {
            // The login's folder is that of the user who runs the tests.
            let there = format!(
                "cd -- \"$HOME\" && [ \"$PWD\" = '{}' ] || exit; {change}",
                host.home.display()
            );
            run(&*transport, &there).await;
            assert_eq!(color().await, wanted, "{change}");
        }
        // By somebody else, between two commands.
        fs::write(&rc, text.replace("red", "sea")).unwrap();
        assert_eq!(color().await, "sea");
        warm(&*transport).await;
        let before = host.logins();
        fs::create_dir(&ssh).unwrap();
        fs::write(ssh.join("rc"), "").unwrap();
        assert_eq!(color().await, "sea");
        assert!(host.logins() > before);
    });
}

/// A background process that holds the output neither delays the command's end nor reaches the next command's output.
#[test]
fn background_output_never_reaches_the_next_kept_command() {
    on_hosts("", async |host, transport| {
        warm(&*transport).await;
        let before = host.logins();
        for round in 0..5 {
            let noisy = format!("(while :; do echo late; echo late >&2; done) & echo {round} $!");
            let said = run(&*transport, &noisy).await;
            let text = String::from_utf8(said.stdout).unwrap();
            let words = text.split_whitespace().filter(|word| *word != "late");
            let words: Vec<_> = words.collect();
            assert_eq!(words[0], round.to_string());
            let quiet = run(&*transport, "sleep 0.05; echo quiet; echo quiet >&2").await;
            assert_eq!(
                (&*quiet.stdout, &*quiet.stderr),
                (&b"quiet\n"[..], &b"quiet\n"[..])
            );
            // Its output is closed, as after a login of its own.
            let pid = words[1].parse().unwrap();
            eventually("the end of the background process", || !is_alive(pid)).await;
        }
        assert_eq!(host.logins(), before);
    });
}

/// A background process of one command is in no group of a later command of the same login.
#[test]
fn a_kept_command_signals_no_earlier_one() {
    on_hosts("", async |host, transport| {
        warm(&*transport).await;
        let before = host.logins();
        let mut left: Vec<u32> = Vec::new();
        for _ in 0..3 {
            let said = run(&*transport, "sleep 1000 >/dev/null 2>&1 & echo $!").await;
            left.push(said.text().trim().parse().unwrap());
            let said = run(&*transport, "trap 'echo mine' TERM; kill 0; sleep 0.01").await;
            assert_eq!(said.text(), "mine\n");
        }
        assert_eq!(host.logins(), before);
        for pid in left {
            assert!(is_alive(pid));
            signal(pid, "-KILL");
        }
    });
}

#[test]
fn commands_that_need_a_login_of_their_own_end_kept_shells() {
    on_hosts("", async |host, transport| {
        warm(&*transport).await;
        let before = host.logins();
        let shells = host.shells();
        assert_eq!(fresh(&*transport, "echo own").await.text(), "own\n");
        assert_eq!(host.logins(), before + 1);
        assert_eq!(run(&*transport, "echo next").await.text(), "next\n");
        assert_eq!(host.logins(), before + 2);
        eventually("the end of the shell", || {
            shells.iter().all(|pid| !is_alive(*pid))
        })
        .await;
        // With input, a command has its own login, and the shell stays.
        warm(&*transport).await;
        let before = host.logins();
        let running = transport.exec(&line("cat"), "", Some(input(vec![b"in".to_vec()])));
        assert_eq!(finish(running).await.unwrap().text(), "in");
        run(&*transport, ":").await;
        assert_eq!(host.logins(), before + 1);
    });
}

/// Kept shells give way: the server allows one session per connection.
#[test]
fn one_session_is_enough_for_kept() {
    on_hosts("MaxSessions 1", async |_, transport| {
        for round in 0..3 {
            warm(&*transport).await;
            let running = transport.exec(&line("cat"), "", Some(input(vec![vec![b'x'; round]])));
            assert_eq!(finish(running).await.unwrap().stdout.len(), round);
            assert_eq!(fresh(&*transport, "echo own").await.text(), "own\n");
            let all = (0..4).map(|n| transport.exec(&line(&format!("echo {n}")), "", None));
            for (n, running) in all.collect::<Vec<_>>().into_iter().enumerate() {
                assert_eq!(finish(running).await.unwrap().text(), format!("{n}\n"));
            }
        }
    });
}

#[test]
fn a_kept_command_is_killed_and_signalled() {
    on_hosts("", async |_, transport| {
        warm(&*transport).await;
        let mut command = line("echo $$; sleep 1000; echo no");
        command.timeout = Some(300);
        let mut running = transport.exec(&command, "", None);
        let pid: u32 = first_line(&mut running).await.parse().unwrap();
        let error = finish(running).await.unwrap_err();
        assert_eq!(
            error.kind(),
            cargo_target_test::ErrorKind::Timeout,
            "{error}"
        );
        eventually("the end of the command", || !is_alive(pid)).await;
        warm(&*transport).await;
        let ended = run(&*transport, "kill -9 0; echo no").await;
        assert_eq!(ended.exit, Some(Exit::Signal("KILL".to_owned())));
        for name in ["TERM", "KILL"].repeat(5) {
            warm(&*transport).await;
            // At once, before the command may have started.
            let running = transport.exec(&line("sleep 1000; echo no"), "", None);
            running.signal(name).await.unwrap();
            let ended = finish(running).await.unwrap();
            assert_ne!(ended.exit, Some(Exit::Code(0)), "{ended:?}");
        }
        warm(&*transport).await;
        let marker = format!("sleep 1{}", std::process::id());
        drop(transport.exec(&line(&marker), "", None));
        let listed = || {
            let found = Process::new("pgrep").args(["-x", "-f", &marker]).output();
            !found.unwrap().stdout.is_empty()
        };
        assert_eq!(run(&*transport, "echo next").await.text(), "next\n");
        eventually("the end of the dropped command", || !listed()).await;
    });
}

#[test]
fn a_killed_kept_shell_is_replaced() {
    on_hosts("", async |host, transport| {
        warm(&*transport).await;
        for pid in host.shells() {
            signal(pid, "-KILL");
            eventually("the end of the shell", || !is_alive(pid)).await;
        }
        assert_eq!(run(&*transport, "echo next").await.text(), "next\n");
        warm(&*transport).await;
        // The sweep of a lease kills what its commands have left, and not the shell.
        let left = "sleep 1000 >/dev/null 2>&1 & echo $!";
        let said = finish(transport.exec(&line(left), &lease("l1"), None))
            .await
            .unwrap();
        let pid = said.text().trim().parse().unwrap();
        let before = host.logins();
        transport.sweep(&lease("l1"), PATIENCE).await.unwrap();
        assert!(!is_alive(pid));
        run(&*transport, ":").await;
        assert_eq!(host.logins(), before);
    });
}

/// A shell that is asked for it tells if a command has left no process.
#[test]
fn a_kept_shell_knows_if_nothing_is_left() {
    on_hosts("", async |host, transport| {
        warm(&*transport).await;
        let leaves = "sleep 1000 </dev/null >/dev/null 2>&1";
        for (text, is_watched, left_nothing) in [
            ("true", true, true),
            ("true", false, false),
            (&format!("{leaves} &"), true, false),
            (&format!("setsid {leaves} &"), true, false),
            ("exit 3", true, true),
            ("sh -c 'kill -9 $$'", true, true),
        ] {
            let command = ShellCommand {
                watches_rest: is_watched,
                ..line(text)
            };
            let said = finish(transport.exec(&command, &lease("l1"), None))
                .await
                .unwrap();
            assert_eq!(said.left_nothing, left_nothing, "{text} {is_watched}");
            transport.sweep(&lease("l1"), PATIENCE).await.unwrap();
        }
        // What other commands leave does not become a child of the shell.
        let said = run(&*transport, &format!("{leaves} & echo $!")).await;
        let pid: u32 = said.text().trim().parse().unwrap();
        let mut own = host.shells().into_iter().flat_map(children);
        assert!(own.all(|shell| !children(shell).contains(&pid)));
        let swept = transport.sweep(&lease("any"), PATIENCE).await;
        swept.unwrap();
    });
}

/// Without Perl, every command has a login of its own.
#[test]
fn a_host_without_perl_keeps_no_shells() {
    on_hosts("", async |host, transport| {
        host.bashrc("PATH=/no/such/folder\n");
        for number in 0..5 {
            let said = run(&*transport, &format!("echo {number}")).await;
            assert_eq!(said.text(), format!("{number}\n"));
        }
        assert!(host.shells().is_empty());
        assert_eq!(run(&*transport, "exit 7").await.exit, Some(Exit::Code(7)));
    });
}

#[test]
fn shells_that_are_fresh_are_not_kept() {
    let Some(host) = Host::new("") else { return };
    for client in [SshClient::BuiltIn, SshClient::Openssh] {
        let reach = SshReach {
            client,
            shells: connect::Shells::Fresh,
            ..host.farm.reach("alpha-0")
        };
        let transport = connect::connect("alpha-0", &Reach::Ssh(reach));
        let before = host.logins();
        block_on(warm(&*transport));
        assert_eq!(host.logins() - before, 3);
    }
}

/// In a container, one `exec` of the engine serves several commands, until a folder on which they depend is another one.
#[test]
fn a_container_serves_commands_as_kept() {
    let Some(engine) = here(Engine::with_glibc()) else {
        return;
    };
    let workdir = "args = [\"--workdir=/srv\"]\n";
    let project =
        Project::new("kept-container").playbook(&format!("{}{workdir}", engine.target("it")));
    project.run(&["up", "it"]).code(0);
    // The folder of its record is mounted in it.
    let find =
        "grep -o 'overlay-containers/[0-9a-f]*' /proc/self/mountinfo | head -n 1 | cut -d / -f 2";
    let id = project
        .run(&["exec", "it-0", "--", "sh", "-c", find])
        .code(0);
    let container = id.stdout.trim().to_owned();
    let calls = project.private("calls");
    let counting = project.private("engine");
    let text = format!(
        "#!/bin/sh\necho >>{calls:?}\nexec {:?} \"$@\"\n",
        engine.program()
    );
    fs::write(&counting, text).unwrap();
    fs::set_permissions(&counting, fs::Permissions::from_mode(0o755)).unwrap();
    let reach = Reach::Container(ContainerReach {
        engine: counting.display().to_string(),
        container: container.clone(),
        user: None,
    });
    let calls = || {
        fs::read_to_string(&calls)
            .unwrap_or_default()
            .lines()
            .count()
    };
    let shells = || {
        let all = engine.run(&["exec", &container, "ps", "-o", "args"]);
        all.lines()
            .filter(|line| line.starts_with("target-test shell"))
            .count()
    };
    block_on(async {
        let transport = connect::connect("it-0", &reach);
        for number in 0..20 {
            let said = run(&*transport, &format!("echo {number}")).await;
            assert_eq!(said.text(), format!("{number}\n"));
        }
        // The first one shows what later ones start with.
        assert_eq!(calls(), 2);
        // The depth of shells is one less. An engine's `exec` sets the limit of open files at times.
        let scripts = SCRIPTS.iter().filter(|script| !script.contains("ulimit"));
        let scripts = scripts.map(|script| script.replace("env |", "env -u SHLVL |"));
        let scripts: Vec<_> = scripts.collect();
        let mut wanted = Vec::new();
        for script in &scripts {
            wanted.push(fresh(&*transport, script).await);
        }
        warm(&*transport).await;
        for (script, wanted) in scripts.iter().zip(wanted) {
            let said = run(&*transport, script).await;
            assert!(
                said == wanted,
                "`{script}`: {said:.2000?}, not {wanted:.2000?}"
            );
        }
        run(&*transport, "rmdir /srv && mkdir /srv").await;
        let said = run(&*transport, "touch here && ls /srv").await;
        assert_eq!(said.text(), "here\n");
        warm(&*transport).await;
        let mut command = line("sleep 1000");
        command.timeout = Some(100);
        let killed = finish(transport.exec(&command, &lease("any"), None)).await;
        assert_eq!(killed.unwrap_err().kind(), ErrorKind::Timeout);
        assert!(!run(&*transport, "ps").await.text().contains("sleep 1000"));
        run(&*transport, "rm /bin/perl").await;
        drop(transport);
        eventually("the end of the shells", || shells() == 0).await;
        let transport = connect::connect("it-0", &reach);
        let before = calls();
        warm(&*transport).await;
        // One more, which did not find Perl.
        assert_eq!(calls() - before, 4);
    });
    project.run(&["--delete-targets"]).code(0);
}
