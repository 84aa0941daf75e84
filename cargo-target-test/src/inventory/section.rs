//! The link section of a test binary.
//!
//! Owns reading records out of an object file of any architecture, without reading the whole file.
//! Must not know what records mean.

use std::path::Path;

use object::{FileKind, Object, ObjectSection, ReadCache};
use target_fixtures::metadata::{Record, SECTION};

/// What starts a record (RFC 7464).
const SEPARATOR: u8 = 0x1e;

/// All records of a binary. A file that is no object file carries none.
pub(super) fn read(binary: &Path) -> Result<Vec<Record>, String> {
    let file = std::fs::File::open(binary).map_err(|error| error.to_string())?;
    let cache = ReadCache::new(file);
    if FileKind::parse(&cache).is_err() {
        return Ok(Vec::new());
    }
    let object = object::File::parse(&cache).map_err(|error| error.to_string())?;
    let mut records = Vec::new();
    for section in object.sections() {
        // Mach-O's sections start with `__`.
        if section
            .name()
            .is_ok_and(|name| name.trim_start_matches('_') == SECTION)
        {
            records.extend(parse(section.data().map_err(|error| error.to_string())?)?);
        }
    }
    Ok(records)
}

/// The records in a section's bytes: each starts with [`SEPARATOR`] and ends with a newline; only
/// padding may stand between.
fn parse(bytes: &[u8]) -> Result<Vec<Record>, String> {
    let mut parts = bytes.split(|byte| *byte == SEPARATOR);
    padding(parts.next().unwrap_or_default())?;
    parts.map(record).collect()
}

fn record(part: &[u8]) -> Result<Record, String> {
    let end = part
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or("a record is cut off")?;
    let (json, rest) = part.split_at(end);
    padding(&rest[1..])?;
    serde_json::from_slice(json).map_err(|error| {
        let start: String = String::from_utf8_lossy(json).chars().take(80).collect();
        format!("a record is damaged: {error}: `{start}`")
    })
}

fn padding(bytes: &[u8]) -> Result<(), String> {
    match bytes
        .iter()
        .find(|byte| **byte != 0 && !byte.is_ascii_whitespace())
    {
        None => Ok(()),
        Some(byte) => Err(format!("byte 0x{byte:02x} stands between two records")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str =
        "\x1e{\"kind\":\"test\",\"path\":\"a::b\",\"metadata\":{\"tags\":[\"x\\u001ey\"]}}\n";

    #[test]
    fn records_are_found_between_padding() {
        for (bytes, count) in [
            (String::new(), 0),
            ("\0\0\0".to_owned(), 0),
            (ONE.to_owned(), 1),
            (format!("\0\0{ONE}\0\0\0{ONE}{ONE}\0"), 3),
        ] {
            assert_eq!(
                parse(bytes.as_bytes()).map(|records| records.len()),
                Ok(count),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn damage_is_an_error() {
        for (bytes, message) in [
            (ONE.trim_end().to_owned(), "cut off"),
            (ONE.replace("path", "poth"), "damaged"),
            (ONE.replace("tags", "togs"), "damaged"),
            (format!("x{ONE}"), "0x78 stands between"),
            (format!("{ONE}\0x"), "0x78 stands between"),
            ("\x1e\n".to_owned(), "damaged"),
        ] {
            let error = parse(bytes.as_bytes()).expect_err(&bytes);
            assert!(error.contains(message), "{bytes:?}: {error}");
        }
    }

    #[test]
    fn this_very_binary_is_read_without_harm() {
        let this = std::env::current_exe().expect("the test binary");
        assert_eq!(read(&this), Ok(Vec::new()));
        assert!(read(&this.join("nothing")).is_err());
        assert_eq!(read(Path::new(env!("CARGO_MANIFEST_PATH"))), Ok(Vec::new()));
    }
}
