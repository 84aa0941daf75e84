//! OpenSSH as the client: for what the built-in client cannot do, and with the same behaviour.

use cargo_target_test::connect::uses_openssh;

use super::{
    config::{again_with, alias, to},
    login::keygen,
    *,
};

/// Signs a public key with a certificate authority.
fn sign(authority: &Path, key: &Path, options: &[&str]) {
    let mut program = Process::new("ssh-keygen");
    program.args(["-q", "-s"]).arg(authority);
    let signed = program.args(["-I", "test"]).args(options).arg(key).status();
    assert!(signed.unwrap().success());
}

fn me() -> String {
    let output = Process::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The server knows no key of the user, only the authority that signed it.
#[test]
fn a_user_certificate_logs_in() {
    let authorities = tempfile::tempdir().unwrap();
    let authority = authorities.path().join("ca");
    keygen(&authority, "");
    let config = format!(
        "TrustedUserCAKeys {}.pub\nAuthorizedKeysFile none",
        authority.display()
    );
    let farm = Farm::with("alpha-0", &config);
    let key = farm.path().join("certified");
    keygen(&key, "");
    let reach = SshReach {
        identity: Some(key.clone()),
        ..farm.reach("alpha-0")
    };
    assert_eq!(uses_openssh(&reach).unwrap(), None);
    sign(&authority, &key.with_extension("pub"), &["-n", &me()]);
    // Another reach: the configuration of the first one is cached.
    let port = reach.port;
    let reach = SshReach {
        user: Some(me()),
        ..reach
    };
    assert!(port.is_some() && uses_openssh(&reach).unwrap().unwrap().contains("-cert.pub"));
    let transport = connect::connect("alpha-0", &Reach::Ssh(reach));
    let said = block_on(async { run(&*transport, "echo $TARGET_IDENTITY").await });
    assert_eq!(said.text(), "alpha-0\n");
}

#[test]
fn a_host_certificate_is_trusted() {
    let authorities = tempfile::tempdir().unwrap();
    let authority = authorities.path().join("ca");
    keygen(&authority, "");
    let key = authorities.path().join("host");
    keygen(&key, "");
    sign(
        &authority,
        &key.with_extension("pub"),
        &["-h", "-n", "127.0.0.1"],
    );
    let key = key.display();
    let config = format!("HostKey {key}\nHostCertificate {key}-cert.pub");
    let farm = Farm::with("alpha-0", &config);
    let public = fs::read_to_string(authority.with_extension("pub")).unwrap();
    let known = farm.path().join("authorities");
    fs::write(&known, format!("@cert-authority * {public}")).unwrap();
    let reach = SshReach {
        known_hosts: Some(known),
        ..farm.reach("alpha-0")
    };
    let why = uses_openssh(&reach).unwrap().unwrap();
    assert!(why.contains("@cert-authority"), "{why}");
    let transport = connect::connect("alpha-0", &Reach::Ssh(reach));
    let said = block_on(async { run(&*transport, "echo $TARGET_IDENTITY").await });
    assert_eq!(said.text(), "alpha-0\n");
}

/// An option that the built-in client does not know is honoured; one without effect changes nothing.
#[test]
fn options_beyond_the_built_in_client() {
    if inner().is_some() {
        let reason = |host: &str| {
            uses_openssh(&SshReach {
                host: host.to_owned(),
                ..SshReach::default()
            })
            .unwrap()
        };
        assert_eq!(reason("plain"), None);
        for (host, option) in [("command", "knownhostscommand"), ("env", "setenv")] {
            let why = reason(host);
            assert_eq!(why, Some(format!("option `{option}`")), "{host}");
        }
        return block_on(async {
            for host in ["plain", "command", "env"] {
                let said = run(&*alias(host), "echo $TARGET_IDENTITY").await;
                assert_eq!(said.text(), "alpha-0\n", "{host}");
            }
        });
    }
    let farm = Farm::new("alpha-0");
    let (to, known) = (to(&farm, "alpha-0"), farm.path().join("known_hosts"));
    let known = known.display();
    let mine = to.replace("UserKnownHostsFile", "#");
    let config = format!(
        "Host plain\n{to}SendEnv LANG\nServerAliveInterval 7\nControlMaster auto\nControlPath none\n\
         Host command\n{mine}UserKnownHostsFile none\nKnownHostsCommand /bin/cat {known}\n\
         Host env\n{to}SetEnv LANG=C\n"
    );
    again_with(
        &farm,
        &config,
        &[],
        "openssh::options_beyond_the_built_in_client",
    );
}

/// A server that allows few sessions at once gets more connections; then nothing is left of them.
#[test]
fn more_commands_than_sessions() {
    for most in [1, 3] {
        let farm = Farm::with("alpha-0", &format!("MaxSessions {most}"));
        let transport = farm.openssh("alpha-0");
        block_on(async {
            let mut all = tokio::task::JoinSet::new();
            for number in 0..7 {
                let transport = Arc::clone(&transport);
                let command = format!("sleep 0.1; echo {number}");
                all.spawn(async move { run(&*transport, &command).await.text().to_owned() });
            }
            let mut said = all.join_all().await;
            said.sort();
            assert_eq!(said, (0..7).map(|n| format!("{n}\n")).collect::<Vec<_>>());
            // A signal needs a session too.
            let mut running = transport.exec(&line("echo $$; exec sleep 1000"), "", None);
            let pid: u32 = first_line(&mut running).await.parse().unwrap();
            running.signal("KILL").await.unwrap();
            eventually("the end of the command", || !is_alive(pid)).await;
            drop((running, transport));
            eventually("the end of the connections", || {
                farm.sessions("alpha-0").is_empty()
            })
            .await;
        });
    }
}

#[test]
fn a_lost_connection_is_infra_and_the_next_command_connects() {
    let farm = Farm::new("alpha-0");
    let transport = farm.openssh("alpha-0");
    block_on(async {
        let mut running = transport.exec(&line("echo $$; exec sleep 1000"), "", None);
        let pid: u32 = first_line(&mut running).await.parse().unwrap();
        farm.sessions("alpha-0")
            .into_iter()
            .for_each(|pid| signal(pid, "-KILL"));
        let error = finish(running).await.unwrap_err();
        assert_eq!(error.kind(), cargo_target_test::ErrorKind::Infra, "{error}");
        kill_group(pid);
        assert_eq!(run(&*transport, "echo again").await.text(), "again\n");
    });
}

#[test]
fn a_refused_login_says_why() {
    let farm = Farm::new("alpha-0");
    keygen(&farm.path().join("wrong"), "");
    let reach = SshReach {
        identity: Some(farm.path().join("wrong")),
        client: SshClient::Openssh,
        ..farm.reach("alpha-0")
    };
    let transport = connect::connect("alpha-0", &Reach::Ssh(reach));
    let error = block_on(async { lost(&*transport, "true").await });
    let message = error.to_string();
    for part in ["`alpha-0`", "127.0.0.1", "Permission denied (publickey)"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let hint = error.hint().unwrap();
    assert!(
        hint.contains("/wrong -o ") && hint.ends_with(" -- 127.0.0.1 true` works"),
        "{hint}"
    );
}
