//! End-to-end tests of the pair, in one binary.

mod pool;
