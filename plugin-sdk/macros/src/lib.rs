//! The macros of `whimbrel-plugin`, which re-exports and documents them: `#[derive(Config)]` and one attribute per
//! kind of plugin. They
//! turn what the author wrote into calls of that crate's functions; whatever can be a function there is one.

mod config;
mod export;

use proc_macro::TokenStream;

/// Reads the type from the plugin's configuration and writes its JSON Schema into the manifest.
///
/// For structs with named fields, and enums whose variants hold nothing or one value. Doc comments become
/// descriptions. `#[config(default)]` takes the field type's `Default`, `#[config(default = expression)]` the
/// expression (a literal also shows in the schema), `#[config(skip)]` leaves the field to its `Default`.
#[proc_macro_derive(Config, attributes(config))]
pub fn derive_config(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    config::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// On `impl Transform for X`: makes the crate a transform plugin. The crate's name, version and description go into
/// the manifest; `#[transform(description = "…")]` gives another description.
#[proc_macro_attribute]
pub fn transform(arguments: TokenStream, item: TokenStream) -> TokenStream {
    plugin(&export::TRANSFORM, arguments, item)
}

/// On `impl Rule for X`: makes the crate a rule plugin. Arguments as for [`macro@transform`].
#[proc_macro_attribute]
pub fn rule(arguments: TokenStream, item: TokenStream) -> TokenStream {
    plugin(&export::RULE, arguments, item)
}

/// On `impl Channel for X`: makes the crate a channel plugin. Arguments as for [`macro@transform`], and
/// `http = ["https://hooks.example.org"]` and `secrets = ["token"]` for the only origins and secrets it will ever use:
/// it then gets no others, whatever is granted.
#[proc_macro_attribute]
pub fn channel(arguments: TokenStream, item: TokenStream) -> TokenStream {
    plugin(&export::CHANNEL, arguments, item)
}

/// On `impl Migration for X`: makes the crate a migration plugin. Arguments as for [`macro@transform`].
#[proc_macro_attribute]
pub fn migration(arguments: TokenStream, item: TokenStream) -> TokenStream {
    plugin(&export::MIGRATION, arguments, item)
}

fn plugin(kind: &export::Kind, arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = syn::parse_macro_input!(arguments as export::Arguments);
    let item = syn::parse_macro_input!(item as syn::ItemImpl);
    export::plugin(kind, &arguments, &item).unwrap_or_else(syn::Error::into_compile_error).into()
}
