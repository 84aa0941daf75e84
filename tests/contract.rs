//! The contract of platforms, for ours. The checks are the library's.
//!
//! A platform joins by a file in `contract/subject/` and a line below. Each check is a test of its own:
//! `contract::qemu::serves`.

/// The platforms.
mod subject;

use cargo_target_test::contract_tests;

mod local {
    super::contract_tests!(subject: super::subject::local::new());
}

mod ssh {
    super::contract_tests!(subject: super::subject::ssh::new(""));
}

mod openssh {
    super::contract_tests!(subject: super::subject::ssh::new("client = \"openssh\"\n"));
}

mod command {
    super::contract_tests!(subject: super::subject::command::new());
}

mod programs {
    super::contract_tests!(subject: super::subject::programs::new());
}

mod qemu {
    super::contract_tests!(subject: super::subject::qemu::new());
}

mod container {
    super::contract_tests!(subject: super::subject::container::new());
}
