//! The health check of an instance that an earlier run kept.

use std::time::Duration;

use super::Context;
use crate::{error::Result, provision::pool::Record};

/// The time limit for a kept instance to answer.
const HEALTH: Duration = Duration::from_secs(5);

impl Context {
    /// Fails if a kept instance is not alive or does not answer.
    pub(super) async fn check_health(&self, record: &Record) -> Result<()> {
        let instance = self.instance(record)?;
        instance.check_alive().await?;
        self.connection(record, &instance)
            .prove_within(HEALTH)
            .await
    }
}
