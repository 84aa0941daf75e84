//! Secrets by reference, end to end: values reach the program that uses them and appear in no output and no file.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use serde_json::json;

use crate::support::{Outcome, Project, Sshd, Tool, User, container::Engine};

const TOKEN: &str = "geheim-7f3a91c4";
const PIN: &str = "p\"n 42'\\ x9";
const KEY: &str = "-----BEGIN KEY-----\nMIIEowIBAAKCAQEA\n-----END KEY-----";

const PLAYBOOK: &str = r#"
[[targets]]
name = "here"
platform = "local"
count = 2
env = { TOKEN = { env = "LAB_TOKEN" }, KEY = { file = "lab.key" }, PIN = { command = ["./show-pin", "lab"] } }

[[targets]]
name = "made"
platform = "command"
deploy = "./deploy"
delete = "./deploy"
exec = "./exec"
params = { token = { env = "LAB_TOKEN" } }
env = { PIN = { command = ["./show-pin", "lab"] } }

[[targets]]
name = "broken"
platform = "command"
deploy = "./broken"
delete = "./deploy"
retries = 0
params = { token = { env = "LAB_TOKEN" } }
"#;

/// Reads the token from standard input, prints it to all outputs, and creates nothing.
const DEPLOY: &str = r#"#!/bin/sh
request=$(cat)
token=${request#*\"token\":\"}
token=${token%%\"*}
[ "$token" = "$LAB_TOKEN" ] || { echo "told $request" >&2; exit 4; }
case $request in *broken*) ;; *) [ -n "$PIN" ] || exit 5 ;; esac
echo "log in with $token" >&2
printf '{"host": "h", "data": {"seen": "it is %s", "%s": {"%s": 1}}}\n' "$token" "$token" "a $token"
"#;
const EXEC: &str = r#"#!/bin/sh
case $TARGET_TEST_REQUEST in *"\"token\":\"$LAB_TOKEN\""*) [ -n "$PIN" ] || exit 5 ;; *) exit 6 ;; esac
exec sh -c "$1"
"#;
const BROKEN: &str = "#!/bin/sh\necho \"cannot log in with $LAB_TOKEN\" >&2\nexit 3\n";
const SHOW_PIN: &str = "#!/bin/sh\necho run >>pin-runs\ncat pin\n";

fn project() -> Project {
    let project = Project::new("secrets")
        .file("tests/cases.rs", include_str!("crates/secrets/cases.rs"))
        .playbook(PLAYBOOK)
        .file("lab.key", &format!("{KEY}\n"))
        .file("pin", &format!("{PIN}\n"));
    for (name, text) in [
        ("deploy", DEPLOY),
        ("broken", BROKEN),
        ("exec", EXEC),
        ("show-pin", SHOW_PIN),
    ] {
        fs::write(project.path(name), text).expect("a script");
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(project.path(name), mode).expect("a script");
    }
    let _ = fs::remove_file(project.path("pin-runs"));
    fs::create_dir(project.private("tmp")).expect("a temporary folder");
    project
}

fn tool(project: &Project, arguments: &[&str]) -> Tool {
    project
        .tool(arguments)
        .env("LAB_TOKEN", TOKEN)
        .env("SCANNED", project.private(""))
        .env("TMPDIR", project.private("tmp"))
}

/// Asserts that no value was printed.
#[track_caller]
fn prints_none(outcome: Outcome) -> Outcome {
    let forms = [
        TOKEN,
        PIN,
        &format!("{PIN:?}")[1..],
        "MIIEowIBAAKCAQEA",
        "-----END KEY-----",
    ];
    forms.into_iter().fold(outcome, Outcome::never_says)
}

/// Asserts that no file below the folder contains a value.
#[track_caller]
fn wrote_none(path: &Path) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a folder").flatten() {
            wrote_none(&entry.path());
        }
    } else if path.is_file() {
        let bytes = fs::read(path).unwrap_or_default();
        for value in [TOKEN, PIN, "MIIEowIBAAKCAQEA"] {
            let found = bytes
                .windows(value.len())
                .any(|part| part == value.as_bytes());
            assert!(!found, "{} has {value}", path.display());
        }
    }
}

#[track_caller]
fn wrote_none_anywhere(project: &Project) {
    wrote_none(&project.private(""));
    let builds = Path::new(env!("CARGO_TARGET_TMPDIR")).join("builds");
    wrote_none(&builds.join("nextest"));
}

