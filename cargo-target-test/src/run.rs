//! Turns the command line into a run: workspace, modes, options and the selection of cases.
//!
//! Must not lease, deploy or print results.

pub mod checkout;
pub mod mode;
pub mod options;
pub mod private;
pub mod runtime;
pub mod selection;
pub mod workspace;
