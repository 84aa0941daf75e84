//! The forms that a test function may have.
//!
//! Owns which parameter takes the target and which are the business of another attribute. Must not know
//! arguments of `#[target_test]` but `count` and `roles`, which must agree with the parameter.

use syn::{Attribute, FnArg, ItemFn, Pat, PatType, Result, Type, spanned::Spanned};

use crate::{arguments::Arguments, value};

/// What the function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Nothing of ours: it reads the environment.
    None,
    /// `&Target`, at this position.
    One(usize),
    /// `&[Target]`, at this position.
    Many(usize),
}

/// Finds the form of `function`; all errors at once. `arguments` are `None` where they are wrong themselves.
pub(crate) fn form(function: &ItemFn, arguments: Option<&Arguments>) -> Result<Form> {
    let by_other = function.attrs.iter().any(is_parametric);
    let mut form = Form::None;
    let signature = &function.sig;
    let refused = [
        (
            signature.asyncness.map(|t| t.span()),
            "a test cannot be `async`: block on the future inside it",
        ),
        (unsafe_at(&signature.safety), "a test cannot be `unsafe`"),
        (
            signature.constness.map(|t| t.span()),
            "a test cannot be `const`",
        ),
        (
            signature.abi.as_ref().map(Spanned::span),
            "a test cannot have an ABI of its own",
        ),
        (
            (!signature.generics.params.is_empty()).then(|| signature.generics.span()),
            "a test cannot be generic",
        ),
    ];
    let refused = refused
        .into_iter()
        .filter_map(|(span, message)| Some(syn::Error::new(span?, message)));
    let inputs = signature
        .inputs
        .iter()
        .enumerate()
        .map(|(position, input)| {
            match (kind(input)?, form) {
                (None, _) if by_other => {}
                (None, _) => return fail(input, EXPECTED),
                (Some(_), Form::One(_) | Form::Many(_)) => {
                    return fail(input, "a test takes its targets once");
                }
                (Some(Taken::One), Form::None) => form = Form::One(position),
                (Some(Taken::Many), Form::None) => form = Form::Many(position),
            }
            Ok(())
        });
    value::each(refused.map(Err).chain(inputs), |result| result)?;
    arguments.map_or(Ok(()), |arguments| agree(function, form, arguments))?;
    Ok(form)
}

const EXPECTED: &str = "expected `target: &Target`, `targets: &[Target]` or no parameter";

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
    One,
    Many,
}

fn kind(input: &FnArg) -> Result<Option<Taken>> {
    let FnArg::Typed(PatType { ty, pat, .. }) = input else {
        return fail(input, "a test is a function, not a method");
    };
    let Type::Reference(reference) = &**ty else {
        return match of_type(ty, "Target") || of_type(ty, "Environment") {
            true => fail(ty, EXPECTED),
            false => Ok(None),
        };
    };
    let taken = match &*reference.elem {
        Type::Slice(slice) if of_type(&slice.elem, "Target") => Taken::Many,
        one if of_type(one, "Target") => Taken::One,
        environment if of_type(environment, "Environment") => return fail(ty, ENVIRONMENT),
        _ => return Ok(None),
    };
    match (&reference.mutability, &**pat) {
        (Some(_), _) => fail(ty, EXPECTED),
        _ => Ok(Some(taken)),
    }
}

const ENVIRONMENT: &str =
    "environments are not supported yet: take `targets: &[Target]` with `count = n`";

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

/// `count` and `roles` must be what the parameter can hold.
fn agree(function: &ItemFn, form: Form, arguments: &Arguments) -> Result<()> {
    if let Some(span) = arguments.span("roles") {
        return Err(syn::Error::new(span, ENVIRONMENT));
    }
    let count = arguments.count();
    match (
        form,
        arguments.span("count"),
        function.sig.inputs.iter().nth(form.position()),
    ) {
        (Form::Many(_), None, Some(input)) => fail(
            input,
            "`&[Target]` needs `count = n`, the number of instances",
        ),
        (Form::One(_), Some(span), _) if count != Some(1) => Err(syn::Error::new(
            span,
            "`&Target` is one instance: take `targets: &[Target]`, or leave `count` out",
        )),
        _ => Ok(()),
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
pub(crate) fn name(input: &FnArg) -> Result<&syn::Ident> {
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
