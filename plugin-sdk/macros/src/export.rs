//! The attributes: the implementation as written, and behind it the exports, for the sandbox's target only.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::parse::{Parse, ParseStream};

/// A kind of plugin.
pub(crate) struct Kind {
    /// The trait.
    name: &'static str,
    /// The attribute, the manifest's word and the SDK's module.
    word: &'static str,
    /// Whether it may send, so that it can say where to.
    sends: bool,
}

pub(crate) const TRANSFORM: Kind = Kind { name: "Transform", word: "transform", sends: false };
pub(crate) const RULE: Kind = Kind { name: "Rule", word: "rule", sends: false };
pub(crate) const CHANNEL: Kind = Kind { name: "Channel", word: "channel", sends: true };
pub(crate) const MIGRATION: Kind = Kind { name: "Migration", word: "migration", sends: false };

/// What stands in the attribute's parentheses.
#[derive(Default)]
pub(crate) struct Arguments {
    description: Option<syn::LitStr>,
    http: Option<(Span, Vec<syn::LitStr>)>,
    secrets: Option<(Span, Vec<syn::LitStr>)>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut arguments = Arguments::default();
        while !input.is_empty() {
            let name: syn::Ident = input.parse()?;
            input.parse::<syn::Token![=]>()?;
            match name.to_string().as_str() {
                "description" => arguments.description = Some(input.parse()?),
                "http" => arguments.http = Some((name.span(), texts(input)?)),
                "secrets" => arguments.secrets = Some((name.span(), texts(input)?)),
                _ => return Err(syn::Error::new(name.span(), "expected `description`, `http` or `secrets`")),
            }
            if !input.is_empty() {
                input.parse::<syn::Token![,]>()?;
            }
        }
        Ok(arguments)
    }
}

/// `["a", "b"]`
fn texts(input: ParseStream<'_>) -> syn::Result<Vec<syn::LitStr>> {
    let content;
    syn::bracketed!(content in input);
    let list = content.parse_terminated(<syn::LitStr as Parse>::parse, syn::Token![,])?;
    Ok(list.into_iter().collect())
}

pub(crate) fn plugin(kind: &Kind, arguments: &Arguments, item: &syn::ItemImpl) -> syn::Result<TokenStream> {
    let Kind { name, word, sends } = kind;
    let implemented = item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
    if implemented.is_none_or(|last| last.ident != name) {
        return Err(syn::Error::new_spanned(&item.self_ty, format!("#[{word}] belongs on `impl {name} for …`")));
    }
    if !item.generics.params.is_empty() {
        return Err(syn::Error::new_spanned(
            &item.generics,
            "a plugin's type cannot be generic: the agent would not know which one to run",
        ));
    }
    if let (false, Some((span, _))) = (sends, arguments.http.as_ref().or(arguments.secrets.as_ref())) {
        return Err(syn::Error::new(*span, format!("a {word} sends nothing; only channels do")));
    }
    let plugin = &item.self_ty;
    let module = syn::Ident::new(word, Span::call_site());
    let description = match &arguments.description {
        Some(text) => quote!(#text),
        None => quote!(env!("CARGO_PKG_DESCRIPTION")),
    };
    let (http, secrets) = (wanted(arguments.http.as_ref()), wanted(arguments.secrets.as_ref()));
    Ok(quote! {
        #item

        #[cfg(target_arch = "wasm32")]
        ::whimbrel_plugin::export_plugin!(
            #module, #word, #plugin, env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), #description, #http, #secrets
        );
    })
}

fn wanted(list: Option<&(Span, Vec<syn::LitStr>)>) -> TokenStream {
    match list {
        Some((_, texts)) => quote!(::core::option::Option::Some(&[#(#texts),*])),
        None => quote!(::core::option::Option::None),
    }
}
