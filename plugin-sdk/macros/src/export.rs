//! `#[transform]`: the implementation as written, and behind it the exports, for the sandbox's target only.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};

/// What stands in the attribute's parentheses.
pub(crate) struct Arguments {
    description: Option<syn::LitStr>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.is_empty() {
            return Ok(Arguments { description: None });
        }
        let name: syn::Ident = input.parse()?;
        if name != "description" {
            return Err(syn::Error::new(name.span(), "expected `description = \"…\"`"));
        }
        input.parse::<syn::Token![=]>()?;
        Ok(Arguments { description: Some(input.parse()?) })
    }
}

pub(crate) fn transform(arguments: &Arguments, item: &syn::ItemImpl) -> syn::Result<TokenStream> {
    let of_transform = item
        .trait_
        .as_ref()
        .and_then(|(_, path, _)| path.segments.last())
        .is_some_and(|last| last.ident == "Transform");
    if !of_transform {
        return Err(syn::Error::new_spanned(&item.self_ty, "#[transform] belongs on `impl Transform for …`"));
    }
    if !item.generics.params.is_empty() {
        return Err(syn::Error::new_spanned(
            &item.generics,
            "a plugin's type cannot be generic: the agent would not know which one to run",
        ));
    }
    let plugin = &item.self_ty;
    let description = match &arguments.description {
        Some(text) => quote!(#text),
        None => quote!(env!("CARGO_PKG_DESCRIPTION")),
    };
    Ok(quote! {
        #item

        #[cfg(target_arch = "wasm32")]
        ::whimbrel_plugin::export_transform!(#plugin, env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), #description);
    })
}
