//! Platform `local`: parameters, and instances that cost nothing.

use serde_json::json;

use super::{
    super::{
        erased::{DynPlatform, Erased},
        values::tests::{parse, spec},
    },
    *,
};
use crate::playbook::PlatformSyntax;

#[test]
fn parameters_and_their_errors() {
    assert_eq!(parse(LocalPlatform, "").unwrap(), json!({"env": {}}));
    let written = parse(LocalPlatform, "env = { A = 'b=c' }").unwrap();
    assert_eq!(written, json!({"env": {"A": "b=c"}}));
    for (text, at, message) in [
        (
            "host = 'a'",
            "host",
            "unknown field `host`, expected one of `env`, `inherit-env`, `user`",
        ),
        (
            "env = 'a'",
            "'a'",
            "invalid type: string \"a\", expected a map",
        ),
        (
            "env = { A = 1 }",
            "1",
            "invalid type: integer `1`, expected a string or a reference such as `{ env = \"NAME\" }`",
        ),
        (
            "env = { 'a=b' = '' }",
            "'a=b'",
            "\"a=b\" cannot be the name of an environment variable",
        ),
        (
            "env = { A = \"\\u0000\" }",
            "\"\\u0000\"",
            "the string contains a NUL byte",
        ),
    ] {
        let (found_at, found) = parse(LocalPlatform, text).unwrap_err();
        assert_eq!((found_at.as_str(), found.as_str()), (at, message));
    }
}

#[test]
fn an_instance_is_a_folder() {
    let directory = tempfile::tempdir().unwrap();
    let platform = Erased(LocalPlatform);
    let spec = spec(directory.path(), json!({"env": {"A": "b"}}));
    let deployed = platform.deploy(&spec, &|_| {}).unwrap();
    assert_eq!(deployed, platform.deploy(&spec, &|_| {}).unwrap());
    let Reach::Local(LocalReach {
        directory: folder,
        env,
        inherit,
        user: None,
    }) = &deployed.reach
    else {
        panic!("{deployed:?}");
    };
    assert!(folder.is_dir());
    assert_eq!(
        (&env["A"], &env["TMPDIR"]),
        (
            &Bound::Plain("b".to_owned()),
            &Bound::Plain(folder.to_str().unwrap().to_owned())
        )
    );
    let inherit = inherit.as_ref().unwrap();
    assert!(
        inherit.iter().any(|name| name == "PATH") && inherit.iter().all(|name| name != "RUSTFLAGS")
    );
    std::fs::write(folder.join("left"), "").unwrap();
    platform.delete(&spec, Some(&deployed)).unwrap();
    assert!(!folder.exists());
    platform.delete(&spec, None).unwrap();
    assert!(directory.path().is_dir());
    assert_eq!(platform.exclusive(&spec).unwrap(), None);
    assert!(platform.count(&json!({})).unwrap() >= 1);
}
