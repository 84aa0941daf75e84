//! `cp`: copies files and folders between this machine and an instance.
//!
//! Must not know how files are transferred.

use std::path::{Path, PathBuf};

use crate::{
    cli::{CpArgs, Global, InstanceArgs, Side},
    commands::interactive::{AccessRequest, MachineGuard},
    connect::download::PathKind,
    error::{Error, Result},
    provision::{LeaseEnd, platform::Platforms},
};

/// A copy; the path on the instance is absolute.
enum Copy {
    Up(PathBuf, String),
    Down(String, PathBuf),
}

/// Runs the verb.
///
/// # Errors
/// Fails if the paths are invalid, or if the instance is unavailable or unreachable.
pub fn verb(platforms: &Platforms, global: &Global, args: &CpArgs) -> Result<u8> {
    let (instance, copy) = read(args)?;
    if let Copy::Up(from, _) = &copy {
        // Checked before waiting for the instance.
        std::fs::metadata(from).map_err(|error| {
            Error::usage(format!("failed to copy `{}`: {error}", from.display()))
        })?;
    }
    let on = InstanceArgs {
        instance,
        all: args.all,
    };
    let ask = AccessRequest {
        platforms,
        global,
        on: &on,
        now: args.now,
        what: "cp",
    };
    ask.run(async |guard, signals| {
        tokio::select! {
            copied = copy.run(guard) => copied.map(|()| (0, LeaseEnd::Done)),
            signal = signals.next() => Ok((signal.code(), LeaseEnd::CutOff)),
        }
    })
}

fn read(args: &CpArgs) -> Result<(String, Copy)> {
    let usage = |message: &str| {
        Err(Error::usage(message)
            .with_hint("`cp notes.txt ubuntu-0:/tmp/`, or `cp ubuntu-0:/var/log/app logs`"))
    };
    let (instance, path, copy) = match (Side::read(&args.from), Side::read(&args.to)) {
        (Side::Here(_), Side::Here(_)) => {
            return usage("neither of the two is a path of an instance, `INSTANCE:/path`");
        }
        (Side::There { .. }, Side::There { .. }) => {
            return usage("one of the two must be a path of this machine");
        }
        (Side::Here(from), Side::There { instance, path }) => {
            (instance, path.clone(), Copy::Up(from, path))
        }
        (Side::There { instance, path }, Side::Here(to)) => {
            (instance, path.clone(), Copy::Down(path, to))
        }
    };
    if !path.starts_with('/') {
        let message = format!("`{instance}:{path}` is not an absolute path on an instance");
        return Err(Error::usage(message).with_hint(format!(
            "write `{instance}:/...`; a path of this machine that contains a colon must begin with `./`"
        )));
    }
    Ok((instance, copy))
}

impl Copy {
    async fn run(&self, guard: &MachineGuard) -> Result<()> {
        let name = guard.machine.name();
        match self {
            Self::Up(from, to) => up(guard, from, to)
                .await
                .map_err(|error| failed(error, &from.display(), &format!("{name}:{to}"))),
            Self::Down(from, to) => down(guard, from, to)
                .await
                .map_err(|error| failed(error, &format!("{name}:{from}"), &to.display())),
        }
    }
}

async fn up(guard: &MachineGuard, from: &Path, to: &str) -> Result<()> {
    let transfer = guard.machine.transfer();
    let there = transfer.look(to).await?;
    let to = match there {
        PathKind::Folder(_) => format!("{}/{}", to.trim_end_matches('/'), last_part(from)?),
        _ => to.trim_end_matches('/').to_owned(),
    };
    if there == PathKind::Missing && to.is_empty() {
        return Err(Error::usage("the path names no file"));
    }
    transfer.put(from, &to).await.map(drop)
}

async fn down(guard: &MachineGuard, from: &str, to: &Path) -> Result<()> {
    let transfer = guard.machine.transfer();
    let there = transfer.look(from).await?;
    let to = match to.is_dir() {
        true => to.join(last_part(Path::new(from))?),
        false => to.to_owned(),
    };
    match there {
        PathKind::Missing => Err(Error::usage("file not found")),
        _ => transfer.get(from, &to).await,
    }
}

/// Returns the name of a copy in an existing folder.
fn last_part(path: &Path) -> Result<String> {
    // `.` and `..` get the name of the folder that they refer to.
    let named = match path.file_name() {
        Some(name) => Some(name.to_owned()),
        None => std::fs::canonicalize(path)
            .ok()
            .and_then(|path| path.file_name().map(ToOwned::to_owned)),
    };
    let named = named.and_then(|name| name.into_string().ok());
    named.ok_or_else(|| {
        let message = format!("cannot derive a file name from `{}`", path.display());
        Error::usage(message)
    })
}

fn failed(error: Error, from: &dyn std::fmt::Display, to: &dyn std::fmt::Display) -> Error {
    let failed = Error::new(error.kind(), format!("failed to copy `{from}` to `{to}`"));
    failed.with_hint_of(&error).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(from: &str, to: &str) -> CpArgs {
        CpArgs {
            from: from.to_owned(),
            to: to.to_owned(),
            ..CpArgs::default()
        }
    }

    #[test]
    fn one_side_is_there() {
        assert!(matches!(
            read(&args("a", "x-0:/b")),
            Ok((name, Copy::Up(from, to))) if name == "x-0" && from == Path::new("a") && to == "/b"
        ));
        assert!(matches!(
            read(&args("x-0:/b:c", "./a:b")),
            Ok((_, Copy::Down(from, to))) if from == "/b:c" && to == Path::new("./a:b")
        ));
        let error = |from, to| read(&args(from, to)).err().unwrap().chain();
        assert!(error("a", "b").contains("neither of the two"));
        assert!(error("x-0:/a", "y-0:/b").contains("of this machine"));
        assert!(error("a", "x-0:b").contains("not an absolute path"));
    }
}
