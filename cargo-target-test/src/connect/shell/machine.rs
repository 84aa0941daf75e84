//! Scripts about the machine as a whole: reboot, clock, packages, and running commands as root.

use target_fixtures::wire::Exit;

use super::{UNKNOWN, nonce, quote, quote_for_any};
use crate::error::{Error, Result};

/// The script that prints the boot id; nothing if the kernel has none.
pub(crate) const BOOT_ID: &str = "if [ -r /proc/sys/kernel/random/boot_id ]; then \
     read -r b </proc/sys/kernel/random/boot_id; echo $b; fi";

/// The script that reboots the machine. Only root may.
pub(crate) const REBOOT: &str = "PATH=$PATH:/sbin:/usr/sbin; exec reboot";

/// True if the exit status of [`REBOOT`] means success: exit code 0, or SIGTERM from the shutdown itself.
pub(crate) fn goes_down(exit: &Exit) -> bool {
    match exit {
        Exit::Code(code) => [0, 128 + 15].contains(code),
        Exit::Signal(signal) => signal == "TERM",
    }
}

/// Returns the script that sets the clock of the machine. Only root may.
pub(crate) fn set_clock(seconds_since_1970: u64) -> String {
    format!("date -u -s @{seconds_since_1970} >/dev/null\n")
}

/// Returns the script that gives network interfaces their addresses, each by its hardware address. An interface that has
/// its address keeps what else it has. Only root may.
pub(crate) fn configure_links<'a>(links: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let lines = links.into_iter().map(|(mac, address)| {
        let (mac, address) = (quote(mac), quote(address));
        format!("configure {mac} {address} || exit\n")
    });
    format!("{CONFIGURE_LINK}{}", lines.collect::<String>())
}

/// Returns the script that writes names and addresses to a hosts file, in a block of their own, which replaces an earlier one.
/// Leaves a file in a read-only folder as it is. Only root may.
pub(crate) fn name_machines<'a>(
    file: &str,
    machines: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut words = quote(file);
    for (name, address) in machines {
        words += " ";
        words += &quote(&format!("{address}\t{name}"));
    }
    format!("{NAME_MACHINES}name_machines {words}\n")
}

