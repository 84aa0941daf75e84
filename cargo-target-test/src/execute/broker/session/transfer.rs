//! File requests of a test: writes, reads, uploads and downloads, with progress notes.
//!
//! Must not know how files are transferred (see `connect`).

use std::{io, path::Path, sync::atomic::Ordering, time::Duration};

use serde_json::json;
use target_fixtures::wire::{CHUNK, Reply, Stream};
use tokio::{sync::mpsc, time};

use super::{
    Answer, Client,
    input::{self, Fed, InputDestination, InputFeed},
};
use crate::{
    connect::{FileMode, files, upload::Moved},
    error::Result,
    provision::Machine,
};

/// The interval between progress notes of a transfer.
const APART: Duration = Duration::from_secs(2);

/// The permission bits of a new file, unless the client sets others.
const MODE: u32 = 0o644;

impl Client<'_> {
    /// Writes the client's input to a file.
    pub(super) async fn put(&mut self, at: &Machine, path: &str, mode: Option<u32>) -> Answer {
        let (send, pieces) = mpsc::channel(4);
        let transport = at.transport();
        let mode = mode.map_or(FileMode::New(MODE), FileMode::Set);
        let mut feed = InputFeed::new(InputDestination::File(send));
        let put = files::put(&*transport, &self.held.id, path, mode, pieces);
        let put = self.held.unless_lost(put);
        tokio::pin!(put);
        loop {
            tokio::select! {
                put = &mut put => return Ok(put.map(|()| Reply::Done)),
                fed = feed.next(self.requests) => {
                    if let Fed::Took(bytes) = fed? {
                        self.replies.send(&Reply::Took { bytes }).await?;
                    }
                }
            }
        }
    }

    /// Sends the content of a file to the client.
    pub(super) async fn get(&mut self, at: &Machine, path: &str) -> Answer {
        let (send, mut pieces) = mpsc::channel::<Vec<u8>>(4);
        let transport = at.transport();
        let pass_on = async {
            while let Some(bytes) = pieces.recv().await {
                for piece in bytes.chunks(CHUNK) {
                    let stream = Stream::Stdout;
                    let data = Reply::Data { stream };
                    self.replies.send_with(&data, piece).await?;
                }
            }
            io::Result::Ok(())
        };
        let both = async {
            // `get` drops the sender at its end, which ends `pass_on`.
            let got = files::get(&*transport, &self.held.id, path, send);
            let (got, passed) = tokio::join!(self.held.unless_lost(got), pass_on);
            passed.map(|()| got.map(|()| Reply::Done))
        };
        tokio::select! {
            got = both => got,
            gone = input::gone(self.requests) => Err(gone),
        }
    }

    /// Copies a file or folder of this host to an instance.
    pub(super) async fn upload(&mut self, at: &Machine, from: &str, to: &str) -> Answer {
        let transfer = at.transfer();
        let copy = async {
            let sent = transfer.put(Path::new(from), to).await?;
            Ok(Reply::Answer { value: json!(sent) })
        };
        let told = format!("{}: put `{from}`", at.name());
        self.noting(&transfer.moved, &told, copy).await
    }

    /// Copies a file or folder of an instance to this host.
    pub(super) async fn download(&mut self, at: &Machine, from: &str, to: &str) -> Answer {
        let transfer = at.transfer();
        let copy = async {
            transfer.get(from, Path::new(to)).await?;
            Ok(Reply::Done)
        };
        let told = format!("{}: get `{from}`", at.name());
        self.noting(&transfer.moved, &told, copy).await
    }

    /// Puts a program of the workspace on an instance, and answers with its path there.
    pub(super) async fn put_program(&mut self, at: &Machine, name: &str) -> Answer {
        let (held, transfer) = (self.held, at.transfer());
        let put = async {
            let built = held.programs().for_machine(name, at).await?;
            let path = transfer.put_program(&built.path, &built.hash).await?;
            Ok(Reply::Answer { value: json!(path) })
        };
        let told = format!("{}: program `{name}`", at.name());
        self.noting(&transfer.moved, &told, put).await
    }

    /// Waits for a transfer, and sends the client notes of its progress.
    async fn noting(
        &mut self,
        moved: &Moved,
        told: &str,
        transfer: impl Future<Output = Result<Reply>>,
    ) -> Answer {
        let transfer = self.held.unless_lost(transfer);
        tokio::pin!(transfer);
        loop {
            tokio::select! {
                done = &mut transfer => return Ok(done),
                gone = input::gone(self.requests) => return Err(gone),
                () = time::sleep(APART) => {
                    let mib = moved.load(Ordering::Relaxed) as f64 / f64::from(1 << 20);
                    let text = format!("{told}: {mib:.1} MiB so far");
                    self.replies.send(&Reply::Note { text }).await?;
                }
            }
        }
    }
}
