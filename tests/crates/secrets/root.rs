//! A test that becomes root, by the target's password or by its own; what root runs is killed like anything else.

use target_fixtures::{ErrorKind, Exit, prelude::*};

#[target_test]
fn becomes_root(target: &Target) -> Result<()> {
    assert_ne!(target.run("id -u")?.stdout, "0\n");
    let said = target
        .command("id -u; echo \"$A $1\"; pwd; cat")
        .arg("x y")
        .env("A", "it's")
        .current_dir("/usr")
        .sudo()
        .stdin("in")
        .run()?;
    assert_eq!(said.stdout, "0\nit's x y\n/usr\nin");
    assert_eq!(target.sudo("cat; echo end")?.stdout, "end\n");
    assert_eq!(
        target.command("exit 7").sudo().allow_failure().run()?.exit,
        Exit::Code(7)
    );
    let own = std::env::var("LAB_PASSWORD")?;
    assert_eq!(target.command("id -u").password(&own).run()?.stdout, "0\n");
    let error = target
        .command("true")
        .password("a wrong one")
        .run()
        .unwrap_err();
    assert!(
        error.kind() == ErrorKind::Exit && !error.to_string().contains("a wrong one"),
        "{error}"
    );
    assert!(
        !target
            .sudo("env; cat /proc/self/environ")?
            .stdout
            .contains(&own)
    );
    let mut sleeper = target.command("echo $$; exec sleep 1000").sudo().spawn()?;
    let pid = sleeper
        .next_line(std::time::Duration::from_secs(20))?
        .ok_or("no line")?
        .text;
    target.sudo(format!("kill -0 {pid}"))?;
    sleeper.kill()?;
    let gone = format!(
        "i=0; while kill -0 {pid} 2>/dev/null; do i=$((i+1)); [ $i -lt 200 ] || exit 1; sleep 0.05; done"
    );
    target.sudo(gone)?;
    let left = "find /tmp -maxdepth 2 -name ask -user $(id -u) 2>/dev/null; true";
    assert_eq!(target.run(left)?.stdout, "");
    Ok(())
}
