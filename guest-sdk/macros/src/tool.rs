//! The attribute `#[tool]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{FnArg, Ident, ItemFn, LitStr, ReturnType, Token, bracketed};

use crate::{docs, name};

/// The most connections of one tool: what hosts take.
const CONNECTIONS_MAX: usize = 32;

/// What stands in `#[tool(…)]`.
#[derive(Default)]
pub(crate) struct Attributes {
    connections: Vec<LitStr>,
}

impl Parse for Attributes {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.is_empty() {
            return Ok(Self::default());
        }
        let key: Ident = input.parse()?;
        if key != "connections" {
            return Err(syn::Error::new(key.span(), "`tool` takes `connections = [\"…\"]` alone"));
        }
        input.parse::<Token![=]>()?;
        let list;
        bracketed!(list in input);
        let names = Punctuated::<LitStr, Token![,]>::parse_terminated(&list)?;
        input.parse::<Option<Token![,]>>()?;
        let mut connections: Vec<LitStr> = Vec::new();
        for name in names {
            if let Some(problem) = name::no_connection(&name.value()) {
                return Err(syn::Error::new(name.span(), problem));
            }
            if connections.iter().any(|other| other.value() == name.value()) {
                return Err(syn::Error::new(name.span(), "name each connection once"));
            }
            if connections.len() == CONNECTIONS_MAX {
                let message = format!("a tool names {CONNECTIONS_MAX} connections at most");
                return Err(syn::Error::new(name.span(), message));
            }
            connections.push(name);
        }
        Ok(Self { connections })
    }
}

pub(crate) fn expand(attributes: &Attributes, function: &ItemFn) -> syn::Result<TokenStream> {
    let signature = &function.sig;
    let ident = &signature.ident;
    let name = ident.unraw().to_string();
    if let Some(problem) = name::no_tool(&name) {
        return Err(syn::Error::new(ident.span(), problem));
    }
    let Some(description) = docs::description(&function.attrs)? else {
        let message = format!(
            "`{name}` has no description: write a doc comment above it that tells a model what it does and when to \
             use it, for example\n    /// Looks up a Stripe invoice by id and returns its status and the amount due."
        );
        return Err(syn::Error::new_spanned(signature, message));
    };
    check_shape(function)?;
    let ReturnType::Type(_, output) = &signature.output else {
        let message = "a tool returns `Result<T>`, where `T` derives `Output`";
        return Err(syn::Error::new_spanned(signature, message));
    };
    let (args, call) = match signature.inputs.first() {
        Some(FnArg::Typed(args)) => {
            let ty = &args.ty;
            (quote!(#ty), quote!(#ident(args)))
        }
        _ => (quote!(::keybearer_guest::NoArgs), quote!(#ident())),
    };
    let args = quote_spanned!(args.span()=> #args);
    let result = quote_spanned!(output.span()=> <#output as ::keybearer_guest::__private::ToolResult>);
    let (visibility, attrs, block) = (&function.vis, &function.attrs, &function.block);
    let connections = &attributes.connections;
    Ok(quote! {
        #(#attrs)*
        #visibility #signature {
            let _running = ::keybearer_guest::__private::Scope::enter::<#ident>();
            #block
        }

        // The same name in the namespace of types, for `export!` and tests.
        #[doc(hidden)]
        #[allow(non_camel_case_types, reason = "named as the function is")]
        #visibility struct #ident {}

        impl ::keybearer_guest::Tool for #ident {
            const NAME: &'static str = #name;
            const DESCRIPTION: &'static str = #description;
            const CONNECTIONS: &'static [&'static str] = &[#(#connections),*];
            type Args = #args;
            type Output = #result::Output;

            #[allow(unused_variables, reason = "a tool may take no arguments")]
            fn run(args: Self::Args) -> ::keybearer_guest::Result<Self::Output> {
                ::keybearer_guest::__private::ToolResult::into_result(#call)
            }
        }
    })
}

fn check_shape(function: &ItemFn) -> syn::Result<()> {
    let signature = &function.sig;
    if let Some(asyncness) = &signature.asyncness {
        return Err(syn::Error::new(asyncness.span, "a tool isn't async: `send` waits for its reply"));
    }
    if !signature.generics.params.is_empty() {
        return Err(syn::Error::new_spanned(
            &signature.generics,
            "a tool has no type parameters and lifetimes",
        ));
    }
    if let Some(second) = signature.inputs.iter().nth(1) {
        let message = "a tool takes one struct that derives `Args`, or nothing: make this a field of it";
        return Err(syn::Error::new_spanned(second, message));
    }
    if let Some(FnArg::Receiver(receiver)) = signature.inputs.first() {
        return Err(syn::Error::new_spanned(receiver, "a tool is a free function"));
    }
    Ok(())
}
