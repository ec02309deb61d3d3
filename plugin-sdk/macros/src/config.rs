//! `#[derive(Config)]`: one reader and one constant schema per type.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::spanned::Spanned;

pub(crate) fn derive(input: &syn::DeriveInput) -> syn::Result<TokenStream> {
    if !input.generics.params.is_empty() {
        return Err(syn::Error::new_spanned(&input.generics, "a configuration cannot be generic"));
    }
    let (schema, read) = match &input.data {
        syn::Data::Struct(data) => structure(input, data)?,
        syn::Data::Enum(data) => choice(input, data)?,
        syn::Data::Union(_) => return Err(syn::Error::new_spanned(&input.ident, "a union cannot be configured")),
    };
    let name = &input.ident;
    Ok(quote! {
        impl ::whimbrel_plugin::config::Config for #name {
            const SCHEMA: &'static ::whimbrel_plugin::schema::Schema = &#schema;

            fn read(
                json: &::whimbrel_plugin::json::Json,
            ) -> ::core::result::Result<Self, ::whimbrel_plugin::config::ConfigError> {
                #read
            }
        }
    })
}

/// What `#[config(…)]` says of a field.
#[derive(Default)]
struct Options {
    skip: bool,
    /// The expression, or nothing for the type's own default.
    default: Option<Option<syn::Expr>>,
}

fn options(attributes: &[syn::Attribute]) -> syn::Result<Options> {
    let mut options = Options::default();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("config")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("skip") {
                options.skip = true;
            } else if meta.path.is_ident("default") {
                let expression = if meta.input.peek(syn::Token![=]) { Some(meta.value()?.parse()?) } else { None };
                options.default = Some(expression);
            } else {
                return Err(meta.error("expected `default`, `default = …` or `skip`"));
            }
            Ok(())
        })?;
    }
    Ok(options)
}

/// The constant schema and the reader's body.
type Parts = (TokenStream, TokenStream);

