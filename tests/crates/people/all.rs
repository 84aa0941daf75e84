//! Tests that hold an instance beside the people who look at it.

#[test]
fn quick() {}

#[test]
fn also_quick() {}

#[test]
fn holds() {
    let scratch = std::path::PathBuf::from(std::env::var_os("SCRATCH").unwrap());
    std::fs::write(scratch.join("held"), "").unwrap();
    if scratch.join("asks").exists() {
        let tool = std::env::var_os("TARGET_TEST_TOOL").unwrap();
        let name = std::env::var("TARGET_TEST_INSTANCE").unwrap();
        let exec = ["exec", &name, "--", "echo", "seen by the test"];
        let said = std::process::Command::new(tool)
            .args(exec)
            .output()
            .unwrap();
        std::fs::write(scratch.join("said"), said.stdout).unwrap();
    }
    while !scratch.join("go").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
