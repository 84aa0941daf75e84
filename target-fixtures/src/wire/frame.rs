//! Reads and writes frames: lengths, header and body.
//!
//! Must not know the messages.

use std::io::{self, Read, Write};

use serde::{Serialize, de::DeserializeOwned};

/// The maximum length of a header or body, in bytes.
pub const LONGEST: u32 = 64 << 20;

/// Writes one frame; the caller flushes.
///
/// # Errors
/// An error of the writer; `InvalidInput` if header or body exceed [`LONGEST`].
pub fn write_frame<T: Serialize>(to: &mut impl Write, header: &T, body: &[u8]) -> io::Result<()> {
    let header = serde_json::to_vec(header)?;
    let mut frame = Vec::with_capacity(8 + header.len() + body.len());
    for part in [header.as_slice(), body] {
        let length = u32::try_from(part.len()).ok().filter(|n| *n <= LONGEST);
        let length = length.ok_or(io::ErrorKind::InvalidInput)?;
        frame.extend_from_slice(&length.to_be_bytes());
    }
    frame.extend_from_slice(&header);
    frame.extend_from_slice(body);
    to.write_all(&frame)
}

/// Reads one frame: its header and body.
///
/// # Errors
/// `UnexpectedEof` if the peer closed the connection; `InvalidData` for lengths over [`LONGEST`] and for headers that
/// cannot be deserialized.
pub fn read_frame<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<(T, Vec<u8>)> {
    let mut lengths = [0; 8];
    from.read_exact(&mut lengths)?;
    let [header, body] = lengths_of(lengths)?;
    let mut bytes = vec![0; header + body];
    from.read_exact(&mut bytes)?;
    let body = bytes.split_off(header);
    Ok((serde_json::from_slice(&bytes)?, body))
}

/// Decodes the lengths of header and body from the first eight bytes of a frame.
///
/// # Errors
/// `InvalidData` for lengths over [`LONGEST`].
pub fn lengths_of(bytes: [u8; 8]) -> io::Result<[usize; 2]> {
    let [a, b, c, d, e, f, g, h] = bytes;
    let lengths = [[a, b, c, d], [e, f, g, h]].map(u32::from_be_bytes);
    if lengths.iter().any(|n| *n > LONGEST) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "frame too long"));
    }
    Ok(lengths.map(|n| n as usize))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::BrokerRequest;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn damaged_frames_are_errors(
            pid in any::<u32>(), at in 0..60_usize, length in 0..12_usize,
            insert in proptest::collection::vec(any::<u8>(), 0..12),
        ) {
            let mut bytes = Vec::new();
            write_frame(&mut bytes, &BrokerRequest::Started { pid }, b"body").expect("a frame");
            let at = at % bytes.len();
            bytes.splice(at..(at + length).min(bytes.len()), insert);
            let mut rest = bytes.as_slice();
            while let Ok((_, body)) = read_frame::<BrokerRequest>(&mut rest) {
                prop_assert!(body.len() <= bytes.len());
            }
        }

        #[test]
        fn frames_are_read_as_written(pid in any::<u32>(), body in proptest::collection::vec(any::<u8>(), 0..99)) {
            let mut bytes = Vec::new();
            write_frame(&mut bytes, &BrokerRequest::Started { pid }, &body).expect("a frame");
            let (request, read) = read_frame::<BrokerRequest>(&mut bytes.as_slice()).expect("a frame");
            let same = matches!(request, BrokerRequest::Started { pid: read } if read == pid);
            prop_assert!(same);
            prop_assert_eq!(read, body);
        }
    }
}
