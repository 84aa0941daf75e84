//! Versions of external programs. Must not know the programs.

use std::{collections::BTreeSet, fmt, sync::Mutex, time::Duration};

use crate::{sync, ui};

/// The time limit for a program that prints its version.
const PATIENCE: Duration = Duration::from_secs(60);

/// A version of a program: `9.2.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProgramVersion(pub u32, pub u32, pub u32);

impl ProgramVersion {
    /// Returns the first version in what a program prints; `None` if there is none.
    pub fn find(text: &str) -> Option<Self> {
        let words = text.split(|char: char| !char.is_ascii_digit() && char != '.');
        words.into_iter().find_map(|word| {
            let mut parts = word.split('.').map(|part| part.parse().ok());
            let (major, minor) = (parts.next()??, parts.next()??);
            Some(Self(major, minor, parts.next().flatten().unwrap_or(0)))
        })
    }
}

impl fmt::Display for ProgramVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// Returns the output of `program` with the option that prints its version.
pub(crate) fn version_of(program: &str, option: &str) -> String {
    let mut command = super::command(program);
    command.arg(option);
    let said = super::Spawn::new(command).run(b"", PATIENCE, &|_| {});
    let said = said.map(|said| [said.stdout, said.stderr].concat());
    String::from_utf8_lossy(&said.unwrap_or_default()).into_owned()
}

/// Warns if a program is older than the oldest supported version; asks each program once. `said` returns the output
/// that has its version; output without a version is ignored.
pub fn warn_if_older(program: &str, oldest: ProgramVersion, said: impl FnOnce() -> String) {
    static ASKED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if !sync::lock(&ASKED).insert(program.to_owned()) {
        return;
    }
    if let Some(version) = ProgramVersion::find(&said()).filter(|version| *version < oldest) {
        ui::live(&format!(
            "warning: `{program}` is version {version}; versions before {oldest} are not supported"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered() {
        for (said, version) in [
            (
                "cargo-nextest 0.9.143 (60fa45f63 2026-08-04)\nrelease: 0.9.143\n",
                "0.9.143",
            ),
            ("cargo-nextest 0.10.0-rc.1", "0.10.0"),
            ("OpenSSH_9.2p1 Debian-2+deb12u5, OpenSSL 3.0.17", "9.2.0"),
            (
                "QEMU emulator version 8.2.2 (Debian 1:8.2.2+ds-0ubuntu1)",
                "8.2.2",
            ),
            ("podman version 4.3.1", "4.3.1"),
            ("v20.10", "20.10.0"),
        ] {
            let found = ProgramVersion::find(said).expect(said);
            assert_eq!(found.to_string(), version);
        }
        assert_eq!(ProgramVersion::find("no version of 2026"), None);
        assert!(ProgramVersion(0, 10, 0) > ProgramVersion(0, 9, 143));
    }
}
