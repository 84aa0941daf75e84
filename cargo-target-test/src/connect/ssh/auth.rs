//! SSH authentication by agent keys, key files, and the password of the playbook.
//!
//! Must not prompt for passwords: a run is not interactive.

use std::path::Path;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ssh2::{ErrorCode, KeyboardInteractivePrompt, Prompt};

use super::handshake::Handshake;
use crate::{
    bounded,
    error::{Error, Result},
};

/// The start of an unencrypted key in OpenSSH's format, after its first line.
const UNENCRYPTED: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU";

/// Authenticates the session.
pub(super) fn authenticate(handshake: &mut Handshake<'_>) -> Result<()> {
    let user = handshake.config.user.clone();
    let session = handshake.session.clone();
    let offered = match handshake.drive(|| session.auth_methods(&user).map(str::to_owned)) {
        Ok(methods) => methods,
        // The server accepts the method `none`.
        Err(_) if session.authenticated() => return Ok(()),
        Err(error) => return Err(handshake.refused(&error)),
    };
    let mut tried = Vec::new();
    let by_keys = |tried: &mut Vec<String>| {
        Ok::<_, Error>(agent(handshake, &user, tried)? || files(handshake, &user, tried)?)
    };
    let by_password = |tried: &mut Vec<String>| password(handshake, &user, &offered, tried);
    // A server allows few attempts, so keys that the user did not select are tried last.
    let authenticated = match handshake.config.identities_only {
        true => by_keys(&mut tried)? || by_password(&mut tried)?,
        false => by_password(&mut tried)? || by_keys(&mut tried)?,
    };
    match authenticated {
        true => Ok(()),
        false => Err(denied(handshake, &offered, &tried)),
    }
}

/// Tries the password, as password or as the answer to a keyboard-interactive prompt.
fn password(
    handshake: &Handshake<'_>,
    user: &str,
    offered: &str,
    tried: &mut Vec<String>,
) -> Result<bool> {
    let Some((password, from)) = &handshake.password else {
        return Ok(false);
    };
    let offers = |method: &str| offered.split(',').any(|one| one == method);
    let session = &handshake.session;
    if !offers("password") && !offers("keyboard-interactive") {
        tried.push(format!(
            "no password from {from} (not accepted by the server)"
        ));
        return Ok(false);
    }
    tried.push(format!("the password from {from}"));
    if offers("password") {
        let step = || session.userauth_password(user, password);
        if accepted(handshake, step, tried)? {
            return Ok(true);
        }
    }
    if offers("keyboard-interactive") {
        let step = || session.userauth_keyboard_interactive(user, &mut PasswordPrompt(password));
        return accepted(handshake, step, tried);
    }
    Ok(false)
}

/// Answers prompts without echo with the password, and other prompts with an empty string.
struct PasswordPrompt<'a>(&'a str);

impl KeyboardInteractivePrompt for PasswordPrompt<'_> {
    fn prompt(&mut self, _: &str, _: &str, prompts: &[Prompt<'_>]) -> Vec<String> {
        let answer = |prompt: &Prompt<'_>| match prompt.echo {
            true => String::new(),
            false => self.0.to_owned(),
        };
        prompts.iter().map(answer).collect()
    }
}

