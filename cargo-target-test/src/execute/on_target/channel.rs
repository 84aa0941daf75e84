//! The way from a test on a target to the broker of this host: commands relay the named pipes that the test opens there.
//!
//! The machine is not trusted: what arrives must be requests of the test for its own lease (`passage`).

use std::{collections::BTreeMap, convert::Infallible, path::PathBuf, sync::Arc, time::Duration};

use target_fixtures::wire::{BrokerRequest, Reply, Stream, lengths_of, write_frame};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::JoinSet,
};

use super::{
    passage::{FileCopy, Passage, PassageRules},
    place::TestPlace,
};
use crate::{
    connect::{CommandEvent, Running, own_command, shell},
    error::{Error, Result},
    execute::broker::failure_of,
    provision::Machine,
};

/// The size of a relayed piece, in bytes.
const CHUNK: usize = 64 << 10;
/// The maximum number of connections of one test at a time.
const MOST: usize = 64;
/// The time limit for the end of a channel.
const CLOSE: Duration = Duration::from_secs(5);

/// The channel of one test.
pub(super) struct Channel {
    machine: Machine,
    /// The folder of the pipes.
    folder: String,
    /// The socket of the broker.
    socket: PathBuf,
    rules: Arc<PassageRules>,
    machines: Arc<CopyMachines>,
    /// The command that prints the names of connections.
    asks: Running,
}

impl Channel {
    /// Makes the pipes in a new folder of the machine.
    ///
    /// # Errors
    /// If they cannot be made.
    pub(super) async fn open(
        machine: &Machine,
        folder: String,
        socket: PathBuf,
        (rules, machines): (PassageRules, CopyMachines),
    ) -> Result<Self> {
        let open = own_command(shell::open_channel(&folder)?, None);
        let mut asks = machine.transport().exec(&open, machine.mark(), None);
        let mut said = Vec::new();
        loop {
            match asks.events.recv().await {
                Some(CommandEvent::Output(Stream::Stdout, _)) => break,
                Some(CommandEvent::Output(Stream::Stderr, bytes)) => said.extend(bytes),
                Some(CommandEvent::Lost(error)) => return Err(error),
                Some(CommandEvent::Exited(_)) | None => {
                    let said = String::from_utf8_lossy(&said).trim().to_owned();
                    return Err(Error::usage(format!("failed to make named pipes: {said}")));
                }
            }
        }
        Ok(Self {
            machine: machine.clone(),
            folder,
            socket,
            rules: Arc::new(rules),
            machines: Arc::new(machines),
            asks,
        })
    }

    /// The folder of the pipes.
    pub(super) fn folder(&self) -> &str {
        &self.folder
    }

    /// Relays the connections of the test. Never returns: if the machine is lost, the command of the test reports it.
    pub(super) async fn serve(&mut self) -> Infallible {
        let mut relays = JoinSet::new();
        let mut said = Vec::new();
        while let Some(event) = self.asks.events.recv().await {
            let CommandEvent::Output(Stream::Stdout, bytes) = event else {
                continue;
            };
            said.extend(bytes);
            while let Some(end) = said.iter().position(|byte| *byte == b'\n') {
                let name: Vec<_> = said.drain(..=end).take(end).collect();
                // Further connections wait until one ends.
                while relays.try_join_next().is_some()
                    || relays.len() >= MOST && relays.join_next().await.is_some()
                {}
                // Our client makes no other names.
                let is_plain = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
                if name.iter().all(is_plain) {
                    let name = String::from_utf8_lossy(&name).into_owned();
                    relays.spawn(self.relay(&name));
                }
            }
            if said.len() > CHUNK {
                break;
            }
        }
        std::future::pending().await
    }

    /// Ends the command that prints the names, and removes the pipes. The command's end is awaited: the last channel of a run
    /// closes just before the connection does.
    pub(super) async fn close(self) {
        let ended = tokio::time::timeout(CLOSE, self.asks.signal("KILL"));
        let remove = shell::close_channel(&self.folder);
        let removed = self.machine.run_within(&remove, Some(CLOSE));
        // A machine that is lost has neither.
        let _ = tokio::join!(ended, removed);
    }

