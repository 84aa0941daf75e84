//! `targets`: prints the instances in the pool, as a table or as JSON.
//!
//! Must not know how the pool is stored.

mod watch;

use serde::Serialize;

use crate::{
    cli::{Global, TargetsArgs},
    commands::interactive,
    connect::{self, Reach},
    error::{Error, Result},
    provision::{
        platform::Platforms,
        pool::{InstanceFacts, Pool, ProcessIdentity, Record, Seen, time},
        unit,
    },
    run::workspace,
    ui::{
        self,
        table::{self, Cell},
    },
};

/// One instance, as `targets --json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// `alpha-0`.
    pub name: String,
    /// The id, unique in this pool.
    pub id: String,
    /// The target's name.
    pub target: String,
    /// The platform's name.
    pub platform: String,
    /// The host name or address of a deployed instance, with the port if there is one.
    pub host: Option<String>,
    /// `planned`, `creating`, `preparing`, `ready`, `leased`, `dirty` or `deleting`.
    pub state: &'static str,
    /// The reason the instance is dirty or not yet deleted.
    pub cause: Option<String>,
    /// The path of the tool that created the instance.
    pub tool: Option<String>,
    /// The holder of the lease.
    pub holder: Option<HolderRow>,
    /// Ids of the active runs that use the instance.
    pub users: Vec<String>,
    /// True if a run kept the instance with `--keep-targets`.
    pub kept: bool,
    /// The machines of an environment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<MachineRow>,
    /// Facts of the ready instance: `cores`, `memory`, `arch`, `os`, `kernel`, `libc`, `boot-id`.
    pub facts: InstanceFacts,
    /// Seconds since the instance was planned.
    pub age: u64,
    /// The workspace that requested the instance.
    pub workspace: String,
    /// The playbook that requested the instance.
    pub playbook: Option<String>,
}

/// A machine of an environment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MachineRow {
    /// `lan-0.gateway`.
    pub name: String,
    /// The role: `gateway`.
    pub role: String,
    /// The platform's name.
    pub platform: String,
    /// The host name or address, with the port if there is one.
    pub host: Option<String>,
}

/// The holder of a lease.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HolderRow {
    /// The process.
    pub pid: u32,
    /// The run.
    pub run: String,
    /// The case: `smoke[alpha]`.
    pub case: String,
    /// Seconds since the lease began.
    pub since: u64,
    /// True if the process is stopped.
    pub stopped: bool,
    /// The end of a lease by hand, in seconds since 1970.
    pub until: Option<u64>,
    /// The description for the table.
    #[serde(skip)]
    text: String,
}

/// Runs the verb.
///
/// # Errors
/// See [`run`].
pub fn verb(platforms: &Platforms, global: &Global, args: &TargetsArgs) -> Result<u8> {
    let pool = Pool::open(&workspace::pool_directory(global)?)?;
    match (args.watch, args.json) {
        (false, json) => {
            run(&pool, json)?;
            if global.verbose > 0 && !json {
                print_ssh_clients(&pool)?;
            }
            interactive::say_unknown(platforms, &pool)?;
            Ok(0)
        }
        (true, true) => watch::watch(&pool, &|pool| {
            let text = serde_json::to_string(&rows(pool)?).map_err(unprintable)?;
            Ok(vec![text])
        }),
        (true, false) => watch::watch(&pool, &|pool| {
            Ok(match rows(pool)? {
                rows if rows.is_empty() => vec!["no targets".to_owned(), String::new()],
                rows => [table(&rows, ui::columns()), vec![String::new()]].concat(),
            })
        }),
    }
}

/// Prints the instances in the pool.
///
/// # Errors
/// Fails if the pool cannot be used.
pub fn run(pool: &Pool, json: bool) -> Result<()> {
    let rows = rows(pool)?;
    if json {
        ui::out(serde_json::to_string_pretty(&rows).map_err(unprintable)?);
    } else if rows.is_empty() {
        ui::note("no targets");
    } else {
        table(&rows, ui::columns()).into_iter().for_each(ui::out);
    }
    Ok(())
}

/// Prints the SSH client of each instance, and the reason for it.
fn print_ssh_clients(pool: &Pool) -> Result<()> {
    for seen in pool.overview()? {
        let deployed = seen.record.deployed.as_ref();
        let Some(Reach::Ssh(reach)) = deployed.map(|deployed| &deployed.reach) else {
            continue;
        };
        let client = match connect::uses_openssh(reach)? {
            Some(reason) => format!("OpenSSH, because of {reason}"),
            None => "built-in".to_owned(),
        };
        ui::note(format!("{}: SSH client: {client}", seen.record.name()));
    }
    Ok(())
}

