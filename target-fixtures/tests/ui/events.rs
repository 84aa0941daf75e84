//! Events and orchestrations with wrong arguments and forms.

use target_fixtures::prelude::*;

#[target_event(interval = "5m")]
fn with_arguments() {}

#[target_event]
async fn asynchronous() {}

#[target_event]
fn changes(db: &mut String) {}

#[target_event]
fn generic<T>(value: T) {}

struct Opaque;

#[target_event]
fn takes_no_serde(value: Opaque) {}

#[target_event]
fn returns() -> u32 {
    3
}

#[target_event]
fn unknown(no_such_fixture: &u32) {}

orchestration!("not a name");
orchestration!("limited", timeout = "5m");
orchestration!(name);

fn main() {}
