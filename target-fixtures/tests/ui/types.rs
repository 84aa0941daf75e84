//! Values that cannot be what a scope or a parameter says, and methods of another platform.
use target_fixtures::{
    platform::{Container, Qemu},
    prelude::*,
};

struct Handle;

#[target_fixture(scope = "instance")]
fn not_to_be_kept(_: &Target) -> Handle {
    Handle
}

#[target_fixture]
fn narrow() -> u32 {
    1
}

#[target_fixture(scope = "run")]
fn wide(narrow: &u32) -> u32 {
    *narrow
}

#[target_fixture]
fn takes_none(no_such_fixture: &u32) -> u32 {
    *no_such_fixture
}

#[target_fixture]
fn takes_another_type(narrow: &String) -> String {
    narrow.clone()
}

fn stop(_: &Target, _: &String) {}

#[target_fixture(tear_down = stop)]
fn torn_down_as_another_type() -> u32 {
    1
}

/// A parameter of the description is taken by value.
#[target_event]
fn borrows(text: &str) {
    let _ = text;
}

fn of_another_platform(target: &Container) {
    target.snapshot("before");
}

fn of_this_platform(target: &Qemu) -> Result<()> {
    target.snapshot("before")?;
    target.run("true")?;
    Ok(())
}

fn main() {}
