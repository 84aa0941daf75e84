//! Waiting for an instance: until it answers, and for what a playbook's `wait` asks.
//!
//! Owns the pauses and deadlines. Must not know protocols or platforms: both are only asked.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time;

use super::{
    Preparation,
    run::{SHORT, Shell},
};
use crate::{
    connect::{Transport, shell},
    error::{Error, ErrorKind, Result},
    playbook::{Wait, WaitCondition},
};

/// The first pause between two looks, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));
/// How long the first knock waits for an answer, and the longest. One that came too early may never be answered, so
/// its patience is lost when the machine is up a moment later.
const KNOCKS: (Duration, Duration) = (Duration::from_millis(150), Duration::from_secs(1));
/// How often it is said that something is still waited for.
const APART: Duration = Duration::from_secs(5);

/// Something that grows to its limit.
struct Growing(Duration, Duration);

impl Growing {
    fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 3 / 2).min(self.1);
        now
    }
}

impl Preparation<'_> {
    /// Waits until the instance answers; returns the way to it.
    pub(super) async fn answer(&self) -> Result<Arc<dyn Transport>> {
        let transport = self.connect();
        if !self.record.made {
            transport.probe(self.patience()).await?;
            return Ok(transport);
        }
        self.until(self.patience(), "an answer", async |knock| {
            transport.knock(knock).await?;
            transport.probe(self.patience()).await
        })
        .await?;
        Ok(transport)
    }

    /// Asks until it is so, at most for `limit`; the instance must live meanwhile.
    pub(super) async fn until<T>(
        &self,
        limit: Duration,
        what: &str,
        mut ask: impl AsyncFnMut(Duration) -> Result<T>,
    ) -> Result<T> {
        let (mut pause, mut knock) = (Growing(PAUSES.0, PAUSES.1), Growing(KNOCKS.0, KNOCKS.1));
        let started = Instant::now();
        let mut said = started;
        loop {
            let error = match ask(knock.next()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            self.check_cancelled()?;
            self.check_alive().await?;
            if started.elapsed() >= limit {
                let (name, limit) = (self.record.name(), humantime::format_duration(limit));
                let (cause, console) = (error.chain(), self.console_tail());
                let message =
                    format!("waited {limit} for {what} of `{name}`, in vain: {cause}{console}");
                return Err(Error::new(ErrorKind::Infra, message));
            }
            if said.elapsed() >= APART {
                said = Instant::now();
                let waited = started.elapsed().as_secs();
                (self.progress)(&format!("waits for {what} ({waited} s)"));
            }
            time::sleep(pause.next()).await;
        }
    }

    /// Waits for what the playbook asks.
    pub(super) async fn wait(&self, shell: &Shell, wait: &Wait) -> Result<()> {
        if let WaitCondition::Duration(duration) = &wait.condition {
            time::sleep(*duration).await;
            return Ok(());
        }
        self.until(wait.timeout, &wait.to_string(), async |_| {
            match &wait.condition {
                WaitCondition::Port(port) => {
                    let line = shell::listens(*port);
                    shell.run(&line, SHORT).await?.success().map(drop)
                }
                WaitCondition::Command(line) => {
                    shell.run(line, wait.timeout).await?.success().map(drop)
                }
                WaitCondition::Console(pattern) => self.console_says(pattern),
                WaitCondition::Duration(_) => Ok(()),
            }
        })
        .await
    }

    fn console_says(&self, pattern: &crate::playbook::Pattern) -> Result<()> {
        let name = self.record.name();
        let console = self
            .wanted
            .platform
            .console(&self.record.order)
            .ok_or_else(|| Error::new(ErrorKind::Infra, format!("`{name}` has no console")))?;
        let text = std::fs::read(console).unwrap_or_default();
        match pattern.is_match(&String::from_utf8_lossy(&text)) {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Infra, "it was not said yet")),
        }
    }

    /// Whether the platform still sees it live.
    pub(super) async fn check_alive(&self) -> Result<()> {
        let platform = Arc::clone(&self.wanted.platform);
        let (order, deployed) = (self.record.order.clone(), self.deployed.clone());
        tokio::task::spawn_blocking(move || platform.check_alive(&order, &deployed))
            .await
            .unwrap_or(Ok(()))
    }
}
