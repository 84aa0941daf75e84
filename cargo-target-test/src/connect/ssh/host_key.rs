//! Verifies host keys against the known-hosts files and records new ones.
//!
//! The files are read with `ssh-keygen -F`, which handles hashed names, patterns and markers.

use std::{
    fs::{self, OpenOptions},
    io::{Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD},
};
use ssh2::{HashType, MethodType, Session};

use super::handshake::Handshake;
use crate::{
    bounded,
    connect::ssh_config::{CONNECT_TIMEOUT, SshConfig, Strict},
    error::{Error, Result},
    process,
};

/// A recorded key of a host.
#[derive(Debug, PartialEq)]
pub(super) struct KnownKey {
    /// A marker such as `@revoked`.
    marker: Option<String>,
    /// The key type: `ssh-ed25519`.
    kind: String,
    /// The key in base64.
    key: String,
    file: String,
}

/// Returns the recorded keys of the host.
pub(super) fn known_keys(config: &SshConfig) -> Result<Vec<KnownKey>> {
    let mut records = Vec::new();
    for file in config.known_hosts.iter().filter(|file| file.is_file()) {
        let mut command = process::command("ssh-keygen");
        command.arg("-F").arg(&config.known_as).arg("-f").arg(file);
        let found = process::Spawn::new(command).run(b"", CONNECT_TIMEOUT, &|_| {})?;
        records.extend(parse(
            &String::from_utf8_lossy(&found.stdout),
            &file.to_string_lossy(),
        ));
    }
    Ok(records)
}

fn parse(text: &str, file: &str) -> Vec<KnownKey> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let record = |line: &str| {
        let mut words = line.split_whitespace().peekable();
        let marker = words
            .next_if(|word| word.starts_with('@'))
            .map(str::to_owned);
        let (kind, key) = (words.nth(1)?.to_owned(), words.next()?.to_owned());
        Some(KnownKey {
            marker,
            kind,
            key,
            file: file.to_owned(),
        })
    };
    lines.filter_map(record).collect()
}

/// Prefers the key types that are recorded, so that the host sends a key of such a type if it has one.
pub(super) fn prefer(session: &Session, records: &[KnownKey]) {
    let Ok(supported) = session.supported_algs(MethodType::HostKey) else {
        return;
    };
    let kinds = records
        .iter()
        .filter(|record| record.marker.is_none())
        .map(|record| record.kind.as_str());
    let mut wanted: Vec<&str> = Vec::new();
    for kind in kinds {
        let names = if kind == "ssh-rsa" {
            vec!["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"]
        } else {
            vec![kind]
        };
        let names = names.into_iter().filter(|name| supported.contains(name));
        let names: Vec<&str> = names.filter(|name| !wanted.contains(name)).collect();
        wanted.extend(names);
    }
    if !wanted.is_empty() {
        // As for `ssh`, a host without such a key is refused by `verify`, unless its keys are not checked.
        let others = supported.iter().filter(|name| !wanted.contains(name));
        let order: Vec<&str> = wanted.iter().chain(others).copied().collect();
        // On failure the defaults remain. The key is verified in any case.
        let _ = session.method_pref(MethodType::HostKey, &order.join(","));
    }
}

/// Verifies the key of the host and, if the policy allows, records an unknown key.
pub(super) fn verify(handshake: &Handshake<'_>, records: &[KnownKey]) -> Result<()> {
    let Some((blob, _)) = handshake.session.host_key() else {
        let text = format!("`{}` sent no host key", handshake.instance);
        return Err(Error::infra(text));
    };
    let (config, key) = (handshake.config, BASE64_STANDARD.encode(blob));
    let same = |record: &&KnownKey| record.key == key;
    if records
        .iter()
        .filter(same)
        .any(|record| record.marker.as_deref() == Some("@revoked"))
    {
        return Err(Error::infra(format!(
            "host key of `{}` ({}) is revoked",
            handshake.instance, config.known_as
        )));
    }
    let mut plain = records
        .iter()
        .filter(|record| record.marker.is_none())
        .peekable();
    let first = plain.peek().copied();
    match (first, config.strict) {
        (_, Strict::No) => Ok(()),
        (Some(_), _) if plain.any(|record| same(&record)) => Ok(()),
        (Some(record), _) => Err(changed(handshake, record)),
        (None, Strict::AcceptNew) => record(config, blob, &key),
        (None, Strict::Yes) => Err(unknown(handshake)),
    }
}

