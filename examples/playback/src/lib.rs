//! A test of three hours, made of events: see `tests/playback.rs` and `orchestration/descriptions`.
//!
//! ```text
//! cd examples/playback
//! cargo target-test --run-orch my_orchestration_test                    # 3 hours
//! cargo target-test --run-orch my_orchestration_test --time-scale 600   # 18 seconds
//! cargo target-test --load-orch                                         # only checks the description
//! ```

use std::{
    fmt, io,
    io::BufRead,
    time::{Duration, Instant},
};

/// A clip: frames of bytes, and how many of them are shown in a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clip {
    /// Frames per second.
    pub rate: u32,
    /// The frames.
    pub frames: Vec<Vec<u8>>,
}

/// The result of a playback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// Frames that were shown.
    pub shown: usize,
    /// Frames that came too late, and were left out.
    pub dropped: usize,
}

/// `shown 8 dropped 0`.
impl fmt::Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shown {} dropped {}", self.shown, self.dropped)
    }
}

impl Clip {
    /// Reads a clip: a line `clip RATE SIZE`, then frames of `SIZE` bytes.
    ///
    /// # Errors
    /// If it cannot be read or is no clip.
    pub fn read(mut from: impl BufRead) -> io::Result<Self> {
        let mut header = String::new();
        from.read_line(&mut header)?;
        let words: Vec<_> = header.split_whitespace().collect();
        let number = |text: &str| text.parse().ok().filter(|number| *number > 0);
        let ["clip", rate, size] = words.as_slice() else {
            return Err(io::Error::other("not a clip"));
        };
        let (Some(rate), Some(size)) = (number(rate), number(size)) else {
            return Err(io::Error::other("a clip without rate or size"));
        };
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)?;
        let frames = bytes.chunks_exact(size as usize).map(<[u8]>::to_vec);
        Ok(Self {
            rate,
            frames: frames.collect(),
        })
    }

    /// Plays the clip in time: waits for the time of each frame, and leaves out the frames whose time has passed.
    pub fn play(&self, mut show: impl FnMut(&[u8])) -> Played {
        let (started, each) = (Instant::now(), Duration::from_secs(1) / self.rate);
        let mut played = Played::default();
        for (number, frame) in (0..).zip(&self.frames) {
            let (at, now) = (each * number, started.elapsed());
            if now > at + each {
                played.dropped += 1;
                continue;
            }
            std::thread::sleep(at.saturating_sub(now));
            show(frame);
            played.shown += 1;
        }
        played
    }
}
