//! Merges the records that apply to a test: its own and the defaults of its modules.
//!
//! Must not know where records come from.

use std::collections::HashMap;

use target_fixtures::metadata::{Metadata, MetadataRecord, RecordKind};

/// Returns the metadata of the test with this path (`hello::net::smoke`), merged with the defaults of its modules.
///
/// Modules are applied from the outermost to the innermost, then the test. A later scalar overrides an earlier one.
/// `tags`, `features`, `programs`, `collect`, `skip` and `expect_fail` are concatenated; `requirements` are merged by
/// capability. A test without a record uses the record of its nearest parent that is a test: `smoke::case_1` uses the record
/// of `smoke`.
/// `None` if there is no such record.
pub fn effective(records: &[MetadataRecord], path_with_crate: &str) -> Option<Metadata> {
    Index::new(records).effective(path_with_crate)
}

/// Records by path.
pub(super) struct Index<'a>(HashMap<(bool, &'a str), Vec<&'a Metadata>>);

impl<'a> Index<'a> {
    pub(super) fn new(records: &'a [MetadataRecord]) -> Self {
        let mut index: HashMap<_, Vec<_>> = HashMap::new();
        let of_tests = [RecordKind::Test, RecordKind::Module];
        for record in records.iter().filter(|one| of_tests.contains(&one.kind)) {
            let key = (record.kind == RecordKind::Test, record.path.as_str());
            index.entry(key).or_default().push(&record.metadata);
        }
        Self(index)
    }

    /// Implements [`effective`](effective()).
    pub(super) fn effective(&self, path: &str) -> Option<Metadata> {
        let own = paths(path)
            .rev()
            .find_map(|path| self.0.get(&(true, path)))?;
        let modules = paths(path).filter_map(|path| self.0.get(&(false, path)));
        let mut merged = modules
            .flatten()
            .fold(Metadata::default(), |mut merged, module| {
                merge(&mut merged, module);
                merged
            });
        // The doc comment of a module does not describe the test.
        merged.doc = None;
        own.iter().for_each(|own| merge(&mut merged, own));
        Some(merged)
    }
}

/// Returns the path and its parents, the outermost first: `a`, `a::b`, `a::b::c`.
fn paths(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    let ends: Vec<_> = path
        .match_indices("::")
        .map(|(at, _)| at)
        .chain([path.len()])
        .collect();
    ends.into_iter().map(|end| &path[..end])
}

/// Merges `over` into `base`; `over` takes precedence.
fn merge(base: &mut Metadata, over: &Metadata) {
    // The pattern is exhaustive, so that a new field does not compile until it is merged here.
    let Metadata {
        doc,
        platform,
        targets,
        category,
        area,
        priority,
        tags,
        owner,
        features,
        programs,
        requirements,
        reuse,
        fresh,
        retry_on,
        runs_on,
        any,
        count,
        roles,
        orchestration,
        timeout,
        retries,
        collect,
        collect_when,
        skip,
        expect_fail,
    } = over;
    replace(&mut base.doc, doc);
    replace(&mut base.platform, platform);
    replace(&mut base.category, category);
    replace(&mut base.area, area);
    replace(&mut base.priority, priority);
    replace(&mut base.owner, owner);
    replace(&mut base.reuse, reuse);
    replace(&mut base.fresh, fresh);
    replace(&mut base.retry_on, retry_on);
    replace(&mut base.runs_on, runs_on);
    replace(&mut base.any, any);
    replace(&mut base.count, count);
    replace(&mut base.orchestration, orchestration);
    replace(&mut base.timeout, timeout);
    replace(&mut base.retries, retries);
    replace(&mut base.collect_when, collect_when);
    if !targets.is_empty() {
        base.targets.clone_from(targets);
    }
    if !roles.is_empty() {
        base.roles.clone_from(roles);
    }
    append(&mut base.tags, tags);
    append(&mut base.features, features);
    append(&mut base.programs, programs);
    append(&mut base.collect, collect);
    append(&mut base.skip, skip);
    append(&mut base.expect_fail, expect_fail);
    base.requirements.extend(requirements.clone());
}

fn replace<T: Clone>(base: &mut Option<T>, over: &Option<T>) {
    if over.is_some() {
        base.clone_from(over);
    }
}

fn append<T: Clone + PartialEq>(base: &mut Vec<T>, more: &[T]) {
    for item in more {
        if !base.contains(item) {
            base.push(item.clone());
        }
    }
}

#[cfg(test)]
mod tests;
