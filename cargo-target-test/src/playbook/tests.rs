//! Tests of `load` with whole playbooks and with platforms made for the tests.

mod platforms;

use proptest::prelude::*;
use serde_json::json;

use self::platforms::PLATFORMS;
use super::*;
use crate::{ErrorKind, commands::check, provision::platform::Platforms};

/// Loads this text from a file `playbook.toml`.
fn load_text(text: impl AsRef<[u8]>, sets: &[&str]) -> Result<Playbook> {
    load_with(text, sets, &PLATFORMS)
}

/// The same with the built-in platforms.
fn load_built_in(text: impl AsRef<[u8]>, sets: &[&str]) -> Result<Playbook> {
    load_with(text, sets, &Platforms::default().syntax())
}

fn load_with(
    text: impl AsRef<[u8]>,
    sets: &[&str],
    platforms: &[&dyn PlatformSyntax],
) -> Result<Playbook> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("playbook.toml");
    std::fs::write(&path, text).unwrap();
    let sets: Vec<_> = sets.iter().map(|&set| set.to_owned()).collect();
    load(Some(&path), &sets, platforms)
}

const LAYERS: &str = r#"
select = "all"

[platforms.qemu]
kernel = "vmlinuz"
memory = "1 GiB"
count = 2
features = ["virtio"]
params = { a = 1, b = { x = 1, y = 2 } }

[[targets]]
name = "v1.2"
platform = "qemu"
memory = "2 GiB"
cost = 2
features = ["gpu", "kvm", "gpu"]
capabilities = { memory = "2 GiB", cores = 4, load = 0.5 }
params.b.y = 3

[[targets]]
name = "v1"
platform = "qemu"
"#;

#[test]
fn without_a_file_there_is_the_embedded_target() {
    let playbook = load(None, &[], &PLATFORMS).unwrap();
    assert_eq!((playbook.path, playbook.select), (None, Select::Auto));
    assert_eq!(playbook.directory, std::env::current_dir().unwrap());
    let [target] = playbook.targets.as_slice() else {
        panic!("one target")
    };
    assert_eq!(
        (target.name.as_str(), target.platform, target.count),
        ("local", "local", 7)
    );
    assert_eq!((target.cost, target.parameters.clone()), (1.0, json!({})));
}

#[test]
fn layers() {
    let sets = [
        "targets.v1.2.params.b.x=9",
        "targets.v1.memory=4GiB",
        "targets.v1.port=22",
    ];
    let playbook = load_text(LAYERS, &sets).unwrap();
    let [first, second] = playbook.targets.as_slice() else {
        panic!("two targets")
    };
    assert_eq!(playbook.select, Select::All);
    assert_eq!(first.features, ["gpu", "kvm"]);
    assert_eq!(second.features, ["virtio"]);
    assert_eq!((first.count, first.cost, second.cost), (2, 2.0, 1.0));
    let capabilities: Vec<_> = first.capabilities.iter().collect();
    let text = |text: &str| text.to_owned();
    assert_eq!(
        capabilities,
        [
            (&text("cores"), &text("4")),
            (&text("load"), &text("0.5")),
            (&text("memory"), &text("2 GiB"))
        ]
    );
    assert_eq!(
        first.parameters["params"],
        json!({"a": 1, "b": {"x": 9, "y": 3}})
    );
    assert_eq!(first.parameters["memory"], "2 GiB");
    assert_eq!(
        (&second.parameters["memory"], &second.parameters["port"]),
        (&json!("4GiB"), &json!(22))
    );
    assert_eq!(second.origins["memory"], Origin::Set);
    assert_eq!(second.origins["kernel"], Origin::Platform);
    assert_eq!(first.origins["params.b.y"], Origin::Target);
    assert_eq!(
        first
            .definition
            .changed_key(&second.definition.keys)
            .as_deref(),
        Some("features")
    );
}

const ENVIRONMENT_TEXT: &str = r#"
[[targets]]
name = "vm"
platform = "qemu"
kernel = "vmlinuz"
memory = "1 GiB"
count = 9
features = ["kvm"]

