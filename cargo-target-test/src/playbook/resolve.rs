//! The second pass: merges the layers of each target and checks the result.
//!
//! Must not read files. A platform checks its own keys.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    ops::Range,
    path::PathBuf,
    sync::Arc,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Definition, Lifecycle, Origin, PlatformSyntax, PlaybookTarget, Recipe,
    diagnostic::{Problem, Problems},
    lifecycle,
    names::{valid_name, wrong_name, wrong_size},
    nearest::{did_you_mean, meant},
    overlay::Layers,
    params, platform_keys,
    schema::{self, Common, MOST_INSTANCES, MOST_SPARES},
    set::SetLayer,
    written::{RawTable, Written},
};

/// Resolves and checks all targets. Targets with problems may be missing from the result.
pub(super) fn resolve(
    written: Written<'_>,
    mut overrides: Vec<SetLayer<'_>>,
    platforms: &[&dyn PlatformSyntax],
    problems: &mut Problems<'_>,
) -> Vec<PlaybookTarget> {
    let recipes: Recipes = written
        .recipes
        .into_iter()
        .map(|(name, recipe)| (name, Arc::new(recipe)))
        .collect();
    let sections = sections(written.platforms, platforms, &recipes, problems);
    let mut names = BTreeMap::new();
    let mut targets = Vec::new();
    for (index, entry) in written.targets.into_iter().enumerate() {
        let on_top = overrides
            .extract_if(.., |one| one.target == index)
            .collect();
        let draft = layer(entry, on_top, &sections, platforms, problems);
        check_name(&draft, &mut names, problems);
        targets.extend(finish(draft, &recipes, problems));
    }
    targets
}

/// Recipes by name.
type Recipes = BTreeMap<String, Arc<Recipe>>;

/// Checks the `[platforms.X]` tables and returns them by platform.
fn sections<'s>(
    written: BTreeMap<String, RawTable<'s>>,
    platforms: &[&dyn PlatformSyntax],
    recipes: &Recipes,
    problems: &mut Problems<'_>,
) -> BTreeMap<&'static str, RawTable<'s>> {
    let mut sections = BTreeMap::new();
    for (name, mut section) in written {
        let header = section.header.clone();
        let Some(platform) = find(platforms, &name, header.clone(), problems) else {
            continue;
        };
        platform_keys::refuse_unknown(&mut section.table, platform, false, problems);
        let mut table = section.table.clone();
        let common = Common::take(&mut table, problems);
        check(common, platform, recipes, problems);
        platform_keys::check_defaults(table, platform, header, problems);
        sections.insert(platform.name(), section);
    }
    sections
}

/// A target with its layers merged and the common keys separated.
struct Draft<'s, 'p> {
    header: Range<usize>,
    directory: PathBuf,
    name: Option<Spanned<String>>,
    common: Common,
    platform: Option<&'p dyn PlatformSyntax>,
    /// The text of [`Common::params_schema`].
    params_schema: Option<Spanned<DeValue<'s>>>,
    /// The remaining keys: those of the platform.
    layers: Layers<'s>,
}

fn layer<'s, 'p>(
    entry: RawTable<'s>,
    on_top: Vec<SetLayer<'s>>,
    sections: &BTreeMap<&'static str, RawTable<'s>>,
    platforms: &'p [&'p dyn PlatformSyntax],
    problems: &mut Problems<'_>,
) -> Draft<'s, 'p> {
    let RawTable {
        header,
        table,
        directory,
    } = entry;
    let tables = || on_top.iter().rev().map(|one| &one.table).chain([&table]);
    let key = |key: &str| tables().find_map(|table| table.get(key)).cloned();
    let (name, platform) = (key("name"), key("platform"));
    for (key, value) in [("name", &name), ("platform", &platform)] {
        if value.is_none() {
            let problem = Problem::new(format!("a target has no `{key}`"), header.clone());
            let meant = tables().find_map(|table| similar_key(table, key));
            problems.add(match meant {
                Some((span, hint)) => problem.second(span, hint),
                None => problem,
            });
        }
    }
    let named =
        platform.and_then(|value| Some((value.get_ref().as_str()?.to_owned(), value.span())));
    let platform = named.and_then(|(name, span)| find(platforms, &name, span, problems));

    let mut layers = Layers::default();
    if let Some(section) = platform.and_then(|platform| sections.get(platform.name())) {
        layers.add(section.table.clone(), Origin::Platform);
    }
    layers.add(table, Origin::Target);
    for one in on_top {
        layers.add(one.table, Origin::Set);
    }
    if let Some(platform) = platform {
        platform_keys::refuse_unknown(&mut layers.table, platform, true, problems);
    }
    let params_schema = layers.table.get(params::SCHEMA).cloned();
    let mut common = Common::take(&mut layers.table, problems);
    Draft {
        header,
        directory,
        name: common.name.take(),
        common,
        platform,
        params_schema,
        layers,
    }
}

