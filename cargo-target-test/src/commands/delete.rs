//! `--delete-targets`: deletes the instances in the pool without a playbook, and reports the result.

use crate::{
    cli::{Global, RunArgs},
    error::{ErrorKind, Result},
    provision::{DeleteScope, delete_all, platform::Platforms, pool::Pool},
    run::workspace,
    run_event::CleanUp,
    ui,
};

/// Runs the flag like a verb. Needs only the pool to be readable.
///
/// # Errors
/// Fails if the pool cannot be used.
pub fn verb(platforms: &Platforms, global: &Global, args: &RunArgs) -> Result<u8> {
    let pool = Pool::open(&workspace::pool_directory(global)?)?;
    let scope = if args.delete_all() {
        DeleteScope::All
    } else {
        DeleteScope::Workspace(workspace::workspace_by_lock_file()?)
    };
    run(&pool, platforms, &scope, args.force)
}

/// Deletes the scope's instances. Returns 0 if nothing remains, otherwise 69.
///
/// # Errors
/// Fails if the pool cannot be used.
pub fn run(pool: &Pool, platforms: &Platforms, scope: &DeleteScope, force: bool) -> Result<u8> {
    let report = delete_all(pool, platforms, scope, force)?;
    for line in lines(&report) {
        ui::note(line);
    }
    let remains = [&report.failed, &report.unknown]
        .iter()
        .any(|left| !left.is_empty())
        || !report.held.is_empty();
    Ok(if remains {
        ErrorKind::Infra.exit_code()
    } else {
        0
    })
}

/// Formats a report, with one line per item that the user may have to act on.
pub fn lines(report: &CleanUp) -> Vec<String> {
    let mut lines = Vec::new();
    if !report.deleted.is_empty() {
        lines.push(format!("deleted {}", report.deleted.join(", ")));
    }
    if !report.released.is_empty() {
        let names = report.released.join(", ");
        let stays = match report.released.len() {
            1 => "the machine stays",
            _ => "the machines stay",
        };
        lines.push(format!("released {names}: {stays}"));
    }
    for failure in report.failed.iter().chain(&report.unknown) {
        lines.push(format!(
            "failed to delete `{}`: {}",
            failure.instance, failure.note
        ));
    }
    for held in &report.held {
        lines.push(format!(
            "`{}` is in use ({}); `--force` deletes it anyway",
            held.instance, held.note
        ));
    }
    if lines.is_empty() {
        lines.push("nothing to delete".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_event::InstanceNote;

    #[test]
    fn everything_that_remains_is_named() {
        assert_eq!(lines(&CleanUp::default()), ["nothing to delete"]);
        let report = CleanUp {
            deleted: vec!["a-0".to_owned(), "a-1".to_owned()],
            released: vec!["lab-0".to_owned()],
            failed: vec![InstanceNote::new("b-0", "no answer")],
            held: vec![InstanceNote::new("c-0", "pid 1 shell, for 3 s")],
            ..CleanUp::default()
        };
        assert_eq!(
            lines(&report),
            [
                "deleted a-0, a-1",
                "released lab-0: the machine stays",
                "failed to delete `b-0`: no answer",
                "`c-0` is in use (pid 1 shell, for 3 s); `--force` deletes it anyway",
            ]
        );
    }
}