[environments.lan]
networks = { lab = { subnet = "10.1.0.0/24" }, wan = {}, bare = { configure = false } }

[environments.lan.roles.gateway]
target = "vm"
memory = "2 GiB"
features = ["kvm", "routed"]
networks = ["lab", { name = "wan", address = "192.168.1.7/28" }, "bare"]

[environments.lan.roles.tester]
target = "vm"
count = 2
networks = ["lab", "wan", { name = "bare", configure = true }]
"#;

#[test]
fn an_environment_is_a_target_of_machines() {
    let sets = [
        "environments.lan.count=3",
        "environments.lan.roles.tester.memory=4 GiB",
        "targets.vm.port=2222",
    ];
    let playbook = load_built_in(ENVIRONMENT_TEXT, &sets).unwrap();
    let [vm, lan] = playbook.targets.as_slice() else {
        panic!("two targets: {playbook:?}")
    };
    assert_eq!((vm.name.as_str(), vm.count), ("vm", 9));
    assert_eq!((lan.name.as_str(), lan.count, lan.cost), ("lan", 3, 3.0));
    assert_eq!(lan.features, ["kvm"]);
    let machines: Vec<_> = lan.machines().collect();
    assert_eq!(machines, ["gateway", "tester1", "tester2"]);
    assert_eq!(lan.machines_of("tester").count(), 2);
    assert_eq!(lan.capabilities["gateway.memory"], "2 GiB");
    assert_eq!(lan.capabilities["tester2.memory"], "4 GiB");
    let parameters: EnvironmentParameters = serde_json::from_value(lan.parameters.clone()).unwrap();
    let addresses = parameters.machines.iter().map(|machine| {
        let nics = machine.networks.iter();
        let address = |nic: &MachineNetwork| nic.address.clone().unwrap_or_default();
        nics.map(address).collect::<Vec<_>>().join(" ")
    });
    assert_eq!(
        addresses.collect::<Vec<_>>(),
        [
            "10.1.0.1/24 192.168.1.7/28 ",
            "10.1.0.2/24 192.168.1.1/28 10.77.0.1/24",
            "10.1.0.3/24 192.168.1.2/28 10.77.0.2/24"
        ]
    );
    let ports = parameters
        .machines
        .iter()
        .map(|machine| &machine.parameters["port"]);
    assert!(ports.clone().all(|port| *port == 2222), "{ports:?}");
    // The definition changes with that of a role, and not with the number of environments.
    let other = |set| {
        load_built_in(ENVIRONMENT_TEXT, &[set])
            .unwrap()
            .targets
            .remove(1)
    };
    let plain = load_built_in(ENVIRONMENT_TEXT, &[])
        .unwrap()
        .targets
        .remove(1);
    let hash = |target: &PlaybookTarget| target.definition.hash.clone();
    assert_eq!(hash(&plain), hash(&other("environments.lan.count=5")));
    let changed = other("environments.lan.roles.gateway.memory=3 GiB");
    let key = changed.definition.changed_key(&plain.definition.keys);
    assert_eq!(key.as_deref(), Some("roles.gateway.memory"));
    let unknown = load_built_in(ENVIRONMENT_TEXT, &["environments.lna.count=2"]).unwrap_err();
    assert!(
        unknown.to_string().contains("did you mean `lan`?"),
        "{unknown}"
    );
    // The text that `check` prints has the same meaning.
    let again = load_built_in(check::to_text(&playbook), &[]).unwrap();
    assert_eq!(hash(&again.targets[1]), hash(&playbook.targets[1]));
}

#[test]
fn count_and_cost_are_no_part_of_the_definition() {
    let hash = |sets: &[&str]| {
        load_text(LAYERS, sets).unwrap().targets[0]
            .definition
            .hash
            .clone()
    };
    let plain = hash(&[]);
    let excluded = [
        "targets.v1.2.count=9",
        "targets.v1.2.cost=9",
        "targets.v1.2.capabilities.x=1",
    ];
    assert_eq!(plain, hash(&excluded));
    assert_ne!(plain, hash(&["targets.v1.2.kernel=other"]));
    assert_ne!(plain, hash(&["targets.v1.2.features=[]"]));
}

