//! Making instances and keeping account of them.

pub mod platform;