#[test]
fn no_value_is_shown_or_written() {
    let project = project();
    let report = project.private("report.xml");
    let junit = report.to_string_lossy().into_owned();
    let words = [
        "-v",
        "--keep-targets",
        "--no-fail-fast",
        "--success-output",
        "immediate",
        "--junit",
        &junit,
    ];
    let run = prints_none(tool(&project, &words).run().code(100));
    for said in [
        "printed [secret LAB_TOKEN]",
        "complained [secret LAB_TOKEN]",
        "[secret LAB_TOKEN], geheim-7f3a91c\n",
        "panicked at [secret LAB_TOKEN]",
        "returned [secret LAB_TOKEN]",
        "said [secret LAB_TOKEN]",
        "skipped for [secret LAB_TOKEN]",
        "log in with [secret LAB_TOKEN]",
        "broken-0 could not be deployed: `./broken` for `broken-0` of target `broken` exited with code 3: cannot log in with [secret LAB_TOKEN]",
        "the key: [secret lab.key]",
        "the pin: [secret ./show-pin]",
        "quoted: \"[secret ./show-pin]\"",
    ] {
        assert!(
            run.stdout.contains(said) || run.stderr.contains(said),
            "{said}: {run:?}"
        );
    }
    for name in ["here", "made"] {
        assert_eq!(
            run.lines_with(&["PASS", &format!("sees[{name}]")]),
            1,
            "{run:?}"
        );
        assert_eq!(
            run.lines_with(&["PASS", &format!("prints[{name}]")]),
            1,
            "{run:?}"
        );
        assert!(
            run.lines_with(&["FAIL", &format!("panics[{name}]")]) > 0,
            "{run:?}"
        );
    }
    let runs = fs::read_to_string(project.path("pin-runs")).expect("the program ran");
    assert_eq!(runs, "run\n", "once in the run, whoever asks");
    let report = fs::read_to_string(report).expect("the report");
    assert!(
        report.contains("panicked at [secret LAB_TOKEN]"),
        "{report}"
    );
    wrote_none_anywhere(&project);

    for words in [
        &["list"][..],
        &["check"],
        &["check", "--json"],
        &["targets"],
        &["targets", "--json"],
        &["prints", "sees", "--on", "here", "--keep-targets"],
    ] {
        prints_none(tool(&project, words).run().code(0));
    }
    wrote_none_anywhere(&project);
    // The delete program needs the token, so the record stays without it.
    let denied = project.tool(["--delete-targets"]).run().code(69);
    denied.says("`params.token` of target `made`: environment variable `LAB_TOKEN` is not set");
    prints_none(tool(&project, &["--delete-targets"]).run().code(0));
    wrote_none_anywhere(&project);
}

#[test]
fn an_unavailable_secret_is_infra_with_a_hint() {
    let project = Project::new("secrets-missing")
        .test_file("cases", "#[target_test]\nfn runs(target: &Target) -> Result<()> { target.ping()?; Ok(()) }\n")
        .playbook(
            "[[targets]]\nname = \"here\"\nplatform = \"local\"\ncount = 1\nenv.TOKEN.env = \"LAB_TOKEN\"\n\n\
             [[targets]]\nname = \"there\"\nplatform = \"local\"\ncount = 1\n\
             env.PIN.command = [\"sh\", \"-c\", \"echo the store is locked >&2; exit 2\"]\n\n\
             [[targets]]\nname = \"fine\"\nplatform = \"local\"\ncount = 1\nenv.TOKEN = \"plain\"\n",
        );
    let missing = "`env.TOKEN` of target `here`: environment variable `LAB_TOKEN` is not set";
    let hint = "hint: run `export LAB_TOKEN=...` before `cargo target-test`";
    project
        .run(&["check"])
        .code(0)
        .says(&format!("warning: {missing}"))
        .says(hint);
    let run = project.run(&["--no-fail-fast"]).code(69);
    assert_eq!(run.lines_with(&["PASS", "runs[fine]"]), 1, "{run:?}");
    run.says(&format!("infra: here-0 could not be deployed: {missing}"))
        .says(hint)
        .says("`env.PIN` of target `there`: `sh -c echo the store is locked >&2; exit 2` exited with code 2: the store is locked");
    // CI sets empty variables in forks, which have no secrets.
    let run = project.tool(["--on", "here"]).env("LAB_TOKEN", "").run();
    run.code(69)
        .says("environment variable `LAB_TOKEN` is empty");
    project
        .tool(["--on", "here"])
        .env("LAB_TOKEN", TOKEN)
        .run()
        .code(0);
}

