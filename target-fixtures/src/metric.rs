//! Metrics: numbers that a test measures, recorded in the history of runs and compared with earlier ones.
//!
//! Must not know how the history is stored.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    sync::{Arc, Once},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    Target,
    client::{Client, unexpected},
    env as name,
    error::{ErrorKind, Placed, TargetError},
    subtest,
    wire::{BrokerRequest, Measurement, PreviousQuery, PreviousValue, Reply},
};

type Result<T> = std::result::Result<T, TargetError>;

/// The number of earlier runs that a value is compared with.
const COMPARED: usize = 10;
/// The minimum number of earlier runs for a comparison.
const FEWEST: usize = 3;
/// The maximum number of earlier values that a test gets.
const LISTED: usize = 100;

/// A value that a test has recorded, from [`Target::metric`] or [`metric`].
#[derive(Clone)]
pub struct Metric {
    measurement: Measurement,
    /// `None` if there is no run, so that nothing is recorded.
    client: Option<Arc<Client>>,
}

/// A value of a metric in an earlier run that passed the test.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PreviousMetric {
    /// The id of the run, as `cargo target-test history` shows it.
    pub run: String,
    /// The end of the test.
    pub time: SystemTime,
    /// The value.
    pub value: f64,
    /// The unit.
    pub unit: String,
}

/// The duration of a test in an earlier run that passed it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PreviousDuration {
    /// The id of the run.
    pub run: String,
    /// The end of the test.
    pub time: SystemTime,
    /// The duration, without fixtures and the wait for an instance.
    pub duration: Duration,
}

impl Target {
    /// Records a number that the test measured, under a name, with its unit. The history of runs, the HTML report and
    /// the JSON of `cargo target-test history` show it. The returned value can be compared with earlier runs:
    ///
    /// ```no_run
    /// use target_fixtures::prelude::*;
    ///
    /// #[target_test]
    /// fn bulk(target: &Target) -> Result<()> {
    ///     let report = target.run("iperf3 -c server -f m | awk '/receiver/ { print $7 }'")?;
    ///     let rate = report.stdout.trim().parse()?;
    ///     target.metric("throughput", rate, "Mbit/s")?.at_least_within(0.10)?;
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    ///
    /// Under plain `cargo test` nothing is recorded, and each comparison passes with a note: there is no run.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] for a value that is not finite, or a name that is empty, or has control characters or spaces
    /// at its ends; [`ErrorKind::Infra`] if the broker is gone.
    #[track_caller]
    pub fn metric(
        &self,
        name: impl Into<String>,
        value: f64,
        unit: impl Into<String>,
    ) -> Result<Metric> {
        Metric::record(Some(&self.client), name.into(), value, unit.into()).placed()
    }

    /// Returns the values of a metric of this test on this target in earlier runs that passed it, the newest first: one
    /// for each run, the last that it recorded, and at most 100. Empty if the history cannot be read.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] if the broker is gone.
    #[track_caller]
    pub fn previous(&self, metric: impl Into<String>) -> Result<Vec<PreviousMetric>> {
        metrics(Some(&self.client), None, metric.into()).placed()
    }

    /// As [`previous`](Self::previous), for another test of the same test binary: `net::bulk`.
    ///
    /// # Errors
    /// As [`previous`](Self::previous).
    #[track_caller]
    pub fn previous_of(
        &self,
        test: impl Into<String>,
        metric: impl Into<String>,
    ) -> Result<Vec<PreviousMetric>> {
        metrics(Some(&self.client), Some(test.into()), metric.into()).placed()
    }

    /// Returns the durations of this test on this target in earlier runs that passed it, the newest first, at most 100.
    ///
    /// # Errors
    /// As [`previous`](Self::previous).
    #[track_caller]
    pub fn previous_durations(&self) -> Result<Vec<PreviousDuration>> {
        durations(Some(&self.client), None).placed()
    }