/// The function that writes a block to a hosts file. Readers see the old file or the new one, unless it is a mount.
const NAME_MACHINES: &str = "\
name_machines() {
    file=$1 begin='# begin of machines by cargo-target-test' end='# end of machines by cargo-target-test'
    shift
    [ -w \"${file%/*}\" ] || return 0
    new=$(
        [ ! -e \"$file\" ] || sed \"/^$begin\\$/,/^$end\\$/d\" \"$file\"
        printf '%s\\n' \"$begin\" \"$@\" \"$end\"
    )
    [ ! -e \"$file\" ] || [ \"$new\" != \"$(cat \"$file\")\" ] || return 0
    (umask 022 && printf '%s\\n' \"$new\" >\"$file.new\") || return
    mv -f \"$file.new\" \"$file\" 2>/dev/null || { cat \"$file.new\" >\"$file\" && rm \"$file.new\"; }
}
";

/// The function that configures one interface. A VLAN has the hardware address of its interface, and no device.
const CONFIGURE_LINK: &str = "\
configure() {
    for link in /sys/class/net/*; do
        [ -e \"$link/device\" ] && read -r mac <\"$link/address\" && [ \"$mac\" = \"$1\" ] || continue
        link=${link##*/}
        ip addr show dev \"$link\" | grep -qF \" $2 \" || ip addr add \"$2\" brd + dev \"$link\" || return
        ip link set dev \"$link\" up
        return
    done
    echo \"network interface $1 not found\" >&2
    return 1
}
";

/// Returns the script that mounts a folder of the host, unless it is mounted: by the first of these file systems that
/// works. Only root may.
pub(crate) fn mount_share(
    (tag, folder): (&str, &str),
    read_only: bool,
    file_systems: &[String],
) -> String {
    let mode = if read_only { "ro" } else { "rw" };
    format!(
        "PATH=$PATH:/sbin:/usr/sbin; {MOUNT_SHARE}mount_share {tag} {folder} {mode} {kinds}",
        tag = quote(tag),
        folder = quote(folder),
        kinds = file_systems.join(" "),
    )
}

/// The function that mounts one folder of the host.
const MOUNT_SHARE: &str = "\
mount_share() {
    tag=$1 folder=$2 mode=$3
    shift 3
    ! grep -q \"^$tag \" /proc/mounts || return 0
    mkdir -p -- \"$folder\" || return
    for kind; do
        options=$mode
        if [ $kind = 9p ]; then
            modprobe 9pnet_virtio 2>/dev/null
            options=$mode,trans=virtio,version=9p2000.L,msize=524288,cache=mmap
        fi
        said=$(mount -t $kind -o $options \"$tag\" \"$folder\" 2>&1) && return
        echo \"$kind: $said\" >&2
    done
    return 1
}
";

/// Returns the script that runs a line as root: directly if the user is root, otherwise by `sudo` without a password.
pub(super) fn as_root(line: &str) -> String {
    let line = quote(line);
    format!(
        "if [ \"$(id -u)\" = 0 ]; then exec /bin/sh -c {line}; else exec sudo -n -- /bin/sh -c {line}; fi"
    )
}

/// Returns the script of [`as_root`] with a password for `sudo`, the first line of standard input.
///
/// The password is never an argument of a process or the content of a file.
pub(super) fn as_root_by_password(line: &str) -> String {
    let plain = quote(line);
    // The askpass program is deleted before the line runs, because the line may be killed.
    let clean = quote(&format!("rm -rf -- \"$1\"; shift; unset {SECRET}; {line}"));
    let ask = quote(&format!("#!/bin/sh\nprintf \"%s\\n\" \"${SECRET}\"\n"));
    format!(
        "IFS= read -r {SECRET}; \
         if [ \"$(id -u)\" = 0 ]; then unset {SECRET}; exec /bin/sh -c {plain}; fi; \
         d=$(umask 077; mktemp -d) || exit 1; printf %s {ask} >$d/ask; chmod 700 $d/ask; \
         export {SECRET}; SUDO_ASKPASS=$d/ask sudo -A -- /bin/sh -c {clean} sh $d; s=$?; rm -rf $d; exit $s"
    )
}

/// The environment variable in which the askpass program of `sudo` finds the password.
const SECRET: &str = "TARGET_TEST_SUDO";

/// Returns the script that succeeds if a process listens on this TCP port on any address; exits with [`UNKNOWN`] if the
/// machine cannot tell.
pub(crate) fn listens(port: u16) -> String {
    // A kernel without IPv6 has no `tcp6`.
    format!(
        "[ -r /proc/net/tcp ] || {{ echo '/proc/net/tcp is not readable' >&2; exit {UNKNOWN}; }}; \
         f=/proc/net/tcp6; [ -r $f ] || f=; \
         cat /proc/net/tcp $f | grep -qiE ':{port:04X} [0-9A-F]+:0000 0A '"
    )
}

/// Returns the script that relays standard input and output to a TCP port of the machine, with any available program.
pub(crate) fn connect_to(port: u16) -> String {
    format!(
        "if {socat}; then exec socat - TCP:127.0.0.1:{port}; \
         elif {nc}; then exec nc 127.0.0.1 {port}; \
         elif {busybox} && busybox nc --help >/dev/null 2>&1; then exec busybox nc 127.0.0.1 {port}; \
         elif {bash}; then exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port} || exit; cat <&3 & cat >&3; wait'; \
         else echo 'none of socat, nc, busybox and bash is installed' >&2; exit 1; fi",
        socat = has("socat"),
        nc = has("nc"),
        busybox = has("busybox"),
        bash = has("bash"),
    )
}

/// The program of Python that relays standard input and output to the socket that is its argument.
const RELAY: &str = "\
import os, socket, sys, threading
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
def send():
    while piece := os.read(0, 65536):
        s.sendall(piece)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=send, daemon=True).start()
while piece := s.recv(65536):
    while piece:
        piece = piece[os.write(1, piece):]
";

/// Returns the script that relays standard input and output to a Unix socket of the machine.
pub(crate) fn connect_to_socket(path: &str) -> String {
    // `socat` reads its addresses: commas, colons and more have a meaning there.
    let escape = |text: String, c: char| text.replace(c, &format!("\\{c}"));
    let address = ['\\', ',', ':', '!', '"', '\'', '(', '[', '{'];
    let address = address.into_iter().fold(path.to_owned(), escape);
    format!(
        "if {socat}; then exec socat - {address}; \
         elif {nc} && nc -h 2>&1 | grep -q -e -U; then exec nc -U {path}; \
         elif {python}; then exec python3 -c {relay} {path}; \
         else echo 'none of socat, nc with -U and python3 is installed' >&2; exit 1; fi",
        socat = has("socat"),
        nc = has("nc"),
        python = has("python3"),
        relay = quote(RELAY),
        address = quote(&format!("UNIX-CONNECT:{address}")),
        path = quote(path),
    )
}

/// Returns a unique path for a temporary file of a process with this mark.
pub(crate) fn temporary(mark: &str) -> String {
    format!("{}{}", temporaries(mark), nonce())
}

/// Returns the script that deletes the temporary files of this user's processes with this mark.
///
/// Files and links with such a name may be another user's, who may see the mark.
pub(crate) fn remove_temporaries(mark: &str) -> String {
    format!(
        "for f in {}*; do if [ ! -L \"$f\" ] && [ -O \"$f\" ]; then rm -rf -- \"$f\" || exit; fi; done",
        quote(&temporaries(mark))
    )
}

fn temporaries(mark: &str) -> String {
    format!("/tmp/target-test-{mark}-")
}

