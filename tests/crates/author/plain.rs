//! Tests that are started without the tool.

use target_fixtures::prelude::*;
#[target_test]
fn first(target: &Target) -> Result<()> {
    println!("first on {}", target.instance());
    target.ping()?;
    Ok(())
}

#[target_test(targets = ["west"])]
fn second(target: &Target) {
    println!("second on {}", target.instance());
}

/// Starts itself in another clone, where it must not take this lease for its own.
#[target_test]
fn nested(target: &Target) -> Result<()> {
    println!("nested on {}", target.instance());
    if let Ok(folder) = std::env::var("NEST_IN") {
        let output = std::process::Command::new("cargo")
            .args([
                "test",
                "--test",
                "plain",
                "--",
                "--exact",
                "nested",
                "--nocapture",
            ])
            .current_dir(folder)
            .env_remove("NEST_IN")
            .env("TARGET_TEST_TARGET", "west")
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.contains("nested on west-0"),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success());
    }
    target.ping()?;
    Ok(())
}