/// Finds a key similar to `key`: its position, and the hint "did you mean ...?".
fn similar_key(table: &DeTable<'_>, key: &str) -> Option<(Range<usize>, String)> {
    table.keys().find_map(|written| {
        let question = did_you_mean(written.get_ref(), &[key])?;
        Some((written.span(), question))
    })
}

/// Builds the target; `None` if problems were added.
fn finish(
    draft: Draft<'_, '_>,
    recipes: &Recipes,
    problems: &mut Problems<'_>,
) -> Option<PlaybookTarget> {
    let Draft {
        header,
        directory,
        name,
        mut common,
        platform,
        params_schema: raw,
        mut layers,
    } = draft;
    let platform = platform?;
    let params_schema = common.params_schema.take();
    let Checked {
        count,
        features,
        cost,
        max_spares,
        triple,
        capabilities: declared,
        lifecycle,
    } = check(common, platform, recipes, problems);
    let shown = name.unwrap_or_else(|| Spanned::new(header, "?".to_owned()));
    let mut param_docs = BTreeMap::new();
    if let (Some(schema), Some(DeValue::Table(raw))) = (params_schema, raw.map(Spanned::into_inner))
    {
        let keys = schema::properties(&platform.schema());
        if keys.iter().any(|key| key == "params") {
            let (schema, table) = (schema.get_ref(), &mut layers.table);
            param_docs = params::apply(schema, &raw, table, &shown, problems);
        } else {
            let message = format!("platform `{}` has no `params`", platform.name());
            problems.add(Problem::new(message, schema.span()));
        }
    }
    let parameters = platform_keys::read(layers.table, platform, &shown, problems)?;
    let count = count
        .or_else(|| platform.count(&parameters))
        .unwrap_or(1)
        .max(1);
    let (capabilities, assured) = offered(platform, &parameters, declared);
    let (kind, version, keys) = (platform.name(), platform.version(), lifecycle.keys());
    let definition = Definition::new(kind, version, &features, keys, &parameters);
    let name = shown.into_inner();
    Some(PlaybookTarget {
        label: name.clone(),
        scenario: None,
        name,
        directory,
        platform: platform.name(),
        count,
        features,
        cost,
        capabilities,
        assured,
        max_spares,
        triple,
        lifecycle,
        machines_stay: platform.machines_stay(),
        parameters,
        definition,
        param_docs,
        origins: layers.origins,
        places: layers.places,
    })
}

/// Returns the capabilities of a target and the names of those that are not declared, which the platform guarantees.
fn offered(
    platform: &dyn PlatformSyntax,
    parameters: &serde_json::Value,
    declared: BTreeMap<String, String>,
) -> (BTreeMap<String, String>, BTreeSet<String>) {
    let mut offered = platform.capabilities(parameters);
    let assured = offered.keys().filter(|key| !declared.contains_key(*key));
    let assured = assured.cloned().collect();
    offered.extend(declared);
    (offered, assured)
}

/// The checked values of the common keys.
struct Checked {
    count: Option<u32>,
    features: Vec<String>,
    cost: f64,
    max_spares: u32,
    triple: Option<String>,
    capabilities: BTreeMap<String, String>,
    lifecycle: Lifecycle,
}