    /// Relays one connection until the test closes it.
    fn relay(&self, name: &str) -> impl Future<Output = Result<()>> + Send + use<> {
        let (machine, socket) = (self.machine.clone(), self.socket.clone());
        let (rules, machines) = (Arc::clone(&self.rules), Arc::clone(&self.machines));
        let line = shell::relay_channel(&self.folder, name);
        async move {
            let relay = own_command(line?, None);
            let (send, stdin) = mpsc::channel(4);
            let transport = machine.transport();
            let running = transport.exec(&relay, machine.mark(), Some(stdin));
            let (from, to) = UnixStream::connect(socket).await?.into_split();
            let up = pass_requests(running, to, send.clone(), (&rules, &machines));
            let (passed, ()) = tokio::join!(up, pass_replies(from, send));
            passed
        }
    }
}

/// Sends the broker's replies to the test.
async fn pass_replies(mut from: OwnedReadHalf, to: mpsc::Sender<Vec<u8>>) {
    let mut piece = vec![0; CHUNK];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        if to.send(piece[..read].to_vec()).await.is_err() {
            return;
        }
    }
}

/// Sends the requests of the test to the broker; those that may not pass are answered here.
async fn pass_requests(
    mut running: Running,
    mut to: OwnedWriteHalf,
    back: mpsc::Sender<Vec<u8>>,
    (rules, machines): (&PassageRules, &CopyMachines),
) -> Result<()> {
    let mut said = Vec::new();
    while let Some(event) = running.events.recv().await {
        match event {
            CommandEvent::Output(Stream::Stdout, bytes) => said.extend(bytes),
            CommandEvent::Output(Stream::Stderr, _) => continue,
            CommandEvent::Exited(_) | CommandEvent::Lost(_) => break,
        }
        while let Some((request, frame)) = take_frame(&mut said)? {
            let reply = match rules.passage(&request) {
                Passage::Pass => {
                    to.write_all(&frame).await?;
                    continue;
                }
                Passage::Changed(request) => {
                    let mut frame = Vec::new();
                    write_frame(&mut frame, &request, &[])?;
                    to.write_all(&frame).await?;
                    continue;
                }
                Passage::Answered(reply) => reply,
                Passage::Copied(copy, reply) => match machines.copy(copy).await {
                    Ok(()) => reply,
                    Err(error) => Reply::Failed(failure_of(&error)),
                },
            };
            let mut frame = Vec::new();
            write_frame::<Reply>(&mut frame, &reply, &[])?;
            // Fails if the test has closed the connection.
            let _ = back.send(frame).await;
        }
    }
    Ok(())
}

/// The machines of a lease, between which a test copies files.
pub(super) struct CopyMachines {
    machines: BTreeMap<String, Machine>,
    /// The place of the test, which sees other paths than other processes of its machine.
    place: TestPlace,
}

impl CopyMachines {
    pub(super) fn new<'m>(machines: impl Iterator<Item = &'m Machine>, place: &TestPlace) -> Self {
        let named = machines.map(|machine| (machine.name().to_owned(), machine.clone()));
        Self {
            machines: named.collect(),
            place: place.clone(),
        }
    }

    /// Copies a file or folder, through a folder of this host.
    async fn copy(&self, copy: FileCopy) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let here = folder.path().join("copy");
        let at = |(instance, path): (String, String)| match self.machines.get(&instance) {
            Some(machine) => Ok((machine, self.place.outside(path))),
            None => Err(Error::usage(format!("instance `{instance}` is not leased"))),
        };
        let ((from, read), (to, written)) = (at(copy.from)?, at(copy.to)?);
        from.get(&read, &here).await?;
        to.put(&here, &written).await
    }
}

/// Takes the first frame, if it is complete: the request, and all bytes.
fn take_frame(said: &mut Vec<u8>) -> Result<Option<(BrokerRequest, Vec<u8>)>> {
    let Some(lengths) = said.first_chunk::<8>() else {
        return Ok(None);
    };
    let [header, body] = lengths_of(*lengths)?;
    let length = 8 + header + body;
    if said.len() < length {
        return Ok(None);
    }
    let rest = said.split_off(length);
    let frame = std::mem::replace(said, rest);
    let request = serde_json::from_slice(&frame[8..8 + header])
        .map_err(|error| Error::other(error.to_string()))?;
    Ok(Some((request, frame)))
}
