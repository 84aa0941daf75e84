//! Every wrong fixture, and wrong uses of fixtures and platforms.
use target_fixtures::{
    platform::Qemu,
    prelude::*,
};

#[target_fixture(scope = "runs", teardown = stop)]
fn misspelt() -> u32 {
    1
}

#[target_fixture(scope = "run")]
fn of_a_target(target: &Target) -> u32 {
    1
}

#[target_fixture(scope = "run")]
fn of_an_environment(env: &Environment) -> u32 {
    1
}

#[target_fixture]
fn nothing(target: &Target) {}

#[target_fixture]
async fn later() -> u32 {
    1
}

#[target_fixture]
fn by_value(number: u32) -> u32 {
    number
}

#[target_fixture]
fn of_two(client: &Target, server: &Target) -> u32 {
    1
}

#[target_fixture]
struct NoFunction;

#[target_test(platform = "qemu")]
fn said_twice(target: &Qemu) {}

fn main() {}
