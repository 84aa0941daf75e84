//! Scripts about the machine as a whole: what it is, rebooting it, acting as root.
//!
//! Owns their text, for any POSIX shell on Linux. Must not know who asks.

use target_fixtures::wire::Exit;

use super::{nonce, quote, quote_for_any};
use crate::error::{Error, ErrorKind, Result};

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

/// Whether that was taken: it ended well, or by what goes down ending everything, which the wrapper may outlive to tell.
pub(crate) fn goes_down(exit: &Exit) -> bool {
    match exit {
        Exit::Code(code) => [0, 128 + 15].contains(code),
        Exit::Signal(signal) => signal == "TERM",
    }
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
    // The program is not needed once it was asked, and a command may be killed.
    let clean = quote(&format!("rm -rf -- \"$1\"; shift; unset {SECRET}; {line}"));
    let ask = quote(&format!("#!/bin/sh\nprintf \"%s\\n\" \"${SECRET}\"\n"));
    format!(
        "IFS= read -r {SECRET}; \
         if [ \"$(id -u)\" = 0 ]; then unset {SECRET}; exec /bin/sh -c {plain}; fi; \
         d=$(umask 077; mktemp -d) || exit 1; printf %s {ask} >$d/ask; chmod 700 $d/ask; \
         export {SECRET}; SUDO_ASKPASS=$d/ask sudo -A -- /bin/sh -c {clean} sh $d; s=$?; rm -rf $d; exit $s"
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

/// Relays standard input and output to a TCP port of the machine, by whatever program there is for that.
pub(crate) fn connect_to(port: u16) -> String {
    let has = |program: &str| format!("command -v {program} >/dev/null 2>&1");
    format!(
        "if {socat}; then exec socat - TCP:127.0.0.1:{port}; \
         elif {nc}; then exec nc 127.0.0.1 {port}; \
         elif {busybox} && busybox nc --help >/dev/null 2>&1; then exec busybox nc 127.0.0.1 {port}; \
         elif {bash}; then exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port} || exit; cat <&3 & cat >&3; wait'; \
         else echo 'there is no socat, nc, busybox or bash' >&2; exit 1; fi",
        socat = has("socat"),
        nc = has("nc"),
        busybox = has("busybox"),
        bash = has("bash"),
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

/// Becomes the user's own shell, with these variables.
pub(crate) fn login<'a>(env: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let mut script: String = env
        .map(|(name, value)| format!("export {name}={}; ", quote(value)))
        .collect();
    script.push_str("exec \"${SHELL:-/bin/sh}\" -l");
    script
}

/// A script of ours as one line for whatever login shell there is.
pub(crate) fn for_login(script: &str) -> String {
    format!("exec /bin/sh -c {}", quote_for_any(script))
}

/// Installs packages, as root, by whatever package manager there is.
///
/// # Errors
/// [`ErrorKind::Usage`] where there is none to install, or a name that is none.
pub(crate) fn install_packages(packages: &[String]) -> Result<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "+-._:=~@/".contains(c);
    let wrong =
        |name: &&String| name.is_empty() || name.starts_with('-') || !name.chars().all(is_plain);
    if let Some(name) = packages.iter().find(wrong) {
        return Err(Error::new(
            ErrorKind::Usage,
            format!("{name:?} is no package's name"),
        ));
    }
    let packages = packages.join(" ");
    let has = |program: &str| format!("command -v {program} >/dev/null 2>&1");
    // The index is fetched only where the package is not known without.
    let apt = "apt-get -q -o DPkg::Lock::Timeout=300";
    Ok(as_root(&format!(
        "export PATH=$PATH:/usr/sbin:/sbin DEBIAN_FRONTEND=noninteractive; exec >&2; \
         if {has_apt}; then i=\"{apt} -y --no-install-recommends install {packages}\"; $i || {{ {apt} update && $i; }}; \
         elif {has_dnf}; then dnf -q -y install {packages}; \
         elif {has_yum}; then yum -q -y install {packages}; \
         elif {has_zypper}; then zypper --quiet --non-interactive install {packages}; \
         elif {has_apk}; then apk add --quiet {packages} || apk add --quiet --update-cache {packages}; \
         elif {has_pacman}; then pacman -S --noconfirm --needed {packages} || pacman -Sy --noconfirm --needed {packages}; \
         else echo 'there is no apt-get, dnf, yum, zypper, apk or pacman' >&2; exit 1; fi",
        has_apt = has("apt-get"),
        has_dnf = has("dnf"),
        has_yum = has("yum"),
        has_zypper = has("zypper"),
        has_apk = has("apk"),
        has_pacman = has("pacman"),
    )))
}

/// Removes a file.
pub(crate) fn remove(path: &str) -> String {
    format!("rm -f -- {}", quote(path))
}

/// Unpacks a tar archive on standard input into a folder, which is made with this mode. One that is there keeps its own,
/// and what leads to a folder in it stays a symbolic link.
pub(crate) fn unpack(folder: &str, mode: u32) -> String {
    let folder = quote(folder);
    // Whose the files are here means nothing there. What is to be private is so from the start.
    format!(
        "m=; [ -d {folder} ] || {{ mkdir -p -- {folder} && chmod 700 {folder} && m={mode:o}; }} || exit; \
         k=; case $(tar --version </dev/null 2>/dev/null) in *GNU*) k=--keep-directory-symlink ;; esac; \
         tar -x -o $k -f - -C {folder} || exit; [ -z \"$m\" ] || chmod $m {folder}",
        mode = mode & 0o7777,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;

    fn sh(line: &str) -> std::process::Output {
        let mut command = process::command("/bin/sh");
        command.arg("-c").arg(line);
        process::Spawn::new(command).output().unwrap()
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

    /// What there is no machine here for, is asked in its own words.
    #[test]
    fn every_package_manager_is_asked_in_its_words() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: `sudo` would not find these programs");
            return;
        }
        let script = install_packages(&["fio".into(), "libaio1=0.3+x".into()]).unwrap();
        for (program, words) in [
            (
                "apt-get",
                "-q -o DPkg::Lock::Timeout=300 -y --no-install-recommends install",
            ),
            ("dnf", "-q -y install"),
            ("yum", "-q -y install"),
            ("zypper", "--quiet --non-interactive install"),
            ("apk", "add --quiet"),
            ("pacman", "-S --noconfirm --needed"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let fake = folder.path().join(program);
            std::fs::write(&fake, "#!/bin/sh\necho \"$@\"\n").unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&fake, mode).unwrap();
            std::os::unix::fs::symlink("/usr/bin/id", folder.path().join("id")).unwrap();
            let mut command = process::command("/bin/sh");
            command.arg("-c").arg(&script).env("PATH", folder.path());
            let output = process::Spawn::new(command).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(said, format!("{words} fio libaio1=0.3+x\n"), "{program}");
        }
        for name in ["", "-y", "a b", "$(x)", "a;b"] {
            assert!(install_packages(&[name.to_owned()]).is_err(), "{name}");
        }
    }

    /// An overlay must neither open nor close the root of a machine, nor part it from its libraries.
    #[test]
    fn a_folder_that_is_there_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        let unpack = |to: &str| {
            sh(&format!(
                "tar -c -f - -C {at}/from lib | ({})",
                unpack(to, 0o750)
            ))
        };
        let made = sh(&format!(
            "cd {at} && mkdir -p from/lib to/usr/lib && ln -s usr/lib to/lib && chmod 1777 to && echo x >from/lib/x"
        ));
        assert!(made.status.success(), "{made:?}");
        for to in ["to", "a b/new"] {
            let said = unpack(&format!("{at}/{to}"));
            assert!(said.status.success(), "{said:?}");
        }
        let said = sh(&format!(
            "cd {at} && stat -c %a to 'a b/new' && cat to/usr/lib/x 'a b/new/lib/x' && readlink to/lib"
        ));
        assert_eq!(
            String::from_utf8_lossy(&said.stdout),
            "1777\n750\nx\nx\nusr/lib\n"
        );
    }

    #[test]
    fn a_reboot_that_ends_its_own_command_is_one() {
        let term = |name: &str| Exit::Signal(name.to_owned());
        for taken in [Exit::Code(0), Exit::Code(143), term("TERM")] {
            assert!(goes_down(&taken), "{taken}");
        }
        for refused in [Exit::Code(1), Exit::Code(127), term("KILL")] {
            assert!(!goes_down(&refused), "{refused}");
        }
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
