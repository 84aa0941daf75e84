//! `cp`: files and folders between here and there.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use super::kept;

fn mode(path: &Path) -> u32 {
    let data = fs::metadata(path).expect("a file");
    data.permissions().mode() & 0o7777
}

#[test]
fn files_and_folders_travel_both_ways() {
    let (world, _sshd) = kept();
    let tree = world.path("tree");
    fs::create_dir_all(tree.join("deep")).expect("a folder");
    let big: Vec<u8> = (0..300_000_u32).map(|byte| byte as u8).collect();
    fs::write(tree.join("deep/big file"), &big).expect("a file");
    fs::set_permissions(tree.join("deep/big file"), PermissionsExt::from_mode(0o751))
        .expect("a mode");
    symlink("deep", tree.join("link")).expect("a link");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    for name in ["here-0", "lab-0"] {
        // Both are on this machine's file system.
        let there = world.path(&format!("on-{name}"));
        fs::create_dir(&there).expect("a folder");
        let cp = |from: &str, to: &str| world.run(&["cp", from, to]);
        let at = |path: &str| format!("{name}:{}", text(&there.join(path)));
        let local = |path: &str| text(&world.path(path));

        cp(&local("tree/deep/big file"), &at("one file")).code(0);
        assert_eq!(fs::read(there.join("one file")).expect("a file"), big);
        assert_eq!(mode(&there.join("one file")), 0o751);
        // Into a folder that exists, under its own name.
        cp(&local("tree/deep/big file"), &at("")).code(0);
        assert!(there.join("big file").is_file());
        cp(&local("tree"), &at("new")).code(0);
        assert_eq!(mode(&there.join("new/deep/big file")), 0o751);
        assert_eq!(
            fs::read_link(there.join("new/link")).expect("a link"),
            Path::new("deep")
        );
        cp(&local("tree"), &at("new/")).code(0);
        assert!(there.join("new/tree/deep/big file").is_file());

        let back = world.path(&format!("back-{name}"));
        fs::create_dir(&back).expect("a folder");
        cp(&at("one file"), &text(&back)).code(0);
        assert_eq!(fs::read(back.join("one file")).expect("a file"), big);
        assert_eq!(mode(&back.join("one file")), 0o751);
        cp(&at("one file"), &text(&back.join("renamed"))).code(0);
        assert!(back.join("renamed").is_file());
        cp(&at("new"), &text(&back.join("tree"))).code(0);
        assert_eq!(mode(&back.join("tree/deep/big file")), 0o751);
        assert_eq!(
            fs::read_link(back.join("tree/link")).expect("a link"),
            Path::new("deep")
        );

        cp(&at("none"), &text(&back)).code(2).says("file not found");
        cp(&local("tree/deep/big file"), &at("none/file"))
            .code(2)
            .says("parent folder not found");
        let names = fs::read_dir(&back).expect("a folder").count();
        assert_eq!(names, 3, "nothing is half written");
    }
    let cp = |from: &str, to: &str| world.run(&["cp", from, to]).code(2);
    cp("a", "b").says("neither of the two is a path of an instance");
    cp("here-0:/a", "lab-0:/b").says("one of the two must be a path of this machine");
    cp(&text(&tree), "here-0:relative").says("`here-0:relative` is not an absolute path");
    cp("no such file", "here-0:/tmp").says("failed to copy `no such file`: No such file");
    cp(&text(&tree), "heer-0:/tmp").says("did you mean `here-0`?");
    cp("here-0:/etc/passwd", &text(&world.path("none/passwd"))).says("failed to write");
    world.run(&["--delete-targets"]).code(0);
}

/// A link is followed, and all names of a file have its new content, on both sides.
#[test]
fn what_is_there_is_written_as_by_cp() {
    let (world, _sshd) = kept();
    let new = world.file("new", "new");
    let new = new.to_str().expect("UTF-8");
    for instance in ["here-0", "lab-0"] {
        for name in ["link", "hard"] {
            for (from, to) in [
                (
                    new.to_owned(),
                    format!("{instance}:{}", world.path(name).display()),
                ),
                (
                    format!("{instance}:{new}"),
                    world.path(name).display().to_string(),
                ),
            ] {
                for old in ["file", "link", "hard"] {
                    // Not there the first time.
                    let _ = fs::remove_file(world.path(old));
                }
                let file = world.file("file", "old");
                symlink("file", world.path("link")).expect("a link");
                fs::hard_link(&file, world.path("hard")).expect("a hard link");
                world.run(&["cp", &from, &to]).code(0);
                let link = fs::read_link(world.path("link")).expect("still a link");
                assert_eq!(link, Path::new("file"), "{from} {to}");
                assert_eq!(world.read("file"), "new", "{from} {to}");
                if name == "hard" {
                    assert_eq!(world.read("hard"), "new", "{from} {to}");
                }
            }
        }
    }
    world.run(&["--delete-targets"]).code(0);
}
