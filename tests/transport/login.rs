//! Host keys, user keys, and login shells.

use super::*;

pub(super) fn keygen(file: &Path, phrase: &str) {
    keygen_of("ed25519", file, phrase);
}

fn keygen_of(kind: &str, file: &Path, phrase: &str) {
    let status = Process::new("ssh-keygen")
        .args(["-q", "-t", kind, "-N", phrase, "-f"])
        .arg(file)
        .status();
    assert!(status.unwrap().success());
}

fn ssh(reach: SshReach) -> Arc<dyn Transport> {
    connect::connect("alpha-0", &Reach::Ssh(reach))
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
            error.to_string().contains("`alpha-0`") && error.to_string().contains("is unknown"),
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

/// The errors of a host whose key is not accepted, without and with `trust_first`.
fn refused(farm: &Farm, known: &Path) -> [Error; 2] {
    [false, true].map(|trust_first| {
        let reach = SshReach {
            known_hosts: Some(known.to_owned()),
            trust_first,
            ..farm.reach("alpha-0")
        };
        block_on(async { lost(&*ssh(reach), "true").await })
    })
}

/// A key that is known and revoked is refused, as `ssh` refuses it.
#[test]
fn a_revoked_host_key_is_refused() {
    let farm = Farm::new("alpha-0");
    let known = farm.path().join("revoked");
    let mut records = fs::read_to_string(farm.path().join("known_hosts")).unwrap();
    let key = fs::read_to_string(farm.path().join("alpha-0/host_key.pub")).unwrap();
    records += &format!("@revoked * {key}");
    fs::write(&known, records).unwrap();
    for error in refused(&farm, &known) {
        assert!(
            error.chain().contains("Host key verification failed"),
            "{error:?}"
        );
    }
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
    for error in refused(&farm, &known) {
        assert!(
            error.to_string().contains("differs from the key in"),
            "{error}"
        );
        assert!(
            error
                .hint()
                .unwrap()
                .contains("ssh-keygen -R '[127.0.0.1]:"),
            "{error}"
        );
    }
}

/// The server has a key of the recorded type, which is then used, or keys of other types only: a changed key, unless keys
/// are not checked. As `ssh` does.
#[test]
fn the_type_of_the_recorded_key_is_preferred() {
    let clients = [SshClient::Auto, SshClient::BuiltIn, SshClient::Openssh];
    if inner().is_some() {
        return block_on(async {
            for client in clients {
                for (host, says) in [("rsa", ""), ("unchecked", ""), ("checked", "host key")] {
                    let host = host.to_owned();
                    let reach = SshReach {
                        host,
                        client,
                        ..SshReach::default()
                    };
                    let at = format!("{client:?} {reach:?}");
                    match says {
                        "" => drop(run(&*ssh(reach), "true").await),
                        says => {
                            let error = lost(&*ssh(reach), "true").await.to_string();
                            assert!(error.to_lowercase().contains(says), "{at}: {error}");
                        }
                    }
                }
            }
        });
    }
    let folder = tempfile::tempdir().unwrap();
    let [own, other] = ["rsa", "ecdsa"].map(|kind| {
        let key = folder.path().join(kind);
        keygen_of(kind, &key, "");
        key
    });
    let farm = Farm::with("alpha-0", &format!("HostKey {}", own.display()));
    let port = farm.port("alpha-0");
    let mut config = String::new();
    for (host, key, strict) in [
        ("rsa", &own, "yes"),
        ("checked", &other, "yes"),
        ("unchecked", &other, "no"),
    ] {
        let known = folder.path().join(format!("known-{host}"));
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        fs::write(&known, format!("[127.0.0.1]:{port} {public}")).unwrap();
        config += &format!(
            "Host {host}\nUserKnownHostsFile {}\nStrictHostKeyChecking {strict}\n{}",
            known.display(),
            config::to(&farm, "alpha-0"),
        );
    }
    config::again_with(
        &farm,
        &config,
        &[],
        "login::the_type_of_the_recorded_key_is_preferred",
    );
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
fn the_output_of_a_login_shell_that_runs_nothing_is_shown() {
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
fn output_of_login_scripts_is_dropped() {
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

/// Hashed names are found, and a changed key is refused with a hint that helps.
#[test]
fn known_hosts_with_hashed_names() {
    let farm = Farm::new("alpha-0 beta-0");
    let known = farm.path().join("known_hosts");
    let hash = |file: &Path| {
        let mut keygen = Process::new("ssh-keygen");
        let done = keygen.arg("-H").arg("-f").arg(file).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        let text = fs::read_to_string(file).unwrap();
        assert!(text.lines().all(|line| line.starts_with("|1|")), "{text}");
    };
    hash(&known);
    block_on(async { run(&*farm.transport("alpha-0"), "true").await });

    let key = fs::read_to_string(farm.path().join("beta-0/host_key.pub")).unwrap();
    let port = farm.port("alpha-0");
    fs::write(&known, format!("[127.0.0.1]:{port} {key}")).unwrap();
    hash(&known);
    let error = block_on(async { lost(&*farm.transport("alpha-0"), "true").await });
    assert!(
        error.to_string().contains("another machine answers"),
        "{error}"
    );
    let hint = error.hint().unwrap();
    let (_, command) = hint.split_once('`').unwrap();
    // The command in the hint removes the key, so that the host is unknown.
    let mut shell = Process::new("sh");
    let done = shell
        .arg("-c")
        .arg(command.trim_end_matches('`'))
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let error = block_on(async { lost(&*farm.transport("alpha-0"), "true").await });
    assert!(error.to_string().contains("is unknown"), "{error}");
}
