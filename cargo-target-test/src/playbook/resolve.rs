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
    environments::WrittenEnvironment,
    lifecycle,
    names::{valid_name, wrong_name, wrong_size},
    nearest::{did_you_mean, meant},
    overlay::Layers,
    params, platform_keys,
    schema::{self, Common, MOST_INSTANCES, MOST_SPARES},
    set::{SetLayer, SetTable},
    share,
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
    let context = TargetContext {
        platforms,
        sections: &sections,
        recipes: &recipes,
    };
    let mut on_top = |of: SetTable| {
        let layers = overrides.extract_if(.., |one| one.of == of);
        layers.map(|one| one.table).collect::<Vec<_>>()
    };
    let entries = written.targets.into_iter().enumerate();
    let entries: Vec<_> = entries
        .map(|(index, table)| Entry::new(table, on_top(SetTable::Target(index))))
        .collect();
    let mut names = BTreeMap::new();
    let mut targets = Vec::new();
    for entry in &entries {
        targets.extend(context.target(entry.clone(), &mut names, problems));
    }
    let mut environments = Vec::new();
    for (name, table) in written.environments {
        let environment = WrittenEnvironment {
            name: &name,
            table,
            on_top: on_top(SetTable::Environment(name.clone())),
            entries: &entries,
            targets: &targets,
        };
        environments.extend(environment.resolve(&context, problems));
    }
    targets.extend(environments);
    targets
}

/// The tables of a target, lowest precedence first, without those of its platform.
#[derive(Clone)]
pub(super) struct Entry<'s> {
    /// The position of the header, or of the key.
    pub(super) header: Range<usize>,
    /// The folder of the file.
    pub(super) directory: PathBuf,
    pub(super) layers: Vec<(DeTable<'s>, Origin)>,
}

impl<'s> Entry<'s> {
    fn new(written: RawTable<'s>, on_top: Vec<DeTable<'s>>) -> Self {
        let own = [(written.table, Origin::Target)].into_iter();
        Self {
            header: written.header,
            directory: written.directory,
            layers: own
                .chain(on_top.into_iter().map(|table| (table, Origin::Set)))
                .collect(),
        }
    }

    /// The value of `name`, not checked.
    pub(super) fn name(&self) -> Option<&str> {
        self.text("name")
    }

    fn text(&self, key: &str) -> Option<&str> {
        let mut tables = self.layers.iter().rev();
        tables
            .find_map(|(table, _)| table.get(key))?
            .get_ref()
            .as_str()
    }
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

/// The platforms, tables and recipes that targets refer to.
pub(super) struct TargetContext<'a, 's> {
    platforms: &'a [&'a dyn PlatformSyntax],
    sections: &'a BTreeMap<&'static str, RawTable<'s>>,
    recipes: &'a Recipes,
}

