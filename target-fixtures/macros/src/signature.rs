//! Checks the signatures of tests and fixtures: parameters that take the target, fixtures, or values of another
//! attribute.
//!
//! Of the arguments of `#[target_test]`, must know only `count`, `roles` and `platform`, which must match the
//! parameters.

use syn::{Attribute, FnArg, Ident, ItemFn, Pat, PatType, Result, Type, spanned::Spanned};

use crate::{arguments::Arguments, value};

/// The parameter for the targets of the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// No parameter: the test reads environment variables.
    None,
    /// `&Target`, at this position.
    One(usize),
    /// `&[Target]`, at this position.
    Many(usize),
}

/// The parameters of a test or fixture.
pub(crate) struct FnParameters {
    pub(crate) form: Form,
    /// The platform of the targets with its type; `None` for type `Target`.
    pub(crate) platform: Option<(&'static str, Type)>,
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
        "expected `target: &Target` or fixtures, `name: &Type`",
    )?;
    match (
        parameters.form,
        function.sig.inputs.iter().nth(parameters.form.position()),
    ) {
        (Form::Many(_), Some(input)) => fail(input, "a fixture takes one target: `&Target`"),
        _ => Ok(parameters),
    }
}

fn parameters(function: &ItemFn, what: &str, expected: &str) -> Result<FnParameters> {
    let by_other = function.attrs.iter().any(is_parametric);
    let mut found = FnParameters {
        form: Form::None,
        platform: None,
        fixtures: Vec::new(),
    };
    let inputs = function
        .sig
        .inputs
        .iter()
        .enumerate()
        .map(|(position, input)| {
            match (kind(input, what, expected)?, found.form) {
                (ParameterKind::Other, _) if by_other => {}
                (ParameterKind::Fixture(_), _) if by_other => {}
                (ParameterKind::Other, _) => return fail(input, expected),
                (ParameterKind::Fixture(name), _) => found.fixtures.push((position, name)),
                (ParameterKind::One(_) | ParameterKind::Many(_), Form::One(_) | Form::Many(_)) => {
                    return fail(
                        input,
                        format!("{what} can have only one parameter for targets"),
                    );
                }
                (ParameterKind::One(platform), Form::None) => {
                    (found.form, found.platform) = (Form::One(position), platform);
                }
                (ParameterKind::Many(platform), Form::None) => {
                    (found.form, found.platform) = (Form::Many(position), platform);
                }
            }
            Ok(())
        });
    value::each(refused(function, what).map(Err).chain(inputs), |result| {
        result
    })?;
    Ok(found)
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

const EXPECTED: &str =
    "expected `target: &Target`, `targets: &[Target]`, fixtures (`name: &Type`) or no parameter";

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
    One(Option<(&'static str, Type)>),
    Many(Option<(&'static str, Type)>),
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
        Type::Slice(slice) if is_target(&slice.elem) => {
            ParameterKind::Many(platform_of(&slice.elem))
        }
        one if is_target(one) => ParameterKind::One(platform_of(one)),
        environment if of_type(environment, "Environment") => return fail(ty, ENVIRONMENT),
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

const ENVIRONMENT: &str =
    "environments are not supported yet: take `targets: &[Target]` with `count = n`";

fn is_target(ty: &Type) -> bool {
    of_type(ty, "Target") || platform_of(ty).is_some()
}

fn platform_of(ty: &Type) -> Option<(&'static str, Type)> {
    let known = PLATFORMS.iter().find(|(name, _)| of_type(ty, name))?;
    Some((known.1, ty.clone()))
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
        return Err(syn::Error::new(span, ENVIRONMENT));
    }
    if let (Some((platform, _)), Some(span)) = (&parameters.platform, arguments.span("platform")) {
        let message = format!("the parameter's type already sets `platform = \"{platform}\"`");
        return Err(syn::Error::new(span, message));
    }
    let (form, count) = (parameters.form, arguments.count());
    match (
        form,
        arguments.span("count"),
        function.sig.inputs.iter().nth(form.position()),
    ) {
        (Form::Many(_), None, Some(input)) => fail(
            input,
            "a slice of targets requires `count = n`, the number of instances",
        ),
        (Form::One(_), Some(span), _) if count != Some(1) => Err(syn::Error::new(
            span,
            "`&Target` is one instance: take `targets: &[Target]`, or leave `count` out",
        )),
        _ => Ok(()),
    }
}

impl FnParameters {
    /// True if the parameter takes targets or a fixture.
    pub(crate) fn takes(&self, position: usize) -> bool {
        self.form.position() == position || self.fixtures.iter().any(|(at, _)| *at == position)
    }
}

impl Form {
    /// The position of the parameter; `usize::MAX` for [`Form::None`].
    pub(crate) fn position(self) -> usize {
        match self {
            Self::None => usize::MAX,
            Self::One(position) | Self::Many(position) => position,
        }
    }
}

/// The name of a parameter whose value another attribute provides.
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
