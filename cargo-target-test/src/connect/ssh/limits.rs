//! The timeouts and limits of an SSH session, such as the time of silence after which a connection is lost.

use std::time::Duration;

/// The timeouts and limits of a session.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The interval between keepalive messages while no data arrives.
    pub heartbeat: Duration,
    /// The time without data after which the connection is lost.
    pub silence: Duration,
    /// The idle time after which a keepalive must be answered before the next command starts.
    pub idle: Duration,
    /// The timeout of a keepalive and of killing a command.
    pub answer: Duration,
    /// The maximum number of concurrent commands; sshd allows 10 channels by default.
    pub channels: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(5),
            silence: Duration::from_secs(20),
            idle: Duration::from_secs(3),
            answer: Duration::from_secs(4),
            channels: 8,
        }
    }
}
