//! Checks the signatures of tests and fixtures: parameters that take the target, fixtures, or values of another
//! attribute.
//!
//! Of the arguments of `#[target_test]`, must know only `count`, `roles` and `platform`, which must match the
//! parameters.

use syn::{Attribute, FnArg, Ident, ItemFn, Pat, PatType, Result, Type, spanned::Spanned};

use crate::{arguments::Arguments, value};

/// A parameter for targets of the lease.
pub(crate) struct TargetParameter {
    pub(crate) position: usize,
    /// The name; `None` for another pattern.
    pub(crate) name: Option<Ident>,
    /// The type of a platform; `None` for type `Target`.
    pub(crate) ty: Option<PlatformType>,
    /// True for `&[Target]`, all targets.
    pub(crate) takes_all: bool,
}

/// A type with the platform that it is for.
#[derive(Clone)]
pub(crate) struct PlatformType {
    pub(crate) platform: &'static str,
    pub(crate) ty: Box<Type>,
}

/// The parameters of a test or fixture.
#[derive(Default)]
pub(crate) struct FnParameters {
    /// One that takes all targets, or one for each target, in their order. Empty if the test reads environment variables.
    pub(crate) targets: Vec<TargetParameter>,
    /// The position of the parameter that takes the environment.
    pub(crate) environment: Option<usize>,
    /// The parameters that take fixtures: position, and name of parameter and fixture.
    pub(crate) fixtures: Vec<(usize, Ident)>,
}

/// The types of platforms, with the name of each platform.
const PLATFORMS: [(&str, &str); 4] = [
    ("Container", "container"),
    ("Local", "local"),
    ("Qemu", "qemu"),
    ("Ssh", "ssh"),
];

/// Reads the parameters of a test; collects all errors. `arguments` is `None` if they are invalid.
pub(crate) fn of_test(function: &ItemFn, arguments: Option<&Arguments>) -> Result<FnParameters> {
    let parameters = parameters(function, "a test", EXPECTED)?;
    arguments.map_or(Ok(()), |arguments| agree(function, &parameters, arguments))?;
    Ok(parameters)
}

/// Reads the parameters of a fixture; collects all errors.
pub(crate) fn of_fixture(function: &ItemFn) -> Result<FnParameters> {
    if let Some(asynchronous) = function.sig.asyncness {
        return fail(
            &asynchronous,
            "a fixture cannot be `async`: block on the future inside it",
        );
    }
    let parameters = parameters(
        function,
        "a fixture",
        "expected `target: &Target`, `env: &Environment` or fixtures (`name: &Type`)",
    )?;
    let one = usize::from(parameters.targets.first().is_some_and(|one| !one.takes_all));
    let surplus = parameters.targets.get(one);
    match surplus.and_then(|surplus| function.sig.inputs.iter().nth(surplus.position)) {
        Some(input) => fail(input, "a fixture takes one target: `&Target`"),
        None => Ok(parameters),
    }
}

/// A parameter of an event.
pub(crate) enum EventParameter {
    /// The first target, as the type of its platform if given.
    Target(Option<PlatformType>),
    /// All targets.
    Targets(Option<PlatformType>),
    /// The environment of the test.
    Environment,
    Fixture(Ident),
    /// An argument of the description, by name and type.
    Value(Ident, Box<Type>),
}

/// Reads the parameters of an event, in their order; collects all errors.
pub(crate) fn of_event(function: &ItemFn) -> Result<Vec<EventParameter>> {
    if let Some(asynchronous) = function.sig.asyncness {
        return fail(
            &asynchronous,
            "an event cannot be `async`: block on the future inside it",
        );
    }
    let mut found = Vec::new();
    let inputs = function.sig.inputs.iter().map(|input| {
        found.push(event_parameter(input)?);
        Ok(())
    });
    let refused = refused(function, "an event").map(Err);
    value::each(refused.chain(inputs), |result| result)?;
    Ok(found)
}

const OF_EVENT: &str = "expected `target: &Target`, `targets: &[Target]`, `env: &Environment`, a fixture (`name: &Type`) or a parameter of the \
                        description (`name: Type`)";