impl<'s> TargetContext<'_, 's> {
    /// The platform of an entry, if its machines exist before the pool.
    pub(super) fn existing(&self, entry: &Entry<'_>) -> Option<&'static str> {
        let name = entry.text("platform")?;
        let mut platforms = self.platforms.iter();
        let found = platforms.find(|platform| platform.name() == name)?;
        found.machines_stay().then(|| found.name())
    }

    /// Merges the layers of a target and checks it; `None` if problems were added.
    pub(super) fn target(
        &self,
        entry: Entry<'s>,
        names: &mut BTreeMap<String, Range<usize>>,
        problems: &mut Problems<'_>,
    ) -> Option<PlaybookTarget> {
        let Entry {
            header,
            directory,
            layers: own,
        } = entry;
        let tables = || own.iter().rev().map(|(table, _)| table);
        let key = |key: &str| tables().find_map(|table| table.get(key)).cloned();
        let (name, platform) = (key("name"), key("platform"));
        for (key, value) in [("name", &name), ("platform", &platform)] {
            if value.is_none() {
                let mut problem = Problem::new(format!("a target has no `{key}`"), header.clone());
                if let Some((span, hint)) = tables().find_map(|table| similar_key(table, key)) {
                    problem = problem.second(span, hint);
                }
                problems.add(problem);
            }
        }
        let named =
            platform.and_then(|value| Some((value.get_ref().as_str()?.to_owned(), value.span())));
        let platform = named.and_then(|(name, span)| find(self.platforms, &name, span, problems));

        let mut layers = Layers::default();
        if let Some(section) = platform.and_then(|platform| self.sections.get(platform.name())) {
            layers.add(section.table.clone(), Origin::Platform);
        }
        for (table, origin) in own {
            layers.add(table, origin);
        }
        if let Some(platform) = platform {
            platform_keys::refuse_unknown(&mut layers.table, platform, true, problems);
        }
        let raw_schema = layers.table.get(params::SCHEMA).cloned();
        let mut common = Common::take(&mut layers.table, problems);
        let name = common.name.take();
        if let Some(name) = &name {
            check_name(name, names, problems);
        }
        let name = name.unwrap_or_else(|| Spanned::new(header, "?".to_owned()));
        let platform = platform?;
        let params_schema = common.params_schema.take();
        let checked = check(common, platform, self.recipes, problems);
        let mut param_docs = BTreeMap::new();
        if let (Some(schema), Some(DeValue::Table(raw))) =
            (params_schema, raw_schema.map(Spanned::into_inner))
        {
            let keys = schema::properties(&platform.schema());
            if keys.iter().any(|key| key == "params") {
                let (schema, table) = (schema.get_ref(), &mut layers.table);
                param_docs = params::apply(schema, &raw, table, &name, problems);
            } else {
                let message = format!("platform `{}` has no `params`", platform.name());
                problems.add(Problem::new(message, schema.span()));
            }
        }
        let mut parameters = platform_keys::read(layers.table, platform, &name, problems)?;
        share::make_absolute(&mut parameters, &directory);
        let count = checked.count.or_else(|| platform.count(&parameters));
        let (capabilities, assured) = offered(platform, &parameters, checked.capabilities);
        let (kind, keys) = (platform.name(), checked.lifecycle.keys());
        let definition = Definition::new(
            kind,
            platform.version(),
            &checked.features,
            keys,
            &parameters,
        );
        let name = name.into_inner();
        Some(PlaybookTarget {
            label: name.clone(),
            scenario: None,
            name,
            directory,
            platform: kind,
            count: count.unwrap_or(1).max(1),
            features: checked.features,
            cost: checked.cost,
            capabilities,
            assured,
            max_spares: checked.max_spares,
            triple: checked.triple,
            lifecycle: checked.lifecycle,
            machines_stay: platform.machines_stay(),
            roles: Vec::new(),
            parameters,
            definition,
            param_docs,
            origins: layers.origins,
            places: layers.places,
        })
    }
}

/// Finds a key similar to `key`: its position, and the hint "did you mean ...?".
fn similar_key(table: &DeTable<'_>, key: &str) -> Option<(Range<usize>, String)> {
    table.keys().find_map(|written| {
        let question = did_you_mean(written.get_ref(), &[key])?;
        Some((written.span(), question))
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
        count: lifecycle::check_number("count", count, 1..=MOST_INSTANCES, problems),
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
    name: &Spanned<String>,
    names: &mut BTreeMap<String, Range<usize>>,
    problems: &mut Problems<'_>,
) {
    let (text, span) = (name.get_ref(), name.span());
    if let Some(why) = wrong_name(text) {
        let problem = Problem::new(format!("invalid target name `{text}`"), span.clone());
        let hint = valid_name(text).map(|name| format!("for example `{name}`"));
        problems.add(problem.label(why).or_hint(hint));
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

pub(super) fn check_cost(cost: &Spanned<f64>, problems: &mut Problems<'_>) -> f64 {
    let value = *cost.get_ref();
    if !value.is_finite() || value < 0.0 {
        let message = format!("invalid cost `{value}`");
        problems.add(Problem::new(message, cost.span()).label("must be a number, 0 or more"));
    }
    value
}

pub(super) fn check_features(
    features: Vec<Spanned<String>>,
    problems: &mut Problems<'_>,
) -> Vec<String> {
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
