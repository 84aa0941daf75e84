//! The views of tests on a machine: mount namespaces that are made once, and that each test enters.
//!
//! Must not know which files a view shows.

use std::sync::Arc;

use target_fixtures::wire::Stream;
use tokio::sync::mpsc;

use crate::{
    connect::{
        CommandEvent, own_command, shell,
        upload::{TreeRoot, ViewBy},
    },
    error::Result,
    provision::Machine,
};

/// The number of views that a machine keeps: tests of several packages may take turns.
const MOST: usize = 4;

/// The views of a machine, the last used one last.
#[derive(Default)]
pub(super) struct Views {
    kept: Vec<Arc<KeptView>>,
    /// The users who cannot keep views: each of their tests makes its own.
    refused: Vec<ViewBy>,
}

/// A view that a process of the machine keeps. The process ends when this value is dropped, and with the connection.
#[derive(Debug)]
pub(super) struct KeptView {
    by: ViewBy,
    tree: String,
    roots: Vec<TreeRoot>,
    pid: u32,
    /// The standard input of the process.
    input: mpsc::Sender<Vec<u8>>,
}

impl Views {
    /// Returns the view of a tree; `None` if the machine cannot keep it.
    ///
    /// # Errors
    /// If the machine does not answer.
    pub(super) async fn get(
        &mut self,
        machine: &Machine,
        by: ViewBy,
        (tree, roots): (&str, &[TreeRoot]),
    ) -> Result<Option<Arc<KeptView>>> {
        if self.refused.contains(&by) {
            return Ok(None);
        }
        let is_it = |view: &Arc<KeptView>| {
            !view.input.is_closed() && (view.by, &*view.tree, &*view.roots) == (by, tree, roots)
        };
        let view = match self.kept.iter().position(is_it) {
            Some(at) => self.kept.remove(at),
            None => match KeptView::open(machine, by, (tree, roots)).await? {
                Some(view) => Arc::new(view),
                None => {
                    self.refused.push(by);
                    return Ok(None);
                }
            },
        };
        self.kept.push(Arc::clone(&view));
        let old = self.kept.len().saturating_sub(MOST);
        self.kept.drain(..old);
        Ok(Some(view))
    }
}

impl PartialEq for KeptView {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl KeptView {
    /// Starts the process, and tries to enter its view.
    async fn open(
        machine: &Machine,
        by: ViewBy,
        (tree, roots): (&str, &[TreeRoot]),
    ) -> Result<Option<Self>> {
        let (input, stdin) = mpsc::channel(1);
        let keep = own_command(shell::keep_view(by, tree, roots), None);
        // Without the mark of a lease, whose end would kill it.
        let mut running = machine.transport().exec(&keep, "", Some(stdin));
        let said = loop {
            match running.events.recv().await {
                Some(CommandEvent::Output(Stream::Stdout, said)) => break said,
                Some(CommandEvent::Output(Stream::Stderr, _)) => {}
                Some(CommandEvent::Lost(error)) => return Err(error),
                Some(CommandEvent::Exited(_)) | None => return Ok(None),
            }
        };
        tokio::spawn(running.finished());
        let Ok(pid) = String::from_utf8_lossy(&said).trim().parse() else {
            return Ok(None);
        };
        let enter = shell::run_in_kept_view(by, pid, "/");
        let entered = machine.run(&format!("set -- true; {enter}")).await?;
        Ok(entered.accepted().is_ok().then(|| Self {
            by,
            tree: tree.to_owned(),
            roots: roots.to_vec(),
            pid,
            input,
        }))
    }

    /// The id of the process.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }
}