#[test]
fn two_clones_share_a_definition() {
    let one = load_text(LAYERS, &[]).unwrap();
    let mut other = load_text(LAYERS, &[]).unwrap();
    assert_ne!(one.directory, other.directory);
    assert!(one.directory.is_absolute());
    for (target, again) in one.targets.iter().zip(&mut other.targets) {
        assert_ne!(target.directory, again.directory);
        again.directory.clone_from(&target.directory);
    }
    assert_eq!(one.targets, other.targets);
}

#[test]
fn what_check_prints_means_the_same() {
    let playbook = load_text(LAYERS, &["targets.v1.2.params.\u{e9}=1"]).err();
    assert_eq!(playbook.map(|error| error.kind()), Some(ErrorKind::Usage));
    let playbook = load_text(LAYERS, &["targets.v1.2.params.c=[1, {d = 'x'}]"]).unwrap();
    let text = check::to_text(&playbook);
    assert!(
        text.contains("# [platforms.qemu]") && text.contains("# --set"),
        "{text}"
    );
    let again = load_text(&text, &[]).unwrap();
    for (target, again) in playbook.targets.iter().zip(&again.targets) {
        assert_eq!(target.definition, again.definition, "{text}");
        assert_eq!((&target.name, target.count), (&again.name, again.count));
        assert_eq!(target.capabilities, again.capabilities);
    }
    let json: Value = serde_json::from_str(&check::to_json(&playbook).unwrap()).unwrap();
    assert_eq!(
        json["targets"][0]["definition"]["hash"],
        playbook.targets[0].definition.hash
    );
    assert_eq!(json["targets"][0]["origins"]["params.c"], "set");
}

