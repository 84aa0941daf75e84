//! A switch with three ports, whose machines have the addresses 0, 1 and 2.

use proptest::prelude::*;

use super::{super::conditions::NetworkFault, *};

const ALL: u8 = 0xff;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A frame of 100 bytes between two machines.
fn frame(from: u8, to: u8) -> Vec<u8> {
    let address = |name| {
        if name == ALL {
            [ALL; 6]
        } else {
            [2, 0, 0, 0, 0, name]
        }
    };
    let mut frame = [address(to), address(from)].concat();
    frame.resize(100, 0);
    frame
}

/// A switch that has learned all addresses.
fn switch(faults: &[NetworkFault]) -> Switch {
    let mut switch = Switch::new(3, Conditions::default(), 7);
    for port in 0..3 {
        switch.receive(ms(0), port, &frame(port as u8, ALL));
    }
    while switch.next_due(ms(0)).is_some() {}
    let machines = ["0", "1", "2"].map(str::to_owned);
    for fault in faults {
        switch.conditions.add(fault, &machines).unwrap();
    }
    switch
}

/// The ports that frames arrive at until `now`.
fn arrived(switch: &mut Switch, now: Duration) -> Vec<usize> {
    std::iter::from_fn(|| switch.next_due(now))
        .map(|delivery| delivery.to)
        .collect()
}

fn partition(one: &[&str], other: &[&str]) -> NetworkFault {
    let group = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    NetworkFault::Partition(group(one), group(other))
}

#[test]
fn frames_go_to_the_port_that_was_learned_or_to_all() {
    let mut switch = Switch::new(3, Conditions::default(), 7);
    for (from, to, expected) in [
        (0, 1, vec![1, 2]),
        (1, 0, vec![0]),
        (0, 1, vec![1]),
        (0, ALL, vec![1, 2]),
        // To itself: a frame never leaves by the port that it came from.
        (0, 0, vec![]),
    ] {
        switch.receive(ms(0), from, &frame(from as u8, to));
        assert_eq!(arrived(&mut switch, ms(0)), expected, "{from} {to}");
    }
    switch.receive(ms(0), 0, &[0; 13]);
    assert!(switch.next_time().is_none(), "too short");
    // The machine has moved to another port.
    switch.receive(ms(0), 2, &frame(0, 1));
    assert_eq!(arrived(&mut switch, ms(0)), [1]);
    switch.receive(ms(0), 1, &frame(1, 0));
    assert_eq!(arrived(&mut switch, ms(0)), [2]);
}

#[test]
fn frames_are_late() {
    let mut switch = switch(&[NetworkFault::Delay(ms(20))]);
    switch.receive(ms(5), 0, &frame(0, 1));
    assert_eq!(switch.next_time(), Some(ms(25)));
    assert!(arrived(&mut switch, ms(24)).is_empty());
    assert_eq!(arrived(&mut switch, ms(25)), [1]);
}

/// 100 bytes at 80,000 bit/s take 10 ms. Each sender has a line of its own.
#[test]
fn a_line_carries_one_frame_after_the_other() {
    let mut switch = switch(&[NetworkFault::Rate(80_000)]);
    for from in [0, 0, 0, 2] {
        switch.receive(ms(0), from, &frame(from as u8, 1));
    }
    for (now, count) in [(9, 0), (10, 2), (20, 1), (30, 1)] {
        assert_eq!(arrived(&mut switch, ms(now)).len(), count, "{now}");
    }
    switch.receive(ms(100), 0, &frame(0, 1));
    assert_eq!(switch.next_time(), Some(ms(110)));
}

#[test]
fn partitions_also_stop_frames_under_way() {
    let mut switch = switch(&[NetworkFault::Delay(ms(10))]);
    switch.receive(ms(0), 0, &frame(0, ALL));
    switch
        .conditions
        .add(&partition(&["0"], &["1"]), &["0", "1"].map(str::to_owned))
        .unwrap();
    switch.receive(ms(1), 0, &frame(0, ALL));
    switch.receive(ms(1), 1, &frame(1, 0));
    switch.conditions = Conditions::default();
    switch
        .conditions
        .add(&partition(&["0"], &["1"]), &["0", "1"].map(str::to_owned))
        .unwrap();
    assert_eq!(arrived(&mut switch, ms(20)), [2, 2]);
}

#[test]
fn a_full_line_loses_frames_and_serves_again() {
    let mut switch = switch(&[NetworkFault::Delay(ms(10))]);
    let long = WAITING / 100 + 10;
    (0..long).for_each(|_| switch.receive(ms(0), 0, &frame(0, 1)));
    switch.receive(ms(0), 2, &frame(2, 1));
    assert_eq!(arrived(&mut switch, ms(10)).len(), WAITING / 100 + 1);
    switch.receive(ms(11), 0, &frame(0, 1));
    assert_eq!(arrived(&mut switch, ms(21)), [1]);
}

#[test]
fn the_table_of_addresses_is_bounded() {
    let mut switch = switch(&[]);
    for number in 0..20_000_u32 {
        let mut frame = frame(0, 1);
        frame[8..12].copy_from_slice(&number.to_be_bytes());
        switch.receive(ms(0), 0, &frame);
    }
    assert!(switch.learned.len() <= ADDRESSES);
}

proptest! {
    /// Of frames that are not lost, each arrives once, those of one sender in their order, and none before its time.
    #[test]
    fn frames_arrive_once_and_in_order(
        sent in prop::collection::vec((0..3_usize, 0..3_u8, 0..5_u64), 1..60),
        delay in 0..30_u64,
        rate in prop::option::of(10_000..1_000_000_u64),
    ) {
        let mut faults = vec![NetworkFault::Delay(ms(delay))];
        faults.extend(rate.map(NetworkFault::Rate));
        let mut switch = switch(&faults);
        let (mut now, mut times, mut expected) = (ms(0), Vec::new(), 0);
        for (number, (from, to, pause)) in sent.into_iter().enumerate() {
            now += ms(pause);
            times.push(now);
            let mut frame = frame(from as u8, to);
            frame[20] = number as u8;
            switch.receive(now, from, &frame);
            expected += usize::from(from != usize::from(to));
        }
        let mut last = [None; 3];
        let mut count = 0;
        while let Some(due) = switch.next_time() {
            let delivery = switch.next_due(due).unwrap();
            let number = delivery.frame[20];
            prop_assert!(due >= times[usize::from(number)] + ms(delay));
            prop_assert!(last[delivery.from] < Some(number));
            last[delivery.from] = Some(number);
            count += 1;
        }
        prop_assert_eq!(count, expected);
        prop_assert!(switch.ports.iter().all(|port| port.waiting == 0));
    }

    /// The share of lost frames is the one that was set, and the seed decides which are lost.
    #[test]
    fn loss_is_a_share(loss in 0.0..=1.0_f64) {
        let mut counts = (0..2).map(|_| {
            let mut switch = switch(&[NetworkFault::Loss(loss)]);
            (0..1000).for_each(|_| switch.receive(ms(0), 0, &frame(0, 1)));
            arrived(&mut switch, ms(0)).len()
        });
        let count = counts.next().unwrap();
        prop_assert!((count as f64 / 1000.0 - (1.0 - loss)).abs() < 0.08, "{}", count);
        prop_assert_eq!(Some(count), counts.next());
    }
}
