//! End-to-end tests of the pair.

mod cli;
mod inventory;
