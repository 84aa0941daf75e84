//! Tests of the scripts that read, write and list files.

use super::*;

/// Writes a file as [`files::put`](crate::connect::files::put) does; returns the exit code.
fn put(machine: &Machine, path: &str, content: &[u8], mode: FileMode) -> Option<i32> {
    let paths = upload_paths(path).unwrap();
    let received = machine.run(&receive(&paths), content);
    if !received.status.success() {
        machine.run(&discard(&paths), b"");
        return received.status.code();
    }
    let length = String::from_utf8_lossy(&received.stdout).trim().to_owned();
    assert_eq!(
        length,
        content.len().to_string(),
        "{}: {path}",
        machine.name
    );
    machine.text(&install(&paths, mode));
    Some(0)
}

#[test]
fn files_and_folders_are_transferred() {
    on_every_shell(|machine| {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let file = path("a 'b' \"c\" $d ü\\");
        assert_eq!(machine.code(&get(&file).unwrap()), Some(MISSING));
        assert_eq!(machine.code(&look(&file).unwrap()), Some(MISSING));
        assert_eq!(machine.code(&get("/").unwrap()), Some(DIRECTORY));
        assert_eq!(put(machine, &file, b"x\0y", FileMode::Set(0o755)), Some(0));
        assert_eq!(machine.output(&get(&file).unwrap(), b""), b"x\0y");
        assert!(
            machine
                .text(&look(&file).unwrap())
                .starts_with("-rwxr-xr-x")
        );
        let said = machine.text(&hash_of_file(&file, 3).unwrap());
        assert_eq!(said.split_whitespace().next().map(str::len), Some(64));
        assert_eq!(machine.text(&hash_of_file(&file, 4).unwrap()), "");
        assert_eq!(
            put(machine, &path("none/x"), b"", FileMode::New(0o644)),
            Some(MISSING)
        );
        let in_folder = folder.path().to_str().unwrap();
        assert_eq!(
            put(machine, in_folder, b"", FileMode::New(0o644)),
            Some(DIRECTORY)
        );

        // A folder as an archive, with a link and a folder inside, into a new folder.
        fs::create_dir_all(path("from/in")).unwrap();
        fs::write(path("from/in/x"), "x").unwrap();
        symlink("in/x", path("from/l")).unwrap();
        let archive = machine.output(&pack(&path("from")).unwrap(), b"");
        machine.output(&unpack(&path("to/new"), 0o750), &archive);
        assert_eq!(fs::read_to_string(path("to/new/l")).unwrap(), "x");
        assert_eq!(mode(&path("to/new")), 0o750, "{}", machine.name);
        symlink("none", path("to/new/dangling")).unwrap();
        let names = b"./in/x\0./l\0./dangling\0./none\0";
        let said = machine.output(&look_in_folder(&path("to/new")).unwrap(), names);
        let said = String::from_utf8(said).unwrap();
        assert_eq!(
            said.matches("./in/x").count(),
            2,
            "{}: {said}",
            machine.name
        );
        assert_eq!(said.lines().count(), 5, "{}: {said}", machine.name);
        assert_eq!(machine.text(&look_in_folder(&path("none")).unwrap()), "");
    });
}

fn mode(path: &str) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn files_are_replaced_and_what_must_stay_is_written_in_place() {
    on_every_shell(|machine| {
        let name = machine.name;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let text = |name: &str| fs::read_to_string(path(name)).unwrap();
        let number = |name: &str| fs::metadata(path(name)).unwrap().ino();
        let (kept, set) = (FileMode::New(0o600), FileMode::Set(0o640));
        let put = |name: &str, content: &str, mode| put(machine, name, content.as_bytes(), mode);

        // The end of a chain of links is replaced, and keeps owner, group and mode unless one is given.
        fs::create_dir(path("in")).unwrap();
        fs::write(path("in/file"), "0").unwrap();
        fs::set_permissions(path("in/file"), fs::Permissions::from_mode(0o4751)).unwrap();
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            std::os::unix::fs::chown(path("in/file"), Some(12345), Some(54321)).unwrap();
            fs::set_permissions(path("in/file"), fs::Permissions::from_mode(0o4751)).unwrap();
        }
        symlink("in/file", path("link")).unwrap();
        symlink("link", path("chain")).unwrap();
        let before = number("in/file");
        assert_eq!(put(&path("chain"), "1", kept), Some(0));
        assert!(
            fs::symlink_metadata(path("chain")).unwrap().is_symlink(),
            "{name}"
        );
        assert_eq!(
            (text("in/file").as_str(), mode(&path("in/file"))),
            ("1", 0o4751),
            "{name}"
        );
        assert_ne!(number("in/file"), before, "{name}: not replaced");
        if is_root {
            let metadata = fs::metadata(path("in/file")).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (12345, 54321), "{name}");
        }
        assert_eq!(put(&path("chain"), "2", set), Some(0));
        assert_eq!(
            (text("in/file").as_str(), mode(&path("in/file"))),
            ("2", 0o640),
            "{name}"
        );
        assert_eq!(put(&path("new"), "n", kept), Some(0));
        assert_eq!(mode(&path("new")), 0o600, "{name}");

        symlink("none", path("dangling")).unwrap();
        assert_eq!(put(&path("dangling"), "x", kept), Some(DANGLING), "{name}");

        fs::hard_link(path("new"), path("other")).unwrap();
        assert_eq!(put(&path("new"), "both", set), Some(0));
        assert_eq!(
            (text("other").as_str(), mode(&path("other"))),
            ("both", 0o640),
            "{name}"
        );

        let device = mode("/dev/null");
        assert_eq!(put("/dev/null", "x", set), Some(0));
        assert!(
            fs::metadata("/dev/null")
                .unwrap()
                .file_type()
                .is_char_device()
        );
        assert_eq!(mode("/dev/null"), device, "{name}");
        assert_eq!(
            put("/dev/full", "x", kept),
            Some(1),
            "{name}: an error of a device"
        );

        let fifo = path("fifo");
        let made = machine.code(&format!("mkfifo '{fifo}'"));
        assert_eq!(made, Some(0));
        let reader = std::thread::spawn({
            let fifo = fifo.clone();
            move || fs::read_to_string(fifo).unwrap()
        });
        assert_eq!(put(&fifo, "through", kept), Some(0));
        assert_eq!(reader.join().unwrap(), "through", "{name}");
        let left = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = left
            .filter(|name| name.to_string_lossy().starts_with('.'))
            .collect();
        assert!(left.is_empty(), "{name}: {left:?}");
    });
}

