//! Tests of parsing the output of `ssh -G`.

use super::*;

const TEXT: &str = "user lab\nhostname 10.0.0.7\nport 2222\nidentityfile ~/.ssh/id_%h\n\
    identityfile /k/two\nidentitiesonly no\nstricthostkeychecking ask\n\
    userknownhostsfile /h/.ssh/known_hosts /h/.ssh/known_hosts2\nglobalknownhostsfile /etc/ssh/known\n\
    proxycommand nc %h %p %% %r\nproxyjump a,b@c:7\nconnecttimeout none\n";

fn of(text: &str, reach: &SshReach) -> SshConfig {
    parse(text, reach, "/h".into(), Some("/agent".into()))
}

#[test]
fn lines_are_parsed() {
    let config = of(
        TEXT,
        &SshReach {
            host: "lab7".to_owned(),
            ..SshReach::default()
        },
    );
    assert_eq!(
        config,
        SshConfig {
            hostname: "10.0.0.7".to_owned(),
            port: 2222,
            user: "lab".to_owned(),
            identities: vec!["/h/.ssh/id_10.0.0.7".into(), "/k/two".into()],
            identities_only: false,
            agent: Some("/agent".into()),
            known_hosts: [
                "/h/.ssh/known_hosts",
                "/h/.ssh/known_hosts2",
                "/etc/ssh/known"
            ]
            .map(PathBuf::from)
            .to_vec(),
            known_as: "[10.0.0.7]:2222".to_owned(),
            strict: Strict::Yes,
            proxy_jump: Some("a,b@c:7".to_owned()),
            proxy_command: Some("nc 10.0.0.7 2222 % lab".to_owned()),
            connect_timeout: CONNECT_TIMEOUT,
            beyond_built_in: None,
        }
    );
}

#[test]
fn a_reach_overrides_the_configuration() {
    let reach = SshReach {
        identity: Some("/mine".into()),
        known_hosts: Some("/known".into()),
        trust_first: true,
        connect_timeout: Some(Duration::from_secs(3)),
        ..SshReach::default()
    };
    let config = of(
        &format!("{TEXT}identityagent none\nhostkeyalias x\n"),
        &reach,
    );
    assert_eq!(config.identities, [PathBuf::from("/mine")]);
    assert!(config.identities_only && config.agent.is_none());
    assert_eq!(config.known_hosts, [PathBuf::from("/known")]);
    assert_eq!(
        (config.known_as.as_str(), config.strict),
        ("x", Strict::AcceptNew)
    );
    assert_eq!(config.connect_timeout, Duration::from_secs(3));
}

#[test]
fn ssh_is_run() {
    let reach = SshReach {
        host: "127.0.0.1".to_owned(),
        port: Some(2022),
        user: Some("somebody".to_owned()),
        ..SshReach::default()
    };
    let config = resolve(&reach).unwrap();
    assert_eq!((config.port, config.user.as_str()), (2022, "somebody"));
    assert!(
        resolve(&SshReach {
            host: "-oProxyCommand=x".to_owned(),
            ..SshReach::default()
        })
        .is_err()
    );
}
