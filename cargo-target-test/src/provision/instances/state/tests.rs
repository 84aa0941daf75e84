//! Sequences of what can happen to the instances of a target, and what is decided.

use super::{super::backlog::Need, *};
use crate::provision::pool::{InstanceFacts, record_for_tests};

/// The events of the table.
#[derive(Clone, Copy)]
enum Happens {
    /// A case is to be run: its name, its count, whether it spends its instances.
    Expect(&'static str, u32, bool),
    Done(&'static str),
    BeginMissing,
    Begin(usize),
    /// A slot's instance is ready, under this record and with this number of cores.
    Ready(usize, &'static str, u32),
    /// The same on a machine that others are on too.
    ReadyOn(usize, &'static str, &'static str),
    Fails(usize),
    Lost(&'static str),
    /// The verdict on a slot's instance is infra, this many times.
    Infra(usize, u32),
    Serves(usize),
    /// The records that must not serve a request for this many.
    Aside(usize),
    /// A request for this many, with a requirement; the records that the pool could lease.
    Short(usize, &'static str, &'static [&'static str]),
    /// Surplus is taken while these records are leased.
    Surplus(&'static [&'static str]),
    Left(usize, bool),
    /// This much later.
    Later(u64),
    Forgive,
}
use Happens::*;

fn broken() -> Error {
    Error::new(ErrorKind::Unfit, "broken")
}

/// Runs the events and returns what each decided, with the slots after it, one letter each.
fn run(slots: usize, at_once: usize, events: &[Happens]) -> Vec<String> {
    let (mut state, mut now) = (InstancesState::new("a", slots, at_once), Instant::now());
    let step = |event: &Happens| {
        let decided = step(&mut state, &mut now, *event);
        let slots: String = state.slots.iter().map(letter).collect();
        format!("{slots} {decided}").trim_end().to_owned()
    };
    events.iter().map(step).collect()
}

fn step(state: &mut InstancesState, now: &mut Instant, event: Happens) -> String {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    match event {
        Expect(case, count, spends) => state.backlog.expect(("/b", case), Need { count, spends }),
        Done(case) => state.backlog.done(("/b", case)),
        BeginMissing => return format!("{:?}", state.begin_missing(*now)),
        Begin(index) => return state.begin(index, *now).to_string(),
        Ready(index, id, cores) => {
            let mut ready = ready(id, index);
            ready.record.facts = InstanceFacts::from([("cores".to_owned(), cores.to_string())]);
            state.ended(index, Ok(ready), *now);
        }
        ReadyOn(index, id, lease) => {
            let mut ready = ready(id, index);
            lease.clone_into(&mut ready.record.lease);
            state.ended(index, Ok(ready), *now);
        }
        Fails(index) => state.ended(index, Err(broken()), *now),
        Lost(id) => state.lost(id, *now),
        Infra(index, times) => {
            let each = (0..times).flat_map(|_| state.judged(index, true));
            return format!("{:?}", each.collect::<Vec<_>>());
        }
        Serves(index) => return format!("{:?}", state.judged(index, false)),
        Aside(count) => {
            let needs = Needs::new();
            let asked = Asked {
                count,
                needs: &needs,
                only: None,
            };
            return format!("{:?}", state.set_aside(asked));
        }
        Short(count, cores, serving) => {
            let needs = Needs::from([("cores".to_owned(), cores.to_owned())]);
            let needs = if cores.is_empty() {
                Needs::new()
            } else {
                needs
            };
            let (needs, only) = (&needs, None);
            let asked = Asked { count, needs, only };
            return match state.shortage(asked, &set(serving), *now) {
                Shortage::Begin(index) => format!("begin {index}"),
                Shortage::Coming => "coming".to_owned(),
                Shortage::Never(failed) => format!("never: {}", failed),
            };
        }
        Surplus(leased) => {
            let taken = state.take_surplus(&set(leased));
            let ids: Vec<_> = taken.iter().map(|(_, one)| &*one.record.id).collect();
            return ids.join(" ");
        }
        Left(index, gone) => state.left(index, gone, *now),
        Later(seconds) => *now += Duration::from_secs(seconds),
        Forgive => state.forgive(*now),
    }
    String::new()
}

fn ready(id: &str, index: usize) -> ReadyInstance {
    let index = u32::try_from(index).unwrap_or_default();
    ReadyInstance {
        reused: false,
        record: record_for_tests(id, "a", index, "h"),
        story: String::new(),
    }
}

fn letter(slot: &Slot) -> char {
    match slot {
        Slot::Idle => '.',
        Slot::Working => 'w',
        Slot::Ready(_) => 'R',
        Slot::Failed(..) => 'F',
        Slot::Leaving(_) => 'l',
        Slot::Gone(_) => 'g',
    }
}

#[test]
fn as_many_are_begun_as_the_backlog_needs() {
    let unknown = run(3, 2, &[BeginMissing, BeginMissing]);
    assert_eq!(unknown, ["ww. [0, 1]", "ww. []"], "spares are not begun");
    let events = [
        Expect("x", 1, false),
        BeginMissing,
        Expect("y", 2, false),
        BeginMissing,
        Expect("z", 1, true),
        BeginMissing,
        Begin(0),
    ];
    let known = run(3, 2, &events);
    let after = [
        "...",
        "w.. [0]",
        "w..",
        "ww. [1]",
        "ww.",
        "www [2]",
        "www false",
    ];
    assert_eq!(known, after);
}

#[test]
fn a_lost_instance_is_begun_again_and_a_failed_one_is_not() {
    let events = [
        BeginMissing,
        Ready(0, "r0", 1),
        Fails(1),
        Lost("r0"),
        BeginMissing,
        Later(1),
        Forgive,
        Later(2),
        Forgive,
        BeginMissing,
    ];
    let after = [
        "ww [0, 1]",
        "Rw",
        "RF",
        ".F",
        "wF [0]",
        "wF",
        "wF",
        "wF",
        "w.",
        "ww [1]",
    ];
    assert_eq!(run(2, 2, &events), after);
}

#[test]
fn a_shortage_ends_with_what_can_be_done_about_it() {
    let two_ready = [BeginMissing, Ready(0, "r0", 1), Ready(1, "r1", 2)];
    for (slots, then, decided) in [
        (2, Short(1, "", &["r0", "r1"]), "RR coming"),
        (2, Short(1, "", &["r1"]), ".R coming"),
        (2, Short(2, "", &["r1"]), "wR begin 0"),
        (2, Short(1, ">= 2", &["r0"]), "Rw begin 1"),
        (
            2,
            Short(1, ">= 9", &["r0", "r1"]),
            "RR never: needs cores >= 9, `a-0` has 1",
        ),
        (
            2,
            Short(2, ">= 2", &["r0", "r1"]),
            "RR never: needs cores >= 2, `a-0` has 1",
        ),
        (3, Short(2, ">= 2", &["r0", "r1"]), "RRw begin 2"),
    ] {
        let events = [two_ready.as_slice(), &[then]].concat();
        let all = run(slots, 2, &events);
        assert_eq!(all.last().map(String::as_str), Some(decided));
    }
}

#[test]
fn only_one_slot_may_be_asked_for() {
    let (mut state, now) = (InstancesState::new("a", 2, 2), Instant::now());
    state.begin_missing(now);
    state.ended(0, Ok(ready("r0", 0)), now);
    let (serving, needs) = (BTreeSet::from(["r0".to_owned()]), Needs::new());
    let ask = |state: &mut InstancesState| {
        let asked = Asked {
            count: 1,
            needs: &needs,
            only: Some(1),
        };
        state.shortage(asked, &serving, now)
    };
    assert!(matches!(ask(&mut state), Shortage::Coming));
    state.ended(1, Err(broken()), now);
    let Shortage::Never(failed) = ask(&mut state) else {
        panic!();
    };
    assert_eq!(failed.to_string(), "broken");
}

#[test]
fn instances_that_are_one_machine_are_leased_once() {
    let events = [
        BeginMissing,
        ReadyOn(0, "r0", "host"),
        Short(2, "", &["r0"]),
        ReadyOn(1, "r1", "host"),
        Short(2, "", &["r0", "r1"]),
        Short(1, "", &["r0", "r1"]),
    ];
    let after = [
        "ww [0, 1]",
        "Rw",
        "Rw coming",
        "RR",
        "RR never: `a` never had 2 instances ready at once",
        "RR coming",
    ];
    assert_eq!(run(2, 2, &events), after);
}

#[test]
fn failures_count_only_where_too_few_are_left() {
    let events = [
        BeginMissing,
        Fails(0),
        Short(1, "", &[]),
        Short(2, "", &[]),
        Fails(1),
        Short(1, "", &[]),
    ];
    let after = [
        "ww [0, 1]",
        "Fw",
        "Fw coming",
        "Fw never: broken",
        "FF",
        "FF never: broken",
    ];
    assert_eq!(run(2, 2, &events), after);
}

#[test]
fn surplus_goes_and_comes_back_when_it_is_needed() {
    let events = [
        Expect("x", 1, false),
        Expect("y", 1, false),
        BeginMissing,
        Ready(0, "r0", 1),
        Ready(1, "r1", 1),
        Surplus(&[]),
        Done("x"),
        Surplus(&["r1"]),
        Left(0, false),
        Surplus(&["r0"]),
        Left(1, true),
        Done("y"),
        Surplus(&["r0"]),
        Expect("z", 2, false),
        BeginMissing,
    ];
    let after = [
        "..",
        "..",
        "ww [0, 1]",
        "Rw",
        "RR",
        "RR",
        "RR",
        "lR r0",
        "RR",
        "Rl r1",
        "Rg",
        "Rg",
        "Rg",
        "Rg",
        "Rw [1]",
    ];
    assert_eq!(run(2, 2, &events), after);
}

#[test]
fn after_three_infra_another_one_serves_instead() {
    let two_ready = [BeginMissing, Ready(0, "r0", 1), Ready(1, "r1", 1)];
    for (then, decided) in [
        (&[Serves(1), Infra(0, 2), Aside(1)][..], "RR {}"),
        (&[Serves(1), Infra(0, 3)], "RR [0]"),
        (&[Infra(0, 3), Serves(1)], "RR [0]"),
        (&[Infra(0, 3), Aside(1)], "RR {}"),
        (&[Serves(1), Infra(0, 3), Aside(1)], "RR {\"r0\"}"),
        // All are needed.
        (&[Serves(1), Infra(0, 3), Aside(2)], "RR {}"),
        (&[Serves(1), Infra(0, 2), Serves(0), Infra(0, 1)], "RR []"),
        // The other one does not serve any more.
        (&[Serves(1), Infra(0, 3), Infra(1, 1), Aside(1)], "RR {}"),
        (
            &[Serves(1), Infra(0, 3), Lost("r1"), BeginMissing],
            "Rw [1]",
        ),
        (
            &[
                Serves(1),
                Infra(0, 3),
                Lost("r1"),
                BeginMissing,
                Fails(1),
                Aside(1),
            ],
            "RF {}",
        ),
        // It is not deployed again, unless it is needed.
        (&[Serves(1), Infra(0, 3), Lost("r0"), BeginMissing], ".R []"),
        (
            &[Serves(1), Infra(0, 3), Lost("r0"), Short(1, "", &["r1"])],
            ".R coming",
        ),
        (
            &[Serves(1), Infra(0, 3), Lost("r0"), Short(2, "", &["r1"])],
            "wR begin 0",
        ),
        (
            &[Serves(1), Infra(0, 3), Lost("r1"), Short(1, "", &["r0"])],
            "Rw begin 1",
        ),
        // It goes first.
        (
            &[Serves(1), Infra(0, 3), Expect("x", 1, false), Surplus(&[])],
            "lR r0",
        ),
    ] {
        let all = run(2, 2, &[two_ready.as_slice(), then].concat());
        assert_eq!(all.last().map(String::as_str), Some(decided));
    }
}

#[test]
fn a_deploy_entry_tells_of_first_deploys() {
    let mut state = InstancesState::new("a", 1, 1);
    let now = Instant::now();
    let fails = |state: &mut InstancesState| {
        state.begin(0, now);
        state.ended(0, Err(broken()), now);
    };
    fails(&mut state);
    assert_eq!(state.failed_at_first("broken"), Some(0));
    assert_eq!(state.failed_at_first("other"), None);
    state.forgive(now + MEMORY * 2);
    state.begin(0, now);
    state.ended(0, Ok(ready("r0", 0)), now);
    state.lost("r0", now);
    fails(&mut state);
    assert_eq!(state.failed_at_first("broken"), None);
}

#[test]
fn time_counts_from_the_first_ask_to_the_end() {
    let (mut state, start) = (InstancesState::new("a", 2, 2), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    state.begin(0, at(0));
    state.begin(1, at(1));
    state.ended(0, Ok(ready("r0", 0)), at(2));
    state.ended(1, Err(broken()), at(4));
    state.lost("r0", at(5));
    state.begin(0, at(6));
    assert_eq!(
        state.usage.total(at(7)),
        (Duration::from_secs(5 + 3 + 1), 1)
    );
}
