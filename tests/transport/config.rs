//! The OpenSSH configuration of a host: aliases, matches, included files, jump hosts, agents, addresses.
//!
//! `ssh` reads the user's configuration, so a test runs itself again with an `ssh` that reads the test's configuration.

use std::process::{Child, Stdio};

use super::*;

/// Runs a test again with an `ssh` that reads `config` and the configuration of the farm.
pub(super) fn again_with(farm: &Farm, config: &str, env: &[(&str, &str)], test: &str) {
    let bin = farm.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let file = farm.path().join("their_config");
    let own = fs::read_to_string(farm.path().join("ssh_config")).unwrap();
    fs::write(&file, format!("{config}\n{own}")).unwrap();
    let wrapper = format!(
        "#!/bin/sh\nexec {} -F {} \"$@\"\n",
        which("ssh"),
        file.display()
    );
    fs::write(bin.join("ssh"), wrapper).unwrap();
    let chmod = Process::new("chmod")
        .arg("755")
        .arg(bin.join("ssh"))
        .status();
    assert!(chmod.unwrap().success());
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut program = Process::new("env");
    program
        .env("PATH", path)
        .env_remove("SSH_AUTH_SOCK")
        .envs(env.iter().copied());
    again(program, test, farm.path().to_str().unwrap());
}

fn which(program: &str) -> String {
    let mut shell = Process::new("sh");
    let output = shell
        .args(["-c", &format!("command -v {program}")])
        .output();
    String::from_utf8(output.unwrap().stdout)
        .unwrap()
        .trim()
        .to_owned()
}

pub(super) fn alias(name: &str) -> Arc<dyn Transport> {
    let reach = SshReach {
        host: name.to_owned(),
        ..SshReach::default()
    };
    connect::connect(name, &Reach::Ssh(reach))
}

async fn identity(name: &str) -> String {
    let transport = alias(name);
    run(&*transport, "echo $TARGET_IDENTITY")
        .await
        .text()
        .trim()
        .to_owned()
}

/// Returns the keywords that an alias of a server needs.
pub(super) fn to(farm: &Farm, server: &str) -> String {
    let (port, dir) = (farm.port(server), farm.path().display());
    format!(
        "HostName 127.0.0.1\nPort {port}\nIdentityFile {dir}/user_key\nIdentitiesOnly yes\n\
         UserKnownHostsFile {dir}/known_hosts\n"
    )
}

#[test]
fn jump_hosts_and_proxy_commands() {
    if inner().is_some() {
        return block_on(async {
            for name in ["one", "two", "command"] {
                let transport = alias(name);
                for _ in 0..3 {
                    let output = run(&*transport, "echo $TARGET_IDENTITY").await;
                    assert_eq!(output.text(), "behind-0\n", "{name}");
                }
            }
        });
    }
    let farm = Farm::new("jump-0 jump-1 behind-0");
    let to = to(&farm, "behind-0");
    let ways = [
        ("one", "ProxyJump jump-0"),
        ("two", "ProxyJump jump-0,jump-1"),
        ("command", "ProxyCommand ssh -W %h:%p jump-0"),
    ];
    let config = ways.map(|(name, way)| format!("Host {name}\n{to}{way}\n"));
    again_with(
        &farm,
        &config.concat(),
        &[],
        "config::jump_hosts_and_proxy_commands",
    );
    // Both jump hosts were used.
    for jump in ["jump-0", "jump-1"] {
        let log = fs::read_to_string(farm.path().join(jump).join("log")).unwrap();
        assert!(log.contains("Accepted publickey"), "{jump}: {log}");
    }
}

/// A `Match` that does not apply has no effect.
#[test]
fn hosts_matches_and_included_files() {
    if inner().is_some() {
        return block_on(async {
            for name in ["lab-7", "matched", "executed", "included"] {
                assert_eq!(identity(name).await, "alpha-0", "{name}");
            }
        });
    }
    let farm = Farm::new("alpha-0");
    let to = to(&farm, "alpha-0");
    let included = farm.path().join("included");
    fs::create_dir(&included).unwrap();
    fs::write(included.join("some.conf"), format!("Host included\n{to}")).unwrap();
    let config = format!(
        "Include {}/*.conf\nHost lab-*\n{to}\nMatch host never-this\nUser nobody\nPort 1\nProxyJump nowhere\n\
         Match originalhost matched\n{to}\nMatch originalhost executed exec \"test %n = executed\"\n{to}\n\
         Match originalhost lab-7 exec \"false\"\nHostName 192.0.2.1\n",
        included.display()
    );
    again_with(
        &farm,
        &config,
        &[],
        "config::hosts_matches_and_included_files",
    );
}

/// An agent of one test.
struct Agent(Child, PathBuf);

impl Agent {
    fn start(folder: &Path) -> Self {
        let socket = folder.join("agent");
        let mut command = Process::new("ssh-agent");
        command
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::null());
        let child = command.spawn().unwrap();
        let started = Instant::now();
        while !socket.exists() {
            assert!(started.elapsed() < PATIENCE, "no agent");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self(child, socket)
    }

    fn socket(&self) -> &str {
        self.1.to_str().unwrap()
    }

