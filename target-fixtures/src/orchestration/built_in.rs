//! The fixtures that every event can take. A fixture of the author's with the same name replaces ours, since ours come by
//! the glob of the prelude.

use super::{KillSwitch, ReportQueue, Reporter, event};
use crate::fixture::{Fixture, FixtureFailure, Fixtures, Of, Registered, Scope};

macro_rules! built_in {
    ($($(#[$doc:meta])* $name:ident: $value:ty = |$fixtures:ident| $set_up:expr, needs [$($need:ident),*];)*) => { $(
        $(#[$doc])*
        #[expect(non_camel_case_types, reason = "named like the parameter that takes it")]
        #[derive(Debug)]
        pub struct $name {}

        impl Fixture for $name {
            type Value = $value;
            const NAME: &'static str = concat!("target_fixtures::", stringify!($name));
            const SOURCE: &'static str = file!();
            const SCOPE: Scope = Scope::Test;
            const TEARS_DOWN: bool = false;
            const IS_BUILT_IN: bool = true;

            fn needs() -> Vec<&'static dyn Registered> {
                vec![$(&Of::<$need>::NEW),*]
            }

            fn set_up($fixtures: &Fixtures) -> Result<$value, FixtureFailure> {
                $set_up
            }
        }
    )* };
}

built_in! {
    /// The switch that tells events to end.
    kill_switch: KillSwitch = |_fixtures| Ok(KillSwitch::default()), needs [];
    /// The queue of the events' reports.
    report_queue: ReportQueue = |fixtures| {
        Ok(of_author(fixtures, "report_queue")?.unwrap_or_default())
    }, needs [];
    /// The reporter, which prints each report.
    result_reporter: Reporter = |fixtures| {
        match of_author(fixtures, "result_reporter")? {
            Some(own) => Ok(own),
            None => Ok(Reporter::printing(&*fixtures.get::<report_queue>()?)),
        }
    }, needs [report_queue];
}

/// Returns the value of an author's fixture with the name of ours, for events of other crates, which take ours.
fn of_author<T: Clone + Send + Sync + 'static>(
    fixtures: &Fixtures,
    name: &str,
) -> Result<Option<T>, FixtureFailure> {
    if let Ok(own) = event::fixture(name) {
        own.prepare(fixtures)?;
    }
    let values = fixtures.values_of::<T>();
    Ok(values.first().map(|value| T::clone(value)))
}
