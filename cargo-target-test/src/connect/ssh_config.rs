//! The OpenSSH configuration of a host: the output of `ssh -G`, with the overrides of the playbook.

// Must not connect.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{SshReach, ssh_client};
use crate::{
    error::{Error, Result},
    process::{self, ProgramVersion},
    sync,
};

/// The oldest supported version of OpenSSH: `ssh -G` prints all that this file reads.
const OLDEST: ProgramVersion = ProgramVersion(7, 6, 0);
/// The default timeout of connecting.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The configuration of a connection to a host.
#[derive(Clone, Debug, PartialEq)]
pub struct SshConfig {
    /// The name or address to connect to.
    pub hostname: String,
    /// The port to connect to.
    pub port: u16,
    /// The login name.
    pub user: String,
    /// Private key files, in the order in which they are tried. Files may be missing.
    pub identities: Vec<PathBuf>,
    /// True if only those keys of the agent are used that are in `identities`.
    pub identities_only: bool,
    /// The socket of the agent; `None` if there is no agent, or if it is disabled.
    pub agent: Option<PathBuf>,
    /// Known-hosts files: the user's, then the system's. Files may be missing.
    pub known_hosts: Vec<PathBuf>,
    /// The name in the known-hosts files: `host`, or `[host]:port` if the port is not 22.
    pub known_as: String,
    /// The policy for host keys that are not recorded.
    pub strict: Strict,
    /// Jump hosts, separated by commas.
    pub proxy_jump: Option<String>,
    /// The command that connects, with expanded `%` tokens.
    pub proxy_command: Option<String>,
    /// The timeout of connecting, which includes name resolution, handshake and authentication.
    pub connect_timeout: Duration,
    /// The setting for which the host needs OpenSSH; `None` if the built-in client honours all settings.
    pub beyond_built_in: Option<String>,
}

/// A policy for host keys that are not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strict {
    /// Accepts any key, including a changed key.
    No,
    /// Records unknown keys and rejects changed keys.
    AcceptNew,
    /// Rejects unknown and changed keys.
    Yes,
}

impl SshConfig {
    /// Returns `host:port` for messages, with an IPv6 address in brackets.
    #[must_use]
    pub fn address(&self) -> String {
        match self.hostname.contains(':') {
            true => format!("[{}]:{}", self.hostname, self.port),
            false => format!("{}:{}", self.hostname, self.port),
        }
    }
}

/// Runs `ssh -G` and applies the overrides of the reach. The result is cached.
///
/// # Errors
/// If `ssh` is missing or rejects the configuration.
pub fn resolve(reach: &SshReach) -> Result<SshConfig> {
    static CACHE: Mutex<Vec<(SshReach, Arc<CachedConfig>)>> = Mutex::new(Vec::new());
    let cached = {
        let mut cache = sync::lock(&CACHE);
        match cache.iter().find(|(known, _)| known == reach) {
            Some((_, cached)) => Arc::clone(cached),
            None => {
                let new = Arc::new(CachedConfig::default());
                cache.push((reach.clone(), Arc::clone(&new)));
                new
            }
        }
    };
    // Locked while `ssh` runs: others that need the same configuration wait for it.
    let mut config = sync::lock(&cached);
    match &*config {
        Some(config) => Ok(config.clone()),
        None => Ok(config.insert(run_ssh(reach)?).clone()),
    }
}

/// The configuration of one host; `None` until `ssh` has printed it.
type CachedConfig = Mutex<Option<SshConfig>>;

fn run_ssh(reach: &SshReach) -> Result<SshConfig> {
    let mut command = process::command("ssh");
    command.arg("-G");
    let defaults = defaults()?;
    if let Some(port) = reach.port {
        command.arg("-p").arg(port.to_string());
    }
    if let Some(user) = &reach.user {
        command.arg("-l").arg(user);
    }
    command.arg("--").arg(&reach.host);
    let finished = process::Spawn::new(command).run(b"", CONNECT_TIMEOUT, &|_| {})?;
    let text = finished.text().map_err(|stderr| {
        Error::infra(format!("`ssh -G {}` failed: {stderr}", reach.host))
            .with_hint("check `~/.ssh/config`")
    })?;
    let home = std::env::home_dir().unwrap_or_default();
    let socket = std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from);
    let mut config = parse(&text, reach, home, socket);
    config.beyond_built_in = ssh_client::beyond_built_in(&text, &defaults, &config);
    Ok(config)
}

