//! The working copy of a run: its repository, its commit and its compiler, found while the tests are built.
//!
//! Must not delay a run: what is not known in time is left out.

use std::{path::Path, sync::mpsc, thread, time::Duration};

use crate::{process, provision::pool::ProcessIdentity, run_event::RunOrigin};

/// The time limit for a program.
const LIMIT: Duration = Duration::from_secs(10);
/// The time for which a run awaits an answer after its build.
const PATIENCE: Duration = Duration::from_secs(1);

/// An answer that another thread finds.
pub struct Pending<T>(mpsc::Receiver<T>);

impl<T: Send + 'static> Pending<T> {
    fn start(find: impl FnOnce() -> T + Send + 'static) -> Self {
        let (tell, answer) = mpsc::channel();
        // Without a thread there is no answer.
        let _ = thread::Builder::new().spawn(move || tell.send(find()));
        Self(answer)
    }

    /// Returns the answer, which comes within the time limits of the programs; `None` if there is none.
    pub fn wait(self) -> Option<T> {
        self.0.recv().ok()
    }

    /// Returns the answer; `None` if a run would be delayed by it.
    pub fn wait_briefly(self) -> Option<T> {
        self.0.recv_timeout(PATIENCE).ok()
    }
}

/// Starts to look for the name of the repository of a workspace: see [`RunOrigin::repository`].
pub fn find_repository(workspace: &Path) -> Pending<String> {
    let workspace = workspace.to_owned();
    Pending::start(move || {
        let urls = said(&workspace, "git", &["config", "--get-regexp", REMOTE_URL]);
        let first = urls.as_deref().and_then(first_remote);
        first.unwrap_or_else(|| workspace.display().to_string())
    })
}

/// Returns the name of the repository of a workspace: see [`RunOrigin::repository`].
pub fn repository(workspace: &Path) -> String {
    let found = find_repository(workspace).wait();
    found.unwrap_or_else(|| workspace.display().to_string())
}

/// Starts to look for commit, compiler and host.
pub fn find_origin(workspace: &Path) -> Pending<RunOrigin> {
    let workspace = workspace.to_owned();
    Pending::start(move || {
        let status = said(&workspace, "git", STATUS).unwrap_or_default();
        let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
        let revision = status.lines().find_map(|line| line.strip_prefix(COMMIT));
        let revision = revision.filter(|commit| !commit.starts_with('('));
        RunOrigin {
            revision: revision.map(str::to_owned),
            dirty: revision.map(|_| status.lines().any(|line| !line.starts_with('#'))),
            rustc: said(&workspace, &rustc, &["--version"]),
            host: Some(ProcessIdentity::current().host).filter(|host| !host.is_empty()),
            ..RunOrigin::default()
        }
    })
}

/// git's keys of the URLs of remotes.
const REMOTE_URL: &str = r"^remote\..*\.url$";
/// The arguments of git for the commit and the changed files.
const STATUS: &[&str] = &[
    "--no-optional-locks",
    "status",
    "--porcelain=v2",
    "--branch",
];
/// The start of the line of `git status` with the commit.
const COMMIT: &str = "# branch.oid ";

/// Returns the trimmed output of a program that succeeds.
fn said(folder: &Path, program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = process::command(program);
    command.args(arguments).current_dir(folder);
    let finished = process::Spawn::new(command).run(b"", LIMIT, &|_| {});
    Some(finished.ok()?.text().ok()?.trim().to_owned())
}

/// Returns the first URL of git's list of remotes, in the form that all clones share.
fn first_remote(list: &str) -> Option<String> {
    let (_, url) = list.lines().next()?.split_once(' ')?;
    Some(shared_name(url))
}

/// Removes the parts of a URL that differ between clones: scheme, user, password, port, and `.git`.
fn shared_name(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let url = url.strip_suffix(".git").unwrap_or(url);
    let (host, path) = match url.split_once("://") {
        Some(("file", path)) => return path.to_owned(),
        Some((_, rest)) => rest.split_once('/').unwrap_or((rest, "")),
        // `git@github.com:acme/widget`, but not `./a:b`
        None => match url.split_once(':') {
            Some((host, path)) if !host.contains('/') => (host, path.trim_start_matches('/')),
            _ => return url.to_owned(),
        },
    };
    let host = host.rsplit('@').next().unwrap_or(host);
    let port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let host = match host.rsplit_once(':') {
        Some((host, last)) if port(last) => host,
        _ => host,
    };
    format!("{}/{path}", host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_one_repository_agree() {
        for url in [
            "https://github.com/acme/widget.git",
            "https://github.com/acme/widget/",
            "https://user:secret@GitHub.com/acme/widget",
            "git@github.com:acme/widget.git",
            "ssh://git@github.com:22/acme/widget.git",
            "git://github.com/acme/widget",
        ] {
            assert_eq!(shared_name(url), "github.com/acme/widget", "{url}");
        }
        for (url, name) in [
            ("/srv/git/widget.git", "/srv/git/widget"),
            ("file:///srv/git/widget.git", "/srv/git/widget"),
            ("../a:b", "../a:b"),
            ("https://[::1]:8080/x", "[::1]/x"),
        ] {
            assert_eq!(shared_name(url), name);
        }
        let list = "remote.b.url https://x/b\nremote.a.url https://x/a\n";
        assert_eq!(first_remote(list).as_deref(), Some("x/b"));
        assert_eq!(first_remote(""), None);
    }

    #[test]
    fn commit_and_changes_of_a_working_copy() {
        let folder = tempfile::tempdir().unwrap();
        let git = |words: &[&str]| said(folder.path(), "git", words).expect("git works");
        let origin = || find_origin(folder.path()).0.recv().unwrap();
        let repository = || find_repository(folder.path()).0.recv().unwrap();
        assert_eq!((origin().revision, origin().dirty), (None, None));
        assert_eq!(repository(), folder.path().display().to_string());
        git(&["init", "--quiet"]);
        assert_eq!((origin().revision, origin().dirty), (None, None));
        std::fs::write(folder.path().join("a"), "").unwrap();
        git(&["add", "a"]);
        let who = ["-c", "user.name=a", "-c", "user.email=a@b"];
        git(&[&who[..], &["commit", "--quiet", "--message", "a"]].concat());
        let clean = origin();
        assert_eq!(clean.revision, Some(git(&["rev-parse", "HEAD"])));
        assert_eq!(clean.dirty, Some(false));
        assert!(clean.rustc.unwrap().starts_with("rustc 1."));
        std::fs::write(folder.path().join("b"), "").unwrap();
        assert_eq!(origin().dirty, Some(true));
        git(&["remote", "add", "origin", "git@example.org:a/b.git"]);
        assert_eq!(repository(), "example.org/a/b");
    }
}
