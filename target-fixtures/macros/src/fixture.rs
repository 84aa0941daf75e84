//! Expands `#[target_fixture]`: keeps the author's function, and generates a type with the same name that implements
//! `Fixture`.
//!
//! The type is a struct with braces, which leaves the name in the value namespace to the function. One `use` imports
//! both.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{
    Expr, ExprLit, GenericArgument, Ident, ItemFn, Lit, Meta, Path, PathArguments, Result,
    ReturnType, Token, Type, parse::Parser, punctuated::Punctuated, spanned::Spanned,
};

use crate::{
    expand::{path_of, record, registered},
    json::Json,
    signature::{self, FnParameters, PlatformType},
    value,
};

/// The known scopes, with the variant of each.
const SCOPES: [(&str, &str); 3] = [("test", "Test"), ("instance", "Instance"), ("run", "Run")];

struct FixtureArguments {
    scope: &'static str,
    tear_down: Option<Path>,
}

/// Expands the attribute.
pub(crate) fn fixture(arguments: TokenStream, function: &ItemFn) -> Result<TokenStream> {
    let arguments = read(arguments)?;
    let parameters = signature::of_fixture(function)?;
    if arguments.scope == "Run" {
        check_no_target(function, &parameters)?;
    }
    let (value, fallible) = value_of(&function.sig.output)?;
    let (name, vis) = (&function.sig.ident, &function.vis);
    let scope = Ident::new(arguments.scope, Span::call_site());
    let wide = arguments.scope != "Test";
    let kept = (wide || arguments.tear_down.is_some()).then(|| kept(&value));
    let has_tear_down = arguments.tear_down.is_some();
    let tear_down = arguments
        .tear_down
        .as_ref()
        .map(|path| tear_down(path, arguments.scope, &parameters));
    let set_up = set_up(function, &parameters, fallible);
    let needs: Vec<_> = parameters.fixtures.iter().map(|(_, name)| name).collect();
    let record = record(
        "fixture",
        &path_of(Some(name)),
        &[("metadata".to_owned(), Json::Object(Vec::new()))],
    );
    let registered = registered(
        &quote!(FIXTURES),
        &quote!(dyn ::target_fixtures::__private::Registered),
        &quote!(&::target_fixtures::__private::Of::<#name>::NEW),
    );
    let wider = needs.iter().map(|need| lives_as_long(name, &scope, need));
    Ok(quote! {
        #function

        #[doc(hidden)]
        #[allow(non_camel_case_types)]
        #vis struct #name {}

        #(#wider)*

        const _: () = {
            #record
            #registered
        };

        impl ::target_fixtures::__private::Fixture for #name {
            type Value = #value;
            const NAME: &'static ::core::primitive::str = ::core::concat!(::core::module_path!(), "::", ::core::stringify!(#name));
            const SOURCE: &'static ::core::primitive::str = ::core::file!();
            const SCOPE: ::target_fixtures::__private::Scope = ::target_fixtures::__private::Scope::#scope;
            const TEARS_DOWN: ::core::primitive::bool = #has_tear_down;

            fn needs() -> ::std::vec::Vec<&'static dyn ::target_fixtures::__private::Registered> {
                ::std::vec![#(&::target_fixtures::__private::Of::<#needs>::NEW),*]
            }

            fn set_up(
                __fixtures: &::target_fixtures::__private::Fixtures,
            ) -> ::core::result::Result<Self::Value, ::target_fixtures::__private::FixtureFailure> {
                #set_up
            }

            #kept
            #tear_down
        }
    })
}

fn check_no_target(function: &ItemFn, parameters: &FnParameters) -> Result<()> {
    let target = parameters.targets.first().map(|one| one.position);
    let (at, what) = match parameters.environment {
        Some(at) => (Some(at), "an environment"),
        None => (target, "a target"),
    };
    let message = format!(
        "a fixture of the run cannot take {what}: remove it, or use `scope = \"instance\"`"
    );
    match at.and_then(|at| function.sig.inputs.iter().nth(at)) {
        Some(input) => Err(syn::Error::new_spanned(input, message)),
        None => Ok(()),
    }
}

/// Generates the check that a fixture taken by this fixture lives at least as long.
fn lives_as_long(name: &Ident, scope: &Ident, need: &Ident) -> TokenStream {
    let message = format!(
        "fixture `{name}` takes `{need}`, which has a narrower scope: narrow the `scope` of `{name}`"
    );
    quote_spanned!(need.span()=> const _: () = ::core::assert!(
        <#need as ::target_fixtures::__private::Fixture>::SCOPE as u8
            >= ::target_fixtures::__private::Scope::#scope as u8,
        #message
    );)
}

