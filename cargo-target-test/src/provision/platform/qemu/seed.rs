//! The name and the login of an instance, for its first boot.
//!
//! Writes the login key and the NoCloud seed, a folder that QEMU shows to the guest as a small disk with the label
//! `CIDATA`; cloud-init reads it, and other init systems can. See
//! <https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html>.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use super::QemuSpec;
use crate::{
    error::{Error, Result},
    process,
};

/// The seed's folder in the instance's.
pub(super) const FOLDER: &str = "seed";
/// The time limit for `ssh-keygen`.
const LIMIT: Duration = Duration::from_secs(20);

/// Returns the private key for the login: the playbook's, or a new one of the instance.
pub(super) fn identity(spec: &QemuSpec) -> Result<PathBuf> {
    if let Some(written) = &spec.parameters.identity {
        return Ok(spec.path(written));
    }
    let file = spec.scratch.join("key");
    if !file.exists() {
        let mut command = process::command("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-C", &spec.unique, "-f"]);
        command.arg(&file);
        keygen(command)?;
    }
    Ok(file)
}

/// Writes the seed into the instance's folder.
pub(super) fn write(spec: &QemuSpec, identity: &Path) -> Result<()> {
    let mut command = process::command("ssh-keygen");
    command.arg("-y").arg("-P").arg("").arg("-f").arg(identity);
    let key = keygen(command)?;
    let folder = spec.scratch.join(FOLDER);
    fs_err::create_dir_all(&folder)?;
    fs_err::write(
        folder.join("user-data"),
        user_data(&spec.parameters.user, key.trim()),
    )?;
    let (unique, name) = (&spec.unique, &spec.instance);
    let meta = format!("instance-id: {unique}\nlocal-hostname: {name}\n");
    fs_err::write(folder.join("meta-data"), meta)?;
    Ok(())
}

fn user_data(user: &str, key: &str) -> String {
    let mut text = "#cloud-config\nssh_pwauth: false\n".to_owned();
    if user == "root" {
        text.push_str("disable_root: false\n");
    }
    let _ = write!(text, "users:\n  - name: {user}\n    shell: /bin/sh\n");
    if user != "root" {
        text.push_str("    sudo: \"ALL=(ALL) NOPASSWD:ALL\"\n");
    }
    let _ = write!(text, "    ssh_authorized_keys:\n      - {key}\n");
    text
}

fn keygen(command: std::process::Command) -> Result<String> {
    let finished = process::Spawn::new(command).run(b"", LIMIT, &|_| {})?;
    let hint = "a key with a passphrase cannot be used: leave `identity` out, and each instance gets its own";
    finished.text().map_err(|words| {
        Error::infra(format!("cannot prepare the login key: {words}")).with_hint(hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users() {
        let root = user_data("root", "ssh-ed25519 AAAA x");
        assert!(
            root.contains("disable_root: false") && !root.contains("sudo"),
            "{root}"
        );
        let debian = user_data("debian", "ssh-ed25519 AAAA x");
        assert!(
            debian.contains("name: debian") && debian.contains("NOPASSWD"),
            "{debian}"
        );
        assert!(
            debian.ends_with("ssh_authorized_keys:\n      - ssh-ed25519 AAAA x\n"),
            "{debian}"
        );
    }
}
