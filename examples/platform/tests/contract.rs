//! The platform keeps the contract of platforms.

cargo_target_test::contract_tests!(cargo_lab_test::Lab, "tests/contract.toml");