/// As a user without privileges: read-only files, folders that are not writable, files of others, sticky folders.
#[test]
fn files_that_the_user_may_not_replace() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    on_every_shell(|machine| {
        let name = machine.name;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let make = |name: &str, owner: u32, bits: u32| {
            std::os::unix::fs::chown(path(name), Some(owner), Some(owner)).unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(bits)).unwrap();
        };
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for (folder, owner, bits) in [
            ("open", 1, 0o777),
            ("closed", 1, 0o755),
            ("sticky", 1, 0o1777),
        ] {
            fs::create_dir(path(folder)).unwrap();
            for (file, owner, bits) in [
                ("theirs", 1, 0o666),
                ("locked", 2, 0o444),
                ("mine", 2, 0o644),
            ] {
                fs::write(path(&format!("{folder}/{file}")), "old").unwrap();
                make(&format!("{folder}/{file}"), owner, bits);
            }
            make(folder, owner, bits);
        }
        let user = |script: &str, input: &[u8]| {
            let mut command = machine.command(script);
            command.uid(2).gid(2).stdin(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let _ = child.stdin.take().unwrap().write_all(input);
            child.wait_with_output().unwrap()
        };
        for at in ["open", "closed", "sticky"] {
            for file in ["theirs", "mine"] {
                let at = format!("{at}/{file}");
                let before = fs::metadata(path(&at)).unwrap();
                let paths = upload_paths(&path(&at)).unwrap();
                let received = user(&receive(&paths), b"new");
                assert!(received.status.success(), "{name}: {at}: {received:?}");
                let installed = user(&install(&paths, FileMode::New(0o600)), b"");
                assert!(installed.status.success(), "{name}: {at}: {installed:?}");
                assert_eq!(
                    fs::read_to_string(path(&at)).unwrap(),
                    "new",
                    "{name}: {at}"
                );
                let after = fs::metadata(path(&at)).unwrap();
                assert_eq!(
                    (after.uid(), after.gid(), after.mode()),
                    (before.uid(), before.gid(), before.mode()),
                    "{name}: {at}"
                );
            }
            let locked = path(&format!("{at}/locked"));
            let received = user(&receive(&upload_paths(&locked).unwrap()), b"new");
            assert_eq!(received.status.code(), Some(READ_ONLY), "{name}: {at}");
            assert_eq!(fs::read_dir(path(at)).unwrap().count(), 3, "{name}: {at}");
        }
    });
}

/// A file that is a mount point, such as `/etc/hosts` of a container.
#[test]
fn mount_points_are_written_in_place() {
    on_every_shell(|machine| {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("hosts"), "old").unwrap();
        fs::write(path("mounted"), "old").unwrap();
        let paths = upload_paths(&path("hosts")).unwrap();
        let script = format!(
            "mount --bind '{mounted}' '{hosts}' && ({receive}) >'{length}' && ({install})",
            mounted = path("mounted"),
            hosts = path("hosts"),
            length = path("length"),
            receive = receive(&paths),
            install = install(&paths, FileMode::New(0o600)),
        );
        let script = script.replace("/bin/sh", machine.shell.to_str().unwrap());
        let mut command = Process::new("unshare");
        command.args(["--mount", machine.shell.to_str().unwrap(), "-c", &script]);
        command.env("PATH", format!("{}:/usr/bin:/bin", machine.path));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(b"new");
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("not permitted") || said.contains("ermission denied") {
            eprintln!("skipped: mount points cannot be made here: {said}");
            return;
        }
        assert!(output.status.success(), "{}: {output:?}", machine.name);
        assert_eq!(
            fs::read_to_string(path("mounted")).unwrap(),
            "new",
            "{}",
            machine.name
        );
        assert_eq!(
            fs::read_to_string(path("hosts")).unwrap(),
            "old",
            "{}",
            machine.name
        );
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            3,
            "{}",
            machine.name
        );
    });
}
