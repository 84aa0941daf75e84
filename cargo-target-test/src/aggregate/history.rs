//! What is remembered of runs for the next ones: how long cases took.
//!
//! Owns the file beside the pool, one for each workspace. Must not know what is made of it. It is no state that
//! anything depends on: what cannot be read is begun anew, what cannot be written is not missed.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{
    error::Result,
    execute::outcome::{Outcome, Verdict},
    plan::Durations,
};

/// How long one case took, for [`note`].
#[derive(Clone, Debug, PartialEq)]
pub struct Timed<'a> {
    /// The binary's id.
    pub binary: &'a str,
    /// The test's name.
    pub test: &'a str,
    /// What stands in its brackets, without a repetition's number.
    pub label: &'a str,
    /// In seconds.
    pub seconds: f64,
}

/// The durations of a workspace's earlier runs on this pool.
pub fn read(pool: &Path, workspace: &Path) -> Durations {
    let bytes = std::fs::read(file(pool, workspace)).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Notes what a run took. Runs that end at once wait for each other.
///
/// # Errors
/// When the file cannot be written.
pub fn note<'a>(
    pool: &Path,
    workspace: &Path,
    all: impl IntoIterator<Item = Timed<'a>>,
) -> Result<()> {
    let mut all = all.into_iter().peekable();
    if all.peek().is_none() {
        return Ok(());
    }
    let path = file(pool, workspace);
    let folder = path.parent().unwrap_or(pool);
    fs_err::create_dir_all(folder)?;
    let lock = fs_err::File::create(folder.join("lock"))?.into_parts().0;
    lock.lock()?;
    let mut durations = read(pool, workspace);
    for Timed {
        binary,
        test,
        label,
        seconds,
    } in all
    {
        durations.note(binary, test, label, seconds);
    }
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer(&mut new, &durations).map_err(std::io::Error::from)?;
    new.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Whether an attempt says how long its case takes: it ran to its end.
pub fn counts(outcome: &Outcome) -> bool {
    matches!(outcome.verdict, Verdict::Pass | Verdict::Fail) && !outcome.took.is_zero()
}

fn file(pool: &Path, workspace: &Path) -> PathBuf {
    let digest = Sha256::digest(workspace.as_os_str().as_encoded_bytes());
    let name: String = digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    pool.join("durations").join(format!("{name}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read_and_damage_begins_anew() {
        let pool = tempfile::tempdir().expect("a folder");
        let (pool, workspace) = (pool.path(), Path::new("/w"));
        let timed = |seconds| Timed {
            binary: "b",
            test: "t",
            label: "x",
            seconds,
        };
        assert!(read(pool, workspace).is_empty());
        note(pool, workspace, [timed(1.0)]).expect("noted");
        note(pool, workspace, [timed(2.0)]).expect("noted");
        assert_eq!(read(pool, workspace).of("b", "t", "x"), Some(1.5));
        assert!(read(pool, Path::new("/other")).is_empty());
        std::fs::write(file(pool, workspace), "{").expect("written");
        assert!(read(pool, workspace).is_empty());
        note(pool, workspace, [timed(3.0)]).expect("noted");
        assert_eq!(read(pool, workspace).of("b", "t", "x"), Some(3.0));
    }
}
