//! Tests that measure. `VALUE` is what they measure; what they know of earlier runs goes to the folder `SCRATCH`.

use std::{env, fmt::Debug, fs, path::PathBuf};

use target_fixtures::{metric, prelude::*, previous, previous_durations};

fn value() -> f64 {
    let value = env::var("VALUE").expect("a value");
    value.parse().expect("a number")
}

fn note(name: &str, known: impl Debug) {
    let folder = PathBuf::from(env::var_os("SCRATCH").expect("a folder"));
    fs::write(folder.join(name), format!("{known:?}")).expect("written");
}

#[target_test]
fn rate(target: &Target) -> Result<()> {
    target.metric("other", 1.0, "")?;
    target
        .metric("throughput", value(), "Mbit/s")?
        .at_least_within(0.10)?;
    Ok(())
}

#[target_test]
fn latency(target: &Target) -> Result<()> {
    target
        .metric("latency", value(), "ms")?
        .at_most_within(0.10)?;
    Ok(())
}

/// Knows what `rate` measured.
#[target_test]
fn looks(target: &Target) -> Result<()> {
    let values = target.previous_of("rate", "throughput")?;
    let units: Vec<_> = values.iter().map(|one| one.unit.as_str()).collect();
    assert!(units.iter().all(|unit| *unit == "Mbit/s"), "{units:?}");
    assert!(values.is_sorted_by(|a, b| a.time >= b.time && a.run != b.run));
    let values: Vec<_> = values.iter().map(|one| one.value).collect();
    let durations = target.previous_durations_of("rate")?;
    assert!(durations.iter().all(|one| !one.duration.is_zero()));
    let own = target.previous("throughput")?;
    note("looks", (values, durations.len(), own.len()));
    Ok(())
}

/// Measures without a target.
#[test]
fn on_host() -> Result<()> {
    note(
        "on-host",
        (previous("parse")?.len(), previous_durations()?.len()),
    );
    metric("parse", value(), "ms")?.at_most_within(0.10)?;
    Ok(())
}

#[target_test]
fn no_number(target: &Target) -> Result<()> {
    let error = target.metric("rate", f64::NAN, "s").expect_err("refused");
    assert_eq!(
        error.to_string(),
        "record metric `rate`: NaN is not a finite number"
    );
    Ok(())
}
