//! Messages about the networks of an environment.

use serde::{Deserialize, Serialize};

/// An action on a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum NetworkAct {
    /// Separates the machines of two groups.
    Partition {
        /// The names of the machines of one group.
        one: Vec<String>,
        /// The names of the machines of the other group.
        other: Vec<String>,
    },
    /// Delays each frame.
    Delay {
        /// The time in microseconds.
        micros: u64,
    },
    /// Loses frames.
    Loss {
        /// The share of frames, from 0 to 1.
        #[serde(deserialize_with = "super::any_number")]
        share: f64,
    },
    /// Limits the rate of each machine.
    Rate {
        /// The number of bits per second.
        bits: u64,
    },
    /// Ends all faults and captures.
    Heal,
    /// Writes all frames to an artifact of the attempt; answered with its path.
    Capture {
        /// The name of the file.
        name: String,
    },
}
