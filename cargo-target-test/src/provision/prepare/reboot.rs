//! Rebooting an instance from inside.
//!
//! Owns the proof: a reboot is over when the instance answers with another boot id.

use super::{
    Preparation,
    run::{SHORT, Shell},
};
use crate::{
    connect::Reach,
    connect::shell,
    error::{Error, ErrorKind, Result},
};

impl Preparation<'_> {
    /// Reboots it, and waits until it answers again; `shell` is a new one then.
    pub(super) async fn reboot(&self, at: &mut Shell) -> Result<()> {
        if matches!(
            self.deployed.reach,
            Reach::Local { .. } | Reach::Container { .. }
        ) {
            let message = format!(
                "`{}` shares this host's kernel, which is not rebooted",
                self.record.name()
            );
            return Err(Error::new(ErrorKind::Infra, message));
        }
        let before = boot_id(at).await?;
        match at.run(&shell::reboot(), SHORT).await {
            // It may end the connection before it says so.
            Err(error) if error.kind() == ErrorKind::Infra => {}
            Ok(ended) if shell::goes_down(&ended.exit) => {}
            Ok(ended) => drop(ended.success()?),
            Err(error) => return Err(error),
        }
        let limit = self.wanted.care.ready_timeout;
        *at = self
            .until(limit, "the end of the reboot", async |knock| {
                let transport = self.connect();
                transport.knock(knock).await?;
                let fresh = Shell::new(transport, at.mark.clone());
                match boot_id(&fresh).await? == before {
                    true => Err(Error::new(ErrorKind::Infra, "it is still up as it was")),
                    false => Ok(fresh),
                }
            })
            .await?;
        Ok(())
    }
}

async fn boot_id(at: &Shell) -> Result<String> {
    at.run(shell::BOOT_ID, SHORT).await?.success()
}
