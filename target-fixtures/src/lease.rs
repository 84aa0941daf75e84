//! Finds the lease of a test process from its environment. Without a runner, starts a broker if necessary and acquires
//! a lease.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use serde::Deserialize;

use crate::{
    Target,
    client::{Client, Leased},
    env as name,
    error::{ErrorKind, TargetError},
    wire::{AcquireRequest, BrokerRequest, ExpectedFailure},
};

type Result<T> = std::result::Result<T, TargetError>;

/// Returns the targets of the test at `path` (`hello::smoke`), and the failures that are expected, if no runner checks
/// that.
pub(crate) fn targets(path: &str) -> Result<(Vec<Target>, Vec<ExpectedFailure>)> {
    let (client, instances, expect_fail) = match of_runner(path) {
        Some((socket, lease)) => {
            let (client, instances) = Client::attach(socket, lease)?;
            (client, instances, Vec::new())
        }
        None => {
            let (client, leased) = own(path)?;
            (client, leased.instances, leased.expect_fail)
        }
    };
    let client = Arc::new(client);
    let targets = instances.into_iter();
    let targets = targets.map(|instance| Target::new(Arc::clone(&client), instance));
    Ok((targets.collect(), expect_fail))
}

/// The order of a broker to tear down a fixture.
#[derive(Deserialize)]
pub(crate) struct TearDown {
    /// The path of the fixture.
    pub(crate) name: String,
    /// The instance the fixture was set up on; `None` for a fixture of the run.
    pub(crate) instance: Option<String>,
    /// The value of the fixture.
    pub(crate) state: serde_json::Value,
}

/// Returns the fixture to tear down if a broker started this process for that purpose; no test may run then. Fails if
/// the order is not for the test at `path`.
pub(crate) fn tear_down(path: &str) -> Option<std::result::Result<TearDown, String>> {
    env::var_os(name::TEAR_DOWN)?;
    let ours = env::var(name::LEASED_TEST).is_ok_and(|test| is_of(path, &test));
    Some(match ours {
        true => serde_json::from_reader(std::io::stdin()).map_err(|error| error.to_string()),
        false => Err(format!("no fixture of `{path}` is to be torn down")),
    })
}

/// Returns the socket and the lease if a runner started this process for the test at `path`.
fn of_runner(path: &str) -> Option<(PathBuf, String)> {
    let leased = env::var(name::LEASED_TEST).ok()?;
    is_of(path, &leased).then_some(())?;
    if let Some(binary) = env::var_os(name::LEASED_BINARY) {
        let ours = env::current_exe().ok();
        let ours = ours.as_deref().and_then(Path::file_name);
        ours.is_none_or(|ours| ours == binary).then_some(())?;
    }
    Some((
        env::var_os(name::BROKER)?.into(),
        env::var(name::LEASE).ok()?,
    ))
}

