//! Tests of the scripts that keep files in folders of all users.

use super::*;

/// Gives a path to another user, which only root can.
fn give_away(path: &str) {
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(path, Some(1), None).unwrap();
    }
}

#[test]
fn only_own_temporary_files_are_removed() {
    on_every_shell(|machine| {
        let mark = nonce();
        machine.text(&remove_temporaries(&mark));
        let [file, folder, link, of_another] = [(); 4].map(|()| temporary(&mark));
        fs::write(&file, "").unwrap();
        fs::create_dir(&folder).unwrap();
        fs::write(format!("{folder}/x"), "").unwrap();
        symlink("/proc/self/status", &link).unwrap();
        fs::write(&of_another, "").unwrap();
        give_away(&of_another);
        machine.text(&remove_temporaries(&mark));
        let name = machine.name;
        assert!(fs::remove_file(&link).is_ok(), "{name}: a link was removed");
        if rustix::process::geteuid().is_root() {
            let kept = fs::remove_file(&of_another);
            assert!(kept.is_ok(), "{name}: another user's file was removed");
        }
        for path in [&file, &folder, &of_another] {
            assert!(fs::metadata(path).is_err(), "{name}: {path} was left");
        }
    });
}

#[test]
fn programs_are_in_a_folder_of_this_user() {
    on_every_shell(|machine| {
        let (name, shared) = (machine.name, tempfile::tempdir().unwrap());
        let at = shared.path().to_str().unwrap();
        let place = |hash: &str| {
            let script = program_place(("kvd", hash, 4), 1).unwrap();
            let said = machine.text(&format!("export TMPDIR={at}; {script}"));
            let (sign, path) = said.trim_end().split_at(1);
            if sign != "+" {
                fs::write(path, "kvd\n").unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
            }
            (sign.to_owned(), path.to_owned())
        };
        let user = rustix::process::geteuid().as_raw();
        let folder = format!("{at}/target-test-programs-{user}");
        // Sent compressed where there is `gzip`.
        let (new, path) = (place("h1").0, format!("{folder}/h1/kvd"));
        assert!(["z", "-"].contains(&new.as_str()), "{name}: {new}");
        assert_eq!(place("h1"), ("+".to_owned(), path.clone()), "{name}");
        // What a full disk or a power loss has left of it is sent again.
        fs::write(&path, "").unwrap();
        assert_eq!(place("h1"), (new.clone(), path.clone()), "{name}");
        assert_eq!(place("h1"), ("+".to_owned(), path), "{name}");
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o7777, 0o700);
        for hash in ["h2", "h3", "h4"] {
            assert_eq!(place(hash).0, new, "{name}");
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3, "{name}");

        // Another user took the name: with a link to a folder of this user, and with a folder.
        fs::rename(&folder, format!("{at}/own")).unwrap();
        symlink("own", &folder).unwrap();
        let (sign, path) = place("h4");
        assert_eq!(sign, new, "{name}");
        assert!(path.starts_with(&format!("{folder}-")), "{name}: {path}");
        let private = path.strip_suffix("/h4/kvd").unwrap();
        assert_eq!(fs::metadata(private).unwrap().mode() & 0o7777, 0o700);
        fs::remove_file(&folder).unwrap();
        fs::write(&folder, "").unwrap();
        assert_eq!(place("h4"), ("+".to_owned(), path.clone()), "{name}");
        if rustix::process::geteuid().is_root() {
            fs::remove_file(&folder).unwrap();
            fs::create_dir(&folder).unwrap();
            give_away(&folder);
            assert_eq!(place("h4"), ("+".to_owned(), path), "{name}");
        }
    });
}