/// Returns what `ssh -G` prints without configuration files.
fn defaults() -> Result<String> {
    static DEFAULTS: Mutex<Option<String>> = Mutex::new(None);
    let mut defaults = sync::lock(&DEFAULTS);
    if let Some(defaults) = &*defaults {
        return Ok(defaults.clone());
    }
    process::warn_if_older("ssh", OLDEST, || process::version_of("ssh", "-V"));
    let mut command = process::command("ssh");
    command.args(["-G", "-F", "none", "--", "localhost"]);
    let finished = process::Spawn::new(command).run(b"", CONNECT_TIMEOUT, &|_| {})?;
    let text = finished
        .text()
        .map_err(|stderr| Error::infra(format!("`ssh -G` failed: {stderr}")))?;
    Ok(defaults.insert(text).clone())
}

fn parse(text: &str, reach: &SshReach, home: PathBuf, socket: Option<PathBuf>) -> SshConfig {
    let lines = Lines::of(text);
    let hostname = lines.one("hostname").unwrap_or(&reach.host).to_owned();
    let user = lines.one("user").unwrap_or_default().to_owned();
    let port = reach.port.or_else(|| lines.one("port")?.parse().ok());
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
    let alias = lines.set("hostkeyalias").map(str::to_owned);
    let seconds = lines
        .set("connecttimeout")
        .and_then(|value| value.parse().ok());
    let timeout = reach.connect_timeout.or(seconds.map(Duration::from_secs));
    let only = lines.one("identitiesonly") == Some("yes");
    SshConfig {
        identities: match &reach.identity {
            Some(file) => vec![file.clone()],
            None => lines.files("identityfile", &tokens),
        },
        identities_only: reach.identity.is_some() || only,
        agent: agent(&lines, &tokens, socket),
        known_hosts: match &reach.known_hosts {
            Some(file) => vec![file.clone()],
            None => known_hosts(&lines, &tokens),
        },
        known_as: alias.unwrap_or_else(|| known_as(&hostname, port)),
        strict: strict(&lines, reach.trust_first),
        proxy_jump: lines.set("proxyjump").map(str::to_owned),
        proxy_command: lines.set("proxycommand").map(|line| tokens.expand(line)),
        connect_timeout: timeout.unwrap_or(CONNECT_TIMEOUT),
        beyond_built_in: None,
        hostname,
        port,
        user,
    }
}

/// The values in the output of `ssh -G`, by lower-case keyword.
pub(super) struct Lines<'a>(pub(super) HashMap<&'a str, Vec<&'a str>>);

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let mut lines: HashMap<&str, Vec<&str>> = HashMap::new();
        for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            lines.entry(key).or_default().push(value.trim());
        }
        Self(lines)
    }

    fn one(&self, key: &str) -> Option<&'a str> {
        self.0.get(key)?.first().copied()
    }

    /// Returns the first value of a keyword; `None` if the value disables the setting.
    fn set(&self, key: &str) -> Option<&'a str> {
        self.one(key)
            .filter(|value| !matches!(*value, "none" | "no" | ""))
    }

    fn files(&self, key: &str, tokens: &Tokens) -> Vec<PathBuf> {
        let values = self.0.get(key).map(Vec::as_slice).unwrap_or_default();
        let values = values.iter().filter(|value| **value != "none");
        values.map(|value| tokens.path(value)).collect()
    }
}

fn known_hosts(lines: &Lines<'_>, tokens: &Tokens) -> Vec<PathBuf> {
    let keys = ["userknownhostsfile", "globalknownhostsfile"];
    let values = keys.into_iter().filter_map(|key| lines.set(key));
    let files = values.flat_map(str::split_whitespace);
    files.map(|file| tokens.path(file)).collect()
}

fn agent(lines: &Lines<'_>, tokens: &Tokens, socket: Option<PathBuf>) -> Option<PathBuf> {
    match lines.one("identityagent") {
        Some("none") => None,
        None | Some("SSH_AUTH_SOCK") => socket,
        Some(path) => match path.strip_prefix('$') {
            Some(variable) => std::env::var_os(variable).map(PathBuf::from),
            None => Some(tokens.path(path)),
        },
    }
}

fn strict(lines: &Lines<'_>, trust_first: bool) -> Strict {
    match lines.one("stricthostkeychecking") {
        _ if trust_first => Strict::AcceptNew,
        Some("no" | "off" | "false") => Strict::No,
        Some("accept-new") => Strict::AcceptNew,
        _ => Strict::Yes,
    }
}

fn known_as(hostname: &str, port: u16) -> String {
    match port {
        22 => hostname.to_owned(),
        _ => format!("[{hostname}]:{port}"),
    }
}

/// The values of `%` tokens and of `~`, most of which `ssh -G` does not expand.
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
