//! Properties of [`PoolState::step`] over random histories, and the description of changed keys.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::connect::Reach;

pub(crate) fn record(id: &str, target: &str, index: u32, hash: &str) -> Record {
    Record {
        id: id.to_owned(),
        spec: InstanceSpec {
            provenance: Default::default(),
            instance: format!("{target}-{index}"),
            target: target.to_owned(),
            index,
            label: "tt-000000".to_owned(),
            unique: id.to_owned(),
            parameters: Value::Null,
            directory: PathBuf::new(),
            scratch: PathBuf::new(),
            nics: Vec::new(),
            peers: Vec::new(),
            place: None,
        },
        platform: "fake".to_owned(),
        tool: None,
        ownership: Ownership::Created,
        keys: BTreeMap::new(),
        hash: hash.to_owned(),
        features: Vec::new(),
        workspace: PathBuf::new(),
        playbook: None,
        lease: id.to_owned(),
        state: RecordState::Planned,
        deployed: None,
        demand: Footprint::default(),
        when_dirty: WhenDirty::Forget,
        facts: InstanceFacts::new(),
        kept: false,
        up: false,
        created: 0,
        ready: None,
        lifetime: Default::default(),
    }
}

fn deployed() -> Deployed {
    Deployed {
        host: "localhost".to_owned(),
        port: None,
        user: None,
        data: Value::Null,
        reach: Reach::local(""),
    }
}

/// The record (an existing one, or a missing one) and its event.
fn history() -> impl Strategy<Value = Vec<(usize, u8, u32, bool)>> {
    prop::collection::vec((0..6usize, 0..13u8, 0..3u32, any::<bool>()), 0..120)
}

fn event(state: &PoolState, kind: u8, index: u32, hash: bool) -> RecordEvent {
    match kind {
        0..4 => RecordEvent::Plan(Box::new(record(
            &state.next_id(),
            "alpha",
            index,
            if hash { "a" } else { "b" },
        ))),
        4 => RecordEvent::Create,
        5 => RecordEvent::Deployed(Box::new(deployed())),
        6 => RecordEvent::Ready(1, InstanceFacts::new()),
        7 => RecordEvent::MarkDirty("x".to_owned()),
        8 if hash && index == 0 => RecordEvent::Up,
        8 if hash => RecordEvent::Keep,
        8 => RecordEvent::Renew(index.into()),
        9 => RecordEvent::Delete,
        11 => RecordEvent::Moved(Box::new(deployed())),
        10 => RecordEvent::DeleteFailed("y".to_owned()),
        _ => RecordEvent::Gone,
    }
}

proptest! {
    #[test]
    fn no_history_breaks_the_pool(history in history()) {
        let mut state = PoolState::new("tt-000000".to_owned());
        let mut ever: BTreeSet<String> = BTreeSet::new();
        for (which, kind, index, hash) in history {
            let event = event(&state, kind, index, hash);
            let id = match &event {
                RecordEvent::Plan(record) => record.id.clone(),
                _ => state.records.keys().nth(which).cloned().unwrap_or("tt-0-0".to_owned()),
            };
            let before = state.clone();
            let outcome = state.step(&id, event.clone());
            if outcome.is_err() {
                prop_assert_eq!(&before, &state, "a refused event changes nothing");
                continue;
            }
            prop_assert!(state.counter >= before.counter);
            for (old, record) in &before.records {
                let deleting = matches!(record.state, RecordState::Deleting { .. });
                prop_assert!(
                    state.records.contains_key(old) || (deleting && event == RecordEvent::Gone),
                    "a record vanishes only from `deleting`"
                );
                if deleting && let Some(now) = state.records.get(old) {
                    prop_assert!(matches!(now.state, RecordState::Deleting { .. }), "no way back");
                }
            }
            for id in state.records.keys().filter(|id| !before.records.contains_key(*id)) {
                prop_assert!(ever.insert(id.clone()), "an id is never used again");
            }
            let records: Vec<&Record> = state.records.values().collect();
            for (at, one) in records.iter().enumerate() {
                prop_assert!(one.state != RecordState::Ready || one.deployed.is_some());
                prop_assert!(records[at + 1..].iter().all(|other| !other.serves_as(one)));
            }
        }
    }

    #[test]
    fn what_is_written_is_read(history in history()) {
        let mut state = PoolState::new("tt-000000".to_owned());
        for (which, kind, index, hash) in history {
            let event = event(&state, kind, index, hash);
            let id = state.records.keys().nth(which).cloned().unwrap_or(state.next_id());
            let _ = state.step(&id, event);
        }
        let text = serde_json::to_string(&state).unwrap();
        prop_assert_eq!(state, serde_json::from_str::<PoolState>(&text).unwrap());
    }
}

#[test]
fn changed_keys_are_named() {
    let mut record = record("tt-000000-1", "alpha", 0, "a");
    let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    };
    record.keys = pairs(&[("port", "22"), ("user", "root")]);
    assert_eq!(
        record.changed(&pairs(&[("port", "23"), ("user", "root")])),
        "key `port` changed"
    );
    assert_eq!(
        record.changed(&pairs(&[("port", "23"), ("memory", "1")])),
        "keys `memory`, `port`, `user` changed"
    );
    record.keys = pairs(&[("params", "{}")]);
    assert_eq!(
        record.changed(&pairs(&[("params.wait", "3")])),
        "key `params.wait` changed"
    );
}

#[test]
fn a_disabled_instance_serves_again_when_its_time_is_over() {
    let mut state = PoolState::new("tt-000001".to_owned());
    let one = record("tt-000001-1", "alpha", 0, "h");
    let id = one.id.clone();
    state
        .step(&id, RecordEvent::Plan(Box::new(one.clone())))
        .unwrap();
    let disabled = |until| Disabled {
        reason: "bad RAM".to_owned(),
        until,
    };
    let key = disabled_key(&one);
    assert_eq!(key, "#alpha-0");
    for (until, now, is_disabled) in [(None, 7, true), (Some(8), 7, true), (Some(8), 8, false)] {
        let event = RecordEvent::Disable(disabled(until));
        state.step(&key, event).unwrap();
        assert_eq!(
            state.disabled(&one, now).is_some(),
            is_disabled,
            "{until:?}"
        );
        let left = Arc::new(state.clone()).without(&BTreeSet::new(), Some(now));
        assert_eq!(left.records.is_empty(), is_disabled);
    }
    state.step(&key, RecordEvent::Enable).unwrap();
    assert_eq!(state.disabled(&one, 0), None);
    // An existing machine is disabled under all its names.
    let host = Record {
        ownership: crate::provision::platform::Ownership::Existing,
        lease: "host-00".to_owned(),
        ..one
    };
    assert_eq!(disabled_key(&host), "host-00");
}

#[test]
fn an_expiry_moves_when_half_of_the_lifetime_is_over() {
    let mut one = record("tt-000000-1", "alpha", 0, "a");
    one.lifetime = Lifetime {
        run: 100,
        kept: 1000,
    };
    one.spec.provenance.expires = 100;
    assert_eq!(one.renewal(99), None, "nobody owns it");
    one.spec.provenance.owner = "ann".to_owned();
    assert_eq!((one.renewal(50), one.renewal(51)), (None, Some(151)));
    one.kept = true;
    assert_eq!(one.renewal(0), Some(1000));
}
