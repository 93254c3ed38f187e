//! The derive of enums without data.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Fields};

use crate::attributes::Facets;
use crate::name::snake_case;

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let ident = &input.ident;
    let Data::Enum(data) = &input.data else {
        return Err(syn::Error::new_spanned(
            ident,
            "`Choice` is for enums; a struct derives `Args` or `Output`",
        ));
    };
    Facets::refuse_on_type("choice", "variants", &input.attrs)?;
    if data.variants.is_empty() {
        return Err(syn::Error::new_spanned(ident, "a choice needs at least one variant"));
    }
    let mut names: Vec<String> = Vec::new();
    let mut variants = Vec::new();
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(syn::Error::new_spanned(variant, "a choice is a name: its variants hold no data"));
        }
        let name = match Facets::read_name("choice", &variant.attrs)? {
            Some(name) => name.value(),
            None => snake_case(&variant.ident.unraw().to_string()),
        };
        if names.contains(&name) {
            return Err(syn::Error::new_spanned(variant, format!("two variants are named `{name}`")));
        }
        names.push(name);
        variants.push(&variant.ident);
    }
    let list = names.join("`, `");
    let problem = format!("should be one of `{list}`");
    Ok(quote! {
        #[automatically_derived]
        impl #ident {
            /// The variant's name, as agents and upstreams know it.
            #[allow(dead_code, reason = "not every tool needs it")]
            pub fn name(&self) -> &'static str {
                match self {
                    #(Self::#variants => #names,)*
                }
            }
        }

        #[automatically_derived]
        impl ::keybearer_guest::Schema for #ident {
            const DEPTH: u32 = 0;

            fn write(
                facets: &::keybearer_guest::Facets,
                out: &mut ::keybearer_guest::__private::String,
            ) {
                ::keybearer_guest::__private::write_choice(facets, &[#(#names),*], out);
            }
        }

        #[automatically_derived]
        impl ::keybearer_guest::FromJson for #ident {
            fn from_json(
                reader: &mut ::keybearer_guest::Reader<'_>,
            ) -> ::keybearer_guest::__private::Result<Self, ::keybearer_guest::JsonError> {
                match &*reader.string()? {
                    #(#names => ::keybearer_guest::__private::Result::Ok(Self::#variants),)*
                    _ => ::keybearer_guest::__private::Result::Err(::keybearer_guest::JsonError::new(#problem)),
                }
            }
        }

        #[automatically_derived]
        impl ::keybearer_guest::ToJson for #ident {
            fn to_json(
                &self,
                out: &mut ::keybearer_guest::__private::String,
            ) -> ::keybearer_guest::__private::Result<(), ::keybearer_guest::JsonError> {
                ::keybearer_guest::ToJson::to_json(self.name(), out)
            }
        }

        #[automatically_derived]
        impl ::keybearer_guest::Field for #ident {
            fn to_text(
                &self,
            ) -> ::keybearer_guest::__private::Result<
                ::keybearer_guest::__private::Option<::keybearer_guest::__private::String>,
                ::keybearer_guest::JsonError,
            > {
                ::keybearer_guest::Field::to_text(self.name())
            }
        }
    })
}
