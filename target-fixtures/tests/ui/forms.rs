//! Every wrong form of a function.
use target_fixtures::prelude::*;

#[target_test]
async fn asynchronous(_: &Target) {}

#[target_test]
unsafe fn generic<T>(_: &Target) {}

#[target_test]
fn other(_: &Target, number: u32, again: &Target) {}

#[target_test]
fn by_value(_: Target) {}

#[target_test]
fn mutable(_: &mut Target) {}

#[target_test]
fn many(targets: &[Target]) {}

#[target_test(count = 2)]
fn one(target: &Target) {}

#[target_test]
fn environment(env: &Environment) {}

#[target_test(roles = ["gateway", "tester"])]
fn roles(target: &Target) {}

#[target_test]
struct NoFunction;

fn main() {}
