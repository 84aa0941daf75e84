//! Messages about faults of an instance.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A fault that a test causes on its instance. All but a power cut last until they are ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum Fault {
    /// The machine stands still.
    Pause,
    /// The machine loses its power, and starts again.
    PowerCut,
    /// The clock jumps.
    ClockJump {
        /// The difference in seconds.
        seconds: i64,
    },
    /// The clock gains, or loses, one second in each of these periods.
    ClockDrift {
        /// The period in seconds.
        every: u32,
        /// True if the clock gains.
        gains: bool,
    },
    /// A file system has no free space.
    DiskFull {
        /// The absolute path of a folder in it.
        path: String,
    },
    /// A process holds memory.
    MemoryPressure {
        /// The memory in MiB.
        mebibytes: u32,
    },
    /// No frame passes the links to the networks of the environment.
    LinkCut,
    /// Each frame is late on the links to the networks of the environment.
    LinkDelay {
        /// The time in microseconds, in each direction.
        micros: u64,
    },
    /// Frames are lost on the links to the networks of the environment.
    LinkLoss {
        /// The share of frames, from 0 to 1, in each direction.
        #[serde(deserialize_with = "super::any_number")]
        share: f64,
    },
}

/// The kind of a fault, as in `faults` of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The machine stands still.
    Pause,
    /// The machine loses its power.
    PowerCut,
    /// The clock is wrong.
    Clock,
    /// A disk is full.
    Disk,
    /// Memory is scarce.
    Memory,
    /// No frame passes.
    LinkCut,
    /// Frames are late.
    LinkDelay,
    /// Frames are lost.
    LinkLoss,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Pause,
        Self::PowerCut,
        Self::Clock,
        Self::Disk,
        Self::Memory,
        Self::LinkCut,
        Self::LinkDelay,
        Self::LinkLoss,
    ];

    /// True if the fault is one of links to the networks of an environment.
    #[must_use]
    pub fn is_of_links(self) -> bool {
        matches!(self, Self::LinkCut | Self::LinkDelay | Self::LinkLoss)
    }
}

impl Fault {
    /// The kind.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Pause => FaultKind::Pause,
            Self::PowerCut => FaultKind::PowerCut,
            Self::ClockJump { .. } | Self::ClockDrift { .. } => FaultKind::Clock,
            Self::DiskFull { .. } => FaultKind::Disk,
            Self::MemoryPressure { .. } => FaultKind::Memory,
            Self::LinkCut => FaultKind::LinkCut,
            Self::LinkDelay { .. } => FaultKind::LinkDelay,
            Self::LinkLoss { .. } => FaultKind::LinkLoss,
        }
    }
}

/// `power-cut`.
impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pause => "pause",
            Self::PowerCut => "power-cut",
            Self::Clock => "clock",
            Self::Disk => "disk",
            Self::Memory => "memory",
            Self::LinkCut => "link-cut",
            Self::LinkDelay => "link-delay",
            Self::LinkLoss => "link-loss",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_json_lacks_reach_the_broker() {
        for share in [f64::NAN, f64::INFINITY] {
            let text = serde_json::json!(Fault::LinkLoss { share }).to_string();
            let read = serde_json::from_str(&text).expect("a fault");
            assert!(matches!(read, Fault::LinkLoss { share } if share.is_nan()));
        }
    }

    #[test]
    fn names_are_those_in_playbooks() {
        for kind in FaultKind::ALL {
            assert_eq!(serde_json::json!(kind), kind.to_string());
        }
    }
}
