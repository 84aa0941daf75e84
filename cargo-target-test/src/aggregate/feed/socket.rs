//! A Unix socket whose clients get the feed.

use std::{
    io,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex},
    thread,
};

use super::follow::{FeedLength, copy};
use crate::sync;

/// A listening socket of the user; removed when it is dropped.
#[derive(Debug)]
pub(super) struct FeedSocket {
    path: PathBuf,
    listener: UnixListener,
}

impl FeedSocket {
    /// Creates the socket. A socket that a dead run left is replaced.
    pub(super) fn listen(path: &Path) -> io::Result<Self> {
        let is_socket = path
            .symlink_metadata()
            .is_ok_and(|found| found.file_type().is_socket());
        if is_socket && UnixStream::connect(path).is_err() {
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
        Ok(Self {
            path: path.to_owned(),
            listener,
        })
    }

    /// Returns the work of serving the clients: each gets the feed from its beginning, in a thread of its own. It ends when
    /// the feed has ended and the clients have it.
    pub(super) fn clients(
        &self,
        feed: PathBuf,
        progress: Arc<FeedLength>,
    ) -> io::Result<impl FnOnce() -> io::Result<()> + use<>> {
        let listener = self.listener.try_clone()?;
        let user = rustix::process::getuid();
        let active = Arc::<Active>::default();
        let (of_clients, of_feed, counted) = (Arc::clone(&progress), feed.clone(), active.clone());
        let serve = move || {
            for mut client in listener.incoming().flatten() {
                // Connected before the mode of the socket was set.
                let peer = rustix::net::sockopt::socket_peercred(&client);
                if peer.is_ok_and(|peer| peer.uid != user && !peer.uid.is_root()) {
                    continue;
                }
                let (feed, progress) = (of_feed.clone(), Arc::clone(&of_clients));
                let active = ActiveClient::new(&counted);
                let pass_on = move || {
                    let _active = active;
                    let _ = copy(&feed, &progress, &mut client);
                };
                let name = "a client of the feed".to_owned();
                // Without a thread, the client is disconnected.
                let _ = thread::Builder::new().name(name).spawn(pass_on);
            }
        };
        thread::Builder::new()
            .name("clients of the feed".to_owned())
            .spawn(serve)?;
        Ok(move || {
            // Reads to the end of the feed, as a client does.
            copy(&feed, &progress, &mut io::sink())?;
            active.wait();
            Ok(())
        })
    }
}

/// The number of clients that have not got the whole feed.
#[derive(Default)]
struct Active {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Active {
    fn wait(&self) {
        let count = sync::lock(&self.count);
        drop(self.changed.wait_while(count, |count| *count > 0));
    }
}

/// Counts as a client until it is dropped.
struct ActiveClient(Arc<Active>);

impl ActiveClient {
    fn new(active: &Arc<Active>) -> Self {
        *sync::lock(&active.count) += 1;
        Self(Arc::clone(active))
    }
}

impl Drop for ActiveClient {
    fn drop(&mut self) {
        *sync::lock(&self.0.count) -= 1;
        self.0.changed.notify_all();
    }
}

impl Drop for FeedSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
