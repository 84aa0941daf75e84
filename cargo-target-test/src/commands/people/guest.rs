//! Being on an instance: the lease, or a place beside its holder, and the way there.
//!
//! Owns the wait, what is said of it, and how a visit ends. Must not know what is done on the instance.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use target_fixtures::env;

use super::{Choice, choose};
use crate::{
    cli::{Global, InstanceArgs},
    commands::delete,
    connect::Transport,
    error::{Error, ErrorKind, Result},
    provision::{
        self, Run, describe,
        platform::{Deployed, Platforms},
        pool::{Holder, Pool, Process, Record, RecordState, Seen, WhenDirty},
        visit::{Asked, Stay, Visit},
    },
    run::workspace,
    ui,
};

/// Waiting for less is not worth a word.
const QUIET: Duration = Duration::from_millis(300);
/// How long it is before another is.
const APART: Duration = Duration::from_secs(5);
/// How long an instance may take to answer.
const PROOF: Duration = Duration::from_secs(15);
/// How long the killing of what is left there may take.
const SWEEP: Duration = Duration::from_secs(10);
/// How long the end of a lease may take, and how often it is looked for.
const ENDING: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(50);
/// The exit codes of what was killed, and of an `ssh` whose session was.
const KILLED: [u8; 2] = [128 + 9, 255];

/// Who wants onto an instance.
pub(in crate::commands) struct Ask<'a> {
    pub(in crate::commands) platforms: &'a Platforms,
    pub(in crate::commands) global: &'a Global,
    pub(in crate::commands) on: &'a InstanceArgs,
    /// Beside whoever holds it, without a lease.
    pub(in crate::commands) now: bool,
    /// What others read while it is held: `shell`.
    pub(in crate::commands) what: &'a str,
}

/// Somebody on an instance. To be ended by [`Guest::leave`].
pub(in crate::commands) struct Guest {
    pub(in crate::commands) record: Record,
    pub(in crate::commands) transport: Arc<dyn Transport>,
    /// On everything that is started there.
    pub(in crate::commands) mark: String,
    place: Place,
}

/// By what right somebody is there.
enum Place {
    /// By a lease of their own.
    Leased(Box<Stay>),
    /// Beside whoever holds it.
    Beside,
    /// Under a lease that is theirs already, whose mark others of their sessions have too.
    Mine(Box<Pool>),
}

/// How a visit ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::commands) enum Over {
    /// By itself: what runs on there was meant to.
    Done,
    /// It was cut off: what it started is killed.
    CutOff,
}

impl Guest {
    /// Comes onto the instance: at once with `now`, or where this user has it already; else when its lease is free.
    pub(in crate::commands) async fn enter(ask: &Ask<'_>) -> Result<Self> {
        let pool = Pool::open(&workspace::pool_directory(ask.global)?)?;
        let choice = choose(&pool, &ask.on.instance, ask.on.all)?;
        let beside = match choice.mine() {
            Some(mine) => Some(mine),
            None => ask.now.then(|| choice.first()),
        };
        if let Some(seen) = beside {
            check_alive(ask.platforms, &seen.record)?;
            let mine = choice.mine().and_then(|seen| seen.holder.as_ref());
            let (mark, place) = match mine {
                // What is started under a lease goes when that ends.
                Some(holder) => (holder.lease.clone(), Place::Mine(Box::new(pool))),
                None => (new_mark(), Place::Beside),
            };
            return Self::come(ask.platforms, seen.record.clone(), mark, place).await;
        }
        let holder = |run: &str, mark: &str| Holder::new(Process::current(), run, ask.what, mark);
        let now = "; `--now` goes beside it";
        Self::lease(ask.platforms, pool, choice, &holder, &|text| {
            ui::note(format!("{text}{now}"));
        })
        .await
    }

