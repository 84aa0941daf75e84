//! The script that finds the place of a program on an instance.
//!
//! Must not send the program.

use super::quote;
use crate::error::Result;

/// The number of contents of one program that are kept on an instance.
const KEPT: usize = 3;

/// Returns the script that prints the absolute path of a program with this hash, after `+` if the program is there and
/// `-` if it must be written. The oldest contents of a program with this name are deleted.
///
/// The folder is in `TMPDIR`, which platform `local` deletes with the instance, or in `/tmp`.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the name is invalid.
pub(crate) fn program_place(name: &str, hash: &str) -> Result<String> {
    super::check_path(&format!("/{name}"))?;
    let (name, hash) = (quote(name), quote(hash));
    Ok(format!(
        "d=${{TMPDIR:-/tmp}}/target-test-programs-$(id -u); mkdir -m 755 \"$d\" 2>/dev/null; \
         if [ ! -d \"$d\" ] || [ -L \"$d\" ] || [ ! -O \"$d\" ]; then echo \"$d is not a folder of this user\" >&2; exit 1; fi; \
         p=$d/{hash}/{name}; \
         if [ -x \"$p\" ]; then touch \"$p\"; echo \"+$p\"; exit; fi; \
         ls -td \"$d\"/*/{name} 2>/dev/null | tail -n +{KEPT} | while read -r f; do rm -rf -- \"${{f%/*}}\"; done; \
         mkdir -p \"$d/\"{hash} && echo \"-$p\""
    ))
}