fn structure(input: &syn::DeriveInput, data: &syn::DataStruct) -> syn::Result<Parts> {
    let syn::Fields::Named(fields) = &data.fields else {
        return Err(syn::Error::new_spanned(&input.ident, "name the fields: their names are what users write"));
    };
    let (mut schemas, mut readers, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for field in &fields.named {
        let (options, ident, kind) = (options(&field.attrs)?, &field.ident, &field.ty);
        if options.skip {
            readers.push(quote!(#ident: ::core::default::Default::default()));
            continue;
        }
        let name = ident.as_ref().map(|ident| syn::ext::IdentExt::unraw(ident).to_string()).unwrap_or_default();
        let description = documentation(&field.attrs);
        let required = options.default.is_none() && !is_option(kind);
        let shown = options.default.as_ref().and_then(Option::as_ref).map(literal_json).unwrap_or_default();
        let default = match &options.default {
            None => quote!(::core::option::Option::None),
            Some(None) => quote!(::core::option::Option::Some(|| <#kind as ::core::default::Default>::default())),
            Some(Some(expression @ syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(_), .. }))) => {
                quote!(::core::option::Option::Some(|| <#kind as ::core::convert::From<&str>>::from(#expression)))
            }
            Some(Some(expression)) => quote!(::core::option::Option::Some(|| #expression)),
        };
        schemas.push(quote!(::whimbrel_plugin::schema::Field {
            name: #name,
            description: #description,
            schema: <#kind as ::whimbrel_plugin::config::Config>::SCHEMA,
            required: #required,
            default: #shown,
        }));
        readers.push(quote!(#ident: ::whimbrel_plugin::config::member::<#kind>(json, #name, #default)?));
        names.push(name);
    }
    let description = documentation(&input.attrs);
    let schema =
        quote!(::whimbrel_plugin::schema::Schema::Object { description: #description, fields: &[#(#schemas),*] });
    let read = quote! {
        ::whimbrel_plugin::config::members(json, &[#(#names),*])?;
        ::core::result::Result::Ok(Self { #(#readers),* })
    };
    Ok((schema, read))
}

fn choice(input: &syn::DeriveInput, data: &syn::DataEnum) -> syn::Result<Parts> {
    let (mut schemas, mut plain, mut holding, mut names) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for variant in &data.variants {
        let (ident, name) = (&variant.ident, snake_case(&variant.ident));
        let description = documentation(&variant.attrs);
        let value = match &variant.fields {
            syn::Fields::Unit => {
                plain.push(quote!(::core::option::Option::Some(#name) => ::core::result::Result::Ok(Self::#ident)));
                quote!(::core::option::Option::None)
            }
            syn::Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                let kind = fields.unnamed.first().map(|field| field.ty.to_token_stream());
                holding.push(quote! {
                    if let ::core::option::Option::Some(value) = json.get(#name) {
                        ::whimbrel_plugin::config::members(json, &[#name])?;
                        return match <#kind as ::whimbrel_plugin::config::Config>::read(value) {
                            ::core::result::Result::Ok(value) => ::core::result::Result::Ok(Self::#ident(value)),
                            ::core::result::Result::Err(error) => ::core::result::Result::Err(error.within(#name)),
                        };
                    }
                });
                quote!(::core::option::Option::Some(<#kind as ::whimbrel_plugin::config::Config>::SCHEMA))
            }
            fields => {
                return Err(syn::Error::new(
                    fields.span(),
                    "an alternative holds nothing or one value; give it a struct of its own",
                ));
            }
        };
        schemas
            .push(quote!(::whimbrel_plugin::schema::Variant { name: #name, description: #description, value: #value }));
        names.push(name);
    }
    let description = documentation(&input.attrs);
    let schema =
        quote!(::whimbrel_plugin::schema::Schema::Choice { description: #description, variants: &[#(#schemas),*] });
    let read = quote! {
        const KNOWN: &[&str] = &[#(#names),*];
        #(#holding)*
        match json.as_text() {
            #(#plain,)*
            ::core::option::Option::Some(other) => {
                ::core::result::Result::Err(::whimbrel_plugin::config::ConfigError::unknown("choice", other, KNOWN))
            }
            ::core::option::Option::None => ::core::result::Result::Err(::whimbrel_plugin::config::ConfigError::choice(json, KNOWN)),
        }
    };
    Ok((schema, read))
}

/// The doc comment's first paragraph on one line.
fn documentation(attributes: &[syn::Attribute]) -> String {
    let lines =
        attributes.iter().filter(|attribute| attribute.path().is_ident("doc")).filter_map(|attribute| match &attribute
            .meta
        {
            syn::Meta::NameValue(syn::MetaNameValue {
                value: syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }),
                ..
            }) => Some(text.value()),
            _ => None,
        });
    let first: Vec<String> = lines.map(|line| line.trim().to_owned()).take_while(|line| !line.is_empty()).collect();
    first.join(" ")
}

/// A literal as JSON; empty for every other expression.
fn literal_json(expression: &syn::Expr) -> String {
    match expression {
        syn::Expr::Lit(syn::ExprLit { lit, .. }) => match lit {
            syn::Lit::Str(text) => quoted(&text.value()),
            syn::Lit::Bool(value) => value.value.to_string(),
            syn::Lit::Int(value) => value.base10_digits().to_owned(),
            syn::Lit::Float(value) => value.base10_digits().to_owned(),
            _ => String::new(),
        },
        syn::Expr::Unary(syn::ExprUnary { op: syn::UnOp::Neg(_), expr, .. }) => match literal_json(expr) {
            digits if digits.starts_with(|c: char| c.is_ascii_digit()) => format!("-{digits}"),
            _ => String::new(),
        },
        _ => String::new(),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn is_option(kind: &syn::Type) -> bool {
    matches!(kind, syn::Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Option"))
}

/// `KeepLast` to `keep_last`.
fn snake_case(ident: &syn::Ident) -> String {
    let mut out = String::new();
    for (index, c) in ident.to_string().chars().enumerate() {
        if c.is_uppercase() && index > 0 {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::snake_case;

    #[test]
    fn names_of_alternatives_are_in_snake_case() {
        for (variant, expect) in [("Email", "email"), ("KeepLast", "keep_last")] {
            assert_eq!(snake_case(&syn::Ident::new(variant, proc_macro2::Span::call_site())), expect);
        }
    }
}
