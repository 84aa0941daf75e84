//! Tests that need an environment, beside one that does not.

use target_fixtures::prelude::*;

/// Each machine is one of its own, and answers under its role.
#[target_test(roles = ["gateway", "tester1", "tester2"], area = "lan")]
fn meets(env: &Environment) -> Result<()> {
    let roles: Vec<_> = env.roles().collect();
    assert_eq!(roles, ["gateway", "tester1", "tester2"]);
    for role in ["gateway", "tester1", "tester2"] {
        let target = &env[role];
        let name = format!("{}.{role}", env.name());
        assert_eq!(target.instance(), name);
        target.write(format!("{}/role", home(target)?), role)?;
    }
    for role in ["gateway", "tester1", "tester2"] {
        assert_eq!(env[role].cat(format!("{}/role", home(&env[role])?))?, role);
    }
    assert_eq!(env.targets("tester").len(), 2);
    assert_eq!(
        env["gateway"].run("cat prepared")?.stdout,
        "by the recipe\n"
    );
    assert_eq!(
        env["tester1"].run("ls")?.stdout.lines().next(),
        Some("role")
    );
    let unknown = env.role("gatway").unwrap_err().to_string();
    assert!(
        unknown.contains("`gateway`, `tester1`, `tester2`"),
        "{unknown}"
    );
    Ok(())
}

/// The working folder, one for each machine.
fn home(target: &Target) -> Result<String> {
    Ok(target.run("pwd")?.stdout.trim().to_owned())
}

/// A file on each machine, made once for all tests on the environment.
#[target_fixture(scope = "instance", tear_down = clear)]
fn lab(env: &Environment) -> Result<Vec<String>> {
    let made = env.machines().iter().map(|target| {
        target.run("echo >>lab")?;
        Ok(target.instance().to_owned())
    });
    made.collect()
}

fn clear(env: &Environment, lab: &[String]) -> Result<()> {
    for (target, name) in env.machines().iter().zip(lab) {
        assert_eq!(target.instance(), name);
        target.run("rm lab")?;
    }
    std::fs::write(std::env::var("LEDGER")?, lab.join(" "))?;
    Ok(())
}

#[target_test(roles = ["gateway"])]
fn finds_the_lab(env: &Environment, lab: &[String]) -> Result<()> {
    assert_eq!(env.machines().len(), lab.len());
    for target in env.machines() {
        target.run("test -e lab")?;
    }
    Ok(())
}

/// Takes the machines as a slice.
#[target_test(roles = ["tester"])]
fn takes_all(targets: &[Target]) {
    let names: Vec<_> = targets.iter().map(Target::instance).collect();
    assert!(
        names[0].ends_with(".gateway") && names[2].ends_with(".tester2"),
        "{names:?}"
    );
}

/// No machine has so many cores.
#[target_test(roles = ["gateway"], requires("gateway.cores" = ">= 4096"))]
fn too_large(_env: &Environment) {}

#[target_test(roles = ["gateway", "printer"])]
fn lacks_a_role(_env: &Environment) {}

#[target_test(roles = ["gateway"])]
#[should_panic(expected = "it has `gateway`, `tester1`, `tester2`")]
fn misspells_a_role(env: &Environment) {
    // The panic is at the author's line, or the process ends here.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().expect("a place");
        assert_eq!(place.file(), file!());
    }));
    let _ = &env["gatway"];
}

/// Runs once for each variant.
#[target_test(roles = ["gateway"])]
fn vlan(env: &Environment) -> Result<()> {
    let variant = env.variant().expect("a variant");
    let vlan: u32 = variant.get("vlan")?;
    assert_eq!(variant.name(), format!("vlan{vlan}"));
    assert_eq!(variant.get::<Option<u32>>("vlna")?, None);
    for (error, expected) in [
        (
            variant.get::<u32>("vlna").unwrap_err(),
            format!("not found in {}", variant.params()),
        ),
        (
            variant.get::<bool>("vlan").unwrap_err(),
            format!("invalid type: integer `{vlan}`, expected a boolean"),
        ),
    ] {
        let message = error.to_string();
        assert!(message.starts_with("read parameter `vl"), "{message}");
        assert!(message.ends_with(&expected), "{message}");
    }
    Ok(())
}

/// Runs on one of the machines, and reaches another through the broker.
#[target_test(roles = ["gateway"], runs_on = "tester1")]
fn runs_there(env: &Environment) -> Result<()> {
    // The mark of platform `local` on every process of the machine.
    let mark = std::env::var("TARGET_TEST_LOCAL")?;
    assert!(mark.ends_with("-tester1"), "{mark}");
    assert_eq!(
        env["gateway"].cat(format!("{}/prepared", home(&env["gateway"])?))?,
        "by the recipe"
    );
    Ok(())
}

/// Runs on single machines only.
#[target_test]
fn alone(target: &Target) -> Result<()> {
    target.run("true")?;
    Ok(())
}
