//! The playbook's reference in the book, made from the schema that `schema` prints.

use std::fs;

use cargo_target_test::playbook::KeyReference;
use serde_json::Value;

use super::BOOK;
use crate::support::{examples, repository};

const BEGIN: &str = "<!-- made from the schema -->\n";

#[test]
fn the_reference_is_the_schema() {
    let path = repository().join(BOOK).join("playbook.md");
    let page = fs::read_to_string(&path).expect("the page");
    let (before, _) = page.split_once(BEGIN).expect("the mark");
    let printed = examples().run(&["schema"]).code(0).stdout;
    let schema: Value = serde_json::from_str(&printed).expect("JSON");
    let made = format!("{before}{BEGIN}{}", KeyReference::of(&schema).markdown());
    if std::env::var("SNAPSHOTS").is_ok_and(|wish| wish == "overwrite") {
        fs::write(&path, made).expect("the page");
    } else {
        snapbox::assert_data_eq!(page, snapbox::Data::text(made).raw());
    }
}