fn unprintable(error: serde_json::Error) -> Error {
    Error::other("failed to print the targets").with_source(error)
}

/// Returns the instances in the pool, sorted by name.
///
/// # Errors
/// Fails if the pool cannot be used.
pub fn rows(pool: &Pool) -> Result<Vec<Row>> {
    let now = interactive::now();
    Ok(pool.overview()?.iter().map(|seen| row(seen, now)).collect())
}

fn row(seen: &Seen, now: u64) -> Row {
    let record = &seen.record;
    let holder = seen.holder.as_ref().map(|holder| HolderRow {
        pid: holder.process.pid,
        run: holder.run.clone(),
        case: holder.case.clone(),
        since: now.saturating_sub(holder.since),
        stopped: ProcessIdentity::is_stopped(&holder.process),
        until: holder.manual.map(|manual| manual.until),
        text: holder.describe(),
    });
    let word = record.state.word();
    Row {
        name: record.name().to_owned(),
        id: record.id.clone(),
        target: record.spec.target.clone(),
        platform: record.platform.clone(),
        host: address(record),
        state: if seen.disabled.is_some() {
            "disabled"
        } else if holder.is_some() && word == "ready" {
            "leased"
        } else {
            word
        },
        cause: match &seen.disabled {
            Some(disabled) => Some(disabled.reason.clone()),
            None => record.state.cause().map(str::to_owned),
        },
        tool: record.tool.clone(),
        holder,
        users: seen.users.iter().map(|run| run.id.clone()).collect(),
        kept: record.kept,
        machines: machines(record),
        facts: record.facts.clone(),
        age: now.saturating_sub(record.created),
        workspace: record.workspace.display().to_string(),
        playbook: record
            .playbook
            .as_ref()
            .map(|path| path.display().to_string()),
    }
}

/// Returns the machines of an environment; none of an instance.
fn machines(unit: &Record) -> Vec<MachineRow> {
    let machines = unit::machines(unit).unwrap_or_default();
    let row = |machine: Record| {
        let role = machine.spec.place.as_ref()?.role.clone();
        Some(MachineRow {
            name: machine.name().to_owned(),
            role,
            host: address(&machine),
            platform: machine.platform,
        })
    };
    machines.into_iter().filter_map(row).collect()
}

/// The host of a deployed machine, with the port if there is one.
fn address(record: &Record) -> Option<String> {
    record.deployed.as_ref().map(|deployed| deployed.address())
}

/// Returns the lines of the table, the header first.
fn table(rows: &[Row], room: Option<usize>) -> Vec<String> {
    let header = [
        "NAME",
        "PLATFORM",
        "HOST",
        "STATE",
        "HOLDER",
        "AGE",
        "WORKSPACE",
    ];
    let mut cells = vec![header.map(Cell::left).into()];
    for row in rows {
        let state = match &row.cause {
            Some(cause) => format!("{} ({})", row.state, one_line(cause)),
            None => row.state.to_owned(),
        };
        let holder = row.holder.as_ref();
        let cells_of_row = [
            row.name.clone(),
            row.platform.clone(),
            row.host.clone().unwrap_or_else(|| "-".to_owned()),
            state,
            holder.map_or_else(|| "-".to_owned(), |holder| holder.text.clone()),
            time(row.age),
            row.workspace.clone(),
        ];
        cells.push(cells_of_row.map(Cell::left).into());
        cells.extend(row.machines.iter().map(machine_cells));
    }
    table::lines(&cells, room)
}

/// The line of a machine, below that of its environment.
fn machine_cells(machine: &MachineRow) -> Vec<Cell> {
    let host = machine.host.clone().unwrap_or_else(|| "-".to_owned());
    [machine.name.clone(), machine.platform.clone(), host]
        .map(Cell::left)
        .into()
}

/// Returns the shortened first line of a cause, which can be a program's whole output.
fn one_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut short: String = line.chars().take(60).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = Row {
            name: "alpha-0".to_owned(),
            id: "tt-000000-1".to_owned(),
            target: "alpha".to_owned(),
            platform: "ssh".to_owned(),
            host: None,
            state: "dirty",
            cause: Some("no answer\nfor long".to_owned()),
            tool: None,
            holder: None,
            users: Vec::new(),
            kept: false,
            machines: Vec::new(),
            facts: InstanceFacts::new(),
            age: 61,
            workspace: "/w".to_owned(),
            playbook: None,
        };
        assert_eq!(
            table(&[row], None),
            [
                "NAME     PLATFORM  HOST  STATE                 HOLDER  AGE        WORKSPACE",
                "alpha-0  ssh       -     dirty (no answer...)  -       1 min 1 s  /w",
            ]
        );
    }
}