    /// Leases one of these, waiting for it; `holder` is asked with the run's and the lease's name.
    pub(in crate::commands) async fn lease(
        platforms: &Platforms,
        pool: Pool,
        choice: Choice,
        holder: &dyn Fn(&str, &str) -> Holder,
        says: &dyn Fn(&str),
    ) -> Result<Self> {
        let wanted = able(platforms, &choice)?;
        let name = match &wanted[..] {
            [one] => one.name().to_owned(),
            several => several[0].order.target.clone(),
        };
        let run = Run {
            id: workspace::run_id(),
            workspace: wanted[0].workspace.clone(),
            playbook: None,
            platforms: platforms.clone(),
        };
        let (id, mark) = (run.id.clone(), format!("{}-0", run.id));
        let mut wait = Wait::new(&pool, &wanted)?;
        let mut visit = Visit::new(pool, run, wanted)?;
        let stay = loop {
            let asked = visit.ask(holder(&id, &mark));
            match asked.map_err(|error| no_use(error, &name))? {
                Asked::Leased(stay) => break stay,
                Asked::Wait(again, text, pause) => {
                    visit = *again;
                    if let Some(text) = wait.worth_saying(&name, &text)? {
                        says(&text);
                    }
                    tokio::time::sleep(pause).await;
                }
            }
        };
        Self::come(platforms, stay.record().clone(), mark, Place::Leased(stay)).await
    }

    /// Kills what dead holders left there, and has it answer.
    async fn come(
        platforms: &Platforms,
        record: Record,
        mark: String,
        place: Place,
    ) -> Result<Self> {
        let platform = provision::platform_of(platforms, &record)?;
        let transport = platform.connect(&record.order, deployed(&record)?);
        let guest = Self {
            record,
            transport,
            mark,
            place,
        };
        match guest.prove().await {
            Ok(()) => Ok(guest),
            Err(error) => {
                let error = no_use(error, guest.record.name());
                if let Place::Leased(stay) = guest.place {
                    let left = stay.left();
                    stay.end(left.is_empty())?;
                }
                Err(error)
            }
        }
    }

    async fn prove(&self) -> Result<()> {
        let left = match &self.place {
            Place::Leased(stay) => stay.left(),
            Place::Beside | Place::Mine(_) => Vec::new(),
        };
        for mark in left {
            self.transport.sweep(&mark, SWEEP).await?;
        }
        self.transport.probe(PROOF).await.map(drop)
    }

    /// How it is reached.
    pub(in crate::commands) fn deployed(&self) -> Result<&Deployed> {
        deployed(&self.record)
    }

    /// What a test on it would find in its environment.
    pub(in crate::commands) fn environment(&self) -> BTreeMap<String, String> {
        let described = describe::describe(&self.record);
        let mut all = describe::environment(&self.record.order.target, &[described]);
        all.insert(env::LEASE.to_owned(), self.mark.clone());
        all
    }

