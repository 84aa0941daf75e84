//! `init`: writes a first playbook and a first test into a package.
//!
//! Must not overwrite anything.

use std::{
    io::{ErrorKind::AlreadyExists, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use toml_edit::{DocumentMut, InlineTable, Item, Table, Value};

use crate::{
    bounded,
    cli::{Global, InitArgs, InitPlatform},
    error::{Error, Result},
    playbook::shown_path,
    provision::platform::Platforms,
    run::workspace::Workspace,
    ui,
};

/// The crate that tests depend on.
const FIXTURES: &str = "target-fixtures";
/// The requirement on its version.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION_MAJOR"),
    ".",
    env!("CARGO_PKG_VERSION_MINOR")
);
/// The folder of the crate in the clone that this program was built from.
const CLONE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target-fixtures");
/// The first test.
const TEST: NewFile = NewFile {
    path: "tests/target.rs",
    text: include_str!("init/answers.rs"),
    mode: 0o666,
};
/// The programs of platform `command`.
const PROGRAMS: [NewFile; 2] = [
    NewFile {
        path: "target-test/deploy",
        text: include_str!("init/deploy.sh"),
        mode: 0o777,
    },
    NewFile {
        path: "target-test/delete",
        text: include_str!("init/delete.sh"),
        mode: 0o777,
    },
];

/// A file to write.
struct NewFile {
    /// Relative to the package.
    path: &'static str,
    text: &'static str,
    /// Before the user's umask.
    mode: u32,
}

/// Runs the verb.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) outside a package; fails if the playbook that exists is invalid, or if a file cannot be written.
pub fn verb(platforms: &Platforms, global: &Global, args: &InitArgs) -> Result<u8> {
    let package = package()?;
    let workspace = Workspace::of_package(platforms, global, &package)?;
    match &workspace.playbook.path {
        Some(path) => ui::note(format!("kept {}", shown_path(path).display())),
        None => {
            let playbook = NewFile {
                path: "target-test.toml",
                text: playbook(args.platform),
                mode: TEST.mode,
            };
            write(&package, &playbook)?;
            let programs = PROGRAMS.iter();
            let mut programs = programs.filter(|_| args.platform == InitPlatform::Command);
            programs.try_for_each(|program| write(&package, program))?;
        }
    }
    write(&package, &TEST)?;
    add_dependency(&package.join("Cargo.toml"), dependency(Path::new(CLONE)))?;
    let edit = edit(args.platform).filter(|_| workspace.playbook.path.is_none());
    ui::note(match edit {
        Some(edit) => {
            format!("next: set {edit} in target-test.toml, then run `cargo target-test`")
        }
        None => "next: run `cargo target-test`".to_owned(),
    });
    Ok(0)
}

/// Returns the folder of the package that contains the current folder.
fn package() -> Result<PathBuf> {
    let here = std::env::current_dir()?;
    let found = here
        .ancestors()
        .find(|folder| folder.join("Cargo.toml").exists());
    let Some(folder) = found else {
        let message = "no `Cargo.toml` in the current folder or above it";
        return Err(Error::usage(message).with_hint(
            "create a package first: `cargo init --lib`, then `cargo target-test init`",
        ));
    };
    match manifest(&folder.join("Cargo.toml"))?.contains_key("package") {
        true => Ok(folder.to_owned()),
        false => Err(Error::usage(format!(
            "`{}` has no package",
            folder.join("Cargo.toml").display()
        ))
        .with_hint("run it in the folder of the package that gets the test")),
    }
}

fn manifest(path: &Path) -> Result<DocumentMut> {
    let parsed: std::result::Result<DocumentMut, _> = bounded::read_to_string(path)?.parse();
    parsed.map_err(|error| {
        let message = format!("failed to read `{}`", path.display());
        Error::build(message).with_source(error)
    })
}

/// Returns the playbook for a platform.
fn playbook(platform: InitPlatform) -> &'static str {
    match platform {
        InitPlatform::Local => include_str!("init/local.toml"),
        InitPlatform::Container => include_str!("init/container.toml"),
        InitPlatform::Qemu => include_str!("init/qemu.toml"),
        InitPlatform::Ssh => include_str!("init/ssh.toml"),
        InitPlatform::Command => include_str!("init/command.toml"),
    }
}