fn agent(handshake: &Handshake<'_>, user: &str, tried: &mut Vec<String>) -> Result<bool> {
    let Some(socket) = &handshake.config.agent else {
        return Ok(false);
    };
    let Ok(mut agent) = handshake.session.agent() else {
        return Ok(false);
    };
    let listed = agent
        .set_identity_path(socket)
        .and_then(|()| agent.connect())
        .and_then(|()| agent.list_identities())
        .and_then(|()| agent.identities());
    let Ok(mut keys) = listed else {
        tried.push(format!("the agent at `{}` (no answer)", socket.display()));
        return Ok(false);
    };
    let named = handshake
        .config
        .identities
        .iter()
        .filter_map(|file| public_blob(file));
    let named: Vec<String> = named.collect();
    let is_named = |key: &ssh2::PublicKey| named.contains(&BASE64_STANDARD.encode(key.blob()));
    if handshake.config.identities_only {
        keys.retain(is_named);
    } else {
        keys.sort_by_key(|key| !is_named(key));
    }
    for key in &keys {
        tried.push(format!("agent key `{}`", key.comment()));
        if accepted(handshake, || agent.userauth(user, key), tried)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn files(handshake: &Handshake<'_>, user: &str, tried: &mut Vec<String>) -> Result<bool> {
    for file in handshake.config.identities.iter() {
        let text = match bounded::read_to_string(file) {
            Ok(text) => text,
            Err(error)
                if error.kind() == std::io::ErrorKind::NotFound && !is_explicit(handshake) =>
            {
                continue;
            }
            Err(error) => {
                tried.push(format!("`{}` ({error})", file.display()));
                continue;
            }
        };
        if is_encrypted(&text) {
            tried.push(format!(
                "`{}` (encrypted: add it to an ssh-agent)",
                file.display()
            ));
            continue;
        }
        tried.push(format!("`{}`", file.display()));
        let session = &handshake.session;
        let step = || session.userauth_pubkey_file(user, None, file, None);
        if accepted(handshake, step, tried)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// True if one identity is configured for this host. A missing default identity is not reported.
fn is_explicit(handshake: &Handshake<'_>) -> bool {
    handshake.config.identities.len() == 1
}

/// Returns true if the attempt succeeded and false if it was rejected.
///
/// # Errors
/// If the connection failed.
fn accepted(
    handshake: &Handshake<'_>,
    step: impl FnMut() -> Result<(), ssh2::Error>,
    tried: &mut [String],
) -> Result<bool> {
    use libssh2_sys as raw;
    let Err(error) = handshake.drive(step) else {
        return Ok(true);
    };
    match error.code() {
        ErrorCode::Session(
            raw::LIBSSH2_ERROR_AUTHENTICATION_FAILED | raw::LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED,
        ) => {}
        ErrorCode::Session(raw::LIBSSH2_ERROR_TIMEOUT) => return Err(handshake.refused(&error)),
        ErrorCode::Session(
            raw::LIBSSH2_ERROR_SOCKET_DISCONNECT
            | raw::LIBSSH2_ERROR_SOCKET_RECV
            | raw::LIBSSH2_ERROR_SOCKET_SEND,
        ) => {
            return Err(Error::infra(format!(
                "{}; the server closed the connection after {}",
                handshake.refused(&error),
                attempts(tried)
            ))
                .with_hint("set the right key (`identity` in the playbook, `IdentitiesOnly` in `~/.ssh/config`)"));
        }
        _ => {
            if let Some(last) = tried.last_mut() {
                last.push_str(&format!(" ({})", error.message()));
            }
        }
    }
    Ok(false)
}

fn denied(handshake: &Handshake<'_>, offered: &str, tried: &[String]) -> Error {
    let config = handshake.config;
    let (instance, user) = (handshake.instance, &config.user);
    Error::infra(format!(
        "failed to log in to `{instance}` at {} as `{user}`: the server accepts {offered}; {}",
        config.address(),
        attempts(tried)
    ))
    .with_hint(format!(
        "check that `ssh -p {} {user}@{} true` works",
        config.port, config.hostname
    ))
}

/// Describes the attempts to log in: ``2 attempts: `id_rsa`, agent key `lab` ``.
fn attempts(tried: &[String]) -> String {
    match tried {
        [] => "nothing to try (no key found)".to_owned(),
        [one] => format!("1 attempt: {one}"),
        _ => format!("{} attempts: {}", tried.len(), tried.join(", ")),
    }
}

/// Returns the public key of a key file in base64, from the `.pub` file.
fn public_blob(file: &Path) -> Option<String> {
    let mut name = file.as_os_str().to_owned();
    name.push(".pub");
    let text = bounded::read_to_string(Path::new(&name)).ok()?;
    text.split_whitespace().nth(1).map(str::to_owned)
}

fn is_encrypted(key: &str) -> bool {
    if let Some((_, body)) = key.split_once("-----BEGIN OPENSSH PRIVATE KEY-----") {
        let body: String = body.split_whitespace().take(2).collect();
        return !body.starts_with(UNENCRYPTED);
    }
    key.lines().take(3).any(|line| line.contains("ENCRYPTED"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encrypted_keys_are_detected() {
        let folder = tempfile::tempdir().unwrap();
        for (name, phrase) in [("plain", ""), ("locked", "secret")] {
            let file = folder.path().join(name);
            let mut command = crate::process::command("ssh-keygen");
            command
                .args(["-q", "-t", "ed25519", "-N", phrase, "-f"])
                .arg(&file);
            let finished = crate::process::Spawn::new(command).run(
                b"",
                std::time::Duration::from_secs(20),
                &|_| {},
            );
            assert!(finished.unwrap().status.success());
            assert_eq!(
                is_encrypted(&std::fs::read_to_string(&file).unwrap()),
                !phrase.is_empty()
            );
            assert!(
                public_blob(&file)
                    .unwrap()
                    .starts_with("AAAAC3NzaC1lZDI1NTE5")
            );
        }
        assert!(is_encrypted(
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
        ));
        assert!(!is_encrypted("-----BEGIN RSA PRIVATE KEY-----\nMIIE"));
    }
}