    /// As [`previous_durations`](Self::previous_durations), for another test of the same test binary.
    ///
    /// # Errors
    /// As [`previous`](Self::previous).
    #[track_caller]
    pub fn previous_durations_of(&self, test: impl Into<String>) -> Result<Vec<PreviousDuration>> {
        durations(Some(&self.client), Some(test.into())).placed()
    }
}

/// Returns a measurement; an empty unit is none.
///
/// # Errors
/// [`ErrorKind::Request`] for a value that is not finite, and for a name or unit that cannot be shown in a line.
pub(crate) fn measured(name: String, value: f64, unit: String) -> Result<Measurement> {
    let is_shown = |text: &str| text.trim() == text && !text.contains(char::is_control);
    if name.is_empty() || !is_shown(&name) {
        return Err(invalid(format!("record metric {name:?}: invalid name"))
            .with_hint("a name has no control characters, and no spaces at its ends"));
    }
    if !is_shown(&unit) {
        return Err(invalid(format!(
            "record metric `{name}`: invalid unit {unit:?}"
        )));
    }
    if !value.is_finite() {
        return Err(invalid(format!(
            "record metric `{name}`: {value} is not a finite number"
        )));
    }
    let unit = Some(unit).filter(|unit| !unit.is_empty());
    Ok(Measurement { name, value, unit })
}

/// Records a number as [`Target::metric`] does, in a function that has no target: a test that runs on the host, or a
/// helper of any test.
///
/// ```no_run
/// # fn parse() {}
/// #[test]
/// fn parses_fast() -> target_fixtures::Result<()> {
///     let started = std::time::Instant::now();
///     parse();
///     let took = started.elapsed().as_secs_f64() * 1000.0;
///     target_fixtures::metric("parse", took, "ms")?.at_most_within(0.25)?;
///     Ok(())
/// }
/// # fn main() {}
/// ```
///
/// # Errors
/// As [`Target::metric`].
#[track_caller]
pub fn metric(name: impl Into<String>, value: f64, unit: impl Into<String>) -> Result<Metric> {
    let client = client().placed()?;
    Metric::record(client.as_ref(), name.into(), value, unit.into()).placed()
}

/// Returns earlier values of a metric as [`Target::previous`] does, in a function that has no target.
///
/// # Errors
/// As [`Target::previous`].
#[track_caller]
pub fn previous(metric: impl Into<String>) -> Result<Vec<PreviousMetric>> {
    let client = client().placed()?;
    metrics(client.as_ref(), None, metric.into()).placed()
}

/// Returns earlier durations as [`Target::previous_durations`] does, in a function that has no target.
///
/// # Errors
/// As [`Target::previous`].
#[track_caller]
pub fn previous_durations() -> Result<Vec<PreviousDuration>> {
    let client = client().placed()?;
    durations(client.as_ref(), None).placed()
}

/// The side of the median on which a value must be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    Least,
    Most,
}

impl Metric {
    /// Fails if the value is lower than the median of the last 10 passing runs of this test on this target, less a
    /// tolerance: `0.10` for 10 % of the median. The error names the runs and their values.
    ///
    /// With fewer than 3 such runs, or without a history, the check passes, and the test's output says so. Values with
    /// another unit are not compared.
    ///
    /// # Errors
    /// [`ErrorKind::Metric`] if the value is too low; [`ErrorKind::Request`] for a tolerance that is negative or not
    /// finite; [`ErrorKind::Infra`] if the broker is gone.
    #[track_caller]
    pub fn at_least_within(&self, tolerance: f64) -> Result<&Self> {
        self.compare(Bound::Least, tolerance).placed()
    }

    /// Fails if the value is higher than the median of the last 10 passing runs, plus a tolerance; otherwise as
    /// [`at_least_within`](Self::at_least_within).
    ///
    /// # Errors
    /// As [`at_least_within`](Self::at_least_within).
    #[track_caller]
    pub fn at_most_within(&self, tolerance: f64) -> Result<&Self> {
        self.compare(Bound::Most, tolerance).placed()
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.measurement.value
    }

