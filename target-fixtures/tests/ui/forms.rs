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

#[target_test(count = 3)]
fn two(client: &Target, server: &Target) {}

#[target_test]
fn mixed(all: &[Target], one: &Target) {}

#[target_test]
fn platforms(client: &target_fixtures::platform::Qemu, server: &target_fixtures::platform::Ssh) {}

#[target_test(roles = ["gateway"], count = 2)]
fn counted(env: &Environment) {}

#[target_test(roles = ["gateway", "tester"])]
fn two_roles(client: &Target, server: &Target) {}

#[target_test]
fn environment(env: &Environment) {}

#[target_test(roles = ["gateway", "tester"])]
fn roles(target: &Target) {}

#[target_test]
struct NoFunction;

fn main() {}