fn changed(handshake: &Handshake<'_>, record: &KnownKey) -> Error {
    let (name, file) = (&handshake.config.known_as, &record.file);
    let text = format!(
        "host key of `{}` ({name}) differs from the key in `{file}`: the machine was reinstalled, or another machine \
         answers at this address",
        handshake.instance
    );
    Error::infra(text).with_hint(format!(
        "if the change is expected, run `ssh-keygen -R '{name}' -f '{file}'`"
    ))
}

fn unknown(handshake: &Handshake<'_>) -> Error {
    let config = handshake.config;
    let text = format!(
        "host key of `{}` ({}) is unknown",
        handshake.instance, config.known_as
    );
    let file = config
        .known_hosts
        .first()
        .map_or("~/.ssh/known_hosts".into(), |f| f.to_string_lossy());
    Error::infra(text).with_hint(format!(
        "if you trust the network, run `ssh-keyscan -p {} {} >>'{file}'`",
        config.port, config.hostname
    ))
}

/// Returns type and fingerprint of the host's key, as OpenSSH prints them; `None` before the handshake.
pub(super) fn fingerprint(session: &Session) -> Option<String> {
    let (blob, _) = session.host_key()?;
    let hash = session.host_key_hash(HashType::Sha256)?;
    Some(format!(
        "{} SHA256:{}",
        kind(blob),
        BASE64_STANDARD_NO_PAD.encode(hash)
    ))
}

/// Appends the key to the first known-hosts file, unless another process has already done so.
fn record(config: &SshConfig, blob: &[u8], key: &str) -> Result<()> {
    let Some(file) = config.known_hosts.first() else {
        return Ok(());
    };
    append(file, &format!("{} {} {key}\n", config.known_as, kind(blob))).map_err(|error| {
        let text = format!("failed to record the host key in `{}`", file.display());
        Error::infra(text).with_source(error)
    })
}

fn append(file: &Path, line: &str) -> std::io::Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.exists()) {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .mode(0o600)
        .open(file)?;
    // Closing the file releases the lock.
    file.lock()?;
    let text = String::from_utf8_lossy(&bounded::read_all(&file)?).into_owned();
    file.seek(SeekFrom::End(0))?;
    if text.contains(line) {
        return Ok(());
    }
    let line = if text.is_empty() || text.ends_with('\n') {
        line.to_owned()
    } else {
        format!("\n{line}")
    };
    file.write_all(line.as_bytes())
}

/// Returns the key type at the start of a key blob.
fn kind(blob: &[u8]) -> String {
    let name = blob
        .split_first_chunk::<4>()
        .and_then(|(length, rest)| rest.get(..u32::from_be_bytes(*length) as usize));
    String::from_utf8_lossy(name.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_known_keys() {
        let text = "# Host x found: line 1\n|1|s|h ssh-rsa AAA c\n@revoked * ssh-ed25519 BBB\n";
        let [first, second] = parse(text, "f").try_into().unwrap();
        assert_eq!(
            (first.kind.as_str(), first.key.as_str(), first.marker),
            ("ssh-rsa", "AAA", None)
        );
        assert_eq!(
            (second.key.as_str(), second.marker.as_deref()),
            ("BBB", Some("@revoked"))
        );
    }

    #[test]
    fn a_key_is_appended_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/known");
        append(&file, "a k 1\n").unwrap();
        append(&file, "a k 1\n").unwrap();
        append(&file, "b k 2\n").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "a k 1\nb k 2\n");
    }

    #[test]
    fn the_key_type_is_at_the_start_of_a_blob() {
        assert_eq!(kind(b"\0\0\0\x0bssh-ed25519\0\0"), "ssh-ed25519");
        assert_eq!(kind(b"\xff\xff\xff\xff"), "");
    }
}
