//! Expands `#[target_event]` and `orchestration!`: keeps the author's function, registers it, and records it; and the test
//! of an orchestration.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{
    FnArg, Ident, ItemFn, LitStr, Result, ReturnType, Token, Type,
    parse::{Parse, ParseStream},
    spanned::Spanned,
};

use crate::{
    arguments::Arguments,
    expand::{path_of, record, registered},
    json::Json,
    signature::{self, EventParameter, PlatformType},
};

/// Expands `#[target_event]`.
pub(crate) fn event(arguments: &TokenStream, function: &ItemFn) -> Result<TokenStream> {
    if !arguments.is_empty() {
        let message = "`#[target_event]` takes no arguments: a description says when an event runs";
        return Err(syn::Error::new_spanned(arguments, message));
    }
    let parameters = signature::of_event(function)?;
    let name = &function.sig.ident;
    let path = path_of(Some(name));
    let fixtures = parameters.iter().filter_map(|parameter| match parameter {
        EventParameter::Fixture(name) => Some(name),
        _ => None,
    });
    let values = parameters.iter().filter_map(|parameter| match parameter {
        EventParameter::Value(name, ty) => Some((name, &**ty)),
        _ => None,
    });
    let given = own("__params");
    let checks = values.clone().map(
        |(name, ty)| quote_spanned!(ty.span()=> #given.problem::<#ty>(::core::stringify!(#name))),
    );
    let passed = function.sig.inputs.iter().zip(&parameters).map(passed);
    let span = match &function.sig.output {
        ReturnType::Default => name.span(),
        ReturnType::Type(_, ty) => ty.span(),
    };
    let call = quote_spanned!(span=> ::target_fixtures::__private::torn(#name(#(#passed),*)));
    let record = record("event", &path, &params(values));
    // The place of the name: that of the macro is the attribute.
    let source =
        quote_spanned!(name.span()=> ::core::concat!(::core::file!(), ":", ::core::line!()));
    let needs = fixtures
        .map(|name| quote_spanned!(name.span()=> &::target_fixtures::__private::Of::<#name>::NEW));
    let registered = registered(
        &quote!(EVENTS),
        &quote!(dyn ::target_fixtures::__private::TargetEvent),
        &quote!(&Event),
    );
    Ok(quote! {
        #function

        const _: () = {
            #record
            #registered

            struct Event;

            impl ::target_fixtures::__private::TargetEvent for Event {
                fn name(&self) -> &'static ::core::primitive::str {
                    ::core::stringify!(#name)
                }

                fn source(&self) -> &'static ::core::primitive::str {
                    #source
                }

                fn needs(&self) -> ::std::vec::Vec<&'static dyn ::target_fixtures::__private::Registered> {
                    ::std::vec![#(#needs),*]
                }

                fn check(
                    &self,
                    __params: &::target_fixtures::__private::EventParams,
                ) -> ::std::vec::Vec<(&'static ::core::primitive::str, ::std::string::String)> {
                    let _ = __params;
                    let checks: ::std::vec::Vec<::core::option::Option<_>> = ::std::vec![#(#checks),*];
                    checks.into_iter().flatten().collect()
                }

                fn run(
                    &self,
                    __fixtures: &::target_fixtures::__private::Fixtures,
                    __all: &[::target_fixtures::Target],
                    __params: &::target_fixtures::__private::EventParams,
                ) -> ::core::result::Result<(), ::target_fixtures::__private::FixtureFailure> {
                    let _ = (__fixtures, __all, __params);
                    #call
                }
            }
        };
    })
}

/// The record's list of the parameters that are taken by value.
fn params<'a>(values: impl Iterator<Item = (&'a Ident, &'a Type)>) -> Vec<(String, Json)> {
    let param = |(name, ty): (&Ident, &Type)| {
        let ty = quote!(#ty).to_string();
        Json::Object(vec![
            ("name".to_owned(), Json::Text(name.to_string())),
            ("type".to_owned(), Json::Text(ty)),
        ])
    };
    let values: Vec<_> = values.map(param).collect();
    vec![
        ("metadata".to_owned(), Json::Object(Vec::new())),
        ("params".to_owned(), Json::List(values)),
    ]
}

/// A parameter of the generated function. Code at the place of an item that comes from a macro would not see its name.
fn own(name: &str) -> Ident {
    Ident::new(name, Span::call_site())
}

/// Generates an argument of the call of the author's function.
fn passed((input, parameter): (&FnArg, &EventParameter)) -> TokenStream {
    let (fixtures, all, params) = (own("__fixtures"), own("__all"), own("__params"));
    match parameter {
        EventParameter::Value(name, _) => {
            quote_spanned!(input.span()=> #params.get(::core::stringify!(#name))?)
        }
        EventParameter::Fixture(name) => {
            quote_spanned!(input.span()=> &*#fixtures.get::<#name>()?)
        }
        EventParameter::Target(None) => quote_spanned!(input.span()=> #fixtures.target()?),
        EventParameter::Target(Some(PlatformType { ty, .. })) => {
            quote_spanned!(input.span()=> &#fixtures.target_as::<#ty>()?)
        }
        EventParameter::Environment => {
            quote_spanned!(input.span()=> &::target_fixtures::__private::environment(#all))
        }
        EventParameter::Targets(None) => quote_spanned!(input.span()=> #all),
        EventParameter::Targets(Some(PlatformType { ty, .. })) => {
            quote_spanned!(input.span()=> &*::target_fixtures::__private::all_typed::<#ty>(#all)?)
        }
    }
}

/// The arguments of `orchestration!`: a name, and the arguments of a test.
struct Orchestration {
    name: LitStr,
    arguments: TokenStream,
}

impl Parse for Orchestration {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name = input.parse()?;
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
        let arguments = input.parse()?;
        Ok(Self { name, arguments })
    }
}

/// Expands `orchestration!`.
pub(crate) fn orchestration(tokens: TokenStream) -> Result<TokenStream> {
    let Orchestration { name, arguments } = syn::parse2(tokens)?;
    if syn::parse_str::<Ident>(&name.value()).is_err() {
        let message =
            "the name of an orchestration is the name of its test: letters, digits and `_`";
        return Err(syn::Error::new(name.span(), message));
    }
    let mut arguments = Arguments::of_orchestration(arguments)?;
    arguments.set_orchestration(&name.value());
    let test = format_ident!("{}", name.value(), span = name.span());
    let path = path_of(Some(&test));
    let metadata = ("metadata".to_owned(), arguments.into_metadata(None));
    let record = record("test", &path, &[metadata]);
    let reason = format!("an orchestration: `cargo target-test --run-orch {test}` runs it");
    Ok(quote! {
        #[::core::prelude::v1::test]
        #[ignore = #reason]
        fn #test() -> ::target_fixtures::__private::TestEnd {
            #record
            ::target_fixtures::__private::orchestrate(&RECORD, ::core::concat!(#path))
        }
    })
}
