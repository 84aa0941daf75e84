//! Every kind of wrong argument.
use target_fixtures::prelude::*;

#[target_test(priorty = 1, colour = "red", area = 3, area = "net", platform("ssh"), tags = "a", features = [1, ""])]
fn keys_and_types(_: &Target) {}

#[target_test(priority = 5, retries = -1, count = 0, reuse = "yes", timeout = "30 parsecs")]
fn numbers(_: &[Target]) {}

#[target_test(collect = ["var/log", command(3), run("ls"), "/var/log"], collect_when = "never", fresh = "yes")]
fn artifacts(_: &Target) {}

#[target_test(timeout = "0s", memory = ">= 1 GiX", cores = 4, disk = "=> 1 GB", requires(cores = "> 1", "gpu.memory" = ">="))]
fn requirements(_: &Target) {}

#[target_test(memory = ">= 8", requires(disk = "8 gib", cores = "8"))]
fn sizes(_: &Target) {}

#[target_test(skip, skip(platform = "ssh"), skip(""), expect_fail("bug 7", targets = "x", feature = "a", feature = "b"))]
fn conditions(_: &Target) {}

#[target_test(runs_on = "gateway")]
fn places(_: &Target) {}

mod places {
    use super::*;

    target_defaults! { runs_on = "gateway" }
}

target_defaults! { area = "net", count = 2, owner = "" }

fn main() {}
