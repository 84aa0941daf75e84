//! The place of a test on its machine: how the machine shows the paths of this host, without touching its own files.
//!
//! Must not know which files a test needs, nor how they are sent.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::view::{KeptView, Views};
use crate::{
    connect::{
        shell,
        upload::{TreeRoot, ViewBy},
    },
    error::Result,
    provision::{Machine, platform::Ownership},
};

/// The way in which a machine shows the paths of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// The machine has these files: it is this host, or shares them.
    Shared,
    /// Copies are at the same paths.
    Plain,
    /// Copies are at the same paths in a mount namespace of the test.
    View(ViewBy),
    /// Copies are elsewhere: paths that are compiled into the test are missing.
    Moved,
}

/// The facts of a machine about paths.
#[derive(Debug, Default, PartialEq)]
struct PathFacts {
    is_shared: bool,
    is_free: bool,
    /// True if something is mounted in a root: a copy at the same path could change the files of this host.
    is_mounted: bool,
    view: Option<ViewBy>,
}

impl PathFacts {
    fn read(said: &str) -> Self {
        let mut facts = Self::default();
        for word in said.lines() {
            match word {
                "shared" => facts.is_shared = true,
                "free" => facts.is_free = true,
                "mounted" => facts.is_mounted = true,
                "root" => facts.view = Some(ViewBy::Root),
                "user" => facts.view = Some(ViewBy::User),
                "fake-root" => facts.view = Some(ViewBy::FakeRoot),
                _ => {}
            }
        }
        facts
    }

    /// Returns the layouts to try, best first. Two instances of machines that we did not create may be one, and then must not
    /// share a folder.
    fn layouts(&self, ownership: Ownership) -> Vec<Layout> {
        let shared = self.is_shared.then_some(Layout::Shared);
        let view = self.view.map(Layout::View);
        // Without a new root, ids cannot be mapped twice.
        let simple = (self.view == Some(ViewBy::User)).then_some(Layout::View(ViewBy::FakeRoot));
        let views = view.into_iter().chain(simple);
        let mut layouts: Vec<_> = match ownership {
            // A created machine that has a file of this host shares its folders.
            Ownership::Created => {
                let is_own = shared.is_none() && !self.is_mounted;
                let plain = is_own.then_some(Layout::Plain);
                shared.into_iter().chain(plain).chain(views).collect()
            }
            Ownership::Ephemeral => shared.into_iter().chain(views).collect(),
            Ownership::Existing => {
                let is_free = self.is_free && !self.is_mounted;
                let free = is_free.then_some(Layout::Plain);
                views.chain(shared).chain(free).collect()
            }
        };
        layouts.push(Layout::Moved);
        layouts
    }
}

/// The paths that a machine must show.
pub(super) struct WantedPaths<'a> {
    /// The folder of the tree on the machine.
    pub(super) tree: &'a str,
    pub(super) roots: &'a [TreeRoot],
    /// The folders in which tests write.
    pub(super) folders: &'a [String],
    /// The number of bytes that the copies need.
    pub(super) room: u64,
    /// Files of this host that a machine has only if it shares them.
    pub(super) marks: &'a [String],
}

/// The test binary of a test.
pub(super) struct PlacedTest<'a> {
    /// The path in the cache of the machine.
    pub(super) cached: &'a str,
    /// The path on this host.
    pub(super) path: &'a str,
    /// The working folder on this host.
    pub(super) folder: &'a str,
    /// The view that it enters; `None` if it makes its own.
    pub(super) view: Option<&'a KeptView>,
}

impl Layout {
    /// Returns the first layout that works on a machine.
    ///
    /// # Errors
    /// If the machine does not answer.
    pub(super) async fn choose(
        machine: &Machine,
        wanted: &WantedPaths<'_>,
        views: &mut Views,
    ) -> Result<Self> {
        let ask = shell::tree_facts(wanted.tree, wanted.roots, wanted.marks)?;
        let said = machine.run(&ask).await?.accepted()?;
        let facts = PathFacts::read(&String::from_utf8_lossy(&said.stdout));
        let record = machine.record();
        let ownership = record.map_or(Ownership::Existing, |record| record.ownership);
        for layout in facts.layouts(ownership) {
            if layout.works(machine, wanted, views).await? {
                return Ok(layout);
            }
        }
        Ok(Self::Moved)
    }

    /// Makes the folders; true if the machine can show them.
    async fn works(
        self,
        machine: &Machine,
        wanted: &WantedPaths<'_>,
        views: &mut Views,
    ) -> Result<bool> {
        let Some(prefix) = self.prefix(wanted.tree) else {
            return Ok(true);
        };
        if self == Self::Plain && are_of_this_host(machine, wanted.folders).await? {
            return Ok(false);
        }
        let folders = (wanted.folders, wanted.room);
        let make = shell::make_folders(wanted.tree, &prefix, folders)?;
        let made = machine.run(&make).await?;
        let by = match (made.accepted(), self) {
            (Ok(_), Self::View(by)) => by,
            (Err(error), Self::Moved) => return Err(error),
            (made, _) => return Ok(made.is_ok()),
        };
        // Files are not there yet.
        let folders = wanted.roots.iter().filter(|root| !root.is_file);
        let roots: Vec<_> = folders.cloned().collect();
        if views
            .get(machine, by, (wanted.tree, &roots))
            .await?
            .is_some()
        {
            return Ok(true);
        }
        let folder = wanted.folders.first().map_or("/", String::as_str);
        let enter = self.enter(wanted.tree, &roots, folder);
        let line = format!("set -- true; {enter}");
        let ended = machine.run(&line).await?;
        Ok(ended.accepted().is_ok())
    }

