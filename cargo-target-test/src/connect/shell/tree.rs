//! The scripts about a tree of files on an instance: a folder that mirrors absolute paths of this host.
//!
//! A tree is `tree-NAME` in the folder of programs: `root` holds the files, `sent` the lists of what was sent, `plain` the
//! paths that were made outside of the tree, and `view` is where a new root is mounted. Must not send the files.

use std::fmt::Write as _;

use super::{
    check_path,
    machine::{has, untar},
    program, quote,
};
use crate::{
    connect::upload::{TreeRoot, ViewBy},
    error::Result,
};

/// The number of days after which an unused tree is deleted, and after which files are sent again: machines may delete files
/// that are not used.
const KEPT_DAYS: u32 = 7;
/// The beginning of the names of files that show if a folder is shared.
pub(crate) const PROBE: &str = ".target-test-probe-";

/// Returns the script of [`program_place`](super::program_place) that also prints the tree's folder, `gzip` or an empty line, and
/// the first line of the list `key`.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the name of the program is invalid.
pub(crate) fn tree_place(
    program: (&str, &str, u64),
    room: u64,
    (tree, key): (&str, &str),
) -> Result<String> {
    let then = format!(
        "t=$d/tree-{tree}; echo \"$t\"; if {has}; then echo gzip; else echo; fi; \
         find \"$t/sent/{key}\" -mtime -{KEPT_DAYS} -exec head -n 1 {{}} \\; 2>/dev/null; ",
        has = has("gzip"),
    );
    program::place(program, room, &then)
}

/// Returns the script that prints what is known of the paths of a tree, one word per line: `shared` if the instance has the
/// file `marker` of this host, `free` if no root exists outside of the tree, `mounted` if something is mounted in a root, and the user of [`view`], if any.
/// Trees that were not used for a week are deleted.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if a path is invalid.
pub(crate) fn tree_facts(tree: &str, roots: &[TreeRoot], shared: &[String]) -> Result<String> {
    for path in shared.iter().chain(roots.iter().map(|root| &root.path)) {
        check_path(path)?;
    }
    let tree = quote(tree);
    let has_shared: Vec<_> = shared
        .iter()
        .map(|path| format!("[ -e {} ]", quote(path)))
        .collect();
    let mut script = format!(
        "PATH=$PATH:/usr/sbin:/sbin; t={tree}; mkdir -p \"$t/root\" \"$t/sent\" \"$t/view\" && touch \"$t\" || exit; \
         find \"${{t%/*}}\" -maxdepth 1 -name 'tree-*' -mtime +{KEPT_DAYS} -exec rm -rf {{}} \\; 2>/dev/null; \
         if {}; then echo shared; fi; f=free; ",
        has_shared.join(" && ")
    );
    for root in roots {
        let _ = write!(
            script,
            "[ ! -e {path} ] || grep -qxF {path} \"$t/plain\" 2>/dev/null || f=; ",
            path = quote(&root.path)
        );
    }
    let inside = roots.iter().map(|root| {
        let path = quote(&root.path);
        format!("{path}|{path}/*")
    });
    let inside: Vec<_> = inside.collect();
    let _ = write!(
        script,
        "while read -r _ m _; do case $m in {}) echo mounted; break;; esac; done </proc/mounts; ",
        inside.join("|")
    );
    script.push_str(
        "echo $f; if unshare -m true; then echo root; \
         elif unshare -Urm unshare --user --map-user=1 --map-group=1 true; then echo user; \
         elif unshare -Urm true; then echo fake-root; fi 2>/dev/null; exit 0",
    );
    Ok(script)
}

/// Returns the script that makes a file in each of these folders that exists, and prints its path.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if a path is invalid.
pub(crate) fn probe_folders(folders: &[String]) -> Result<String> {
    let mut script = String::new();
    for folder in folders {
        check_path(folder)?;
        let (at, file) = (quote(folder), quote(&format!("{folder}/{PROBE}XXXXXX")));
        let _ = write!(script, "[ ! -d {at} ] || mktemp {file}; ");
    }
    Ok(script + "exit 0")
}