/// Returns the keys of the playbook that must be edited before the first run, if any.
fn edit(platform: InitPlatform) -> Option<&'static str> {
    match platform {
        InitPlatform::Qemu => Some("`image`"),
        InitPlatform::Ssh => Some("`hosts`"),
        InitPlatform::Local | InitPlatform::Container | InitPlatform::Command => None,
    }
}

/// Writes a file, unless it exists.
fn write(package: &Path, file: &NewFile) -> Result<()> {
    let path = package.join(file.path);
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create_new(true);
    options.options_mut().mode(file.mode);
    let shown = shown_path(&path);
    match options.open(&path) {
        Ok(mut new) => {
            new.write_all(file.text.as_bytes())?;
            ui::note(format!("created {}", shown.display()));
            Ok(())
        }
        Err(error) if error.kind() == AlreadyExists => {
            ui::note(format!("kept {}", shown.display()));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the dependency: the path of the crate if the clone still has it, else the version.
fn dependency(clone: &Path) -> Value {
    match clone.canonicalize() {
        Ok(folder) if folder.join("Cargo.toml").exists() => {
            let path = Value::from(folder.to_string_lossy().into_owned());
            InlineTable::from_iter([("path", path)]).into()
        }
        _ => VERSION.into(),
    }
}

/// Adds the dev-dependency, unless the package has it.
fn add_dependency(path: &Path, dependency: Value) -> Result<()> {
    let mut manifest = manifest(path)?;
    let has = |table: &str| {
        let table = manifest.get(table).and_then(Item::as_table_like);
        table.is_some_and(|table| table.contains_key(FIXTURES))
    };
    let shown = shown_path(path);
    if has("dependencies") || has("dev-dependencies") {
        ui::note(format!("kept {}, which has {FIXTURES}", shown.display()));
        return Ok(());
    }
    let table = manifest
        .entry("dev-dependencies")
        .or_insert(Item::Table(Table::new()));
    let added = format!(
        "added {FIXTURES} = {dependency} to the dev-dependencies in {}",
        shown.display()
    );
    table[FIXTURES] = dependency.into();
    fs_err::write(path, manifest.to_string())?;
    ui::note(added);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_playbook_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        for program in PROGRAMS {
            write(folder.path(), &program).expect("a program");
        }
        for platform in [
            InitPlatform::Local,
            InitPlatform::Container,
            InitPlatform::Qemu,
            InitPlatform::Ssh,
            InitPlatform::Command,
        ] {
            let path = folder.path().join("target-test.toml");
            fs_err::write(&path, playbook(platform)).expect("a playbook");
            let syntax = Platforms::default();
            crate::playbook::load(Some(&path), &[], &syntax.syntax()).expect("valid");
        }
    }

    #[test]
    fn the_dependency_is_added_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("Cargo.toml");
        for (before, after) in [
            (
                "[package]\nname = \"a\"\n",
                "[package]\nname = \"a\"\n\n[dev-dependencies]\ntarget-fixtures = \"0.1\"\n",
            ),
            (
                "[dev-dependencies]\nb = \"1\" # why\n",
                "[dev-dependencies]\nb = \"1\" # why\ntarget-fixtures = \"0.1\"\n",
            ),
        ] {
            fs_err::write(&path, before).expect("a manifest");
            for _ in 0..2 {
                add_dependency(&path, dependency(Path::new("/no/clone"))).expect("added");
                assert_eq!(fs_err::read_to_string(&path).expect("a manifest"), after);
            }
        }
    }

    #[test]
    fn the_dependency_is_the_crate_of_the_clone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().canonicalize().expect("a path");
        assert_eq!(dependency(&path).to_string(), format!("{VERSION:?}"));
        fs_err::write(path.join("Cargo.toml"), "").expect("a manifest");
        let expected = format!("{{ path = {path:?} }}");
        assert_eq!(dependency(&path.join(".")).to_string(), expected);
    }
}