    /// Returns the folder below which the machine has the copies; `None` if nothing is copied.
    pub(super) fn prefix(self, tree: &str) -> Option<String> {
        match self {
            Self::Shared => None,
            Self::Plain => Some(String::new()),
            Self::View(_) | Self::Moved => Some(format!("{tree}/root")),
        }
    }

    /// Returns the script that runs its arguments in a folder of this host.
    fn enter(self, tree: &str, roots: &[TreeRoot], folder: &str) -> String {
        match self {
            Self::View(by) => shell::run_in_view(by, tree, roots, folder),
            _ => shell::run_in_folder(&(self.prefix(tree).unwrap_or_default() + folder)),
        }
    }

    /// Returns the place of a test.
    pub(super) fn place(self, tree: &str, roots: &[TreeRoot], test: &PlacedTest<'_>) -> TestPlace {
        let prefix = self.prefix(tree);
        let put = prefix
            .as_ref()
            .map(|prefix| shell::place_program(test.cached, &format!("{prefix}{}", test.path)));
        let enter = match (self, test.view) {
            (Self::View(by), Some(view)) => shell::run_in_kept_view(by, view.pid(), test.folder),
            _ => self.enter(tree, roots, test.folder),
        };
        TestPlace {
            script: put.unwrap_or_default() + &enter,
            is_view: matches!(self, Self::View(_)),
            kept: test.view.map(KeptView::pid),
            prefix: prefix.unwrap_or_default(),
            roots: roots.iter().map(|root| root.path.clone()).collect(),
        }
    }
}

/// True if a file that the machine makes in one of the folders is on this host, too.
async fn are_of_this_host(machine: &Machine, folders: &[String]) -> Result<bool> {
    let made = machine.run(&shell::probe_folders(folders)?).await?;
    let made = made.accepted()?.stdout;
    let mut is_here = false;
    for path in String::from_utf8_lossy(&made).lines() {
        if path.contains(shell::PROBE) {
            is_here |= Path::new(path).exists();
            machine.run(&shell::remove(path)).await?.accepted()?;
        }
    }
    Ok(is_here)
}

/// The place of a test on its machine, for the process that stands for the test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TestPlace {
    /// The script that runs its arguments there.
    pub(crate) script: String,
    /// True if the test finds the copies at their paths on this host, and other processes of the machine do not.
    is_view: bool,
    /// A process in the namespace of the test, if one is known.
    kept: Option<u32>,
    /// The folder below which the copies are; empty if they are at their paths on this host.
    prefix: String,
    /// The paths on this host of what was copied.
    roots: Vec<String>,
}

impl TestPlace {
    /// Returns the path at which the test finds a path of this host; other text as it is.
    pub(crate) fn path(&self, text: String) -> String {
        match self.is_view {
            true => text,
            false => self.outside(text),
        }
    }

    /// Returns the path at which other processes of the machine find a path of the test; other text as it is.
    pub(super) fn outside(&self, text: String) -> String {
        if let Some(pid) = self.kept.filter(|_| text.starts_with('/')) {
            return format!("/proc/{pid}/root{text}");
        }
        let is_in = |root: &String| {
            let rest = text.strip_prefix(root.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match self.roots.iter().any(is_in) {
            true => self.prefix.clone() + &text,
            false => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_files_of_machines_are_not_touched() {
        use Layout::{Moved, Plain, Shared, View};
        use Ownership::{Created, Ephemeral, Existing};
        let facts = PathFacts::read;
        let user = [View(ViewBy::User), View(ViewBy::FakeRoot)];
        for (said, ownership, expected) in [
            ("free", Created, vec![Plain, Moved]),
            (
                "free\nroot",
                Created,
                vec![Plain, View(ViewBy::Root), Moved],
            ),
            ("shared", Created, vec![Shared, Moved]),
            (
                "shared\nroot",
                Existing,
                vec![View(ViewBy::Root), Shared, Moved],
            ),
            (
                "free\nuser",
                Existing,
                [&user[..], &[Plain, Moved]].concat(),
            ),
            ("\nfake-root", Existing, vec![View(ViewBy::FakeRoot), Moved]),
            ("free", Existing, vec![Plain, Moved]),
            ("mounted\nfree", Existing, vec![Moved]),
            ("mounted\nroot", Created, vec![View(ViewBy::Root), Moved]),
            ("", Existing, vec![Moved]),
            ("shared", Ephemeral, vec![Shared, Moved]),
            ("free", Ephemeral, vec![Moved]),
        ] {
            assert_eq!(
                facts(said).layouts(ownership),
                expected,
                "{said:?} {ownership:?}"
            );
        }
    }

    #[test]
    fn variables_name_moved_paths() {
        let moved = TestPlace {
            prefix: "/c/root".to_owned(),
            roots: ["/w/a", "/w/target"].map(str::to_owned).to_vec(),
            ..TestPlace::default()
        };
        let view = TestPlace {
            is_view: true,
            ..moved.clone()
        };
        for (text, expected) in [
            ("/w/a", "/c/root/w/a"),
            ("/w/target/debug/app", "/c/root/w/target/debug/app"),
            ("/w/ab", "/w/ab"),
            ("0.1.0", "0.1.0"),
        ] {
            assert_eq!(moved.path(text.to_owned()), expected);
            assert_eq!(view.path(text.to_owned()), text);
            assert_eq!(view.outside(text.to_owned()), expected);
            assert_eq!(TestPlace::default().path(text.to_owned()), text);
        }
    }
}