    fn record(
        client: Option<&Arc<Client>>,
        name: String,
        value: f64,
        unit: String,
    ) -> Result<Self> {
        let measurement = measured(name, value, unit)?;
        if let Some(client) = client {
            match client.ask(BrokerRequest::Record(measurement.clone()))? {
                Reply::Done => {}
                other => return Err(unexpected(other)),
            }
        }
        let client = client.cloned();
        let metric = Self {
            measurement,
            client,
        };
        eprintln!("metric {metric}");
        Ok(metric)
    }

    fn compare(&self, bound: Bound, tolerance: f64) -> Result<&Self> {
        let name = &self.measurement.name;
        if !(tolerance.is_finite() && tolerance >= 0.0) {
            let message = format!("compare metric `{name}`: {tolerance} is not a tolerance");
            return Err(invalid(message).with_hint("`0.10` is 10 % of the median"));
        }
        let query = PreviousQuery {
            test: None,
            metric: Some(name.clone()),
            limit: COMPARED,
        };
        let mut values = earlier(self.client.as_ref(), query)?;
        values.retain(|one| one.unit == self.measurement.unit);
        let count = values.len();
        if count < FEWEST {
            eprintln!(
                "metric {name}: not compared: {FEWEST} earlier passing runs are needed, {count} found"
            );
            return Ok(self);
        }
        let median = median(values.iter().map(|one| one.value));
        let slack = median.abs() * tolerance;
        let (limit, is_within) = match bound {
            Bound::Least => (median - slack, self.value() >= median - slack),
            Bound::Most => (median + slack, self.value() <= median + slack),
        };
        if is_within {
            return Ok(self);
        }
        let unit = self.unit();
        let (than, word) = match bound {
            Bound::Least => ("less than", "less"),
            Bound::Most => ("more than", "plus"),
        };
        let percent = tolerance * 100.0;
        let mut message = format!(
            "metric {self} is {than} {}: the median of the last {count} passing runs is {}, {word} {} %",
            Number(limit, unit),
            Number(median, unit),
            Number(percent, ""),
        );
        for one in &values {
            message.push_str(&format!(
                "\n    run {}: {}",
                one.run,
                Number(one.value, unit)
            ));
        }
        Err(TargetError::new(ErrorKind::Metric, message))
    }

    fn unit(&self) -> &str {
        self.measurement.unit.as_deref().unwrap_or_default()
    }
}

/// `throughput: 940 Mbit/s`.
impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}",
            self.measurement.name,
            Number(self.value(), self.unit())
        )
    }
}

impl fmt::Debug for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metric").field(&self.measurement).finish()
    }
}

/// A number with its unit, in at most six significant digits.
struct Number<'a>(f64, &'a str);

impl fmt::Display for Number<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value, unit) = *self;
        let magnitude = if value == 0.0 {
            0.0
        } else {
            value.abs().log10().floor()
        };
        if !(-4.0..12.0).contains(&magnitude) {
            write!(f, "{value:e}")?;
        } else {
            let decimals = (5.0 - magnitude).clamp(0.0, 9.0) as usize;
            let text = format!("{value:.decimals$}");
            let short = match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.'),
                false => &text,
            };
            f.write_str(short)?;
        }
        match unit {
            "" => Ok(()),
            unit => write!(f, " {unit}"),
        }
    }
}

/// Returns the median of at least one value.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

fn metrics(
    client: Option<&Arc<Client>>,
    test: Option<String>,
    metric: String,
) -> Result<Vec<PreviousMetric>> {
    let query = PreviousQuery {
        test,
        metric: Some(metric),
        limit: LISTED,
    };
    let value = |one: PreviousValue| PreviousMetric {
        time: time(&one),
        run: one.run,
        value: one.value,
        unit: one.unit.unwrap_or_default(),
    };
    Ok(earlier(client, query)?.into_iter().map(value).collect())
}