    /// Adds a key, encrypted or not, and removes its file.
    fn take(&self, key: &Path, phrase: &str) {
        let askpass = key.with_extension("askpass");
        fs::write(&askpass, format!("#!/bin/sh\necho {phrase}\n")).unwrap();
        let chmod = Process::new("chmod").arg("755").arg(&askpass).status();
        assert!(chmod.unwrap().success());
        let mut add = Process::new("ssh-add");
        add.arg(key).env("SSH_AUTH_SOCK", &self.1);
        add.env("SSH_ASKPASS", &askpass)
            .env("SSH_ASKPASS_REQUIRE", "force");
        let added = add.output().unwrap();
        assert!(added.status.success(), "{added:?}");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The agent has the key whose file is encrypted or missing.
#[test]
fn an_agent_has_the_key() {
    if inner().is_some() {
        return block_on(async {
            for name in ["any", "named", "locked", "by-socket", "public", "spaced"] {
                assert_eq!(identity(name).await, "alpha-0", "{name}");
            }
            let error = lost(&*alias("without"), "true").await;
            assert!(
                error
                    .to_string()
                    .contains("(encrypted: add it to an ssh-agent)"),
                "{error}"
            );
        });
    }
    let farm = Farm::new("alpha-0");
    let dir = farm.path().display();
    let agent = Agent::start(farm.path());
    // More wrong keys than the server allows attempts.
    for n in 0..6 {
        let wrong = farm.path().join(format!("wrong{n}"));
        login::keygen(&wrong, "");
        agent.take(&wrong, "");
    }
    let key = farm.path().join("user_key");
    let locked = farm.path().join("locked");
    login::keygen(&locked, "phrase");
    let public = fs::read_to_string(locked.with_extension("pub")).unwrap();
    let known = fs::read_to_string(farm.path().join("authorized_keys")).unwrap();
    fs::write(farm.path().join("authorized_keys"), known + &public).unwrap();
    agent.take(&locked, "phrase");
    agent.take(&key, "");
    let user = String::from_utf8(Process::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let spaced = farm.path().join(format!("the key of {}", user.trim()));
    fs::rename(&key, spaced).unwrap();
    let ways = [
        // The key with the public key file is tried first, even without `IdentitiesOnly`.
        ("any", format!("IdentityFile {dir}/user_key")),
        (
            "named",
            format!("IdentityFile {dir}/user_key\nIdentitiesOnly yes"),
        ),
        (
            "locked",
            format!("IdentityFile {dir}/locked\nIdentitiesOnly yes"),
        ),
        (
            "public",
            format!("IdentityFile {dir}/user_key.pub\nIdentitiesOnly yes"),
        ),
        (
            "spaced",
            format!("IdentityFile \"{dir}/the key of %u\"\nIdentityAgent none"),
        ),
        (
            "without",
            format!("IdentityFile {dir}/locked\nIdentityAgent none"),
        ),
        (
            "by-socket",
            format!(
                "IdentityFile {dir}/user_key\nIdentityAgent {}",
                agent.socket()
            ),
        ),
    ];
    let port = farm.port("alpha-0");
    let config = ways.map(|(name, way)| {
        format!(
            "Host {name}\nHostName 127.0.0.1\nPort {port}\nUserKnownHostsFile {dir}/known_hosts\n{way}\n"
        )
    });
    let env = [("SSH_AUTH_SOCK", agent.socket())];
    again_with(
        &farm,
        &config.concat(),
        &env,
        "config::an_agent_has_the_key",
    );
}

/// IPv6 addresses work directly and behind a jump host, and in the known-hosts file.
#[test]
fn addresses_of_version_6() {
    if let Some(dir) = inner() {
        return block_on(async {
            assert_eq!(identity("six").await, "alpha-0");
            assert_eq!(identity("jumped").await, "alpha-0");
            let known = Path::new(&dir).join("known6");
            let recorded = fs::read_to_string(&known).unwrap();
            assert!(recorded.starts_with("[::1]:"), "{recorded}");
            let port: u16 = recorded[6..].split(' ').next().unwrap().parse().unwrap();
            let reach = |port| SshReach {
                host: "::1".to_owned(),
                port: Some(port),
                identity: Some(Path::new(&dir).join("user_key")),
                known_hosts: Some(known.clone()),
                ..SshReach::default()
            };
            let transport = connect::connect("six-0", &Reach::Ssh(reach(port)));
            transport.knock(PATIENCE).await.unwrap();
            assert_eq!(
                run(&*transport, "echo $TARGET_IDENTITY").await.text(),
                "alpha-0\n"
            );
            fs::write(&known, "").unwrap();
            let refused = connect::connect("six-0", &Reach::Ssh(reach(port)));
            let error = lost(&*refused, "true").await;
            assert!(
                error.to_string().contains(&format!("([::1]:{port})")),
                "{error}"
            );
            let closed = connect::connect("six-0", &Reach::Ssh(reach(1)));
            let error = lost(&*closed, "true").await;
            assert!(error.to_string().contains("`six-0` at [::1]:1"), "{error}");
        });
    }
    let farm = Farm::with("alpha-0 jump-0", "ListenAddress ::1");
    let (port, dir) = (farm.port("alpha-0"), farm.path().display());
    let common = format!(
        "HostName ::1\nPort {port}\nIdentityFile {dir}/user_key\nUserKnownHostsFile {dir}/known6\n\
         StrictHostKeyChecking accept-new\n"
    );
    let jump = farm.port("jump-0");
    let config = format!(
        "Host six\n{common}Host jumped\n{common}ProxyJump [::1]:{jump}\n\
         Match host ::1 exec \"test %p = {jump}\"\nIdentityFile {dir}/user_key\nUserKnownHostsFile {dir}/jump6\n\
         StrictHostKeyChecking accept-new\n"
    );
    again_with(&farm, &config, &[], "config::addresses_of_version_6");
}
