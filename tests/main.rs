//! End-to-end tests of the pair, in one binary: one module per area.

mod playbook;
