//! Data of platforms as `pool.json` has it.

use super::*;

#[test]
fn ownership_was_once_a_flag() {
    for (written, expected) in [
        ("true", Ownership::Created),
        ("false", Ownership::Existing),
        ("\"created\"", Ownership::Created),
        ("\"existing\"", Ownership::Existing),
        ("\"ephemeral\"", Ownership::Ephemeral),
    ] {
        let read: Ownership = serde_json::from_str(written).unwrap();
        assert_eq!(read, expected, "{written}");
    }
    for one in [
        Ownership::Created,
        Ownership::Existing,
        Ownership::Ephemeral,
    ] {
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<Ownership>(&text).unwrap(), one);
    }
    assert!(serde_json::from_str::<Ownership>("\"rented\"").is_err());
}
