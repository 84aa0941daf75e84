//! The stream of a port: frames, each after its length. Must not block.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
};

/// The maximum length of a frame. QEMU sends none that is longer.
const LONGEST: usize = 68 << 10;
/// The maximum number of bytes that wait for a machine which does not read them. More are lost, as at a network card.
const WAITING: usize = 1 << 20;

/// A connected machine.
pub(super) struct PortStream {
    pub(super) socket: UnixStream,
    read: Vec<u8>,
    unsent: VecDeque<u8>,
}

impl PortStream {
    pub(super) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let (read, unsent) = (Vec::new(), VecDeque::new());
        Ok(Self {
            socket,
            read,
            unsent,
        })
    }

    /// Reads what has arrived and passes each whole frame to `take`.
    ///
    /// # Errors
    /// The stream has ended, or does not carry frames.
    pub(super) fn receive(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut chunk = [0; 64 << 10];
        match self.socket.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => self.read.extend_from_slice(&chunk[..length]),
            Err(error) if is_early(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
        let mut rest = &self.read[..];
        while let Some((length, after)) = rest.split_first_chunk() {
            let length = u32::from_be_bytes(*length) as usize;
            if length > LONGEST {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let Some((frame, after)) = after.split_at_checked(length) else {
                break;
            };
            take(frame);
            rest = after;
        }
        self.read = rest.to_vec();
        Ok(())
    }

    /// Queues a frame for the machine, if there is room.
    pub(super) fn queue(&mut self, frame: &[u8]) {
        if self.unsent.len() + frame.len() <= WAITING {
            self.unsent.extend((frame.len() as u32).to_be_bytes());
            self.unsent.extend(frame);
        }
    }

    /// True if bytes wait.
    pub(super) fn is_waiting(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Sends as much as the machine takes now.
    ///
    /// # Errors
    /// The stream has ended.
    pub(super) fn send(&mut self) -> io::Result<()> {
        while self.is_waiting() {
            match self.socket.write(self.unsent.as_slices().0) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if is_early(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// True if the call is to be repeated later.
fn is_early(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (PortStream, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        (PortStream::new(near).unwrap(), far)
    }

    #[test]
    fn frames_are_found_in_any_pieces() {
        let bytes = b"\0\0\0\x03abc\0\0\0\0\0\0\0\x02de";
        for size in [1, 2, 5, 100] {
            let (mut stream, mut far) = pair();
            let mut found = Vec::new();
            for piece in bytes.chunks(size) {
                far.write_all(piece).unwrap();
                stream.receive(|frame| found.push(frame.to_vec())).unwrap();
            }
            assert_eq!(found, [&b"abc"[..], b"", b"de"], "{size}");
        }
    }

    #[test]
    fn a_stream_ends_with_its_machine_or_with_nonsense() {
        let (mut stream, mut far) = pair();
        stream.receive(|_| unreachable!()).unwrap();
        far.write_all(&[0xff; 4]).unwrap();
        stream.receive(|_| unreachable!()).unwrap_err();
        let (mut stream, far) = pair();
        drop(far);
        stream.receive(|_| unreachable!()).unwrap_err();
    }

    #[test]
    fn a_machine_that_does_not_read_gets_whole_frames_later() {
        let (mut stream, mut far) = pair();
        for _ in 0..4000 {
            stream.queue(&[7; 1000]);
            stream.send().unwrap();
        }
        assert!(stream.unsent.len() <= WAITING + 4);
        far.set_nonblocking(true).unwrap();
        let mut got = Vec::new();
        let mut chunk = [0; 4096];
        while stream.is_waiting() || got.len() % 1004 != 0 {
            stream.send().unwrap();
            let length = far.read(&mut chunk).unwrap();
            got.extend_from_slice(&chunk[..length]);
        }
        let mut frames = got.chunks(1004);
        assert!(
            frames.all(|frame| frame[..4] == 1000_u32.to_be_bytes() && frame[4..] == [7; 1000])
        );
    }
}