/// Returns the script that makes folders below `prefix`. Those outside of the tree are noted in it, and must hold programs and,
/// when they are new, have room for so many bytes.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if a path is invalid.
pub(crate) fn make_folders(
    tree: &str,
    prefix: &str,
    (folders, room): (&[String], u64),
) -> Result<String> {
    let mut script = format!("t={}; umask 022; ", quote(tree));
    for folder in folders {
        check_path(folder)?;
        let (at, folder) = (quote(&format!("{prefix}{folder}")), quote(folder));
        let _ = write!(script, "mkdir -p -- {at} && [ -w {at} ] || exit; ");
        if prefix.is_empty() {
            let _ = write!(
                script,
                "grep -qxF {folder} \"$t/plain\" 2>/dev/null || {has_room} || exit; echo {folder} >>\"$t/plain\" || exit; f={at}/.target-test.$$; \
                 printf '#!/bin/sh\\n' >\"$f\" && chmod 700 \"$f\" && \"$f\"; s=$?; rm -f \"$f\"; [ $s = 0 ] || exit; ",
                has_room = program::has_room(&at, room),
            );
        }
    }
    Ok(script)
}

/// The file that lists all files of a tree.
pub(crate) fn list_of(tree: &str) -> String {
    format!("{tree}/sent/all")
}

/// The file about a part of a tree: the id of the part, and lines `SIZE PATH` with the paths of its files below the prefix.
pub(crate) fn note_of(tree: &str, key: &str) -> String {
    format!("{tree}/sent/{key}")
}

/// Returns the script that prints the list of a tree, unless it is old.
pub(crate) fn show_list(tree: &str) -> String {
    let list = quote(&list_of(tree));
    format!("find {list} -mtime -{KEPT_DAYS} -exec cat {{}} \\; 2>/dev/null")
}

/// Returns the script that compares the files below a prefix with the note about a part of a tree. Prints nothing if all have
/// their sizes; else `changed` and the lines of the files that are there.
pub(crate) fn check_part(tree: &str, prefix: &str, key: &str) -> String {
    format!(
        "n=$(tail -n +2 {note}) && cd {prefix}/ && command -v stat >/dev/null || exit 0; \
         a=$(printf '%s\\n' \"$n\" | sed 's/^[0-9]* //' | tr '\\n' '\\000' | xargs -0 stat -c '%s %n' -- 2>/dev/null); \
         [ \"$a\" = \"$n\" ] || printf 'changed\\n%s\\n' \"$a\"",
        note = quote(&note_of(tree, key)),
        prefix = quote(prefix),
    )
}

/// Returns the script that deletes what has the NUL-terminated paths on standard input, which are below a prefix. The tree has no
/// list until it is complete again.
pub(crate) fn forget_files(tree: &str, prefix: &str) -> String {
    format!(
        "{}cd {}/ && exec xargs -0 rm -rf --",
        forget_lists(tree),
        quote(prefix)
    )
}

/// As [`forget_files`] for folders, deepest first: those in which something is left stay.
pub(crate) fn forget_folders(prefix: &str) -> String {
    let prefix = quote(prefix);
    format!("cd {prefix}/ && xargs -0 rmdir -- 2>/dev/null; exit 0")
}

/// Returns the script that unpacks an archive from standard input below a prefix. The tree has no list until it is complete
/// again.
pub(crate) fn unpack_tree(tree: &str, prefix: &str, is_compressed: bool) -> String {
    let tar = match is_compressed {
        true => "gzip -dc | tar",
        false => "tar",
    };
    let unpack = untar(&format!("{prefix}/"), tar);
    format!("{}umask 022; {unpack}", forget_lists(tree))
}

fn forget_lists(tree: &str) -> String {
    format!("rm -f {}/sent/* || exit; ", quote(tree))
}

/// Returns the start of a script that puts a program of the cache to another path: a link, or a copy on another file system.
pub(crate) fn place_program(program: &str, path: &str) -> String {
    let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
    format!(
        "o={path}; [ {program} -ef \"$o\" ] || {{ mkdir -p {folder} && \
         ln -f {program} \"$o\" 2>/dev/null || cp -f {program} \"$o\"; }} || exit; ",
        program = quote(program),
        path = quote(path),
        folder = quote(folder),
    )
}

/// Returns the script that runs its arguments in a folder. Their process is that of the shell.
pub(crate) fn run_in_folder(folder: &str) -> String {
    format!("cd -- {} && exec \"$@\"", quote(folder))
}

/// Returns the script that runs its arguments in a folder, in a mount namespace whose root has the files of a tree at their paths
/// on this host, and else all that the instance has.
///
/// New files beside the folders above the tree's roots stay in the namespace.
pub(crate) fn run_in_view(by: ViewBy, tree: &str, roots: &[TreeRoot], folder: &str) -> String {
    let unshare = match by {
        ViewBy::Root => "unshare -m",
        ViewBy::User | ViewBy::FakeRoot => "unshare -Urm",
    };
    let view = quote(&view(tree, roots));
    run_after(&format!("{unshare} /bin/sh -c {view} sh"), by, folder)
}