fn event_parameter(input: &FnArg) -> Result<EventParameter> {
    match (kind(input, "an event", OF_EVENT)?, input) {
        (
            ParameterKind::Targets {
                ty,
                takes_all: false,
            },
            _,
        ) => Ok(EventParameter::Target(ty)),
        (
            ParameterKind::Targets {
                ty,
                takes_all: true,
            },
            _,
        ) => Ok(EventParameter::Targets(ty)),
        (ParameterKind::Fixture(name), _) => Ok(EventParameter::Fixture(name)),
        (ParameterKind::Other, FnArg::Typed(typed)) if !matches!(*typed.ty, Type::Reference(_)) => {
            Ok(EventParameter::Value(
                name(input)?.clone(),
                typed.ty.clone(),
            ))
        }
        (ParameterKind::Environment, _) => Ok(EventParameter::Environment),
        (ParameterKind::Other, _) => fail(input, OF_EVENT),
    }
}

fn parameters(function: &ItemFn, what: &str, expected: &str) -> Result<FnParameters> {
    let by_other = function.attrs.iter().any(is_parametric);
    let rstest: Vec<_> = (function.attrs.iter())
        .filter(|attribute| named(attribute, &["rstest"]))
        .collect();
    let mut found = FnParameters::default();
    let inputs = function.sig.inputs.iter().enumerate();
    let inputs = inputs.map(|(position, input)| {
        match kind(input, what, expected)? {
            ParameterKind::Other if by_other => {}
            ParameterKind::Fixture(name)
                if by_other && (rstest.is_empty() || is_of_rstest(input, &name, &rstest)) => {}
            ParameterKind::Other => return fail(input, expected),
            ParameterKind::Fixture(name) => found.fixtures.push((position, name)),
            ParameterKind::Environment if found.environment.is_some() => {
                return fail(input, expected);
            }
            ParameterKind::Environment => found.environment = Some(position),
            ParameterKind::Targets { ty, takes_all } => {
                let mut others = found.targets.iter();
                if others.any(|other| takes_all || other.takes_all) {
                    let message =
                        format!("{what} takes each target by `&Target`, or all by `&[Target]`");
                    return fail(input, message);
                }
                let name = name(input).ok().cloned();
                found.targets.push(TargetParameter {
                    position,
                    name,
                    ty,
                    takes_all,
                });
            }
        }
        Ok(())
    });
    value::each(refused(function, what).map(Err).chain(inputs), |result| {
        result
    })?;
    Ok(found)
}

/// The attributes of a parameter whose value `#[rstest]` provides.
const MARKS: [&str; 9] = [
    "case", "values", "from", "with", "files", "future", "context", "by_ref", "ignore",
];

/// True if `#[rstest]` provides the value of a parameter: the parameter has a mark, or an attribute lists its name.
fn is_of_rstest(input: &FnArg, name: &Ident, rstest: &[&Attribute]) -> bool {
    let marked = match input {
        FnArg::Typed(input) => input.attrs.iter().any(|mark| named(mark, &MARKS)),
        FnArg::Receiver(_) => false,
    };
    let lists =
        |attribute: &&Attribute| match &attribute.meta {
            syn::Meta::List(list) => list.tokens.clone().into_iter().any(
                |token| matches!(token, proc_macro2::TokenTree::Ident(listed) if listed == *name),
            ),
            _ => false,
        };
    marked || rstest.iter().any(lists)
}

/// Returns the errors for unsupported qualifiers of the function.
fn refused(function: &ItemFn, what: &str) -> impl Iterator<Item = syn::Error> {
    let signature = &function.sig;
    let refused = [
        (asynchronous(function), ASYNC.to_owned()),
        (
            unsafe_at(&signature.safety),
            format!("{what} cannot be `unsafe`"),
        ),
        (
            signature.constness.map(|t| t.span()),
            format!("{what} cannot be `const`"),
        ),
        (
            signature.abi.as_ref().map(Spanned::span),
            format!("{what} cannot have an `extern` ABI"),
        ),
        (
            (!signature.generics.params.is_empty()).then(|| signature.generics.span()),
            format!("{what} cannot be generic"),
        ),
    ];
    refused
        .into_iter()
        .filter_map(|(span, message)| Some(syn::Error::new(span?, message)))
}

const EXPECTED: &str = "expected targets (`name: &Target` for each, or `targets: &[Target]`), `env: &Environment`, fixtures (`name: &Type`) or no parameter";

