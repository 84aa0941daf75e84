//! Results of synthetic runs.
