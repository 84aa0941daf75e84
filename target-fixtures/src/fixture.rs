//! What a fixture is: its value, its scope, how it is set up, kept and torn down.
//!
//! Owns what the code that `#[target_fixture]` writes implements. Must not know when any of it happens (`live` does).

use std::{any::Any, fmt, marker::PhantomData};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Target,
    error::{TargetError, skipped},
    platform::{Platform, all_of},
    verdict::{SkipNow, TestEnd},
    wire::LONGEST,
};

mod live;

pub use live::Fixtures;

/// A value as it travels.
pub type State = serde_json::Value;

/// For how long, and for whom, a value serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Scope {
    /// One test.
    Test,
    /// All tests on one instance.
    Instance,
    /// All tests of a run.
    Run,
}

/// What `#[target_fixture]` implements.
pub trait Fixture: 'static {
    /// What tests get.
    type Value: Send + Sync + 'static;
    /// Its path: `hello::db`.
    const NAME: &'static str;
    /// The file it is in: test files of two packages, and fixtures in them, may have the same names.
    const SOURCE: &'static str;
    /// For how long it serves.
    const SCOPE: Scope;
    /// Whether there is something to do at its end.
    const TEARS_DOWN: bool;

    /// The fixtures it takes.
    fn needs() -> Vec<&'static dyn Registered>;

    /// Makes the value.
    ///
    /// # Errors
    /// What the author's function returned.
    fn set_up(fixtures: &Fixtures) -> Result<Self::Value, Failure>;

    /// The value for other processes.
    ///
    /// # Errors
    /// When it cannot be serialised.
    fn save(_value: &Self::Value) -> Result<State, Failure> {
        Ok(State::Null)
    }

    /// The value as another process saved it.
    ///
    /// # Errors
    /// When it has another form.
    fn load(_state: &State) -> Result<Self::Value, Failure> {
        Err(Failure::Error("it is not kept".to_owned()))
    }

    /// Ends it.
    ///
    /// # Errors
    /// What the author's function returned.
    fn tear_down(_fixtures: &Fixtures, _value: &Self::Value) -> Result<(), Failure> {
        Ok(())
    }
}

/// A fixture among others.
pub trait Registered: Sync {
    /// Its path.
    fn name(&self) -> &'static str;
    /// The fixtures it takes.
    fn needs(&self) -> Vec<&'static dyn Registered>;
    /// Ends it, in a process that did not set it up.
    ///
    /// # Errors
    /// What the author's function returned.
    fn tear_down(&self, fixtures: &Fixtures, state: &State) -> Result<(), Failure>;
}

/// A fixture's entry among others.
#[derive(Debug)]
pub struct Of<F>(PhantomData<fn() -> F>);

impl<F> Of<F> {
    /// The entry.
    pub const NEW: Self = Self(PhantomData);
}

impl<F: Fixture> Registered for Of<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn needs(&self) -> Vec<&'static dyn Registered> {
        F::needs()
    }

    fn tear_down(&self, fixtures: &Fixtures, state: &State) -> Result<(), Failure> {
        F::tear_down(fixtures, &F::load(state)?)
    }
}

/// Finds a fixture among those that a test takes, and those that they take.
pub(crate) fn find(
    registry: &[&'static dyn Registered],
    name: &str,
) -> Option<&'static dyn Registered> {
    registry.iter().find_map(|one| match one.name() == name {
        true => Some(*one),
        false => find(&one.needs(), name),
    })
}

/// Why there is no value, or its end failed.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The test does not apply.
    Skip(String),
    /// An error, for people.
    Error(String),
}

impl Failure {
    /// Of an error that an author's function returned.
    pub fn of(error: &dyn fmt::Debug) -> Self {
        match skipped(error) {
            Some(reason) => Self::Skip(reason),
            None => Self::Error(format!("{error:?}")),
        }
    }

    /// Of a panic, which has been told, or a [`skip!`](crate::skip!).
    fn of_panic(panic: &(dyn Any + Send)) -> Self {
        if let Some(SkipNow(reason)) = panic.downcast_ref() {
            return Self::Skip(reason.clone());
        }
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self::Error(format!("it panicked: {}", text.unwrap_or("no text")))
    }

    /// What becomes of a test because of it.
    pub fn verdict(self) -> TestEnd {
        match self {
            Self::Skip(reason) => TestEnd::Skip(reason),
            Self::Error(text) => TestEnd::Fail(text),
        }
    }
}

impl Failure {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Skip(text) | Self::Error(text) => text,
        }
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        Self::Error(format!("{error:?}"))
    }
}

/// A value for other processes.
///
/// # Errors
/// When it cannot be serialised, or not be sent.
pub fn save(value: &impl Serialize) -> Result<State, Failure> {
    let cannot = |why| Failure::Error(format!("it cannot be kept: {why}"));
    let state = serde_json::to_value(value).map_err(|error| cannot(error.to_string()))?;
    match state.to_string().len() <= MOST {
        true => Ok(state),
        false => Err(cannot(format!("it has more than {} MiB", MOST >> 20))),
    }
}

/// The longest value that is kept, in bytes: what is said beside it goes into a frame too.
const MOST: usize = (LONGEST as usize) / 2;

/// A value of another process.
///
/// # Errors
/// When it has another form.
pub fn load<T: DeserializeOwned>(state: &State) -> Result<T, Failure> {
    T::deserialize(state)
        .map_err(|error| Failure::Error(format!("it was kept in another form: {error}")))
}

/// What a tear-down may return.
pub trait Torn {
    /// What it means.
    ///
    /// # Errors
    /// What the author's function returned.
    fn torn(self) -> Result<(), Failure>;
}

impl Torn for () {
    fn torn(self) -> Result<(), Failure> {
        Ok(())
    }
}

impl<E: fmt::Debug> Torn for Result<(), E> {
    fn torn(self) -> Result<(), Failure> {
        self.map_err(|error| Failure::of(&error))
    }
}

/// Takes what a tear-down returned.
///
/// # Errors
/// What the author's function returned.
pub fn torn(returned: impl Torn) -> Result<(), Failure> {
    returned.torn()
}

/// A target of a platform's own type.
///
/// # Errors
/// As [`Platform::of`].
pub fn typed<P: Platform>(target: &Target) -> Result<P, Failure> {
    Ok(P::of(target)?)
}

/// The same, of several.
///
/// # Errors
/// As [`Platform::of`].
pub fn all_typed<P: Platform>(targets: &[Target]) -> Result<Vec<P>, Failure> {
    Ok(all_of(targets)?)
}
