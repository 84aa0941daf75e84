//! The scripts of a channel from an instance to this host: named pipes in a folder of the instance.
//!
//! The side of the instance is `client/pipes.rs` of `target-fixtures`. Must not know what is sent.

use super::{check_path, quote};
use crate::error::Result;

/// Returns the script that makes the folder of a channel, prints an empty line, and then prints the names of connections
/// as they are asked for, until it is killed.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the path is invalid.
pub(crate) fn open_channel(folder: &str) -> Result<String> {
    check_path(folder)?;
    // The pipe has a writer at all times, so that it never ends.
    Ok(format!(
        "umask 077; mkdir {folder} && cd {folder} && mkfifo ask && echo && exec cat 0<>ask",
        folder = quote(folder),
    ))
}

/// Returns the script that relays standard input and output to the connection with this name, until the test closes it.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the path is invalid.
pub(crate) fn relay_channel(folder: &str, name: &str) -> Result<String> {
    check_path(folder)?;
    // A background process gets `/dev/null` as input, unless a descriptor is named.
    Ok(format!(
        "cd {folder} && exec 5<&0 3<{name}.up 4>{name}.down || exit; rm -f {name}.up {name}.down; \
         cat <&5 >&4 3<&- & exec 4>&-; cat <&3 5<&-; kill $! 2>/dev/null; exit 0",
        folder = quote(folder),
    ))
}

/// Returns the script that removes the folder of a channel.
pub(crate) fn close_channel(folder: &str) -> String {
    format!("rm -rf -- {}", quote(folder))
}
