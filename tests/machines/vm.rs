//! Virtual machines that panic, never boot, find no room, or are not found by anybody.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use cargo_target_test::provision::platform::{InstanceSpec, Platforms};
use serde_json::json;

use super::Lab;
use crate::support::{SmallDisk, eventually, feed, vm::Images};

/// The images; a place that cannot run virtual machines is a failure only where it must not be.
fn images() -> Option<Images> {
    match Images::build() {
        Ok(images) => Some(images),
        Err(why) => {
            assert!(
                std::env::var_os("TARGET_TEST_NO_SKIP").is_none(),
                "no virtual machines here: {why}"
            );
            eprintln!("skipped, since virtual machines cannot run here: {why}");
            None
        }
    }
}

#[test]
fn a_panic_in_the_midst_of_a_test_is_a_crash_and_soon_known() {
    let Some(images) = images() else { return };
    let lab = Lab::new(&images.target("it"));
    lab.run(&["quick", "--keep-targets"]).code(0);
    for test in ["panics", "panics_and_idles"] {
        // The test itself would go on for 1000 s, longer than a run may take.
        let junit = lab.path("junit.xml");
        lab.run(&[
            "-E",
            &format!("test(/^{test}\\[/)"),
            "--keep-targets",
            &format!("--junit={}", junit.display()),
        ])
        .code(100)
        .line_with(&["FAIL", &format!("{test}[it]")])
        .line_with(&[
            &format!(
                "target-test: crash: {test}[it]: `it-0`: its kernel panicked; its console ends:"
            ),
            "Kernel panic - not syncing: ",
        ])
        .line_with(&["1 case: 0 passed, 0 skipped, 0 failed as expected, 1 failed, 0 infra"])
        .says("Kernel panic - not syncing")
        .never_says("infra: ");
        let report = fs::read_to_string(junit).unwrap();
        assert!(report.contains("type=\"crash\""), "{report}");
        assert!(!report.contains("<error"), "{report}");
        assert!(report.contains("console of it-0 ("), "{report}");
        // The machine is deleted, its console is not.
        let run = feed::folder(&lab.path("target-test.toml"));
        let console = fs::read_to_string(run.join("consoles/it-0.log")).expect("the console");
        assert!(console.contains("Kernel panic - not syncing"), "{console}");
        let events = feed::events(&lab.path("target-test.toml"));
        let console = feed::of_kind(&events, "console");
        let text = console[0]["text"].as_str().unwrap_or_default();
        assert!(text.contains("Kernel panic - not syncing"), "{events:?}");
        let facts = &feed::of_kind(&events, "facts")[0]["facts"];
        assert!(facts["digest.kernel"].is_string(), "{facts}");
        let repro = lab.run(&["repro", "latest", test]).code(0);
        repro.says("digest.kernel=");
        // It did not survive its run, and another takes its place.
        lab.run(&["quick", "--keep-targets"]).code(0);
    }
    let infra = "targets.it.on-crash=infra";
    lab.run(&["panics[it]", "--keep-targets", "--set", infra])
        .code(69)
        .line_with(&["target-test: infra: panics[it]: `it-0`: its kernel panicked"])
        .never_says("crash: ");
    lab.run(&["--delete-targets"]).code(0);
}

/// A passing test under which the kernel reports a bug has found it, and its machine serves no other test.
#[test]
fn what_the_kernel_reports_is_found() {
    let Some(images) = images() else { return };
    let checks = "checks = [\"taint\", \"oops\", \"oom\", \"coredump\", \"failed-units\"]\n\
                  collect = [\"/etc/passwd\"]\n";
    let lab = Lab::new(&format!("{}{checks}", images.target("it")));
    let run = lab.run(&["reports_a_bug"]);
    let artifacts = run.stderr.lines().chain(run.stdout.lines());
    let mut artifacts = artifacts.filter_map(|line| line.split_once("target-test: artifacts: "));
    let folder = artifacts.next().expect("the artifacts' folder").1.trim();
    for name in ["passwd", "core.1", "console.log"] {
        assert!(
            find(Path::new(folder), name).is_some(),
            "{name} in {folder}"
        );
    }
    run.code(100)
        .line_with(&["target-test: check `taint` on it-0: kernel tainted: W (bit 9)"])
        .line_with(&["target-test: check `oops` on it-0: ", "BUG: on purpose"])
        .line_with(&[
            "target-test: check `oom` on it-0: ",
            "Out of memory: on purpose",
        ])
        .line_with(&["target-test: check `coredump` on it-0: /var/crash/core.1"])
        // There is no systemd.
        .says("check `failed-units` cannot be made on it: ");
    lab.run(&["quick"]).code(0);
}

