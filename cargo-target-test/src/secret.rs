//! Secrets: values that a playbook refers to and does not contain.
//!
//! Owns their syntax ([`Text`]), their lookup ([`Bound`]), and their redaction from everything that this process
//! prints, records or sends ([`redacted`], [`RedactedStream`]). Must not know platforms or transports.
//!
//! A value is looked up when it is used, by the process that uses it, and is redacted from then on. Values shorter than
//! [`SHORTEST`] bytes are not redacted: they would match unrelated text.

mod bound;
mod forms;
mod json;
mod look_up;
mod redact;
mod text;
mod view;

use std::{
    borrow::Cow,
    sync::{Arc, PoisonError, RwLock},
};

use target_fixtures::wire::Secret;

use crate::error::Error;

pub use self::{
    bound::{Bound, Lookup, values},
    json::{Bind, filled, in_json, json_line, redact_strings},
    look_up::TIMEOUT,
    redact::{RedactedStream, Redactor},
    text::{KEYS, Reference, Text},
};

/// The minimum length of a redacted value, in bytes.
pub const SHORTEST: usize = 4;

/// The values that are redacted in this process.
struct Registry {
    secrets: Vec<Secret>,
    redactor: Arc<Redactor>,
}

static REGISTRY: RwLock<Option<Registry>> = RwLock::new(None);

/// Registers a value: from now on, this process shows `[secret NAME]` in its place.
pub fn register(name: &str, value: &str) {
    let has_value = |registered: &Registry| registered.secrets.iter().any(|one| one.value == value);
    let registered = REGISTRY.read().unwrap_or_else(PoisonError::into_inner);
    if registered.as_ref().is_some_and(has_value) {
        return;
    }
    drop(registered);
    let mut registered = REGISTRY.write().unwrap_or_else(PoisonError::into_inner);
    let mut secrets = registered
        .take()
        .map_or_else(Vec::new, |registered| registered.secrets);
    secrets.push(Secret {
        name: name.to_owned(),
        value: value.to_owned(),
    });
    let pairs = secrets.iter().map(|one| (&*one.name, &*one.value));
    let redactor = Arc::new(Redactor::new(pairs));
    *registered = Some(Registry { secrets, redactor });
}

/// Returns all registered secrets, to be registered by another process that prints text containing them.
pub fn registered() -> Vec<Secret> {
    let registered = REGISTRY.read().unwrap_or_else(PoisonError::into_inner);
    registered
        .as_ref()
        .map_or_else(Vec::new, |registered| registered.secrets.clone())
}

/// Returns the text with `[secret NAME]` in place of every registered value.
pub fn redacted(text: &str) -> Cow<'_, str> {
    match redactor() {
        Some(redactor) => redactor.text(text),
        None => Cow::Borrowed(text),
    }
}

/// Returns the message and the causes of an error, redacted.
pub(crate) fn redacted_chain(error: &Error) -> String {
    redacted(&error.chain()).into_owned()
}

/// Replaces every registered value in the text by `[secret NAME]`.
pub fn redact(text: &mut String) {
    if let Cow::Owned(redacted) = redacted(text) {
        *text = redacted;
    }
}

/// True if a value is registered.
pub fn any() -> bool {
    redactor().is_some_and(|redactor| !redactor.is_empty())
}

/// Creates a byte stream that redacts the values registered so far.
pub fn stream() -> RedactedStream {
    RedactedStream::new(redactor().unwrap_or_default())
}

fn redactor() -> Option<Arc<Redactor>> {
    let registered = REGISTRY.read().unwrap_or_else(PoisonError::into_inner);
    let registered = registered.as_ref()?;
    Some(Arc::clone(&registered.redactor))
}