    /// Says that what ran here under a lease of theirs was killed because that ended, if so.
    pub(in crate::commands) async fn explain(&self, code: u8) {
        let Place::Mine(pool) = &self.place else {
            return;
        };
        let since = Instant::now();
        while KILLED.contains(&code) && since.elapsed() < ENDING {
            let seen = pool.overview().unwrap_or_default();
            let mut holders = seen.iter().filter_map(|seen| seen.holder.as_ref());
            if !holders.any(|holder| holder.lease == self.mark) {
                let name = self.record.name();
                return ui::note(format!(
                    "the lease of {name} ended, and with it what ran there"
                ));
            }
            // It ends once all that it left is killed.
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends the visit, and says what becomes of an instance that nobody keeps.
    pub(in crate::commands) async fn leave(self, over: Over) -> Result<()> {
        let clean = match (over, &self.place) {
            (Over::Done, _) => Ok(()),
            // What was cut off is killed by the transport, and that before it answers again.
            (Over::CutOff, Place::Mine(_)) => self.transport.probe(SWEEP).await.map(drop),
            (Over::CutOff, _) => self.transport.sweep(&self.mark, SWEEP).await,
        };
        if let Err(error) = &clean {
            ui::warn(error.chain());
        }
        let Place::Leased(stay) = self.place else {
            return Ok(());
        };
        let report = stay.end(clean.is_ok())?;
        let gone = [
            report.deleted.len(),
            report.released.len(),
            report.failed.len(),
        ];
        if gone.iter().any(|count| *count > 0) {
            delete::lines(&report).iter().for_each(ui::note);
        }
        Ok(())
    }
}

/// What is said of a wait: who holds the instance, now and then.
struct Wait {
    /// To look into while another handle waits.
    pool: Pool,
    /// Where there is only one, it has a holder.
    record: Option<String>,
    next: Instant,
    said: String,
}

impl Wait {
    fn new(pool: &Pool, wanted: &[Record]) -> Result<Self> {
        let record = match wanted {
            [one] => Some(one.id.clone()),
            _ => None,
        };
        Ok(Self {
            pool: Pool::open(pool.directory())?,
            record,
            next: Instant::now() + QUIET,
            said: String::new(),
        })
    }

    fn worth_saying(&mut self, name: &str, text: &str) -> Result<Option<String>> {
        if Instant::now() < self.next {
            return Ok(None);
        }
        let seen = self.pool.overview()?;
        let ours = |seen: &&Seen| Some(&seen.record.id) == self.record.as_ref();
        let holder = seen.iter().find(ours).and_then(|seen| seen.holder.as_ref());
        let (key, text) = match holder {
            Some(holder) => {
                let key = format!("{} {}", holder.process.pid, holder.case);
                (key, format!("held by {}", holder.describe()))
            }
            None => (text.to_owned(), text.to_owned()),
        };
        self.next = Instant::now() + if self.said.is_empty() { QUIET } else { APART };
        if key == self.said {
            return Ok(None);
        }
        self.said = key;
        Ok(Some(format!("waiting for {name}: {text}")))
    }
}

/// Those that can serve, or will; where none can, why.
fn able(platforms: &Platforms, choice: &Choice) -> Result<Vec<Record>> {
    let (mut able, mut why) = (Vec::new(), None);
    for Seen { record, .. } in &choice.all {
        let checked = match &record.state {
            RecordState::Dirty { .. } | RecordState::Deleting { .. } => {
                let message = format!("`{}` is {}", record.name(), record.state);
                let then = match record.when_dirty {
                    WhenDirty::Hold => "`cargo target-test --delete-targets` frees it",
                    WhenDirty::Mend => "the next run mends it",
                    WhenDirty::Forget => "the next run replaces it",
                };
                let hint = format!("`--now` looks at it all the same; {then}");
                Err(Error::new(ErrorKind::Infra, message).with_hint(hint))
            }
            RecordState::Ready => check_alive(platforms, record),
            _ => Ok(()),
        };
        match checked {
            Ok(()) => able.push(record.clone()),
            Err(error) => drop(why.get_or_insert(error)),
        }
    }
    match why {
        Some(why) if able.is_empty() => Err(why),
        _ => Ok(able),
    }
}

/// Whether its platform sees it live.
fn check_alive(platforms: &Platforms, record: &Record) -> Result<()> {
    let platform = provision::platform_of(platforms, record)?;
    let alive = platform.check_alive(&record.order, deployed(record)?);
    alive.map_err(|error| no_use(error, record.name()))
}

/// The error with what can be done about an instance that is no use.
fn no_use(error: Error, name: &str) -> Error {
    match (error.kind(), error.hint()) {
        (ErrorKind::Infra | ErrorKind::Timeout, None) => {
            let hint = format!(
                "the next run replaces `{name}`; `cargo target-test --delete-targets` deletes it"
            );
            let message = error.chain();
            Error::new(ErrorKind::Infra, message).with_hint(hint)
        }
        _ => error,
    }
}

fn deployed(record: &Record) -> Result<&Deployed> {
    record.deployed.as_ref().ok_or_else(|| {
        let message = format!(
            "`{}` is {}: there is no way to it",
            record.name(),
            record.state
        );
        Error::new(ErrorKind::Infra, message)
    })
}

/// A mark that nobody else has.
fn new_mark() -> String {
    format!("{}-0", workspace::run_id())
}