/// Returns the line that runs a program with these arguments, each quoted.
pub(crate) fn invocation(path: &str, arguments: &[String]) -> String {
    let words = std::iter::once(path).chain(arguments.iter().map(String::as_str));
    words.map(quote).collect::<Vec<_>>().join(" ")
}

/// Returns the script that sets variables and starts the user's login shell.
pub(crate) fn login<'a>(env: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let mut script: String = env
        .map(|(name, value)| format!("export {name}={}; ", quote(value)))
        .collect();
    script.push_str("exec \"${SHELL:-/bin/sh}\" -l");
    script
}

/// Returns a line for any login shell that runs a POSIX script.
pub(crate) fn for_login(script: &str) -> String {
    format!("exec /bin/sh -c {}", quote_for_any(script))
}

/// Returns the script that installs packages with the package manager of the machine. Only root may.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if a package name is invalid.
pub(crate) fn install_packages(packages: &[String]) -> Result<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "+-._:=~@/".contains(c);
    let wrong =
        |name: &&String| name.is_empty() || name.starts_with('-') || !name.chars().all(is_plain);
    if let Some(name) = packages.iter().find(wrong) {
        return Err(Error::usage(format!("invalid package name: {name:?}")));
    }
    let packages = packages.join(" ");
    // The package index is updated only if the first attempt fails.
    let apt = "apt-get -q -o DPkg::Lock::Timeout=300";
    Ok(format!(
        "export PATH=$PATH:/usr/sbin:/sbin DEBIAN_FRONTEND=noninteractive; exec >&2; \
         if {has_apt}; then i=\"{apt} -y --no-install-recommends install {packages}\"; $i || {{ {apt} update && $i; }}; \
         elif {has_dnf}; then dnf -q -y install {packages}; \
         elif {has_yum}; then yum -q -y install {packages}; \
         elif {has_zypper}; then zypper --quiet --non-interactive install {packages}; \
         elif {has_apk}; then apk add --quiet {packages} || apk add --quiet --update-cache {packages}; \
         elif {has_pacman}; then pacman -S --noconfirm --needed {packages} || pacman -Sy --noconfirm --needed {packages}; \
         else echo 'none of apt-get, dnf, yum, zypper, apk and pacman is installed' >&2; exit 1; fi",
        has_apt = has("apt-get"),
        has_dnf = has("dnf"),
        has_yum = has("yum"),
        has_zypper = has("zypper"),
        has_apk = has("apk"),
        has_pacman = has("pacman"),
    ))
}

/// Returns the condition that a program is installed.
pub(super) fn has(program: &str) -> String {
    format!("command -v {program} >/dev/null 2>&1")
}

/// Returns the script that deletes a file.
pub(crate) fn remove(path: &str) -> String {
    format!("rm -f -- {}", quote(path))
}

/// Returns the script that unpacks a tar archive from standard input into a folder, which is created with this mode.
///
/// An existing folder keeps its mode, and symbolic links to folders in it are kept.
pub(crate) fn unpack(folder: &str, mode: u32) -> String {
    let archive = untar(folder, "tar");
    let folder = quote(folder);
    // A new folder is private until it is complete.
    format!(
        "m=; [ -d {folder} ] || {{ mkdir -p -- {folder} && chmod 700 {folder} && m={mode:o}; }} || exit; \
         {archive} || exit; [ -z \"$m\" ] || chmod $m {folder}",
        mode = mode & 0o7777,
    )
}

/// Returns the commands that unpack an archive from standard input into a folder; `tar` starts the program.
pub(super) fn untar(folder: &str, tar: &str) -> String {
    // The owners in the archive are ignored. Other programs than GNU tar may know no `--version`, which is no error.
    format!(
        "k=; case $(tar --version </dev/null 2>/dev/null) in *GNU*) k=--keep-directory-symlink ;; esac; \
         {tar} -x -o $k -f - -C {folder}",
        folder = quote(folder),
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
    fn a_listening_port_is_detected() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(sh(&listens(port)).status.success());
        drop(listener);
        assert!(!sh(&listens(port)).status.success());
    }

    /// Unpacking into `/` must not change the mode of `/` or replace the link `/lib`.
    #[test]
    fn existing_folders_and_links_are_kept() {
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
    fn a_reboot_may_terminate_its_own_command() {
        let term = |name: &str| Exit::Signal(name.to_owned());
        for taken in [Exit::Code(0), Exit::Code(143), term("TERM")] {
            assert!(goes_down(&taken), "{taken}");
        }
        for refused in [Exit::Code(1), Exit::Code(127), term("KILL")] {
            assert!(!goes_down(&refused), "{refused}");
        }
    }

    #[test]
    fn arguments_are_quoted() {
        let said = sh(&invocation(
            "printf",
            &["<%s>".into(), "a b".into(), "$(c)'".into()],
        ));
        assert_eq!(said.stdout, b"<a b><$(c)'>");
    }
}