/// A test may crash its machine, and use it afterwards; a crash that it does not expect is a finding, then as ever.
#[test]
fn a_crash_on_purpose_is_expected_and_another_is_not() {
    let Some(images) = images() else { return };
    let lab = Lab::new(&images.target("it"));
    lab.run(&["dies_on_purpose"])
        .code(100)
        .line_with(&["crash: dies_on_purpose[it]: `it-0`: its kernel panicked"]);
}

/// A guest that ends by itself is the test's finding, a process that is killed is not. A delete waits until it is down.
#[test]
fn a_guest_that_powers_down_is_a_crash_and_a_killed_one_is_infra() {
    let Some(images) = images() else { return };
    let lab = Lab::new(&format!("{}shutdown = \"60s\"\n", images.target("it")));
    lab.run(&["powers_down"])
        .code(100)
        .line_with(&["target-test: crash: powers_down[it]: `it-0`: it shut itself down"])
        .never_says("infra: ");
    let run = lab.tool(&["idles_on"]).start();
    eventually("the test idles", || lab.path("idles").exists());
    let pid = find(&lab.path("pool"), "pid").expect("the file of the process's number");
    let pid = fs::read_to_string(pid).expect("a number");
    let killed = Command::new("kill").args(["-9", pid.trim()]).status();
    assert!(killed.unwrap().success());
    run.wait()
        .code(69)
        .line_with(&["target-test: infra: idles_on[it]: `it-0`: its virtual machine has ended"])
        .never_says("crash: ");
    lab.run(&["quick"]).code(0);
}

/// A file of this name below a folder.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    entries.flatten().find_map(|entry| match entry.path() {
        path if path.is_dir() => find(&path, name),
        path => (entry.file_name() == name).then_some(path),
    })
}

#[test]
fn a_machine_that_never_answers_shows_its_console() {
    let Some(images) = images() else { return };
    let target = images
        .target("it")
        .replace("console=ttyS0 quiet", "console=ttyS0 rdinit=/bin/cat");
    let lab = Lab::new(&format!("{target}ready-timeout = \"8s\"\nretries = 0\n"));
    lab.run(&["quick"])
        .code(69)
        .says("timed out after 8s waiting for an answer of `it-0`")
        .says("its console ends:\n")
        .line_with(&["[    ", "] "]);
    let run = feed::folder(&lab.path("target-test.toml"));
    let console = fs::read_to_string(run.join("consoles/it-0.log")).expect("the console");
    assert!(console.contains("Linux version"), "{console}");
    let report = fs::read_to_string(run.join("junit.xml")).expect("a report");
    let shown = report.matches("console of it-0 (").count();
    // That of the deploy and that of the case.
    assert_eq!(shown, 2, "{report}");

    // One that ends at once is not waited for.
    let target = images
        .target("it")
        .replace("console=ttyS0 quiet", "console=ttyS0 rdinit=/none");
    let lab = Lab::new(&format!("{target}retries = 0\n"));
    lab.run(&["quick"]).code(69).says("its kernel panicked");
}

/// A test may reboot, restore or unplug its machine; the machine serves other tests afterwards.
#[test]
fn a_test_reboots_restores_and_unplugs_its_machine() {
    let Some(images) = images() else { return };
    let lab = Lab::new(&images.target("it"));
    let run = lab
        .run(&["-E", "test(/^(comes_up_again|goes_back|quick)\\[/)"])
        .code(0);
    run.line_with(&["PASS", "comes_up_again[it]"])
        .line_with(&["PASS", "goes_back[it]"])
        .line_with(&["PASS", "quick[it]"]);
}