const ASYNC: &str = "an `async` test requires the feature `tokio` of `target-fixtures`; alternatively, block on \
                     the future in an ordinary test";

/// The span of `async`, if the function is `async` and the feature `tokio` is disabled.
fn asynchronous(function: &ItemFn) -> Option<proc_macro2::Span> {
    let asynchronous = function.sig.asyncness.map(|t| t.span());
    asynchronous.filter(|_| !cfg!(feature = "tokio"))
}

/// True if another attribute turns the function into a test: `#[test]`, `#[rstest]`.
pub(crate) fn is_test(attribute: &Attribute) -> bool {
    named(attribute, &["test", "rstest", "test_case", "test_matrix"])
}

/// True if another attribute provides values for parameters.
fn is_parametric(attribute: &Attribute) -> bool {
    named(attribute, &["rstest", "test_case", "test_matrix"])
}

pub(crate) fn named(attribute: &Attribute, names: &[&str]) -> bool {
    attribute
        .path()
        .segments
        .last()
        .is_some_and(|last| names.iter().any(|name| last.ident == name))
}

fn unsafe_at(safety: &syn::Safety) -> Option<proc_macro2::Span> {
    match safety {
        syn::Safety::Unsafe(token) => Some(token.span()),
        _ => None,
    }
}

/// The kind of a parameter.
enum ParameterKind {
    Targets {
        ty: Option<PlatformType>,
        takes_all: bool,
    },
    Environment,
    Fixture(Ident),
    Other,
}

fn kind(input: &FnArg, what: &str, expected: &str) -> Result<ParameterKind> {
    let FnArg::Typed(PatType { ty, pat, .. }) = input else {
        return fail(input, format!("{what} must be a function, not a method"));
    };
    let Type::Reference(reference) = &**ty else {
        return match is_target(ty) || of_type(ty, "Environment") {
            true => fail(ty, expected),
            false => Ok(ParameterKind::Other),
        };
    };
    let kind = match &*reference.elem {
        Type::Slice(slice) if is_target(&slice.elem) => ParameterKind::Targets {
            ty: platform_of(&slice.elem),
            takes_all: true,
        },
        one if is_target(one) => ParameterKind::Targets {
            ty: platform_of(one),
            takes_all: false,
        },
        one if of_type(one, "Environment") => ParameterKind::Environment,
        _ => match &**pat {
            Pat::Ident(pat) if reference.mutability.is_none() => {
                ParameterKind::Fixture(pat.ident.clone())
            }
            _ => return Ok(ParameterKind::Other),
        },
    };
    match reference.mutability {
        Some(_) => fail(ty, expected),
        None => Ok(kind),
    }
}

fn is_target(ty: &Type) -> bool {
    of_type(ty, "Target") || platform_of(ty).is_some()
}

fn platform_of(ty: &Type) -> Option<PlatformType> {
    let (_, platform) = PLATFORMS.iter().find(|(name, _)| of_type(ty, name))?;
    let ty = Box::new(ty.clone());
    Some(PlatformType { platform, ty })
}

fn of_type(ty: &Type, name: &str) -> bool {
    match ty {
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|last| last.ident == name),
        _ => false,
    }
}

/// Checks that `count`, `roles` and `platform` match the parameters.
fn agree(function: &ItemFn, parameters: &FnParameters, arguments: &Arguments) -> Result<()> {
    if let Some(span) = arguments.span("roles") {
        return agree_with_roles(function, parameters, arguments, span);
    }
    if let Some(position) = parameters.environment {
        let input = function.sig.inputs.iter().nth(position);
        let message =
            "an environment requires `roles = [\"...\"]`, the machines that the test needs";
        return input.map_or(Ok(()), |input| fail(input, message));
    }
    let input = |one: &TargetParameter| function.sig.inputs.iter().nth(one.position);
    if let Some(platform) = parameters.platform() {
        let differs =
            |one: &&TargetParameter| one.ty.as_ref().is_some_and(|ty| ty.platform != platform);
        if let Some(other) = parameters.targets.iter().find(differs).and_then(input) {
            return fail(
                other,
                "the instances of a test are of one target, on one platform",
            );
        }
        if let Some(span) = arguments.span("platform") {
            let message = format!("the parameter's type already sets `platform = \"{platform}\"`");
            return Err(syn::Error::new(span, message));
        }
    }
    let count = arguments.span("count").zip(arguments.count());
    match (parameters.targets.as_slice(), count) {
        ([all], None) if all.takes_all => match input(all) {
            Some(input) => fail(
                input,
                "a slice of targets requires `count = n`, the number of instances",
            ),
            None => Ok(()),
        },
        (
            []
            | [
                TargetParameter {
                    takes_all: true, ..
                },
            ],
            _,
        ) => Ok(()),
        ([_], Some((span, 2..))) => Err(syn::Error::new(
            span,
            "`&Target` is one instance: take more of them, or `targets: &[Target]`, or leave `count` out",
        )),
        (each, Some((span, count))) if count != each.len() as u64 => {
            let message = format!("the test takes {} instances: leave `count` out", each.len());
            Err(syn::Error::new(span, message))
        }
        _ => Ok(()),
    }
}

