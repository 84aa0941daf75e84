//! What OpenSSH's own configuration says of a host, by `ssh -G`.
//!
//! Owns the reading of `ssh -G`'s lines and the overrides of a playbook. Must not connect.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use super::SshReach;
use crate::{
    error::{Error, ErrorKind, Result},
    process,
};

/// How long connecting may take where nothing else says so.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything a connection needs to know of a host.
#[derive(Clone, Debug, PartialEq)]
pub struct SshConfig {
    /// Name or address to connect to.
    pub hostname: String,
    /// Port to connect to.
    pub port: u16,
    /// Login name.
    pub user: String,
    /// Private key files, in the order they are tried; not all need exist.
    pub identities: Vec<PathBuf>,
    /// Whether the agent's keys are used only where `identities` names them.
    pub identities_only: bool,
    /// The agent's socket; none when there is no agent, or it is turned off.
    pub agent: Option<PathBuf>,
    /// Known-hosts files: the user's, then the system's; not all need exist.
    pub known_hosts: Vec<PathBuf>,
    /// The name in the known-hosts files: `host`, or `[host]:port` where the port is not 22.
    pub known_as: String,
    /// What to do with host keys that are not recorded.
    pub strict: Strict,
    /// Jump hosts, separated by commas.
    pub proxy_jump: Option<String>,
    /// A command that connects, its `%` tokens expanded.
    pub proxy_command: Option<String>,
    /// How long connecting may take: name, TCP, handshake and authentication together.
    pub connect_timeout: Duration,
}

/// What to do with host keys that are not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strict {
    /// Take any key, also one that differs from the recorded one.
    No,
    /// Record unknown keys, refuse changed ones.
    AcceptNew,
    /// Refuse both.
    Yes,
}

/// Asks `ssh -G` and applies what the reach overrides.
///
/// # Errors
/// When `ssh` is missing or refuses the configuration.
pub fn resolve(reach: &SshReach) -> Result<SshConfig> {
    let mut command = process::command("ssh");
    command.arg("-G");
    if let Some(port) = reach.port {
        command.arg("-p").arg(port.to_string());
    }
    if let Some(user) = &reach.user {
        command.arg("-l").arg(user);
    }
    command.arg("--").arg(&reach.host);
    let finished = process::run(command, b"", CONNECT_TIMEOUT, &|_| {})?;
    if !finished.status.success() {
        let stderr = String::from_utf8_lossy(&finished.stderr);
        return Err(Error::new(
            ErrorKind::Infra,
            format!("`ssh -G {}` failed: {}", reach.host, stderr.trim()),
        )
        .with_hint("check `~/.ssh/config`"));
    }
    let home = std::env::home_dir().unwrap_or_default();
    let socket = std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from);
    let text = String::from_utf8_lossy(&finished.stdout);
    Ok(parse(&text, reach, home, socket))
}

fn parse(text: &str, reach: &SshReach, home: PathBuf, socket: Option<PathBuf>) -> SshConfig {
    let printed = Printed::read(text);
    let hostname = printed.one("hostname").unwrap_or(&reach.host).to_owned();
    let user = printed.one("user").unwrap_or_default().to_owned();
    let port = reach.port.or_else(|| printed.one("port")?.parse().ok());
    let port = port.unwrap_or(22);
    let tokens = Tokens {
        home,
        values: [
            ('h', hostname.clone()),
            ('n', reach.host.clone()),
            ('p', port.to_string()),
            ('r', user.clone()),
        ],
    };
    let known_as = printed.set("hostkeyalias").map(str::to_owned);
    let seconds = printed
        .set("connecttimeout")
        .and_then(|value| value.parse().ok());
    SshConfig {
        identities: match &reach.identity {
            Some(file) => vec![file.clone()],
            None => printed.identities(&tokens),
        },
        identities_only: reach.identity.is_some() || printed.one("identitiesonly") == Some("yes"),
        agent: printed.agent(&tokens, socket),
        known_hosts: match &reach.known_hosts {
            Some(file) => vec![file.clone()],
            None => printed.known_hosts(&tokens),
        },
        known_as: known_as.unwrap_or_else(|| known_as_by_default(&hostname, port)),
        strict: match printed.one("stricthostkeychecking") {
            _ if reach.trust_first => Strict::AcceptNew,
            Some("no" | "off" | "false") => Strict::No,
            Some("accept-new") => Strict::AcceptNew,
            _ => Strict::Yes,
        },
        proxy_jump: printed.set("proxyjump").map(str::to_owned),
        proxy_command: printed
            .set("proxycommand")
            .map(|command| tokens.expand(command)),
        connect_timeout: reach
            .connect_timeout
            .or(seconds.map(Duration::from_secs))
            .unwrap_or(CONNECT_TIMEOUT),
        hostname,
        port,
        user,
    }
}

