//! Reads metadata records from the link section of a test binary of any architecture.
//!
//! Must not interpret records.

use std::path::Path;

use object::{FileKind, Object, ObjectSection, ReadCache};
use target_fixtures::metadata::{MetadataRecord, SECTION};

/// The byte before each record (RFC 7464).
const SEPARATOR: u8 = 0x1e;

/// Returns all records of a binary; none if the file is not an object file.
pub(super) fn read(binary: &Path) -> Result<Vec<MetadataRecord>, String> {
    let file = std::fs::File::open(binary).map_err(|error| error.to_string())?;
    let cache = ReadCache::new(file);
    if FileKind::parse(&cache).is_err() {
        return Ok(Vec::new());
    }
    let object = object::File::parse(&cache).map_err(|error| error.to_string())?;
    let mut records = Vec::new();
    for section in object.sections() {
        // Section names of Mach-O start with `__`.
        if section
            .name()
            .is_ok_and(|name| name.trim_start_matches('_') == SECTION)
        {
            records.extend(parse(section.data().map_err(|error| error.to_string())?)?);
        }
    }
    Ok(records)
}

/// Parses the records of a section.
///
/// Each record starts with [`SEPARATOR`] and ends with a newline. Only padding is allowed between records.
fn parse(bytes: &[u8]) -> Result<Vec<MetadataRecord>, String> {
    let mut parts = bytes.split(|byte| *byte == SEPARATOR);
    check_padding(parts.next().unwrap_or_default())?;
    parts.map(record).collect()
}

fn record(part: &[u8]) -> Result<MetadataRecord, String> {
    let end = part
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or("truncated record")?;
    let (json, rest) = part.split_at(end);
    check_padding(&rest[1..])?;
    serde_json::from_slice(json).map_err(|error| {
        let start: String = String::from_utf8_lossy(json).chars().take(80).collect();
        format!("invalid record: {error}: `{start}`")
    })
}

fn check_padding(bytes: &[u8]) -> Result<(), String> {
    match bytes
        .iter()
        .find(|byte| **byte != 0 && !byte.is_ascii_whitespace())
    {
        None => Ok(()),
        Some(byte) => Err(format!("unexpected byte 0x{byte:02x} between records")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str =
        "\x1e{\"kind\":\"test\",\"path\":\"a::b\",\"metadata\":{\"tags\":[\"x\\u001ey\"]}}\n";

    #[test]
    fn padding_around_records_is_ignored() {
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
    fn damaged_records_are_errors() {
        for (bytes, message) in [
            (ONE.trim_end().to_owned(), "truncated record"),
            (ONE.replace("path", "poth"), "invalid record"),
            (ONE.replace("tags", "togs"), "invalid record"),
            (format!("x{ONE}"), "unexpected byte 0x78"),
            (format!("{ONE}\0x"), "unexpected byte 0x78"),
            ("\x1e\n".to_owned(), "invalid record"),
        ] {
            let error = parse(bytes.as_bytes()).expect_err(&bytes);
            assert!(error.contains(message), "{bytes:?}: {error}");
        }
    }

    #[test]
    fn files_without_records_have_none() {
        let this = std::env::current_exe().expect("the test binary");
        assert_eq!(read(&this), Ok(Vec::new()));
        assert!(read(&this.join("nothing")).is_err());
        assert_eq!(read(Path::new(env!("CARGO_MANIFEST_PATH"))), Ok(Vec::new()));
    }
}
