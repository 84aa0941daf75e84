//! Putting an instance back to the state in which its first test found it.
//!
//! Owns the order of it: nobody talks to the instance meanwhile, and it has to answer after. Must not know how a
//! platform does it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Core, lock};
use crate::{
    error::{Error, Result},
    provision::prepare,
    provision::{platform::FIRST_STATE, pool::Record},
};

/// How long an instance may take to answer after it was put back.
const ANSWER: Duration = Duration::from_secs(30);
/// The pause between two questions whether it does.
const PAUSE: Duration = Duration::from_millis(50);

impl Core {
    /// Puts back an instance that is leased by us; false where its platform has no such way.
    ///
    /// # Errors
    /// Why it is not as it was: it must not serve again.
    pub(super) async fn restore(self: &Arc<Self>, record: &Record) -> Result<bool> {
        let platforms = &self.provisioner.run().platforms;
        let platform = platforms.get(&record.platform).cloned();
        let Some((platform, deployed)) = platform.zip(record.deployed.clone()) else {
            return Ok(false);
        };
        if !platform.can_restore() {
            return Ok(false);
        }
        // Its connection knows of a session that the instance will know nothing of.
        lock(&self.lines).remove(&record.id);
        let order = record.order.clone();
        let restoring = tokio::task::spawn_blocking(move || {
            let restored = platform.restore(&order, &deployed, FIRST_STATE)?;
            Ok::<_, Error>((restored != deployed).then_some(restored))
        });
        let mut record = record.clone();
        if let Some(moved) = restoring.await.unwrap_or(Ok(None))? {
            let (core, id, reach) = (Arc::clone(self), record.id.clone(), moved.clone());
            let noted =
                tokio::task::spawn_blocking(move || core.provisioner.note_reach(&id, reach));
            noted.await.unwrap_or(Ok(()))?;
            record.deployed = Some(moved);
        }
        let started = Instant::now();
        loop {
            let line = self.line(&record)?;
            match line.prove_within(ANSWER).await {
                Ok(()) => {
                    prepare::set_clock(line.transport()).await;
                    return Ok(true);
                }
                Err(error) if started.elapsed() > ANSWER => return Err(error),
                Err(_) => {
                    lock(&self.lines).remove(&record.id);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}