#[test]
fn a_password_opens_a_machine() {
    let password = "lab-word 7f3a91c4";
    let Some(user) = User::new(password) else {
        return;
    };
    let sshd = Sshd::with(&["alpha-0"], "PasswordAuthentication yes");
    let (host, known) = (
        sshd.address("alpha-0"),
        sshd.setting("alpha-0", "userknownhostsfile"),
    );
    let project = Project::new("secrets-ssh")
        .test_file("cases", "#[target_test]\nfn who(target: &Target) -> Result<()> { println!(\"it is {}\", target.run(\"id -un\")?.stdout); Ok(()) }\n")
        .playbook(&format!(
            "[[targets]]\nname = \"lab\"\nplatform = \"ssh\"\nhosts = [{host:?}]\nuser = {:?}\n\
             known-hosts = {known:?}\npassword = {{ env = \"LAB_PASSWORD\" }}\n",
            user.name()
        ));
    let words = ["--success-output", "immediate", "--keep-targets", "-v"];
    let run = project
        .tool(words)
        .env("LAB_PASSWORD", password)
        .run()
        .code(0);
    run.says(&format!("it is {}", user.name()))
        .never_says(password);
    wrote_none(&project.private(""));
    let pool = fs::read_to_string(project.private("pool").join("pool.json")).expect("pool.json");
    assert!(
        pool.contains("LAB_PASSWORD") && !pool.contains(password),
        "{pool}"
    );
    let run = project
        .tool(words)
        .env("LAB_PASSWORD", "wrong word")
        .run()
        .code(69);
    run.says("the password from `LAB_PASSWORD`")
        .never_says("wrong word");
    a_program_answers_it(&project, (&host, &known), &user, password);
}

/// The password from the answer of a program is in one file, which goes with the instance.
fn a_program_answers_it(
    project: &Project,
    (host, known): (&str, &str),
    user: &User,
    password: &str,
) {
    project.run(&["--delete-targets"]).code(0);
    let (address, port) = host.rsplit_once(':').expect("a port");
    let answer = json!({ "host": address, "port": port.parse::<u16>().expect("a port"),
        "user": user.name(), "password": password, "data": { "told": password } });
    fs::write(project.private("answer"), answer.to_string()).expect("a file");
    let playbook = project.private("command.toml");
    let target = format!(
        "[[targets]]\nname = \"lab\"\nplatform = \"command\"\ndeploy = [\"cat\", \"answer\"]\n\
         delete = [\"true\"]\nknown-hosts = {known:?}\n"
    );
    fs::write(&playbook, target).expect("a playbook");
    let words = ["--success-output", "immediate", "--keep-targets", "-v"];
    for _ in 0..2 {
        let run = project
            .tool(words)
            .args(["--playbook"])
            .args([&playbook])
            .run();
        run.code(0)
            .says(&format!("it is {}", user.name()))
            .never_says(password);
    }
    fs::remove_file(project.private("answer")).expect("the answer");
    let pool = fs::read_to_string(project.private("pool").join("pool.json")).expect("pool.json");
    assert!(!pool.contains(password), "{pool}");
    project.run(&["--delete-targets"]).code(0);
    wrote_none(&project.private(""));
}

/// Runs commands as root, with the target's password or with the test's own; root's processes are killed as well.
const ROOT: &str = include_str!("crates/secrets/root.rs");

#[test]
fn a_password_makes_root() {
    let password = "lab 'word' 7f3a91c4";
    let Some(user) = User::new(password) else {
        return;
    };
    user.may_sudo();
    let sshd = Sshd::with(&["alpha-0"], "PasswordAuthentication yes");
    let (host, known) = (
        sshd.address("alpha-0"),
        sshd.setting("alpha-0", "userknownhostsfile"),
    );
    let project = Project::new("secrets-root")
        .file("tests/cases.rs", ROOT)
        .playbook(&format!(
            "[[targets]]\nname = \"lab\"\nplatform = \"ssh\"\nhosts = [{host:?}]\nuser = {:?}\n\
             known-hosts = {known:?}\npassword = {{ env = \"LAB_PASSWORD\" }}\n",
            user.name()
        ));
    let words = ["--success-output", "immediate", "-v"];
    let run = project
        .tool(words)
        .env("LAB_PASSWORD", password)
        .run()
        .code(0);
    run.never_says(password).never_says("a wrong one");
    wrote_none(&project.private(""));
}

