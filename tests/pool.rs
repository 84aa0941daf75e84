//! The pool with real processes, kills and a platform whose ledger on disk is the truth.

mod acquire;
mod child;
mod delete;
mod ensure;
mod fake;
mod faults;
mod leases;
mod prepare;
mod schedule;