/// True if `test` is the test at `path`, or a test that `#[rstest]` generated from it.
fn is_of(path: &str, test: &str) -> bool {
    test.strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Acquires a lease for this process.
fn own(path: &str) -> Result<(Client, Leased)> {
    let folder = env::var_os("CARGO_MANIFEST_DIR")
        .map(PathBuf::from)
        .or_else(|| env::current_dir().ok());
    let text = |path: Option<PathBuf>| path.unwrap_or_default().to_string_lossy().into_owned();
    let request = AcquireRequest {
        binary: text(env::current_exe().ok()),
        test: path.to_owned(),
        directory: text(folder),
        target: env::var(name::TARGET).ok().filter(|text| !text.is_empty()),
        playbook: env::var_os(name::PLAYBOOK)
            .filter(|text| !text.is_empty())
            .map(|path| text(Some(absolute(path.into())))),
    };
    // Only one thread starts a broker; the other threads find it running.
    static STARTING: Mutex<()> = Mutex::new(());
    let socket = {
        let _starting = STARTING
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        broker()?
    };
    Client::acquire(socket, &BrokerRequest::Acquire(request))
}

/// Resolves a relative path against the current folder and its parents. Cargo runs a test in the folder of its package,
/// while the user may have started Cargo in a parent folder.
fn absolute(path: PathBuf) -> PathBuf {
    let here = env::current_dir().unwrap_or_default();
    let there = here.ancestors().map(|folder| folder.join(&path));
    let found = there.into_iter().find(|path| path.exists());
    found.unwrap_or(path)
}

/// Returns the socket of the pool's broker. The tool starts a broker if none is running.
fn broker() -> Result<PathBuf> {
    let tool = tool()?;
    let failed = |what: String| {
        TargetError::infra(format!(
            "no broker: `{} broker --ensure` {what}",
            tool.display()
        ))
    };
    let mut child = Command::new(&tool)
        .args(["broker", "--ensure"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("failed to start: {error}")))?;
    let mut line = String::new();
    // Read one line only: the broker may keep the pipe open.
    let read = child
        .stdout
        .take()
        .map(|stdout| BufReader::new(stdout).read_line(&mut line));
    let status = child
        .wait()
        .map_err(|error| failed(format!("was lost: {error}")))?;
    match read {
        Some(Ok(_)) if status.success() && !line.trim().is_empty() => {
            Ok(PathBuf::from(line.trim_end_matches('\n')))
        }
        _ if status.success() => Err(failed("did not print its socket".to_owned())),
        _ => {
            Err(failed(format!("failed ({status})"))
                .with_hint("see its messages on standard error"))
        }
    }
}

/// The tool: `TARGET_TEST_TOOL`, else the workspace's, else `cargo-target-test`. A name is looked up on the search path
/// and where Cargo installs.
fn tool() -> Result<PathBuf> {
    if let Some(told) = env::var_os(name::TOOL).filter(|told| !told.is_empty()) {
        return Ok(told.into());
    }
    let workspace = Workspace::of_this_package();
    let named = workspace.and_then(|workspace| Some((workspace.tool()?, workspace.root)));
    let (tool, root) = named.unwrap_or_else(|| (TOOL.to_owned(), PathBuf::new()));
    if tool.contains(std::path::MAIN_SEPARATOR) {
        return Ok(root.join(tool));
    }
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    find(&tool, env::var_os("PATH"), home.as_deref()).ok_or_else(|| {
        TargetError::new(
            ErrorKind::Infra,
            format!("no broker: `{tool}` is not installed"),
        )
        .with_hint(format!(
            "`cargo install {tool}`, or set `{}` to its path",
            name::TOOL
        ))
    })
}

const TOOL: &str = "cargo-target-test";

/// The workspace, whose metadata may name the tool.
struct Workspace {
    root: PathBuf,
    metadata: serde_json::Value,
}

impl Workspace {
    /// Asks Cargo about this package's workspace; `None` if no manifest there has metadata for us.
    fn of_this_package() -> Option<Self> {
        let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?);
        let mut manifests = package.ancestors().map(|folder| folder.join("Cargo.toml"));
        let names_us = |path: PathBuf| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            text.contains("target-test") && text.contains("metadata")
        };
        if !manifests.any(names_us) {
            return None;
        }
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let asked = Command::new(cargo)
            .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
            .current_dir(package)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        let mut answer: serde_json::Value = serde_json::from_slice(&asked.ok()?.stdout).ok()?;
        Some(Self {
            root: answer["workspace_root"].as_str()?.into(),
            metadata: answer["metadata"]["target-test"].take(),
        })
    }

    /// `tool` in `[workspace.metadata.target-test]`: a program's name, or a path relative to the workspace.
    fn tool(&self) -> Option<String> {
        Some(self.metadata["tool"].as_str()?.to_owned())
    }
}

fn find(tool: &str, search: Option<OsString>, cargo_home: Option<&Path>) -> Option<PathBuf> {
    let folders = search.iter().flat_map(env::split_paths);
    let folders = folders.chain(cargo_home.map(|home| home.join("bin")));
    let name = format!("{tool}{}", env::consts::EXE_SUFFIX);
    folders
        .map(|folder| folder.join(&name))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_lease_is_for_one_test_and_those_made_of_it() {
        assert!(is_of("hello::smoke", "hello::smoke"));
        assert!(is_of("hello::smoke", "hello::smoke::case_1"));
        assert!(!is_of("hello::smoke", "hello::smoke_2"));
        assert!(!is_of("hello::smoke", "hello::other"));
    }

    #[test]
    fn the_tool_is_found_on_the_path_or_where_cargo_installs() {
        let folder = env::temp_dir().join(format!("target-fixtures-find-{}", std::process::id()));
        let bin = folder.join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::write(bin.join(TOOL), "").unwrap();
        assert_eq!(
            find(TOOL, Some("/nowhere".into()), Some(&folder)),
            Some(bin.join(TOOL))
        );
        assert_eq!(
            find(TOOL, Some(bin.clone().into()), None),
            Some(bin.join(TOOL))
        );
        assert_eq!(find(TOOL, None, Some(Path::new("/nowhere"))), None);
        fs::remove_dir_all(folder).unwrap();
    }
}
