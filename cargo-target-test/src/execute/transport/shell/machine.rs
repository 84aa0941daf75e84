//! Scripts about the machine as a whole: what it is, rebooting it, acting as root.
//!
//! Owns their text, for any POSIX shell on Linux. Must not know who asks.

use super::{nonce, quote};

/// Prints the boot id.
pub(crate) const BOOT_ID: &str = "cat /proc/sys/kernel/random/boot_id";

/// Prints `key=value` lines of what the machine is; memory in KiB.
pub(crate) const FACTS: &str = "echo cores=$(nproc 2>/dev/null || grep -c ^processor /proc/cpuinfo); \
    while read -r k v _; do [ $k = MemTotal: ] && echo memory=$v && break; done </proc/meminfo; \
    echo arch=$(uname -m); echo kernel=$(uname -r); \
    (. /etc/os-release && echo os=\"$ID $VERSION_ID\") 2>/dev/null || echo os=$(uname -s); \
    n=0; for i in /sys/class/net/*; do [ -d $i ] && [ ${i##*/} != lo ] && n=$((n+1)); done; echo nics=$n; \
    df -Pk / 2>/dev/null | while read -r _ k _; do echo disk=$k; done; \
    read -r b </proc/sys/kernel/random/boot_id && echo boot-id=$b";

/// Has the machine reboot by its own way.
pub(crate) fn reboot() -> String {
    as_root("PATH=$PATH:/sbin:/usr/sbin; exec reboot")
}

/// Sets the machine's clock, where that is allowed.
pub(crate) fn set_clock(seconds_since_1970: u64) -> String {
    as_root(&format!("exec date -u -s @{seconds_since_1970} >/dev/null"))
}

/// A command as root: as it is where that is so already, else by `sudo` without a password.
pub(crate) fn as_root(line: &str) -> String {
    let line = quote(line);
    format!(
        "if [ \"$(id -u)\" = 0 ]; then exec /bin/sh -c {line}; else exec sudo -n -- /bin/sh -c {line}; fi"
    )
}

/// The same where `sudo` may ask for a password, which is the first line of standard input: it is in nobody's
/// arguments and in no file.
pub(crate) fn as_root_by_password(line: &str) -> String {
    let plain = quote(line);
    let clean = quote(&format!("unset {SECRET}; {line}"));
    let ask = quote(&format!("#!/bin/sh\nprintf \"%s\\n\" \"${SECRET}\"\n"));
    format!(
        "IFS= read -r {SECRET}; \
         if [ \"$(id -u)\" = 0 ]; then unset {SECRET}; exec /bin/sh -c {plain}; fi; \
         d=$(umask 077; mktemp -d) || exit 1; printf %s {ask} >$d/ask; chmod 700 $d/ask; \
         export {SECRET}; SUDO_ASKPASS=$d/ask sudo -A -- /bin/sh -c {clean}; s=$?; rm -rf $d; exit $s"
    )
}

/// Where the program that `sudo` asks finds the password.
const SECRET: &str = "TARGET_TEST_SUDO";

/// Succeeds when something listens on this TCP port, on whatever address.
pub(crate) fn listens(port: u16) -> String {
    format!(
        "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -qiE ':{port:04X} [0-9A-F]+:0000 0A '"
    )
}

/// The path of a file that nothing else on the machine has.
pub(crate) fn temporary() -> String {
    format!("/tmp/target-test-{}", nonce())
}

/// A program with its arguments, each a word.
pub(crate) fn invocation(path: &str, arguments: &[String]) -> String {
    let words = std::iter::once(path).chain(arguments.iter().map(String::as_str));
    words.map(quote).collect::<Vec<_>>().join(" ")
}

/// Removes a file.
pub(crate) fn remove(path: &str) -> String {
    format!("rm -f -- {}", quote(path))
}

/// Unpacks a tar archive on standard input into a folder, which is made.
pub(crate) fn unpack(folder: &str) -> String {
    let folder = quote(folder);
    // Whose the files are here means nothing there.
    format!("mkdir -p -- {folder} && exec tar -x -o -f - -C {folder}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;

    fn sh(line: &str) -> std::process::Output {
        let mut command = process::command("/bin/sh");
        command.arg("-c").arg(line);
        process::output(command).unwrap()
    }

    #[test]
    fn a_port_that_listens_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(sh(&listens(port)).status.success());
        drop(listener);
        assert!(!sh(&listens(port)).status.success());
    }

    #[test]
    fn facts_of_this_machine() {
        let text = String::from_utf8(sh(FACTS).stdout).unwrap();
        let keys: Vec<_> = text
            .lines()
            .map(|line| line.split('=').next().unwrap())
            .collect();
        assert_eq!(
            keys,
            [
                "cores", "memory", "arch", "kernel", "os", "nics", "disk", "disk", "boot-id"
            ],
            "{text}"
        );
    }

    #[test]
    fn arguments_stay_words() {
        let said = sh(&invocation(
            "printf",
            &["<%s>".into(), "a b".into(), "$(c)'".into()],
        ));
        assert_eq!(said.stdout, b"<a b><$(c)'>");
    }
}
