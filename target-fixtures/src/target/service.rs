//! The services of an instance: their state, start and stop, and their log.

use super::{Result, ServiceState, Target};
use crate::wire::Question;

/// A service of the instance's service manager (systemd, OpenRC or init scripts), from [`Target::service`].
///
/// ```no_run
/// # use target_fixtures::prelude::*;
/// # fn test(target: &Target) -> Result<()> {
/// let nginx = target.service("nginx");
/// nginx.restart()?;
/// assert!(nginx.is_active()?, "{}", nginx.log()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Service<'a> {
    target: &'a Target,
    name: String,
}

impl<'a> Service<'a> {
    pub(super) fn new(target: &'a Target, name: String) -> Self {
        Self { target, name }
    }

    /// Returns the state; `None` if there is no such service.
    ///
    /// # Errors
    /// [`ErrorKind::Request`](crate::ErrorKind::Request) if there is no service manager.
    #[track_caller]
    pub fn state(&self) -> Result<Option<ServiceState>> {
        let name = self.name.clone();
        self.target.ask(Question::Service { name })
    }

    /// True if the service exists and runs.
    ///
    /// # Errors
    /// Same as [`state`](Self::state).
    #[track_caller]
    pub fn is_active(&self) -> Result<bool> {
        Ok(self.state()?.is_some_and(|state| state.active))
    }

    /// Starts the service, as root.
    ///
    /// # Errors
    /// [`ErrorKind::Exit`](crate::ErrorKind::Exit) with the output of the service manager.
    #[track_caller]
    pub fn start(&self) -> Result<()> {
        self.manage("start")
    }

    /// Stops the service, as root.
    ///
    /// # Errors
    /// Same as [`start`](Self::start).
    #[track_caller]
    pub fn stop(&self) -> Result<()> {
        self.manage("stop")
    }

    /// Stops the service if it runs, and starts it, as root.
    ///
    /// # Errors
    /// Same as [`start`](Self::start).
    #[track_caller]
    pub fn restart(&self) -> Result<()> {
        self.manage("restart")
    }

    /// Returns the log since the machine started, read as root. Needs systemd's journal.
    ///
    /// # Errors
    /// [`ErrorKind::Exit`](crate::ErrorKind::Exit) if the journal cannot be read.
    #[track_caller]
    pub fn log(&self) -> Result<String> {
        let line = "exec journalctl --boot --no-pager --output=short-iso --unit=\"$1\"";
        let command = self.target.command(line).arg(self.name.as_str());
        Ok(command.sudo().quiet().run()?.stdout)
    }

    #[track_caller]
    fn manage(&self, verb: &str) -> Result<()> {
        let line = "if [ -d /run/systemd/system ]; then exec systemctl \"$1\" \"$2\"; \
             elif command -v rc-service >/dev/null; then exec rc-service \"$2\" \"$1\"; \
             else exec /etc/init.d/\"$2\" \"$1\"; fi";
        let command = self.target.command(line);
        command.args([verb, self.name.as_str()]).sudo().run()?;
        Ok(())
    }
}