fn read(tokens: TokenStream) -> Result<FixtureArguments> {
    let mut arguments = FixtureArguments {
        scope: "Test",
        tear_down: None,
    };
    let metas = Punctuated::<Meta, Token![,]>::parse_terminated.parse2(tokens)?;
    value::each(metas, |meta| {
        let key = value::key(meta.path());
        match (key.as_str(), &meta) {
            ("scope", Meta::NameValue(pair)) => {
                arguments.scope = scope(&pair.value)?;
                Ok(())
            }
            ("tear_down", Meta::NameValue(pair)) => match &pair.value {
                Expr::Path(path) => {
                    arguments.tear_down = Some(path.path.clone());
                    Ok(())
                }
                other => Err(syn::Error::new_spanned(
                    other,
                    "expected the name of a function",
                )),
            },
            ("scope" | "tear_down", _) => Err(syn::Error::new_spanned(
                &meta,
                "expected a value: `scope = \"instance\"`, `tear_down = stop`",
            )),
            _ => {
                let known = ["scope", "tear_down"].into_iter();
                Err(syn::Error::new_spanned(
                    meta.path(),
                    value::unknown(&key, "argument", known),
                ))
            }
        }
    })?;
    Ok(arguments)
}

fn scope(value: &Expr) -> Result<&'static str> {
    let Expr::Lit(ExprLit {
        lit: Lit::Str(text),
        ..
    }) = value
    else {
        return Err(syn::Error::new_spanned(
            value,
            "expected \"test\", \"instance\" or \"run\"",
        ));
    };
    let known = SCOPES.iter().find(|(name, _)| *name == text.value());
    match known {
        Some((_, variant)) => Ok(variant),
        None => {
            let names = SCOPES.iter().map(|(name, _)| *name);
            Err(syn::Error::new_spanned(
                text,
                value::unknown(&text.value(), "scope", names),
            ))
        }
    }
}

/// Returns the type of the value, and true if the function returns a `Result`.
fn value_of(output: &ReturnType) -> Result<(Type, bool)> {
    let ReturnType::Type(_, ty) = output else {
        let message = "a fixture must return its value: `-> Result<Db>`";
        return Err(syn::Error::new(output.span(), message));
    };
    if let Type::Path(path) = &**ty
        && let Some(last) = path.path.segments.last()
        && last.ident == "Result"
        && let PathArguments::AngleBracketed(generic) = &last.arguments
        && let Some(GenericArgument::Type(value)) = generic.args.first()
    {
        return Ok((value.clone(), true));
    }
    Ok(((**ty).clone(), false))
}

fn set_up(function: &ItemFn, parameters: &FnParameters, fallible: bool) -> TokenStream {
    let name = &function.sig.ident;
    let passed = function
        .sig
        .inputs
        .iter()
        .enumerate()
        .map(|(position, input)| {
            let fixture = parameters.fixtures.iter().find(|(at, _)| *at == position);
            let typed = parameters.targets.first().and_then(|one| one.ty.as_ref());
            match (fixture, typed) {
                _ if parameters.environment == Some(position) => {
                    quote_spanned!(input.span()=> __fixtures.environment()?)
                }
                (Some((_, fixture)), _) => {
                    quote_spanned!(input.span()=> &*__fixtures.get::<#fixture>()?)
                }
                (None, None) => quote_spanned!(input.span()=> __fixtures.target()?),
                (None, Some(PlatformType { ty, .. })) => {
                    quote_spanned!(input.span()=> &__fixtures.target_as::<#ty>()?)
                }
            }
        });
    let call = quote!(#name(#(#passed),*));
    match fallible {
        true => {
            quote!(#call.map_err(|error| ::target_fixtures::__private::FixtureFailure::of(&error)))
        }
        false => quote!(::core::result::Result::Ok(#call)),
    }
}

/// Generates `save` and `load`, for a value that is passed to other processes.
fn kept(value: &Type) -> TokenStream {
    let save = quote_spanned!(value.span()=> ::target_fixtures::__private::save(value));
    let load = quote_spanned!(value.span()=> ::target_fixtures::__private::load(state));
    quote! {
        fn save(
            value: &Self::Value,
        ) -> ::core::result::Result<::target_fixtures::__private::FixtureState, ::target_fixtures::__private::FixtureFailure> {
            #save
        }

        fn load(
            state: &::target_fixtures::__private::FixtureState,
        ) -> ::core::result::Result<Self::Value, ::target_fixtures::__private::FixtureFailure> {
            #load
        }
    }
}

/// Generates the call of the author's tear-down, with the environment of a fixture that takes it, or else the target.
fn tear_down(path: &Path, scope: &str, parameters: &FnParameters) -> TokenStream {
    let on = match parameters.environment {
        Some(_) => Some(quote!(__fixtures.environment()?,)),
        None => (scope != "Run").then(|| quote!(__fixtures.target()?,)),
    };
    let call = quote_spanned!(path.span()=> #path(#on value));
    quote! {
        fn tear_down(
            __fixtures: &::target_fixtures::__private::Fixtures,
            value: &Self::Value,
        ) -> ::core::result::Result<(), ::target_fixtures::__private::FixtureFailure> {
            let _ = __fixtures;
            ::target_fixtures::__private::torn(#call)
        }
    }
}
