//! `gc --owner`: what a lost pool left is collected, and nothing that lives.

use std::{fs, time::Duration};

use rustix::process::Signal;

use super::{Lab, target};
use crate::support::Started;

/// A lab whose machines carry their provenance, as the request has it.
fn lab() -> Lab {
    let lab = Lab::new(1);
    let note = "unique=$(printf '%s' \"$line\" | sed 's/.*\"unique\":\"\\([^\"]*\\)\".*/\\1/')\n\
                printf '%s\\n' \"$line\" >\"ledger/$unique\"\n";
    let script = |name: &str, rest: &str| {
        lab.script(name, &format!("#!/bin/sh\nread -r line\n{note}{rest}\n"));
    };
    script(
        "up",
        r#"echo '{"host": "localhost", "transport": "local"}'"#,
    );
    script("later", "echo \"$unique\" >>renewed");
    lab.script(
        "list",
        r#"#!/bin/sh
c=
printf '['
for made in ledger/*; do
    [ -e "$made" ] || continue
    printf '%s{' "$c"
    c=,
    comma=
    for key in unique owner born expires pool; do
        one=$(sed -n 's/.*\("'$key'":\("[^"]*"\|[0-9][0-9]*\)\).*/\1/p' "$made")
        [ -z "$one" ] || printf '%s%s' "$comma" "$one"
        comma=,
    done
    printf '}'
done
echo ']'
"#,
    );
    playbook(&lab, "lifetime = \"30m\"\nkeep-for = \"70m\"");
    lab
}

fn playbook(lab: &Lab, pool: &str) {
    let programs = "list = \"./list\"\nrenew = \"./later\"";
    let pool = format!("[pool]\nowner = \"job 7\"\n{pool}\n");
    lab.playbook(&(pool + &target("alpha", 1, programs)));
}

/// The number that follows a key in what a machine carries.
fn number(lab: &Lab, key: &str) -> u64 {
    let carried = lab.ledger().concat();
    let after = carried.split(&format!("\"{key}\":")).nth(1).expect(key);
    let digits = after.split(|other: char| !other.is_ascii_digit()).next();
    digits.expect(key).parse().expect(key)
}

const EXPIRED: [&str; 5] = ["gc", "--owner", "job*", "--expired", "--yes"];

#[test]
fn a_machine_of_a_lost_pool_is_collected_by_its_owner() {
    let lab = lab();
    lab.run(&["quick", "--keep-targets"]).code(0);
    lab.run(&["quick", "--keep-targets"])
        .code(0)
        .never_says("renew");
    let carried = lab.ledger().concat();
    assert!(carried.contains("\"owner\":\"job 7\""), "{carried}");
    let unique = fs::read_to_string(lab.path("renewed")).expect("it is renewed when it is kept");
    let (label, _) = unique.trim().rsplit_once('-').expect("a label");
    assert_eq!(label.len(), "tt-".len() + 26, "{label}");
    let lives = number(&lab, "expires") - number(&lab, "born");
    assert!((4200..4500).contains(&lives), "{lives}");

    lab.run(&["gc", "--owner", "job 8", "--yes"])
        .code(0)
        .says("found nothing of `job 8`");
    lab.run(&EXPIRED).code(0).says("stays: it expires at 20");
    // The pool and its record say the same.
    lab.later(1, &EXPIRED).code(0).says("it expires at 20");
    let lock = fs::File::open(lab.path("pool/pool.lock")).expect("the lock");
    lock.lock().expect("the lock");
    lab.later(3, &EXPIRED)
        .code(0)
        .says("stays: its pool `")
        .says("is in use");
    drop(lock);
    assert_eq!(lab.ledger().len(), 1);

    fs::remove_dir_all(lab.path("pool")).expect("a pool");
    lab.later(1, &EXPIRED).code(0).says("it expires at 20");
    // It lists first, and asks.
    let asked = lab.later(3, &EXPIRED[..4]).code(2);
    asked.says("would be deleted").says("--yes");
    let dry = lab.later(3, &["gc", "--owner", "job 7", "--expired", "--dry-run"]);
    dry.code(0).says("would be deleted");
    assert_eq!(lab.ledger().len(), 1);
    lab.later(3, &EXPIRED).code(0).says(": deleted");
    assert_eq!(lab.ledger().len(), 0);
    assert!(!lab.path("pool").exists(), "gc needs no pool");
}

/// An expiry that was not written on the machine is tried again by the next run.
#[test]
fn a_machine_is_renewed_again_after_a_failure() {
    let lab = lab();
    let keep = ["quick", "--keep-targets"];
    lab.script("later", "#!/bin/sh\necho no >&2; exit 1\n");
    lab.run(&keep)
        .code(0)
        .says("failed to renew a kept instance: `./later`");
    lab.script("later", "#!/bin/sh\ntouch renewed\n");
    lab.run(&keep).code(0).never_says("renew");
    assert!(lab.path("renewed").exists());
    lab.later(2, &EXPIRED).code(0).says("it expires at 20");
    lab.later(3, &EXPIRED).code(0).says(": deleted");
    assert_eq!(lab.ledger().len(), 0);
}

/// A run that uses its machine, also one that was suspended for hours, keeps it, whatever the clock says.
#[test]
fn a_machine_of_a_suspended_run_is_not_collected() {
    let lab = lab();
    let run = lab.start(&["holds"]);
    let _: [String; 4] = lab.said("held");
    let stays = |run: &Started, signal| {
        run.signal(signal);
        lab.later(2, &EXPIRED)
            .code(0)
            .says("stays: `alpha-0` is in use (pid ")
            .never_says("deleted");
        assert_eq!(lab.ledger().len(), 1);
    };
    stays(&run, Signal::STOP);
    stays(&run, Signal::CONT);
    fs::write(lab.path("go"), "").expect("a file");
    run.wait().code(0);
    assert_eq!(lab.ledger().len(), 0);

    // Killed: nobody uses it, and its record is still there.
    fs::remove_file(lab.path("go")).expect("a file");
    fs::remove_file(lab.path("held")).expect("a file");
    let run = lab.start(&["holds"]);
    let _: [String; 4] = lab.said("held");
    run.signal(Signal::KILL);
    drop(run);
    lab.run(&EXPIRED).code(0).says("it expires at 20");
    crate::support::eventually("the end of the test", || {
        std::thread::sleep(Duration::from_millis(50));
        lab.later(2, &EXPIRED).code(0);
        lab.ledger().is_empty()
    });
    lab.run(&["targets"]).code(0).never_says("alpha-0 ");
    assert_eq!(
        lab.run(&["--delete-targets"])
            .code(0)
            .lines_with(&["nothing"]),
        1
    );
}
