//! Hosts of platform `ssh` as written: `lab7`, `root@rack:2222`, `[fe80::1%eth0]:22`. Must not resolve names.

use std::{fmt, net::Ipv6Addr, num::NonZeroU16, str::FromStr};

use serde::de;

use super::super::values::check_word;

/// A host as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SshHost {
    pub(super) user: Option<String>,
    /// An alias of `~/.ssh/config`, a name or an address (without brackets).
    pub(super) name: String,
    pub(super) port: Option<NonZeroU16>,
}

impl SshHost {
    /// True if both are one machine, as far as the text shows.
    pub(super) fn same_machine(&self, other: &Self) -> bool {
        self.name.eq_ignore_ascii_case(&other.name) && self.port == other.port
    }
}

impl FromStr for SshHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        check_word("host", text)?;
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, text),
        };
        if user == Some("") {
            return Err(format!("`{text}` has no user before its `@`"));
        }
        let (name, port) = address(rest).map_err(|problem| format!("`{text}` {problem}"))?;
        check_word("host", name)?;
        if name.contains('/') {
            let problem = "has a `/`; a host is written `user@host:port`, each but `host` optional";
            return Err(format!("`{text}` {problem}"));
        }
        let port = match port.map(str::parse) {
            None => None,
            Some(Ok(port)) => Some(port),
            Some(Err(_)) => {
                return Err(format!(
                    "`{text}` has no port from 1 to 65535 after its `:`"
                ));
            }
        };
        Ok(Self {
            user: user.map(str::to_owned),
            name: name.to_owned(),
            port,
        })
    }
}

/// Splits the part after the user into host and port.
fn address(text: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(rest) = text.strip_prefix('[') {
        let (name, after) = rest.split_once(']').ok_or("has a `[` without `]`")?;
        if !is_ipv6(name) {
            return Err("has no IPv6 address in its brackets");
        }
        return match after.strip_prefix(':') {
            Some(port) => Ok((name, Some(port))),
            None if after.is_empty() => Ok((name, None)),
            None => Err("goes on after its `]`"),
        };
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((name, port)) if !port.contains(':') => Ok((name, Some(port))),
        Some(_) if is_ipv6(text) => Ok((text, None)),
        Some(_) => Err("has more than one `:` and is not an IPv6 address"),
    }
}

/// With or without a scope: `fe80::1%eth0`.
fn is_ipv6(text: &str) -> bool {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.parse::<Ipv6Addr>().is_ok()
}

/// Reads `hosts` so that an error points at the wrong host.
pub(super) fn list<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    from.deserialize_seq(Hosts)
}

struct Hosts;

impl<'de> de::Visitor<'de> for Hosts {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of hosts such as [\"lab7\", \"root@rack:2222\"]")
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
        let mut earlier = Vec::new();
        while let Some(host) = seq.next_element_seed(NextHost(&earlier))? {
            earlier.push(host);
        }
        if earlier.is_empty() {
            return Err(de::Error::invalid_length(0, &"at least one host"));
        }
        Ok(earlier.into_iter().map(|(text, _)| text).collect())
    }
}

/// Reads one host, and refuses duplicates.
struct NextHost<'a>(&'a [(String, SshHost)]);

impl<'de> de::DeserializeSeed<'de> for NextHost<'_> {
    type Value = (String, SshHost);

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl de::Visitor<'_> for NextHost<'_> {
    type Value = (String, SshHost);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a host such as \"lab7\" or \"root@rack:2222\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let host: SshHost = text.parse().map_err(E::custom)?;
        match self.0.iter().find(|(_, other)| other.same_machine(&host)) {
            Some((other, _)) if other == text => {
                Err(E::custom(format!("`{text}` is listed twice")))
            }
            Some((other, _)) => Err(E::custom(format!(
                "`{text}` is the same machine as `{other}`"
            ))),
            None => Ok((text.to_owned(), host)),
        }
    }
}

#[cfg(test)]
mod tests;
