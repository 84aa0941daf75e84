//! The attributes of `target-fixtures`; use them through that crate, which documents them.

mod arguments;
mod expand;
mod fixture;
mod json;
mod nearest;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the file is shared with `target-fixtures`, which uses the rest"
)]
mod requirement;
mod signature;
mod value;

use proc_macro::TokenStream;
use quote::quote;
use syn::ItemFn;

/// Makes a function a test that runs on a target.
///
/// See the [guide](https://docs.rs/target-fixtures) for the arguments and the forms a test may have.
#[proc_macro_attribute]
pub fn target_test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    on_function("target_test", item, |function| {
        expand::test(arguments.into(), function)
    })
}

/// Makes a function a fixture: a value that tests take as an argument of the function's name.
///
/// See the [guide](https://docs.rs/target-fixtures) for scopes and tear-down.
#[proc_macro_attribute]
pub fn target_fixture(arguments: TokenStream, item: TokenStream) -> TokenStream {
    on_function("target_fixture", item, |function| {
        fixture::fixture(arguments.into(), function)
    })
}

/// What an attribute makes of a function. Where that fails the function stays, so that the author sees this error and no
/// second one that follows from it.
fn on_function(
    attribute: &str,
    item: TokenStream,
    expand: impl FnOnce(&ItemFn) -> syn::Result<proc_macro2::TokenStream>,
) -> TokenStream {
    let Ok(function) = syn::parse::<ItemFn>(item.clone()) else {
        let item = proc_macro2::TokenStream::from(item);
        let message = format!("`#[{attribute}]` belongs on a function with a body");
        let error = syn::Error::new_spanned(item.clone(), message).to_compile_error();
        return quote!(#error #item).into();
    };
    let expanded = expand(&function).unwrap_or_else(|error| {
        let error = error.to_compile_error();
        quote!(#error #[allow(unused)] #function)
    });
    expanded.into()
}

/// Gives the tests of this module and of the modules below it defaults.
///
/// Takes the arguments of [`macro@target_test`] except `count` and `roles`; a test's own argument wins.
#[proc_macro]
pub fn target_defaults(arguments: TokenStream) -> TokenStream {
    expand::defaults(arguments.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
