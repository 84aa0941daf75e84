//! Events: the trait that `#[target_event]` implements, their arguments, and the registries of events and fixtures.
//!
//! Must not know when an event runs.

use std::sync::{Mutex, OnceLock, PoisonError};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    Target,
    fixture::{FixtureFailure, Fixtures, Registered},
};

/// An event, implemented by `#[target_event]`.
pub trait TargetEvent: Sync {
    /// The name of the function.
    fn name(&self) -> &'static str;

    /// The place of the function: `tests/hello.rs:7`.
    fn source(&self) -> &'static str;

    /// The fixtures that the event takes.
    fn needs(&self) -> Vec<&'static dyn Registered>;

    /// Checks the types of the arguments. Returns the parameter and the reason of each that is missing or wrong.
    fn check(&self, params: &EventParams) -> Vec<(&'static str, String)>;

    /// Runs the event.
    ///
    /// # Errors
    /// The error of the author's function.
    fn run(
        &self,
        fixtures: &Fixtures,
        targets: &[Target],
        params: &EventParams,
    ) -> Result<(), FixtureFailure>;
}

/// The arguments that an event takes by value.
#[derive(Clone, Debug, Default)]
pub struct EventParams(pub(super) Map<String, Value>);

impl EventParams {
    /// Converts an argument to the type of its parameter. A missing argument is like `null`, which is an `Option`'s `None`.
    ///
    /// # Errors
    /// If the argument is missing or has another type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, FixtureFailure> {
        let read = T::deserialize(self.0.get(name).unwrap_or(&Value::Null));
        read.map_err(|error| {
            FixtureFailure::Error(match self.0.contains_key(name) {
                true => error.to_string(),
                false => "missing".to_owned(),
            })
        })
    }

    /// Returns the reason that an argument cannot be converted, with the parameter's name.
    #[must_use]
    pub fn problem<T: DeserializeOwned>(
        &self,
        name: &'static str,
    ) -> Option<(&'static str, String)> {
        let failure = self.get::<T>(name).err()?;
        Some((name, failure.text().to_owned()))
    }
}

/// The items of one kind that all crates of this process register before `main`, as a list without memory of its own.
pub struct Registry<T: ?Sized + 'static>(Mutex<Option<&'static Registration<T>>>);

/// An item of a [`Registry`].
pub struct Registration<T: ?Sized + 'static> {
    item: &'static T,
    /// The items that were registered before.
    next: OnceLock<Option<&'static Self>>,
}

/// All events of this process.
pub static EVENTS: Registry<dyn TargetEvent> = Registry::new();
/// All fixtures of this process.
pub static FIXTURES: Registry<dyn Registered> = Registry::new();

impl<T: ?Sized + 'static> Registration<T> {
    /// An item that is not registered yet.
    pub const fn new(item: &'static T) -> Self {
        let next = OnceLock::new();
        Self { item, next }
    }
}

impl<T: ?Sized + 'static> Registry<T> {
    const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Adds an item.
    pub fn add(&self, registration: &'static Registration<T>) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if registration.next.set(*first).is_ok() {
            *first = Some(registration);
        }
    }

    /// All items, in no particular order.
    pub(crate) fn items(&self) -> Vec<&'static T> {
        let first = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = |one: &&'static Registration<T>| one.next.get().copied().flatten();
        std::iter::successors(first, next)
            .map(|one| one.item)
            .collect()
    }
}

/// Returns the only event with a name.
///
/// # Errors
/// If there is none, or more than one.
pub(super) fn event(name: &str) -> Result<&'static dyn TargetEvent, String> {
    let mut found = EVENTS.items();
    found.retain(|event| event.name() == name);
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(format!("event `{name}` not found in this test binary")),
        several => {
            let mut places: Vec<_> = several.iter().map(|event| event.source()).collect();
            places.sort_unstable();
            let places = places.join(", ");
            Err(format!("several events are named `{name}`: {places}"))
        }
    }
}

/// Returns the only fixture with a name or path.
///
/// # Errors
/// If there is none, or more than one.
pub(super) fn fixture(name: &str) -> Result<&'static dyn Registered, String> {
    let is_named = |path: &str| path == name || path.rsplit("::").next() == Some(name);
    let mut found = FIXTURES.items();
    found.retain(|fixture| is_named(fixture.name()));
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(format!("fixture `{name}` not found in this test binary")),
        several => {
            let paths: Vec<_> = several.iter().map(|one| one.name()).collect();
            let paths = paths.join("`, `");
            Err(format!(
                "several fixtures are named `{name}`: write one of `{paths}`"
            ))
        }
    }
}
