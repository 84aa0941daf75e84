//! A link that is slow or breaks: a proxy in front of a server on loopback.
//!
//! Owns what happens to bytes on their way, and the counting of round trips. Must not know what they mean.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

/// The fault of the first connection, after the given number of bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Lives,
    /// Closed after so many bytes to the server.
    CutOnTheWay(usize),
    /// Closed after so many bytes from the server.
    CutOnTheWayBack(usize),
}

#[derive(Default)]
struct ProxyState {
    /// The longest chain of question and answer that has arrived, at the client and at the server.
    trips: [usize; 2],
    /// Bytes that came from the client, and from the server.
    bytes: [usize; 2],
    connections: Vec<TcpStream>,
    /// The number of connections so far.
    accepted: usize,
}

pub(crate) struct Proxy {
    port: u16,
    state: Arc<Mutex<ProxyState>>,
}

impl Proxy {
    /// In front of a port on 127.0.0.1, each way taking `delay`. Its threads end with the test's process.
    pub(crate) fn new(to: u16, delay: Duration, fate: Fate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state: Arc<Mutex<ProxyState>> = Arc::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else {
                    continue;
                };
                let ends = [client, server];
                for end in &ends {
                    end.set_nodelay(true).unwrap();
                }
                let mut state = shared.lock().unwrap();
                state.accepted += 1;
                let fate = match state.accepted {
                    1 => fate,
                    _ => Fate::Lives,
                };
                state
                    .connections
                    .extend(ends.iter().map(|end| end.try_clone().unwrap()));
                drop(state);
                for side in [0, 1] {
                    carry(&ends, side, (delay, fate), &shared);
                }
            }
        });
        Self { port, state }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Round trips that had to be waited for, one after the other, until what the client has got now.
    pub(crate) fn trips(&self) -> usize {
        self.state.lock().unwrap().trips[0]
    }

    /// Bytes so far: to the server, and from it.
    pub(crate) fn bytes(&self) -> [usize; 2] {
        self.state.lock().unwrap().bytes
    }

    pub(crate) fn accepted(&self) -> usize {
        self.state.lock().unwrap().accepted
    }

    /// Cuts all connections that there are.
    pub(crate) fn cut(&self) {
        for connection in self.state.lock().unwrap().connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

/// Carries bytes from one end to the other: 0 is the client.
fn carry(
    ends: &[TcpStream; 2],
    from: usize,
    (delay, fate): (Duration, Fate),
    state: &Arc<Mutex<ProxyState>>,
) {
    let clone = |at: usize| ends[at].try_clone().unwrap();
    let (mut source, mut sink, other) = (clone(from), clone(1 - from), clone(from));
    let (send, arriving) = mpsc::channel::<(Instant, usize, Vec<u8>)>();
    let (reading, writing) = (Arc::clone(state), Arc::clone(state));
    let mut left = match (from, fate) {
        (0, Fate::CutOnTheWay(bytes)) | (1, Fate::CutOnTheWayBack(bytes)) => bytes,
        _ => usize::MAX,
    };
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = source.read(&mut buffer) {
            let mut state = reading.lock().unwrap();
            state.bytes[from] += read;
            // An answer is one trip more than the question that arrived before it.
            let trips = state.trips[from] + from;
            drop(state);
            let _ = send.send((Instant::now() + delay, trips, buffer[..read].to_vec()));
        }
    });
    thread::spawn(move || {
        for (due, trips, bytes) in arriving {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let mut state = writing.lock().unwrap();
            state.trips[1 - from] = state.trips[1 - from].max(trips);
            drop(state);
            let some = bytes.len().min(left);
            left -= some;
            if sink.write_all(&bytes[..some]).is_err() || left == 0 {
                break;
            }
        }
        for end in [sink, other] {
            let _ = end.shutdown(Shutdown::Both);
        }
    });
}
