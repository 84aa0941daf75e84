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

#[target_event]
fn method(&self) {}

#[target_event]
fn returns() -> u32 {
    3
}

orchestration!("not a name");
orchestration!("limited", timeout = "5m");
orchestration!(name);

fn main() {}
