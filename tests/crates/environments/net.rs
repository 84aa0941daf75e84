//! Tests on virtual machines with a network between them.

use target_fixtures::prelude::*;

/// A machine reaches another at its address on the network, before and after that one reboots.
#[target_test(roles = ["gateway", "tester"])]
fn reaches(env: &Environment) -> Result<()> {
    let lan = env.network("lan");
    let gateway = lan.address("gateway")?;
    assert_ne!(lan.address("tester1")?, lan.address("tester2")?);
    assert_eq!(lan.interface("tester1")?, "eth1");
    let ping = format!("ping -c 1 -W 10 {gateway}");
    env["tester1"].run(&ping)?;
    env["gateway"].reboot()?;
    env["tester2"].run(&ping)?;
    Ok(())
}

/// An interface without an address is left to the test.
#[target_test(roles = ["gateway", "tester1"])]
fn is_bare(env: &Environment) -> Result<()> {
    let bare = env.network("bare");
    let unset = bare.address("gateway").unwrap_err().to_string();
    let message = "find the address of `gateway` on network `bare`: it has none";
    assert_eq!(unset, message);
    for (role, address) in [("gateway", "10.9.9.1"), ("tester1", "10.9.9.2")] {
        let interface = bare.interface(role)?;
        env[role].run(format!(
            "ip addr add {address}/24 dev {interface} && ip link set {interface} up"
        ))?;
    }
    env["tester1"].run("ping -c 1 -W 10 10.9.9.1")?;
    Ok(())
}

/// Finds each machine as it was before the first test.
fn is_as_new(env: &Environment) -> Result<()> {
    for target in env.machines() {
        target.run("! test -e /root/used && touch /root/used")?;
    }
    let ping = format!("ping -c 1 -W 10 {}", env.network("lan").address("tester2")?);
    env["gateway"].run(ping)?;
    Ok(())
}

#[target_test(roles = ["tester"], reuse = "snapshot")]
fn restored_1(env: &Environment) -> Result<()> {
    is_as_new(env)
}

#[target_test(roles = ["tester"], reuse = "snapshot")]
fn restored_2(env: &Environment) -> Result<()> {
    is_as_new(env)
}
