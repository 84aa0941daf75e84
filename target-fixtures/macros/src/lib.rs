//! The procedural macros of `target-fixtures`. Use them through that crate, which documents them.

mod arguments;
mod event;
mod expand;
mod fixture;
mod json;
mod nearest;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the file is shared with `target-fixtures`, which uses the remaining items"
)]
mod requirement;
mod signature;
mod value;

use proc_macro::TokenStream;
use quote::quote;
use syn::ItemFn;

/// Turns a function into a test that runs on a target.
///
/// See the [guide](https://docs.rs/target-fixtures) for the arguments and the forms of a test.
#[proc_macro_attribute]
pub fn target_test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    on_function("target_test", item, |function| {
        expand::test(arguments.into(), function)
    })
}

/// Turns a function into a fixture: a value that tests take as a parameter with the function's name.
///
/// See the [guide](https://docs.rs/target-fixtures) for scopes and tear-down.
#[proc_macro_attribute]
pub fn target_fixture(arguments: TokenStream, item: TokenStream) -> TokenStream {
    on_function("target_fixture", item, |function| {
        fixture::fixture(arguments.into(), function)
    })
}

/// Turns a function into an event of orchestrations.
///
/// See the [guide](https://docs.rs/target-fixtures) for its parameters.
#[proc_macro_attribute]
pub fn target_event(arguments: TokenStream, item: TokenStream) -> TokenStream {
    on_function("target_event", item, |function| {
        event::event(&arguments.into(), function)
    })
}

/// Names the test of an orchestration: `orchestration!("my_test", area = "perf");`.
///
/// Accepts the arguments of [`macro@target_test`] except `timeout` and `runs_on`.
#[proc_macro]
pub fn orchestration(arguments: TokenStream) -> TokenStream {
    event::orchestration(arguments.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Expands an attribute on a function. If that fails, emits the error and the unchanged function, to avoid further
/// errors caused by a missing function.
fn on_function(
    attribute: &str,
    item: TokenStream,
    expand: impl FnOnce(&ItemFn) -> syn::Result<proc_macro2::TokenStream>,
) -> TokenStream {
    let Ok(function) = syn::parse::<ItemFn>(item.clone()) else {
        let item = proc_macro2::TokenStream::from(item);
        let message = format!("`#[{attribute}]` must be on a function with a body");
        let error = syn::Error::new_spanned(item.clone(), message).to_compile_error();
        return quote!(#error #item).into();
    };
    let expanded = expand(&function).unwrap_or_else(|error| {
        let error = error.to_compile_error();
        quote!(#error #[allow(unused)] #function)
    });
    expanded.into()
}

/// Sets default arguments for the tests of this module and of its submodules.
///
/// Accepts the arguments of [`macro@target_test`] except `count` and `roles`. The arguments of a test override the
/// defaults.
#[proc_macro]
pub fn target_defaults(arguments: TokenStream) -> TokenStream {
    expand::defaults(arguments.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