/// Checks the parameters of a test with roles.
fn agree_with_roles(
    function: &ItemFn,
    parameters: &FnParameters,
    arguments: &Arguments,
    roles: proc_macro2::Span,
) -> Result<()> {
    if let Some(span) = arguments.span("count") {
        let message = "`count` cannot be combined with `roles`: the environment decides the number of machines";
        return Err(syn::Error::new(span, message));
    }
    let each = parameters.targets.iter().find(|one| !one.takes_all);
    let each = each.and_then(|one| function.sig.inputs.iter().nth(one.position));
    match (each, parameters.platform()) {
        (Some(input), _) => fail(
            input,
            "a test with `roles` takes `env: &Environment`, or all its machines by `targets: &[Target]`",
        ),
        (None, Some(_)) => Err(syn::Error::new(
            roles,
            "the machines of an environment may be of different platforms: take `targets: &[Target]`",
        )),
        (None, None) => Ok(()),
    }
}

impl FnParameters {
    /// The platform of the targets; `None` for type `Target`.
    pub(crate) fn platform(&self) -> Option<&'static str> {
        let mut types = self.targets.iter().filter_map(|one| one.ty.as_ref());
        types.next().map(|ty| ty.platform)
    }

    /// True if the parameter takes targets or a fixture.
    pub(crate) fn takes(&self, position: usize) -> bool {
        let mut targets = self.targets.iter().map(|one| one.position);
        targets.any(|at| at == position)
            || self.environment == Some(position)
            || self.fixtures.iter().any(|(at, _)| *at == position)
    }
}

/// The name of a parameter.
pub(crate) fn name(input: &FnArg) -> Result<&Ident> {
    match input {
        FnArg::Typed(PatType { pat, .. }) => match &**pat {
            Pat::Ident(pat) => Ok(&pat.ident),
            other => fail(other, "expected a name"),
        },
        FnArg::Receiver(_) => fail(input, "a test must be a function, not a method"),
    }
}

fn fail<T>(at: &impl quote::ToTokens, message: impl std::fmt::Display) -> Result<T> {
    Err(syn::Error::new_spanned(at, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_without_a_mark_are_fixtures_also_beside_rstest() {
        let taken = |function: ItemFn| {
            let found = parameters(&function, "a test", EXPECTED).expect("parameters");
            let names = found.fixtures.iter().map(|(_, name)| name.to_string());
            (found.targets.len(), names.collect::<Vec<_>>().join(" "))
        };
        let function = syn::parse_quote! {
            #[rstest]
            #[case(1, &2)]
            fn t(target: &Target, db: &Db, #[case] a: u32, #[case] b: &u32, #[values("x")] c: &str,
                #[from(d)] once: &Db, #[future] e: &Db, other: String, table: &str) {}
        };
        assert_eq!(taken(function), (1, "db table".to_owned()));
        let function = syn::parse_quote! {
            #[rstest(text, number, case("x", 1))]
            fn t(client: &Target, server: &Target, text: &str, number: u32, db: &Db) {}
        };
        assert_eq!(taken(function), (2, "db".to_owned()));
        let function = syn::parse_quote! {
            #[test_case("x")]
            fn t(target: &Target, text: &str) {}
        };
        assert_eq!(taken(function), (1, String::new()));
    }
}
