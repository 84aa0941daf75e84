//! Data of platforms as written to `pool.json`.

use std::path::Path;

use super::{erased::Erased, values::tests::spec, *};

/// A platform that connects itself, or leaves that to the default.
struct Far {
    connects: bool,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct FarParameters {}

impl Platform for Far {
    type Parameters = FarParameters;

    fn name(&self) -> &'static str {
        "far"
    }

    fn deploy(&self, _: &SpecOf<Self>, _: &dyn Fn(&str)) -> Result<Deployed> {
        Ok(Deployed::new("far", Reach::ByPlatform))
    }

    fn delete(&self, _: &SpecOf<Self>, _: Option<&Deployed>) -> Result<()> {
        Ok(())
    }

    fn connect(&self, spec: &InstanceSpec, deployed: &Deployed) -> Arc<dyn Transport> {
        match self.connects {
            true => connect::connect(&spec.instance, &Reach::local("/")),
            false => connect::connect(&spec.instance, &deployed.reach),
        }
    }
}

#[test]
fn a_platform_decides_how_its_instances_are_connected_to() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        for connects in [true, false] {
            let far = Erased(Far { connects });
            let spec = spec(Path::new("/book"), Value::Null);
            let deployed = far.deploy(&spec, &|_| {}).unwrap();
            let command = connect::own_command("echo here".to_owned(), None);
            let ran = far.connect(&spec, &deployed).exec(&command, "", None);
            match ran.finished().await {
                Ok(outcome) => assert_eq!((connects, &*outcome.stdout), (true, &b"here\n"[..])),
                Err(error) => assert_eq!(
                    (connects, error.to_string()),
                    (
                        false,
                        "the platform of `alpha-0` does not connect to it".to_owned()
                    )
                ),
            }
        }
    });
}

#[test]
fn what_a_platform_cannot_do_is_said() {
    let far = Erased(Far { connects: false });
    let spec = spec(Path::new("/book"), Value::Null);
    let deployed = far.deploy(&spec, &|_| {}).unwrap();
    for (done, what) in [
        (far.restart(&spec, &deployed), "restart"),
        (far.snapshot(&spec, &deployed, "x"), "save a snapshot of"),
        (far.restore(&spec, &deployed, "x").map(drop), "restore"),
        (far.link(&spec, &deployed, 0, true), "take down a link of"),
    ] {
        let expected = format!("platform `far` cannot {what} `alpha-0`");
        assert_eq!(done.unwrap_err().to_string(), expected);
    }
}

#[test]
fn parameters_of_another_release_are_an_error() {
    let spec = spec(Path::new("/book"), json!("text"));
    let error = Erased(Far { connects: false })
        .delete(&spec, None)
        .unwrap_err();
    assert_eq!(error.to_string(), "cannot use the parameters of `alpha-0`");
    assert!(error.hint().unwrap().contains("another release"));
}

/// The names of added platforms distinguish brokers.
#[test]
fn a_tool_has_platforms_of_its_own() {
    let tool = Platforms::default().with(Far { connects: true });
    assert_eq!(tool.added(), ["far"]);
    assert!(Platforms::default().added().is_empty());
    assert_eq!(
        Platforms::none().with(Far { connects: true }).all().len(),
        1
    );
    let error = Platforms::default()
        .known("far", Some("/bin/x"))
        .err()
        .unwrap();
    assert_eq!(
        error.hint(),
        Some("it was created by `/bin/x`: use that tool")
    );
}

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

#[test]
fn an_owner_is_named_whole_or_by_its_beginning() {
    let of = |owner: &str| Provenance {
        owner: owner.to_owned(),
        ..Provenance::default()
    };
    for (owner, asked, is_it) in [
        ("ann@lab/x", "ann@lab/x", true),
        ("ann@lab/x", "ann@lab", false),
        ("ann@lab/x", "ann@lab/*", true),
        ("ann@lab/x", "*", true),
        ("ann@lab/x", "bob*", false),
        ("", "", false),
        ("", "*", false),
    ] {
        assert_eq!(of(owner).is_of(asked), is_it, "{owner} {asked}");
    }
}

#[test]
fn a_console_is_read_in_whole_characters_from_where_one_was() {
    let folder = tempfile::tempdir().unwrap();
    let console = folder.path().join("console");
    assert_eq!(read_from(&console, 7, 100).unwrap(), (String::new(), 0));
    std::fs::write(&console, b"a\xff\xc3\xbc\xc3").unwrap();
    let from = |at, most| read_from(&console, at, most).unwrap();
    assert_eq!(from(0, 100), ("a\u{fffd}\u{fc}".to_owned(), 4));
    assert_eq!(from(0, 3), ("a\u{fffd}".to_owned(), 2));
    assert_eq!(from(4, 100), (String::new(), 4));
    assert_eq!(from(u64::MAX, 100), (String::new(), 5));
}