#[test]
fn a_reboot_in_a_recipe_is_waited_for() {
    let Some(images) = images() else { return };
    let steps = "{ run = \"touch /run/before\" }, { reboot = true }, { run = \"test ! -e /run/before\" }, \
                 { wait = { console = \"/^ready: it-0/\" } }";
    let lab = Lab::new(&format!(
        "[recipes.again]\nsteps = [{steps}]\n{}recipe = \"again\"\n",
        images.target("it")
    ));
    lab.run(&["quick"]).code(0);
}

#[test]
fn what_no_machine_can_start_from_is_found_before() {
    let Some(images) = images() else { return };
    let target = images.target("it");
    let lab = Lab::new(&target);
    lab.write("text", "this is no disk image, only text\n");
    let with = |more: &str| lab.write("target-test.toml", &format!("{target}{more}\n"));
    with("image = \"missing.qcow2\"");
    lab.run(&["check"])
        .code(78)
        .says("`image` of target `it`: file not found: `")
        .says("missing.qcow2`");
    with("image = \"text\"");
    lab.run(&["check"])
        .code(78)
        .says("text` is not a disk image");
    with("qemu = \"qemu-system-none\"");
    lab.run(&["check"])
        .code(78)
        .says("program `qemu-system-none` of target `it` not found in PATH");
    with("args = [\"-no-such-thing\"]\nretries = 0");
    lab.run(&["quick"])
        .code(69)
        .says("QEMU failed to start `it-0`")
        .says("-no-such-thing: invalid option");
    let has = |flag| fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains(flag));
    if !has(" vmx") && !has(" svm") {
        with("accel = \"kvm\"");
        lab.run(&["check"])
            .code(69)
            .says("KVM cannot be used: ")
            .says("accel = \"tcg\"");
    }
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let Some(images) = images() else { return };
    let folder = tempfile::tempdir().unwrap();
    let Some(small) = SmallDisk::mount(folder.path(), "600k") else {
        eprintln!("skipped, since only root can mount a file system");
        return;
    };
    let lab = Lab::new(&format!("{}disks = [\"1 GiB\"]\n", images.target("it")));
    lab.tool(&["quick", "--pool"])
        .args([small.path()])
        .run()
        .code(69)
        .says("`it-0` needs 256 MiB of disk");

    // Who does not ask for room beforehand is told by the disk.
    let platforms = Platforms::default();
    let qemu = platforms.get("qemu").unwrap();
    let order = order(small.path(), &images);
    let error = qemu.deploy(&order, &|_| {}).unwrap_err();
    assert!(
        error.chain().contains("No space left on device"),
        "{error:?}"
    );
    qemu.delete(&order, None).unwrap();
}

fn order(folder: &Path, images: &Images) -> InstanceSpec {
    let scratch = folder.join("scratch");
    fs::create_dir(&scratch).unwrap();
    // It fills the rest.
    let _ = fs::write(folder.join("ballast"), vec![0; 1 << 20]);
    InstanceSpec {
        provenance: Default::default(),
        instance: "it-0".to_owned(),
        target: "it".to_owned(),
        index: 0,
        label: "tt-small".to_owned(),
        unique: format!("tt-small-{}", std::process::id()),
        parameters: json!({ "kernel": images.file("vmlinuz"), "disks": ["1 GiB"] }),
        directory: folder.to_owned(),
        scratch,
        nics: Vec::new(),
        peers: Vec::new(),
        place: None,
    }
}

/// A pool that lost its records, with its disk: what it made is still there, and carries its label.
#[test]
fn what_no_record_names_is_found() {
    let Some(images) = images() else { return };
    let lab = Lab::new(&images.target("it"));
    lab.run(&["gc"]).code(0).says("no orphans found");
    lab.run(&["quick", "--keep-targets"]).code(0);
    lab.run(&["gc"]).code(0).says("no orphans found");
    let pool = lab.path("pool/pool.json");
    let mut state: serde_json::Value = serde_json::from_slice(&fs::read(&pool).unwrap()).unwrap();
    state["records"] = json!({});
    fs::write(&pool, state.to_string()).unwrap();
    lab.run(&["gc", "--dry-run"])
        .code(0)
        .says("virtual machine `")
        .says("would be deleted");
    lab.run(&["gc"]).code(0).says("deleted");
    lab.run(&["gc"]).code(0).says("no orphans found");
}
