//! File requests of a test: writes, reads, uploads and downloads, with progress notes.
//!
//! Must not know how files are transferred (see `connect`).

use std::{io, path::Path, sync::atomic::Ordering, time::Duration};

use serde_json::json;
use target_fixtures::wire::{CHUNK, Reply, Stream};
use tokio::{sync::mpsc, time};

use super::{
    super::{
        active_lease::ActiveLease,
        connection::{Replies, Requests},
    },
    input::{self, Fed, InputFeed},
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

/// Writes the client's input to a file.
pub(super) async fn put(
    requests: &mut Requests,
    replies: &mut Replies,
    held: &ActiveLease,
    at: &Machine,
    (path, mode): (&str, Option<u32>),
) -> io::Result<Result<()>> {
    let (send, pieces) = mpsc::channel(4);
    let transport = at.transport();
    let mode = mode.map_or(FileMode::New(MODE), FileMode::Set);
    let mut feed = InputFeed::file(send);
    let put = held.unless_lost(files::put(&*transport, &held.id, path, mode, pieces));
    tokio::pin!(put);
    loop {
        tokio::select! {
            put = &mut put => return Ok(put),
            fed = feed.next(requests) => {
                if let Fed::Took(bytes) = fed? {
                    replies.send(&Reply::Took { bytes }).await?;
                }
            }
        }
    }
}

/// Sends the content of a file to the client.
pub(super) async fn get(
    requests: &mut Requests,
    replies: &mut Replies,
    held: &ActiveLease,
    at: &Machine,
    path: &str,
) -> io::Result<Result<()>> {
    let (send, mut pieces) = mpsc::channel::<Vec<u8>>(4);
    let transport = at.transport();
    let pass_on = async {
        while let Some(bytes) = pieces.recv().await {
            for piece in bytes.chunks(CHUNK) {
                let stream = Stream::Stdout;
                replies.send_with(&Reply::Data { stream }, piece).await?;
            }
        }
        Ok(())
    };
    let both = async {
        // `get` drops the sender at its end, which ends `pass_on`.
        let got = files::get(&*transport, &held.id, path, send);
        let (got, passed) = tokio::join!(held.unless_lost(got), pass_on);
        let passed: io::Result<()> = passed;
        passed.map(|()| got)
    };
    tokio::select! {
        got = both => got,
        gone = input::gone(requests) => Err(gone),
    }
}

/// The direction of a copy.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Way {
    Up,
    Down,
}

/// Copies a file or folder, from a path to a path.
pub(super) async fn copy(
    requests: &mut Requests,
    replies: &mut Replies,
    held: &ActiveLease,
    at: &Machine,
    (way, from, to): (Way, &str, &str),
) -> io::Result<Result<Reply>> {
    let transfer = at.transfer();
    let copy = async {
        match way {
            Way::Up => {
                let sent = transfer.put(Path::new(from), to).await?;
                Ok(Reply::Answer { value: json!(sent) })
            }
            Way::Down => transfer
                .get(from, Path::new(to))
                .await
                .map(|()| Reply::Done),
        }
    };
    let verb = if way == Way::Up { "put" } else { "get" };
    let told = || format!("{}: {verb} `{from}`", at.name());
    let moved = (&transfer.moved, &told as _);
    noting(requests, replies, moved, held.unless_lost(copy)).await
}

/// Waits for a transfer, and sends the client notes of its progress.
pub(super) async fn noting(
    requests: &mut Requests,
    replies: &mut Replies,
    (moved, told): (&Moved, &(dyn Fn() -> String + Sync)),
    transfer: impl Future<Output = Result<Reply>>,
) -> io::Result<Result<Reply>> {
    tokio::pin!(transfer);
    loop {
        tokio::select! {
            done = &mut transfer => return Ok(done),
            gone = input::gone(requests) => return Err(gone),
            () = time::sleep(APART) => {
                let mib = moved.load(Ordering::Relaxed) as f64 / f64::from(1 << 20);
                let text = format!("{}: {mib:.1} MiB so far", told());
                replies.send(&Reply::Note { text }).await?;
            }
        }
    }
}