#[test]
fn wrong_sets_are_usage_errors_that_name_them() {
    let cases = [
        ("targets.v1.memory", "has no `=`"),
        ("target.v1.memory=1", "does not start with `targets.`"),
        ("targets.v2.memory=1", "did you mean `v1`?"),
        (
            "targets.zebra.memory=1",
            "names the unknown target `zebra` (targets: `v1.2`, `v1`)",
        ),
        ("targets.v1=1", "does not name a key"),
        ("targets.v1.=1", "has an invalid key"),
        ("targets.v1.a..b=1", "has an invalid key"),
        ("targets.v1.name=x", "would rename the target"),
        ("targets.v1.features=[1", "has a malformed value"),
    ];
    for (set, expected) in cases {
        let error = load_text(LAYERS, &[set]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{set}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("`--set {set}` ")), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn wrong_values_in_sets_point_into_them() {
    let cases = [
        ("targets.v1.prot=22", "--> --set:1:12"),
        ("targets.v1.port = 99999", "--> --set:1:19"),
        ("targets.v1.disk={size=1, x=2}", "--> --set:1:26"),
        ("targets.v1.platform=kemu", "--> --set:1:21"),
        ("targets.v1.count=0", "--> --set:1:18"),
    ];
    for (set, place) in cases {
        let error = load_text(LAYERS, &["targets.v1.memory=2GiB", set]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Playbook, "{set}");
        assert!(
            error.to_string().contains(place) && error.to_string().contains(set),
            "{error}"
        );
    }
}

#[test]
fn all_problems_at_once_in_order() {
    let text = "selekt = 1\n[platforms.qemu]\nmemry = 1\nkernel = 1\n[[targets]]\nname = 'a'\n\
                platform = 'qemu'\n[[targets]]\nname = 'a'\nplatform = 'qemu'\ncost = -1\ncount = 0\n";
    let error = load_text(text, &[]).unwrap_err().to_string();
    let lines: Vec<_> = error
        .lines()
        .filter_map(|line| line.split("playbook.toml:").nth(1))
        .collect();
    let expected = ["1:1", "1:10", "3:1", "4:10", "9:8", "11:8", "12:9"];
    assert_eq!(lines, expected, "{error}");
}

#[test]
fn the_schema_has_every_platform() {
    let schema = schema(&PLATFORMS);
    let cases = schema["properties"]["targets"]["items"]["allOf"]
        .as_array()
        .unwrap();
    let names: Vec<_> = cases
        .iter()
        .map(|case| &case["then"]["properties"]["platform"]["const"])
        .collect();
    assert_eq!(names, ["local", "qemu"]);
    let qemu = &cases[1]["then"];
    for key in [
        "name",
        "count",
        "features",
        "cost",
        "capabilities",
        "kernel",
        "memory",
        "disk",
    ] {
        assert!(qemu["properties"][key].is_object(), "{key}: {schema:#}");
    }
    assert_eq!(qemu["additionalProperties"], false);
    let defaults = &schema["properties"]["platforms"]["properties"]["qemu"]["properties"];
    assert!(defaults["memory"].is_object() && defaults["name"].is_null());
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    let text = schema.to_string();
    assert!(!text.contains("\"default\":null"), "{schema:#}");
    for reference in text
        .split("\"$ref\":\"#")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
    {
        assert!(
            schema.pointer(reference).is_some(),
            "{reference} in {schema:#}"
        );
    }
}

#[test]
fn deep_nesting_is_refused_or_read() {
    for depth in [50, 100_000] {
        let keys = vec!["a"; depth].join(".");
        let arrays = format!("a = {}", "[".repeat(depth));
        let tables = format!("a = {}", "{a=".repeat(depth));
        for text in [arrays, tables, format!("[{keys}]"), format!("{keys} = 1")] {
            assert_eq!(
                load_text(&text, &[]).unwrap_err().kind(),
                ErrorKind::Playbook
            );
        }
        let error = load_text(LAYERS, &[&format!("targets.v1.{keys}=1")]).unwrap_err();
        assert!(matches!(
            error.kind(),
            ErrorKind::Playbook | ErrorKind::Usage
        ));
    }
}

#[test]
fn a_thousand_targets_are_read() {
    let target =
        |i: u32| format!("[[targets]]\nname = \"t{i}\"\nplatform = \"qemu\"\nkernel = \"k\"\n");
    let text: String = (0..1000).map(target).collect();
    assert_eq!(load_text(&text, &[]).unwrap().targets.len(), 1000);
}

fn never_panics(text: &[u8], sets: &[&str]) -> std::result::Result<(), TestCaseError> {
    if let Err(error) = load_text(text, sets) {
        prop_assert!(
            matches!(error.kind(), ErrorKind::Playbook | ErrorKind::Usage),
            "{:?}",
            error
        );
        prop_assert!(!error.to_string().is_empty());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn random_bytes(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        never_panics(&text, &[])?;
    }

    #[test]
    fn random_characters(text in "(\\PC|[\\[\\]=\"'.{},#\r\n\ttargetsplatforms]){0,80}") {
        never_panics(text.as_bytes(), &[])?;
    }

    #[test]
    fn mutated_playbooks(
        at in 0..LAYERS.len(), length in 0..40_usize, insert in "(\\PC|[\\[\\]=\"'.{},#0-9\r\n\t -]){0,12}",
    ) {
        let mut text = LAYERS.as_bytes().to_vec();
        let end = (at + length).min(text.len());
        text.splice(at..end, insert.bytes());
        never_panics(&text, &[])?;
    }

    #[test]
    fn random_sets(key in "[a-z.=]{0,12}", value in "(\\PC|[\\[\\]=\"'.{},#0-9\n]){0,16}") {
        let set = format!("targets.v1.{key}={value}");
        never_panics(LAYERS.as_bytes(), &[&set])?;
        let set = format!("targets.v1.params.{value}");
        never_panics(LAYERS.as_bytes(), &[&set, &value])?;
    }
}