fn durations(client: Option<&Arc<Client>>, test: Option<String>) -> Result<Vec<PreviousDuration>> {
    let query = PreviousQuery {
        test,
        metric: None,
        limit: LISTED,
    };
    let value = |one: PreviousValue| PreviousDuration {
        time: time(&one),
        duration: Duration::try_from_secs_f64(one.value).unwrap_or_default(),
        run: one.run,
    };
    Ok(earlier(client, query)?.into_iter().map(value).collect())
}

fn time(one: &PreviousValue) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(one.time)
}

/// Asks for values of earlier runs. Says once if there are none since the history cannot be read.
fn earlier(client: Option<&Arc<Client>>, query: PreviousQuery) -> Result<Vec<PreviousValue>> {
    static NOTE: Once = Once::new();
    let note = |reason: &str| NOTE.call_once(|| eprintln!("no earlier values: {reason}"));
    let Some(client) = client else {
        note("this is not a run of `cargo target-test`");
        return Ok(Vec::new());
    };
    match client.ask(BrokerRequest::Previous(query))? {
        Reply::Previous { values, missing } => {
            missing.iter().for_each(|reason| note(reason));
            Ok(values)
        }
        other => Err(unexpected(other)),
    }
}

/// Returns the connection of this thread's test, else of the test that this process was started for; `None` if there is
/// none.
fn client() -> Result<Option<Arc<Client>>> {
    if let Some(client) = subtest::client() {
        return Ok(Some(client));
    }
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
    let ours = env::current_exe().ok();
    let ours = ours.as_deref().and_then(Path::file_name);
    // A program that the test started may have its variables too.
    if ours.is_none() || ours != variable(name::LEASED_BINARY).as_deref() {
        return Ok(None);
    }
    let lease = variable(name::LEASE).or_else(|| variable(name::ATTEMPT));
    let lease = lease.and_then(|lease| lease.into_string().ok());
    let (Some(socket), Some(lease)) = (variable(name::BROKER), lease) else {
        return Ok(None);
    };
    let (client, _) = Client::attach(PathBuf::from(socket), lease)?;
    Ok(Some(Arc::new(client)))
}

fn invalid(message: String) -> TargetError {
    TargetError::new(ErrorKind::Request, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (940.0, "940"),
            (0.0, "0"),
            (0.1 + 0.2, "0.3"),
            (-12.345_678_9, "-12.3457"),
            (1_234_567.0, "1234567"),
            (0.000_123_456_7, "0.000123457"),
            (1e-9, "1e-9"),
            (2.5e15, "2.5e15"),
        ] {
            assert_eq!(Number(value, "").to_string(), expected);
        }
        assert_eq!(Number(1.5, "ms").to_string(), "1.5 ms");
    }

    #[test]
    fn the_median_is_in_the_middle() {
        for (values, expected) in [
            (&[3.0][..], 3.0),
            (&[1.0, 9.0, 2.0], 2.0),
            (&[4.0, 1.0, 2.0, 100.0], 3.0),
        ] {
            assert_eq!(median(values.iter().copied()), expected);
        }
    }

    #[test]
    fn names_are_shown_in_a_line() {
        for (name, unit, valid) in [
            ("frame rate", "1/s", true),
            ("", "", false),
            (" rate", "", false),
            ("a\tb", "", false),
            ("rate", "m\ns", false),
        ] {
            let measured = measured(name.to_owned(), 1.0, unit.to_owned());
            assert_eq!(measured.is_ok(), valid, "{name:?} {unit:?}");
        }
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let error = metric("rate", value, "Mbit/s").expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Request);
            assert!(
                error.to_string().contains("is not a finite number"),
                "{error}"
            );
        }
        let rate = metric("rate", 1.0, "Mbit/s").expect("recorded nowhere");
        for tolerance in [-0.1, f64::NAN, f64::INFINITY] {
            let error = rate.at_least_within(tolerance).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Request);
        }
        rate.at_least_within(0.1).expect("without a run");
        assert_eq!(previous_durations().expect("without a run"), []);
    }
}
