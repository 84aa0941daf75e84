//! The forms that a test function, and a fixture's, may have.
//!
//! Owns which parameter takes the target, which take fixtures, and which are the business of another attribute. Must not
//! know arguments of `#[target_test]` but `count`, `roles` and `platform`, which must agree with the parameters.

use syn::{Attribute, FnArg, Ident, ItemFn, Pat, PatType, Result, Type, spanned::Spanned};

use crate::{arguments::Arguments, value};

/// What the function takes of the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Nothing: it reads the environment.
    None,
    /// `&Target`, at this position.
    One(usize),
    /// `&[Target]`, at this position.
    Many(usize),
}

/// What the function takes.
pub(crate) struct Parameters {
    pub(crate) form: Form,
    /// The platform of the targets, and its type, where that is not `Target`.
    pub(crate) platform: Option<(&'static str, Type)>,
    /// The parameters that take fixtures, by position: the fixture's name is the parameter's.
    pub(crate) fixtures: Vec<(usize, Ident)>,
}

/// The types of the platforms that have one.
const PLATFORMS: [(&str, &str); 4] = [
    ("Container", "container"),
    ("Local", "local"),
    ("Qemu", "qemu"),
    ("Ssh", "ssh"),
];

/// Finds what a test takes; all errors at once. `arguments` are `None` where they are wrong themselves.
pub(crate) fn of_test(function: &ItemFn, arguments: Option<&Arguments>) -> Result<Parameters> {
    let parameters = parameters(function, "a test", EXPECTED)?;
    arguments.map_or(Ok(()), |arguments| agree(function, &parameters, arguments))?;
    Ok(parameters)
}

/// Finds what a fixture takes; all errors at once.
pub(crate) fn of_fixture(function: &ItemFn) -> Result<Parameters> {
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

fn parameters(function: &ItemFn, what: &str, expected: &str) -> Result<Parameters> {
    let by_other = function.attrs.iter().any(is_parametric);
    let mut found = Parameters {
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
                (Taken::Other, _) if by_other => {}
                (Taken::Fixture(_), _) if by_other => {}
                (Taken::Other, _) => return fail(input, expected),
                (Taken::Fixture(name), _) => found.fixtures.push((position, name)),
                (Taken::One(_) | Taken::Many(_), Form::One(_) | Form::Many(_)) => {
                    return fail(input, format!("{what} takes its targets once"));
                }
                (Taken::One(platform), Form::None) => {
                    (found.form, found.platform) = (Form::One(position), platform);
                }
                (Taken::Many(platform), Form::None) => {
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

/// What no function of ours may be.
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
            format!("{what} cannot have an ABI of its own"),
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

const ASYNC: &str =
    "an `async` test needs feature `tokio` of `target-fixtures`, or blocks on the future itself";

/// Where the function is `async`, if it may not be.
fn asynchronous(function: &ItemFn) -> Option<proc_macro2::Span> {
    let asynchronous = function.sig.asyncness.map(|t| t.span());
    asynchronous.filter(|_| !cfg!(feature = "tokio"))
}

/// The attribute that makes the function a test, if it is not ours: `#[test]`, `#[rstest]`.
pub(crate) fn is_test(attribute: &Attribute) -> bool {
    named(attribute, &["test", "rstest", "test_case", "test_matrix"])
}

/// Whether another attribute gives the function parameters of its own.
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

enum Taken {
    One(Option<(&'static str, Type)>),
    Many(Option<(&'static str, Type)>),
    Fixture(Ident),
    Other,
}

fn kind(input: &FnArg, what: &str, expected: &str) -> Result<Taken> {
    let FnArg::Typed(PatType { ty, pat, .. }) = input else {
        return fail(input, format!("{what} is a function, not a method"));
    };
    let Type::Reference(reference) = &**ty else {
        return match is_target(ty) || of_type(ty, "Environment") {
            true => fail(ty, expected),
            false => Ok(Taken::Other),
        };
    };
    let taken = match &*reference.elem {
        Type::Slice(slice) if is_target(&slice.elem) => Taken::Many(platform_of(&slice.elem)),
        one if is_target(one) => Taken::One(platform_of(one)),
        environment if of_type(environment, "Environment") => return fail(ty, ENVIRONMENT),
        _ => match &**pat {
            Pat::Ident(pat) if reference.mutability.is_none() => Taken::Fixture(pat.ident.clone()),
            _ => return Ok(Taken::Other),
        },
    };
    match reference.mutability {
        Some(_) => fail(ty, expected),
        None => Ok(taken),
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

/// `count`, `roles` and `platform` must be what the parameters can hold.
fn agree(function: &ItemFn, parameters: &Parameters, arguments: &Arguments) -> Result<()> {
    if let Some(span) = arguments.span("roles") {
        return Err(syn::Error::new(span, ENVIRONMENT));
    }
    if let (Some((platform, _)), Some(span)) = (&parameters.platform, arguments.span("platform")) {
        let message = format!("the parameter says `platform = \"{platform}\"` already");
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
            "a slice of targets needs `count = n`, the number of instances",
        ),
        (Form::One(_), Some(span), _) if count != Some(1) => Err(syn::Error::new(
            span,
            "`&Target` is one instance: take `targets: &[Target]`, or leave `count` out",
        )),
        _ => Ok(()),
    }
}

impl Parameters {
    /// Whether this parameter is filled by us.
    pub(crate) fn takes(&self, position: usize) -> bool {
        self.form.position() == position || self.fixtures.iter().any(|(at, _)| *at == position)
    }
}

impl Form {
    /// The parameter's position; past the end where there is none.
    pub(crate) fn position(self) -> usize {
        match self {
            Self::None => usize::MAX,
            Self::One(position) | Self::Many(position) => position,
        }
    }
}

/// The name of a parameter that another attribute fills.
pub(crate) fn name(input: &FnArg) -> Result<&Ident> {
    match input {
        FnArg::Typed(PatType { pat, .. }) => match &**pat {
            Pat::Ident(pat) => Ok(&pat.ident),
            other => fail(other, "expected a name"),
        },
        FnArg::Receiver(_) => fail(input, "a test is a function, not a method"),
    }
}

fn fail<T>(at: &impl quote::ToTokens, message: impl std::fmt::Display) -> Result<T> {
    Err(syn::Error::new_spanned(at, message))
}
