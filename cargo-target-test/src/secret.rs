//! Secrets: values that a playbook names and does not contain.
//!
//! Owns how they are written ([`Text`]), looked up ([`Bound`]), and taken out of everything that this process prints,
//! records or sends ([`redacted`], [`Stream`]). Must not know who needs them: that is platforms and transports.
//!
//! A value is looked up when it is used, in the process that uses it, and is known to its redactor from then on. What
//! is shorter than [`SHORTEST`] bytes is not redacted: it would be found everywhere.

mod bound;
mod forms;
mod json;
mod look_up;
mod redact;
mod text;

use std::{
    borrow::Cow,
    sync::{Arc, PoisonError, RwLock},
};

use target_fixtures::wire::Secret;

pub use self::{
    bound::{Bound, Lookup},
    json::{Bind, filled, in_json, redact_strings},
    look_up::PATIENCE,
    redact::{Redactor, Stream},
    text::{KEYS, Reference, Text},
};

/// The fewest bytes of a value that is redacted.
pub const SHORTEST: usize = 4;

/// What this process has looked up, or was told by the one that did.
struct Known {
    secrets: Vec<Secret>,
    redactor: Arc<Redactor>,
}

static KNOWN: RwLock<Option<Known>> = RwLock::new(None);

/// Has the value be redacted from now on, wherever this process shows something. `name` is shown in its place.
pub fn register(name: &str, value: &str) {
    let is_known = |known: &Known| known.secrets.iter().any(|one| one.value == value);
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    if known.as_ref().is_some_and(is_known) {
        return;
    }
    drop(known);
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    let mut secrets = known.take().map_or_else(Vec::new, |known| known.secrets);
    secrets.push(Secret {
        name: name.to_owned(),
        value: value.to_owned(),
    });
    let pairs = secrets.iter().map(|one| (&*one.name, &*one.value));
    let redactor = Arc::new(Redactor::new(pairs));
    *known = Some(Known { secrets, redactor });
}

/// All that was registered: for a process that shows what they may be in.
pub fn known() -> Vec<Secret> {
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    known
        .as_ref()
        .map_or_else(Vec::new, |known| known.secrets.clone())
}

/// The text with `[secret NAME]` for every value that was registered.
pub fn redacted(text: &str) -> Cow<'_, str> {
    match redactor() {
        Some(redactor) => redactor.text(text),
        None => Cow::Borrowed(text),
    }
}

/// The same in place.
pub fn redact(text: &mut String) {
    if let Cow::Owned(redacted) = redacted(text) {
        *text = redacted;
    }
}

/// A stream of bytes without the values that are registered by now.
pub fn stream() -> Stream {
    Stream::new(redactor().unwrap_or_default())
}

fn redactor() -> Option<Arc<Redactor>> {
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    known.as_ref().map(|known| Arc::clone(&known.redactor))
}
