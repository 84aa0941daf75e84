//! Everything between the command line and the story of a run: workspace, modes, selection.
//!
//! Owns how options as typed become options as meant. Must not lease, deploy or print results.

pub mod mode;
pub mod options;
pub mod private;
pub mod selection;
pub mod workspace;
