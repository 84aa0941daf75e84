//! Plays a clip in time, and prints how many frames were shown and dropped: `player FILE`.

use std::{fs::File, io::BufReader};

use playback::Clip;

fn main() -> std::io::Result<()> {
    let path = std::env::args().nth(1);
    let path = path.ok_or_else(|| std::io::Error::other("usage: player FILE"))?;
    let clip = Clip::read(BufReader::new(File::open(path)?))?;
    let mut checksum = 0_u64;
    let played = clip.play(|frame| {
        let bytes = frame.iter().map(|byte| u64::from(*byte));
        checksum = checksum.wrapping_mul(31).wrapping_add(bytes.sum());
    });
    println!("{played} checksum {checksum}");
    Ok(())
}
