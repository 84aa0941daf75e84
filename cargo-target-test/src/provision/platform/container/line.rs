//! The command line that starts a container. Must not start processes.

use super::{ContainerSpec, LABEL, PROVENANCE, UNIQUE, parameters::*};

/// The default command: it ends on SIGTERM, and reaps orphans.
const WAIT: [&str; 3] = [
    "/bin/sh",
    "-c",
    "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done",
];

/// The arguments of `run`, without the values of environment variables: every user could read them.
pub(super) fn arguments(spec: &ContainerSpec, image: &str) -> Vec<String> {
    let parameters = &spec.parameters;
    let mut line = Arguments(vec!["run".to_owned(), "--detach".to_owned()]);
    line.pair("--name", &spec.unique);
    line.pair("--hostname", &spec.instance);
    line.pair("--label", format!("{LABEL}={}", spec.label));
    line.pair("--label", format!("{UNIQUE}={}", spec.unique));
    let provenance = serde_json::json!(spec.provenance);
    line.pair("--label", format!("{PROVENANCE}={provenance}"));
    let always = parameters.pull == PullPolicy::Always;
    line.pair("--pull", if always { "always" } else { "never" });
    if let Some(network) = &parameters.network {
        line.pair("--network", network);
    }
    for peer in &spec.peers {
        line.pair("--add-host", format!("{}:{}", peer.name, peer.address));
    }
    for mount in &parameters.mounts {
        let (host, inside) = mount.split_once(':').unwrap_or((mount, mount));
        let host = spec.path(host.as_ref());
        line.pair("--volume", format!("{}:{inside}", host.display()));
    }
    for share in &parameters.share {
        let (host, guest) = (share.host.display(), share.guest().display());
        let mode = if share.read_only { "ro" } else { "rw" };
        line.pair("--volume", format!("{host}:{guest}:{mode}"));
    }
    if parameters.privileged {
        line.0.push("--privileged".to_owned());
    }
    let names = parameters.env.keys().chain(&parameters.inherit_env);
    for (option, values) in [
        ("--cap-add", &parameters.cap_add),
        ("--device", &parameters.devices),
        ("--env", &names.map(|name| name.0.clone()).collect()),
    ] {
        values.iter().for_each(|value| line.pair(option, value));
    }
    limits(&mut line, parameters);
    line.0.extend(parameters.args.iter().cloned());
    line.0.push(image.to_owned());
    match has_default_command(parameters) {
        true => line.0.extend(WAIT.map(str::to_owned)),
        false => line.0.extend(parameters.command.iter().cloned()),
    }
    line.0
}

/// True if the container runs the default command, which prints nothing. An image with an SSH server starts the server
/// itself.
pub(super) fn has_default_command(parameters: &ContainerParameters) -> bool {
    parameters.command.is_empty() && parameters.transport == ContainerTransport::Exec
}

fn limits(line: &mut Arguments, parameters: &ContainerParameters) {
    if let Some(memory) = parameters.memory {
        line.pair("--memory", memory.0.to_string());
    }
    if let Some(cores) = parameters.cores {
        line.pair("--cpus", cores.to_string());
    }
    if parameters.transport == ContainerTransport::Ssh {
        let port = parameters.port.map_or(22, u16::from);
        line.pair("--publish", format!("127.0.0.1::{port}"));
    }
}

struct Arguments(Vec<String>);

impl Arguments {
    fn pair(&mut self, option: &str, value: impl Into<String>) {
        self.0.extend([option.to_owned(), value.into()]);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::{
        super::super::{nic::Peer, values::tests::spec},
        *,
    };

    fn line(parameters: serde_json::Value) -> String {
        line_with(Vec::new(), parameters)
    }

    fn line_with(peers: Vec<Peer>, parameters: serde_json::Value) -> String {
        let mut spec = spec(Path::new("/book"), serde_json::Value::Null);
        spec.provenance.owner = "ann@lab/x".to_owned();
        spec.unique = "tt-1f3a9c-12".to_owned();
        spec.peers = peers;
        let parameters = serde_json::from_value(parameters).unwrap();
        arguments(&spec.with(parameters), "img")
            .join(" ")
            .replace(" --", "\n--")
    }

    #[test]
    fn the_least() {
        let expected = "run
--detach
--name tt-1f3a9c-12
--hostname alpha-0
--label cargo-target-test=tt-1f3a9c
--label cargo-target-test.unique=tt-1f3a9c-12
--label cargo-target-test.provenance={\"born\":0,\"expires\":0,\"owner\":\"ann@lab/x\",\"pool\":\"\"}
--pull never img /bin/sh -c trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done";
        assert_eq!(line(json!({ "image": "img" })), expected);
    }

    #[test]
    fn everything() {
        let peer = Peer {
            name: "tester1".to_owned(),
            address: "10.77.1.2".to_owned(),
        };
        let parameters = json!({
            "image": "img", "pull": "always", "network": "none", "mounts": ["data:/data:ro", "/abs:/abs"],
            "share": [{ "host": "/src", "guest": "/code", "read-only": true }, { "host": "/src" }],
            "privileged": true, "cap-add": ["NET_ADMIN"], "devices": ["/dev/kvm"], "env": { "TOKEN": "geheim" },
            "command": ["/sbin/init"], "memory": "1 GiB", "cores": 1.5, "args": ["--read-only"],
            "transport": "ssh", "port": 2222,
        });
        let line = line_with(vec![peer], parameters);
        let expected = "
--pull always
--network none
--add-host tester1:10.77.1.2
--volume /book/data:/data:ro
--volume /abs:/abs
--volume /src:/code:ro
--volume /src:/src:rw
--privileged
--cap-add NET_ADMIN
--device /dev/kvm
--env TOKEN
--memory 1073741824
--cpus 1.5
--publish 127.0.0.1::2222
--read-only img /sbin/init";
        assert!(line.ends_with(expected), "{line}");
        assert!(!line.contains("geheim"));
    }
}