/// The lines that `ssh -G` prints: `key value`, some keys more than once.
struct Printed<'a>(HashMap<&'a str, Vec<&'a str>>);

impl<'a> Printed<'a> {
    fn read(text: &'a str) -> Self {
        let mut lines: HashMap<&str, Vec<&str>> = HashMap::new();
        for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            lines.entry(key).or_default().push(value.trim());
        }
        Self(lines)
    }

    fn all(&self, key: &str) -> impl Iterator<Item = &'a str> {
        self.0.get(key).into_iter().flatten().copied()
    }

    fn one(&self, key: &str) -> Option<&'a str> {
        self.all(key).next()
    }

    fn set(&self, key: &str) -> Option<&'a str> {
        self.one(key)
            .filter(|value| !matches!(*value, "none" | "no" | ""))
    }

    fn identities(&self, tokens: &Tokens) -> Vec<PathBuf> {
        let files = self.all("identityfile").filter(|file| *file != "none");
        files.map(|file| tokens.path(file)).collect()
    }

    fn known_hosts(&self, tokens: &Tokens) -> Vec<PathBuf> {
        ["userknownhostsfile", "globalknownhostsfile"]
            .into_iter()
            .filter_map(|key| self.one(key))
            .flat_map(str::split_whitespace)
            .filter(|file| *file != "none")
            .map(|file| tokens.path(file))
            .collect()
    }

    fn agent(&self, tokens: &Tokens, socket: Option<PathBuf>) -> Option<PathBuf> {
        match self.one("identityagent") {
            Some("none") => None,
            None | Some("SSH_AUTH_SOCK") => socket,
            Some(path) => match path.strip_prefix('$') {
                Some(variable) => std::env::var_os(variable).map(PathBuf::from),
                None => Some(tokens.path(path)),
            },
        }
    }
}

fn known_as_by_default(hostname: &str, port: u16) -> String {
    match port {
        22 => hostname.to_owned(),
        _ => format!("[{hostname}]:{port}"),
    }
}

/// What `%` and `~` stand for; `ssh -G` leaves most of them as written.
struct Tokens {
    home: PathBuf,
    values: [(char, String); 4],
}

impl Tokens {
    fn path(&self, text: &str) -> PathBuf {
        let text = self.expand(text);
        match text.strip_prefix("~/") {
            Some(rest) => self.home.join(rest),
            None => PathBuf::from(text),
        }
    }

    fn expand(&self, text: &str) -> String {
        let mut expanded = String::with_capacity(text.len());
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            if char != '%' {
                expanded.push(char);
                continue;
            }
            match chars.next() {
                Some('d') => expanded.push_str(&self.home.to_string_lossy()),
                Some('%') | None => expanded.push('%'),
                Some(token) => match self.values.iter().find(|(name, _)| *name == token) {
                    Some((_, value)) => expanded.push_str(value),
                    None => expanded.extend(['%', token]),
                },
            }
        }
        expanded
    }
}

#[cfg(test)]
mod tests;
