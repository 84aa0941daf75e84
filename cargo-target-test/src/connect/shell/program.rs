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
/// The folder is in `TMPDIR`, which platform `local` deletes with the instance, or in `/tmp`. It is private. If another
/// user took its name, one with a random name is created and found again.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the name is invalid.
pub(crate) fn program_place(name: &str, hash: &str) -> Result<String> {
    super::check_path(&format!("/{name}"))?;
    let (name, hash) = (quote(name), quote(hash));
    Ok(format!(
        "cd -P \"${{TMPDIR:-/tmp}}\" || exit; n=$(pwd -P); n=${{n%/}}/target-test-programs-$(id -u); d=; \
         [ -e \"$n\" ] || [ -L \"$n\" ] || mkdir -m 700 \"$n\"; \
         for f in \"$n\" \"$n\"-*; do \
         if [ -d \"$f\" ] && (cd -P \"$f\" && [ -O . ] && [ \"$(pwd -P)\" = \"$f\" ]) 2>/dev/null; then d=$f; break; fi; done; \
         [ -n \"$d\" ] || d=$(mktemp -d \"$n-XXXXXX\") || exit; \
         p=$d/{hash}/{name}; \
         if [ -x \"$p\" ]; then touch \"$p\"; echo \"+$p\"; exit; fi; \
         ls -td \"$d\"/*/{name} 2>/dev/null | tail -n +{KEPT} | while read -r f; do rm -rf -- \"${{f%/*}}\"; done; \
         mkdir -p \"$d/\"{hash} && echo \"-$p\""
    ))
}