/// Returns the script that makes a namespace as [`run_in_view`] does, prints the id of a process there, and keeps the namespace
/// until its standard input ends.
pub(crate) fn keep_view(by: ViewBy, tree: &str, roots: &[TreeRoot]) -> String {
    // Others enter the user namespace in which the mounts were made.
    let by = match by {
        ViewBy::User => ViewBy::FakeRoot,
        by => by,
    };
    let enter = run_in_view(by, tree, roots, "/");
    format!("set -- /bin/sh -c 'echo $$; exec cat >/dev/null'; {enter}")
}

/// As [`run_in_view`], in the namespace that a process from [`keep_view`] keeps.
pub(crate) fn run_in_kept_view(by: ViewBy, pid: u32, folder: &str) -> String {
    let user = match by {
        ViewBy::Root => "",
        ViewBy::User | ViewBy::FakeRoot => " -U --preserve-credentials",
    };
    run_after(&format!("nsenter -t {pid} -m -r{user}"), by, folder)
}

/// Returns the script that runs its arguments in a folder, after a command that enters a namespace.
fn run_after(enter: &str, by: ViewBy, folder: &str) -> String {
    // In a second user namespace, the test has its own ids again.
    let map = match by {
        ViewBy::User => "unshare --user --map-user=$(id -u) --map-group=$(id -g) ",
        ViewBy::Root | ViewBy::FakeRoot => "",
    };
    format!(
        "p=$PATH; PATH=$PATH:/usr/sbin:/sbin; exec {enter} {map}/bin/sh -c {last} sh \"$p\" \"$@\"",
        last = quote(&format!("PATH=$1; shift; {}", run_in_folder(folder))),
    )
}

/// Returns the script that mounts a new root and runs its arguments there.
fn view(tree: &str, roots: &[TreeRoot]) -> String {
    let patterns = |paths: &mut dyn Iterator<Item = &str>| {
        let mut quoted: Vec<_> = paths.map(quote).collect();
        quoted.sort();
        quoted.dedup();
        quoted.join("|")
    };
    let above = roots.iter().flat_map(|root| above(&root.path));
    // The entries of a folder above a root are bound one by one, all with one call of `mount`; a path with white space cannot
    // stand in its list. Mounts below the new root itself are not bound.
    let mut script = format!(
        "t={tree}; n=$t/view; u=$(umask); umask 022; mount -t tmpfs -o mode=755 target-test \"$n\" || exit; \
         mount --make-unbindable \"$n\" 2>/dev/null; l=; \
         fill() {{ for e in \"$1\"/* \"$1\"/.[!.]* \"$1\"/..?*; do [ -e \"$e\" ] || [ -L \"$e\" ] || continue; \
         case $e in {roots}) continue ;; {above}) mkdir -p \"$n$e\"; chmod \"$(stat -L -c %a \"$e\")\" \"$n$e\"; fill \"$e\"; continue ;; esac; \
         if [ -L \"$e\" ]; then cp -P \"$e\" \"$n$e\"; continue; fi; \
         if [ -d \"$e\" ]; then mkdir \"$n$e\"; else : >\"$n$e\"; fi; \
         case $e in *[[:space:]\\\\]*) mount --rbind \"$e\" \"$n$e\" ;; *) l=\"$l$e $n$e none rbind 0 0\n\" ;; esac; done; }}; \
         fill ''; printf %s \"$l\" >\"$n/.target-test\"; mount -a -T \"$n/.target-test\"; rm \"$n/.target-test\"; ",
        tree = quote(tree),
        roots = patterns(&mut roots.iter().map(|root| root.path.as_str())),
        above = patterns(&mut std::iter::once("/.target-test").chain(above)),
    );
    for root in roots {
        let path = quote(&root.path);
        let make = match root.is_file {
            true => {
                format!("mkdir -p \"${{r%/*}}\" && : >\"$r\" && mount --bind \"$t/root\"{path}")
            }
            false => {
                format!("mkdir -p \"$r\" \"$t/root\"{path} && mount --bind \"$t/root\"{path}")
            }
        };
        let _ = write!(script, "r=$n{path}; {make} \"$r\" || exit; ");
    }
    // A machine that runs from its initial file system cannot change the root.
    script.push_str(
        "umask \"$u\"; mkdir \"$n/.target-test\" && cd \"$n\" || exit; \
         if pivot_root . .target-test 2>/dev/null; then umount -l /.target-test && rmdir /.target-test && exec \"$@\"; \
         else rmdir .target-test; exec chroot . \"$@\"; fi",
    );
    script
}

/// Returns the folders above a path, without `/`.
fn above(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('/').map(|(at, _)| at);
    ends.filter(|at| *at > 0).map(|at| &path[..at])
}