/// A login user whose `sudo` asks for the target's password, which it does not take from anywhere else; `reboot` and
/// `apt-get` need root. All of them are fakes on the host, first in `PATH`.
#[test]
fn a_password_makes_root_for_recipes_reboots_and_packages() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped, since only root can mount a boot id");
        return;
    }
    let password = "lab 'word' 7f3a91c4";
    let project = Project::new("secrets-recipe").test_file(
        "cases",
        "#[target_test]\nfn grows(target: &Target) -> Result<()> { target.install(&[\"fio\"])?; Ok(target.reboot()?) }\n",
    );
    let fakes = tempfile::tempdir().expect("a folder");
    let at = fakes.path().display();
    for (name, text) in [
        ("id", "echo 1000".to_owned()),
        (
            "sudo",
            format!(
                "[ \"$1\" = -A ] && [ \"$($SUDO_ASKPASS)\" = \"$(cat {at}/password)\" ] || {{ \
             echo 'sudo: a password is required' >&2; exit 1; }}; shift 2; IS_ROOT=1 exec \"$@\""
            ),
        ),
        (
            "apt-get",
            format!("[ $IS_ROOT ] && echo packages >>{at}/done"),
        ),
        (
            "reboot",
            format!("[ $IS_ROOT ] && echo reboot >>{at}/done && echo $$ >{at}/boot-id"),
        ),
        ("script", format!("[ $IS_ROOT ] && echo script >>{at}/done")),
    ] {
        let fake = fakes.path().join(name);
        fs::write(&fake, format!("#!/bin/sh\n{text}\n")).expect("a program");
        fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).expect("a program");
    }
    fs::write(fakes.path().join("password"), password).expect("a file");
    fs::write(fakes.path().join("boot-id"), "first").expect("a file");
    let sshd = Sshd::with_boot_id(&["alpha-0"], &fakes.path().join("boot-id"), fakes.path());
    // Without the fakes, these steps would reboot this host.
    let playbook = sshd.playbook(&[("lab", &["alpha-0"])]).replace(
        "[[targets]]",
        "[[targets]]\npassword = { env = \"LAB_PASSWORD\" }\nrecipe = \"grow\"",
    ) + &format!(
        "[recipes.grow]\nsteps = [{{ run = \"[ $(command -v reboot) = {at}/reboot ] && [ $(id -u) = 1000 ]\" }}, \
         {{ sudo = \"[ $IS_ROOT ] && echo step >>{at}/done\" }}, {{ script = \"{at}/script\", as-root = true }}, \
         {{ reboot = true }}]\n"
    );
    let project = project.playbook(&playbook);
    let run = project.tool(["-v"]).env("LAB_PASSWORD", password).run();
    run.code(0).never_says(password);
    let done = fs::read_to_string(fakes.path().join("done")).expect("what root did");
    assert_eq!(done, "step\nscript\nreboot\npackages\nreboot\n");
    let run = project.tool(["-v"]).env("LAB_PASSWORD", "wrong word").run();
    run.code(69)
        .says("a password is required")
        .never_says("wrong word");
}

#[test]
fn a_container_has_it_in_its_environment() {
    let engine = match Engine::start() {
        Ok(engine) => engine,
        Err(why) => {
            let must = std::env::var_os("TARGET_TEST_NO_SKIP").is_some();
            assert!(!must, "no container can run here: {why}");
            eprintln!("skipped, since no container can run here: {why}");
            return;
        }
    };
    let project = Project::new("secrets-container")
        .test_file("cases", "#[target_test]\nfn tells(target: &Target) -> Result<()> { println!(\"it is {}\", target.run(\"echo $TOKEN\")?.stdout); Ok(()) }\n")
        .playbook(&format!("{}env.TOKEN.env = \"LAB_TOKEN\"\n", engine.target("box")));
    let words = ["--success-output", "immediate", "--keep-targets", "-v"];
    let _kept = Kept(&project);
    // The second run reuses the container, whose environment was set by the first run.
    for _ in 0..2 {
        let run = prints_none(project.tool(words).env("LAB_TOKEN", TOKEN).run().code(0));
        run.says("it is [secret LAB_TOKEN]");
        wrote_none(&project.private(""));
    }
}

/// Deletes the instances when the test ends.
struct Kept<'a>(&'a Project);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        let delete = self.0.tool(["--delete-targets"]).env("LAB_TOKEN", TOKEN);
        delete.run();
    }
}