fn check(
    mut common: Common,
    platform: &dyn PlatformSyntax,
    recipes: &Recipes,
    problems: &mut Problems<'_>,
) -> Checked {
    let lifecycle = lifecycle::check(&mut common, platform, recipes, problems);
    let Common {
        count,
        features,
        cost,
        capabilities,
        max_spares,
        triple,
        ..
    } = common;
    Checked {
        count: count.and_then(|count| check_count(&count, problems)),
        features: check_features(features.unwrap_or_default(), problems),
        cost: cost.map_or(1.0, |cost| check_cost(&cost, problems)),
        triple,
        max_spares: u32::from(max_spares.unwrap_or(0).min(MOST_SPARES)),
        capabilities: check_capabilities(capabilities.unwrap_or_default(), problems),
        lifecycle,
    }
}

/// Finds a platform by name. An unknown name is a problem; the most similar platform is returned so that the rest of
/// the table is checked too.
fn find<'p>(
    platforms: &'p [&'p dyn PlatformSyntax],
    name: &str,
    span: Range<usize>,
    problems: &mut Problems<'_>,
) -> Option<&'p dyn PlatformSyntax> {
    let called = |name: &str| {
        let mut all = platforms.iter().copied();
        all.find(|platform| platform.name() == name)
    };
    called(name).or_else(|| {
        let known: Vec<&str> = platforms.iter().map(|platform| platform.name()).collect();
        problems.add(Problem::unknown("platform", name, span, &known));
        called(meant(name, &known)?)
    })
}

fn check_name(
    draft: &Draft<'_, '_>,
    names: &mut BTreeMap<String, Range<usize>>,
    problems: &mut Problems<'_>,
) {
    let Some(name) = &draft.name else { return };
    let (text, span) = (name.get_ref(), name.span());
    if let Some(why) = wrong_name(text) {
        let problem = Problem::new(format!("invalid target name `{text}`"), span.clone());
        let problem = problem.label(why);
        problems.add(match valid_name(text) {
            Some(name) => problem.hint(format!("for example `{name}`")),
            None => problem,
        });
    }
    match names.entry(text.clone()) {
        btree_map::Entry::Vacant(entry) => drop(entry.insert(span)),
        btree_map::Entry::Occupied(first) => problems.add(
            Problem::new(format!("two targets are named `{text}`"), span)
                .label("named again here")
                .second(first.get().clone(), "first named here"),
        ),
    }
}

fn check_count(count: &Spanned<i64>, problems: &mut Problems<'_>) -> Option<u32> {
    let value = u32::try_from(*count.get_ref())
        .ok()
        .filter(|count| (1..=MOST_INSTANCES).contains(count));
    if value.is_none() {
        let message = format!("invalid count `{}`", count.get_ref());
        let label = format!("must be an integer from 1 to {MOST_INSTANCES}");
        problems.add(Problem::new(message, count.span()).label(label));
    }
    value
}

fn check_cost(cost: &Spanned<f64>, problems: &mut Problems<'_>) -> f64 {
    let value = *cost.get_ref();
    if !value.is_finite() || value < 0.0 {
        let message = format!("invalid cost `{value}`");
        problems.add(Problem::new(message, cost.span()).label("must be a number, 0 or more"));
    }
    value
}

fn check_features(features: Vec<Spanned<String>>, problems: &mut Problems<'_>) -> Vec<String> {
    for feature in &features {
        let text = feature.get_ref();
        if text.is_empty() || text.contains(char::is_whitespace) {
            let problem = Problem::new(format!("invalid feature `{text}`"), feature.span());
            problems.add(problem.label("must be one word"));
        }
    }
    let mut features: Vec<_> = features.into_iter().map(Spanned::into_inner).collect();
    features.sort();
    features.dedup();
    features
}

fn check_capabilities(
    capabilities: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, String> {
    let mut checked = BTreeMap::new();
    for (key, value) in capabilities {
        let text = match value.get_ref() {
            toml::Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
            toml::Value::Integer(number) if *number >= 0 => Some(number.to_string()),
            toml::Value::Float(number) if number.is_finite() && *number >= 0.0 => {
                Some(number.to_string())
            }
            _ => None,
        };
        let wrong = match &text {
            Some(text) => wrong_size(key.get_ref(), text),
            None => Some("must be text or a number, 0 or more".to_owned()),
        };
        if let Some(why) = wrong {
            let message = format!("invalid capability `{}`", key.get_ref());
            problems.add(Problem::new(message, value.span()).label(why));
        }
        checked.extend(text.map(|text| (key.into_inner(), text)));
    }
    checked
}
