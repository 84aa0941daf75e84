//! What the attributes write: the record in its link section and the test that leads to it.
//!
//! Owns the generated code. Must not know how arguments are read. Generated code names everything
//! by full path, and calls one hidden module of `target-fixtures`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{
    Attribute, Expr, ExprLit, FnArg, ItemFn, Lit, Meta, Pat, Result, ReturnType, spanned::Spanned,
};

use crate::{
    arguments::Arguments,
    json::Json,
    signature::{self, Form, Parameters},
};

/// A test: its record, and the function that the test harness calls.
pub(crate) fn test(arguments: TokenStream, function: &ItemFn) -> Result<TokenStream> {
    let arguments = Arguments::of_test(arguments);
    let parameters = signature::of_test(function, arguments.as_ref().ok());
    let (mut arguments, parameters) = match (arguments, parameters) {
        (Ok(arguments), Ok(parameters)) => (arguments, parameters),
        (Err(mut all), Err(other)) => {
            all.combine(other);
            return Err(all);
        }
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    if let Some((platform, _)) = parameters.platform {
        arguments.set_platform(platform);
    }
    let path = path_of(Some(&function.sig.ident));
    let record = record(
        "test",
        &path,
        &arguments.into_metadata(doc(&function.attrs)),
    );
    harness(function, &parameters, &path, &record)
}

/// A module's defaults: a record that nothing calls.
pub(crate) fn defaults(arguments: TokenStream) -> Result<TokenStream> {
    let metadata = Arguments::of_module(arguments)?.into_metadata(None);
    let record = record("module", &path_of(None), &metadata);
    Ok(quote! {
        #[cfg(test)]
        const _: () = { #record };
    })
}

/// `module_path!()` and the function's name, for `concat!`.
fn path_of(name: Option<&syn::Ident>) -> TokenStream {
    let name = name.map_or_else(String::new, |name| format!("::{name}"));
    quote!(::core::module_path!(), #name)
}

/// The `RECORD` static, in the section that `target_fixtures::metadata` describes.
fn record(kind: &str, path: &TokenStream, metadata: &Json) -> TokenStream {
    let before = format!("\u{1e}{{\"kind\":\"{kind}\",\"path\":\"");
    let after = format!("\",\"metadata\":{metadata}}}\n");
    quote! {
        const TEXT: &::core::primitive::str = ::core::concat!(#before, #path, #after);
        #[used]
        #[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,target_test"))]
        #[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = "target_test"))]
        static RECORD: [::core::primitive::u8; TEXT.len()] = ::target_fixtures::__private::bytes(TEXT);
    }
}

/// The function that the test harness calls, the author's own inside it.
fn harness(
    function: &ItemFn,
    parameters: &Parameters,
    path: &TokenStream,
    record: &TokenStream,
) -> Result<TokenStream> {
    let ItemFn {
        attrs, vis, sig, ..
    } = function;
    let name = &sig.ident;
    let test =
        (!attrs.iter().any(signature::is_test)).then(|| quote!(#[::core::prelude::v1::test]));
    let others = sig
        .inputs
        .iter()
        .enumerate()
        .filter(|(position, _)| !parameters.takes(*position));
    let others = others.map(|(_, input)| without_mut(input));
    // `#[should_panic]` is refused by the compiler on a test that returns anything.
    let should_panic = attrs
        .iter()
        .any(|attribute| signature::named(attribute, &["should_panic"]));
    let output = (!should_panic).then(|| quote!(-> ::target_fixtures::__private::TestEnd));
    let end = should_panic.then(|| quote!(.print();));
    let (inner, call) = (inner(function), call(function, parameters)?);
    let fixtures = parameters.fixtures.iter().map(|(_, name)| name);
    Ok(quote! {
        #(#attrs)*
        #test
        #vis fn #name(#(#others),*) #output {
            #inner
            #record
            ::target_fixtures::__private::run(
                &RECORD,
                ::core::concat!(#path),
                &[#(&::target_fixtures::__private::Of::<#fixtures>::NEW),*],
                |__fixtures, __all| {
                    #[allow(unused_imports)]
                    use ::target_fixtures::__private::{ViaResult as _, ViaTermination as _};
                    #call
                },
            )
            #end
        }
    })
}

/// The call of the author's function; each part where a wrong type is to be reported.
fn call(function: &ItemFn, parameters: &Parameters) -> Result<TokenStream> {
    let signature = &function.sig;
    let passed = signature
        .inputs
        .iter()
        .enumerate()
        .map(|(position, input)| passed(position, input, parameters));
    let passed = passed.collect::<Result<Vec<_>>>()?;
    let name = &signature.ident;
    let span = match &signature.output {
        ReturnType::Default => name.span(),
        ReturnType::Type(_, ty) => ty.span(),
    };
    let call = match signature.asyncness {
        None => quote!(#name(#(#passed),*)),
        Some(_) => quote!(::target_fixtures::__private::block_on(#name(#(#passed),*))),
    };
    // The values of fixtures live until the test has ended.
    Ok(quote_spanned!(span=> ::target_fixtures::__private::returned(#call).verdict()))
}

fn passed(position: usize, input: &FnArg, parameters: &Parameters) -> Result<TokenStream> {
    let fixture = parameters.fixtures.iter().find(|(at, _)| *at == position);
    if let Some((_, name)) = fixture {
        return Ok(
            quote_spanned!(input.span()=> &*match __fixtures.get::<#name>() {
                ::core::result::Result::Ok(value) => value,
                ::core::result::Result::Err(failure) => return failure.verdict(),
            }),
        );
    }
    if parameters.form.position() != position {
        return signature::name(input).map(|name| quote!(#name));
    }
    let typed = parameters.platform.as_ref().map(|(_, ty)| ty);
    Ok(match (parameters.form, typed) {
        (Form::One(_), None) => quote_spanned!(input.span()=> &__all[0]),
        (Form::Many(_), None) => quote_spanned!(input.span()=> __all),
        (Form::One(_), Some(ty)) => quote_spanned!(input.span()=>
            &match ::target_fixtures::__private::typed::<#ty>(&__all[0]) {
                ::core::result::Result::Ok(target) => target,
                ::core::result::Result::Err(failure) => return failure.verdict(),
            }
        ),
        (_, ty) => quote_spanned!(input.span()=>
            &*match ::target_fixtures::__private::all_typed::<#ty>(__all) {
                ::core::result::Result::Ok(targets) => targets,
                ::core::result::Result::Err(failure) => return failure.verdict(),
            }
        ),
    })
}

/// A parameter that is only passed on.
fn without_mut(input: &FnArg) -> FnArg {
    let mut input = input.clone();
    if let FnArg::Typed(input) = &mut input
        && let Pat::Ident(pat) = &mut *input.pat
    {
        pat.mutability = None;
    }
    input
}

/// The author's function, without what belongs to the one that the harness calls.
fn inner(function: &ItemFn) -> TokenStream {
    let mut inner = function.clone();
    inner.attrs.clear();
    inner.vis = syn::Visibility::Inherited;
    for input in &mut inner.sig.inputs {
        if let FnArg::Typed(input) = input {
            input.attrs.clear();
        }
    }
    quote!(#inner)
}

/// The doc comment: lines joined, common indentation removed.
fn doc(attributes: &[Attribute]) -> Option<String> {
    let lines = attributes
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
                Expr::Lit(ExprLit {
                    lit: Lit::Str(text),
                    ..
                }) => Some(text.value()),
                _ => None,
            },
            _ => None,
        });
    let text = lines.collect::<Vec<_>>().join("\n");
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let common = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(indentation)
        .min()?;
    let lines = text
        .lines()
        .map(|line| line.get(common..).unwrap_or_default().trim_end());
    Some(lines.collect::<Vec<_>>().join("\n").trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doc_comment_loses_its_indentation() {
        let function: ItemFn = syn::parse_quote! {
            /// One.
            ///
            ///     two
            #[ignore]
            fn t() {}
        };
        assert_eq!(doc(&function.attrs).as_deref(), Some("One.\n\n    two"));
        assert_eq!(doc(&[]), None);
    }
}
