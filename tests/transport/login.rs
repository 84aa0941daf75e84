//! Who the other end is, and who we are: host keys, keys, jump hosts, login shells.

use super::*;

pub(super) fn keygen(file: &Path, phrase: &str) {
    let status = Process::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", phrase, "-f"])
        .arg(file)
        .status();
    assert!(status.unwrap().success());
}

fn ssh(reach: SshReach) -> Arc<dyn Transport> {
    transport::connect("alpha-0", &Reach::Ssh(reach))
}

#[test]
fn an_unknown_host_key_is_refused_or_recorded() {
    let farm = Farm::new("alpha-0");
    let known = farm.path().join("new/known");
    let mut reach = SshReach {
        known_hosts: Some(known.clone()),
        ..farm.reach("alpha-0")
    };
    block_on(async {
        let error = lost(&*ssh(reach.clone()), "true").await;
        assert!(
            error.to_string().contains("`alpha-0`") && error.to_string().contains("not known"),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("ssh-keyscan"), "{error}");
        assert!(!known.exists());

        reach.trust_first = true;
        run(&*ssh(reach.clone()), "true").await;
        let recorded = fs::read_to_string(&known).unwrap();
        assert!(
            recorded.starts_with(&format!("[127.0.0.1]:{} ssh-", farm.port("alpha-0"))),
            "{recorded}"
        );
        reach.trust_first = false;
        run(&*ssh(reach), "true").await;
        assert_eq!(fs::read_to_string(&known).unwrap(), recorded);
    });
}

#[test]
fn a_changed_host_key_is_refused() {
    let farm = Farm::new("alpha-0");
    keygen(&farm.path().join("other"), "");
    let public = fs::read_to_string(farm.path().join("other.pub")).unwrap();
    let known = farm.path().join("changed");
    fs::write(
        &known,
        format!("[127.0.0.1]:{} {public}", farm.port("alpha-0")),
    )
    .unwrap();
    for trust_first in [false, true] {
        let reach = SshReach {
            known_hosts: Some(known.clone()),
            trust_first,
            ..farm.reach("alpha-0")
        };
        let error = block_on(async { lost(&*ssh(reach), "true").await });
        assert!(error.to_string().contains("is not the one in"), "{error}");
        assert!(
            error
                .hint()
                .unwrap()
                .contains("ssh-keygen -R '[127.0.0.1]:"),
            "{error}"
        );
    }
}

#[test]
fn wrong_missing_and_locked_keys_are_named() {
    let farm = Farm::new("alpha-0");
    keygen(&farm.path().join("wrong"), "");
    keygen(&farm.path().join("locked"), "secret");
    for (name, text) in [
        ("wrong", "publickey"),
        ("locked", "encrypted"),
        ("missing", "No such file"),
    ] {
        let reach = SshReach {
            identity: Some(farm.path().join(name)),
            ..farm.reach("alpha-0")
        };
        let error = block_on(async { lost(&*ssh(reach), "true").await });
        let message = error.to_string();
        for part in ["`alpha-0`", text, name, "127.0.0.1"] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert!(error.hint().unwrap().contains("ssh -p "));
    }
}

#[test]
fn a_login_shell_that_runs_nothing_is_quoted() {
    let farm = Farm::with(
        "alpha-0",
        "ForceCommand echo this account is closed; exit 1",
    );
    let error = block_on(async { lost(&*farm.transport("alpha-0"), "true").await });
    assert!(
        error.to_string().contains("`this account is closed`"),
        "{error}"
    );
}

#[test]
fn what_login_scripts_print_is_no_output() {
    let farm = Farm::with(
        "alpha-0",
        "ForceCommand echo welcome; echo news >&2; eval \"$SSH_ORIGINAL_COMMAND\"",
    );
    let output = block_on(async { run(&*farm.transport("alpha-0"), "echo out").await });
    assert_eq!(
        (output.text(), output.stderr.as_slice()),
        ("out\n", &b""[..])
    );
}

/// `ssh` reads the configuration of whoever runs it, so the test runs itself with an `ssh` that reads ours.
#[test]
fn jump_hosts_and_proxy_commands() {
    const INNER: &str = "TRANSPORT_TEST_ALIASES";
    if let Ok(aliases) = std::env::var(INNER) {
        return block_on(through_aliases(&aliases));
    }
    let farm = Farm::new("jump-0 jump-1 behind-0");
    let config = farm.path().join("ssh_config");
    let bin = farm.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let wrapper = format!(
        "#!/bin/sh\nexec {} -F {} \"$@\"\n",
        which("ssh"),
        config.display()
    );
    fs::write(bin.join("ssh"), wrapper).unwrap();
    Process::new("chmod")
        .arg("755")
        .arg(bin.join("ssh"))
        .status()
        .unwrap();
    let mut text = fs::read_to_string(&config).unwrap();
    let (port, dir) = (farm.port("behind-0"), farm.path().display());
    for (alias, way) in [
        ("one", "ProxyJump jump-0".to_owned()),
        ("two", "ProxyJump jump-0,jump-1".to_owned()),
        ("command", "ProxyCommand ssh -W %h:%p jump-0".to_owned()),
    ] {
        text.push_str(&format!(
            "Host {alias}\nHostName 127.0.0.1\nPort {port}\nIdentityFile {dir}/user_key\n\
             UserKnownHostsFile {dir}/known_hosts\n{way}\n"
        ));
    }
    fs::write(&config, text).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = Process::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "transport::login::jump_hosts_and_proxy_commands",
            "--nocapture",
        ])
        .envs([("PATH", path.as_str()), (INNER, "one two command")])
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{text}");
}

async fn through_aliases(aliases: &str) {
    for alias in aliases.split(' ') {
        let reach = SshReach {
            host: alias.to_owned(),
            ..SshReach::default()
        };
        let transport = transport::connect(alias, &Reach::Ssh(reach));
        for _ in 0..3 {
            assert_eq!(
                run(&*transport, "echo $TARGET_IDENTITY").await.text(),
                "behind-0\n"
            );
        }
    }
}

fn which(program: &str) -> String {
    let output = Process::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
