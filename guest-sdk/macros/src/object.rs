//! The derives of structs.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields, Ident, Type};

use crate::attributes::Facets;
use crate::{docs, name};

/// Which way a struct goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// From the agent.
    Args,
    /// To the agent, and read from an upstream.
    Output,
    /// From an upstream.
    Reply,
    /// To an upstream.
    Payload,
}

impl Role {
    fn derive(self) -> &'static str {
        match self {
            Self::Args => "Args",
            Self::Output => "Output",
            Self::Reply => "Reply",
            Self::Payload => "Payload",
        }
    }

    fn helper(self) -> &'static str {
        match self {
            Self::Args => "arg",
            Self::Output => "output",
            Self::Reply => "reply",
            Self::Payload => "payload",
        }
    }

    /// Whether an agent gets to see the schema.
    fn described(self) -> bool {
        matches!(self, Self::Args | Self::Output)
    }
}

/// One field.
struct Field<'i> {
    ident: &'i Ident,
    ty: &'i Type,
    name: String,
    /// The name that it's read under.
    from: String,
    facets: Facets,
    description: Option<String>,
}

pub(crate) fn expand(input: &DeriveInput, role: Role) -> syn::Result<TokenStream> {
    let fields = fields(input, role)?;
    let mut out = TokenStream::new();
    if role.described() {
        out.extend(schema(input, &fields, role)?);
        out.extend(marker(input, role));
    }
    if role != Role::Payload {
        out.extend(from_json(input, &fields, role));
    }
    out.extend(fits(input, &fields, role));
    if matches!(role, Role::Output | Role::Payload) {
        out.extend(to_json(input, &fields));
    }
    Ok(out)
}

fn fields(input: &DeriveInput, role: Role) -> syn::Result<Vec<Field<'_>>> {
    let derive = role.derive();
    Facets::refuse_on_type(role.helper(), "fields", &input.attrs)?;
    let borrows = role == Role::Payload && input.generics.type_params().next().is_none();
    if !input.generics.params.is_empty() && !borrows {
        let message = format!("`{derive}` is for structs without type parameters and lifetimes");
        return Err(syn::Error::new_spanned(&input.generics, message));
    }
    let named = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(named) => &named.named,
            _ => {
                let message = format!(
                    "`{derive}` is for structs whose fields have names: in place of a newtype, use what is in it, for \
                     example `String`"
                );
                return Err(syn::Error::new_spanned(&input.ident, message));
            }
        },
        Data::Enum(_) => {
            let message = format!("`{derive}` is for structs; an enum of names derives `Choice`");
            return Err(syn::Error::new_spanned(&input.ident, message));
        }
        Data::Union(_) => {
            return Err(syn::Error::new_spanned(&input.ident, format!("`{derive}` is for structs")));
        }
    };
    let mut errors: Option<syn::Error> = None;
    let mut fields: Vec<Field<'_>> = Vec::new();
    for field in named {
        match read(input, field, role) {
            Ok(field) if fields.iter().any(|other| other.name == field.name || other.from == field.from) => {
                let message = "another field has this name already";
                merge(&mut errors, syn::Error::new_spanned(field.ident, message));
            }
            Ok(field) => fields.push(field),
            Err(error) => merge(&mut errors, error),
        }
    }
    errors.map_or(Ok(fields), Err)
}

fn read<'i>(input: &DeriveInput, field: &'i syn::Field, role: Role) -> syn::Result<Field<'i>> {
    let Some(ident) = &field.ident else {
        return Err(syn::Error::new_spanned(field, "this field needs a name"));
    };
    if role.described() && mentions(&field.ty, &input.ident) {
        let message =
            format!("`{}` contains itself, and a JSON Schema for agents can't say that", input.ident);
        return Err(syn::Error::new_spanned(&field.ty, message));
    }
    let description = docs::description(&field.attrs)?;
    if role.described() && description.is_none() {
        let message = format!(
            "`{ident}` has no description: write a doc comment above it that tells a model what it is, for example\n    \
             /// The invoice's id, for example `in_1Abc`."
        );
        return Err(syn::Error::new_spanned(field, message));
    }
    let facets = Facets::read(role.helper(), role.described(), &field.attrs, &field.ty)?;
    let name = facets.name.as_ref().map_or_else(|| ident.unraw().to_string(), syn::LitStr::value);
    let problem = match role {
        Role::Args => name::no_argument(&name),
        Role::Output => name::no_result(&name),
        Role::Reply | Role::Payload => None,
    };
    if let Some(problem) = problem {
        let message = format!("{problem}; write `#[{}(name = \"…\")]` with another", role.helper());
        return Err(syn::Error::new_spanned(ident, message));
    }
    let from = facets.from.as_ref().map_or_else(|| name.clone(), syn::LitStr::value);
    Ok(Field { ident, ty: &field.ty, name, from, facets, description })
}

fn merge(errors: &mut Option<syn::Error>, error: syn::Error) {
    match errors {
        Some(errors) => errors.combine(error),
        None => *errors = Some(error),
    }
}

/// Whether a type's tokens name the struct itself. Cycles through other types end the compilation as well, in the
/// computing of `DEPTH`, only less clearly.
fn mentions(ty: &Type, ident: &Ident) -> bool {
    fn any(tokens: TokenStream, ident: &Ident) -> bool {
        tokens.into_iter().any(|token| match token {
            proc_macro2::TokenTree::Ident(other) => other == *ident || other == "Self",
            proc_macro2::TokenTree::Group(group) => any(group.stream(), ident),
            _ => false,
        })
    }
    any(quote!(#ty), ident)
}

/// Where a type stands, for code that uses a macro's own names: the names in a type that came through another macro
/// are found elsewhere.
fn at(ty: &Type) -> Span {
    Span::call_site().located_at(ty.span())
}

/// Items that don't compile where a field's type can't stand in a struct of this kind.
fn fits(input: &DeriveInput, fields: &[Field<'_>], role: Role) -> TokenStream {
    let (holder, problem) = match role {
        Role::Args => (quote!(Schema), quote!(NO_ARGUMENT)),
        Role::Output | Role::Reply => (quote!(FromJson), quote!(NO_REPLY)),
        Role::Payload => return TokenStream::new(),
    };
    // What contains itself is of its own kind.
    let others = fields.iter().filter(|field| !mentions(field.ty, &input.ident));
    let checks = others.map(|Field { ty, .. }| {
        quote_spanned! {ty.span()=>
            const _: () =
                ::keybearer_guest::__private::refuse(<#ty as ::keybearer_guest::#holder>::#problem);
        }
    });
    checks.collect()
}

/// Why a struct that derives `Output` can't stand in arguments, as far as its own fields say so.
fn no_argument(input: &DeriveInput, fields: &[Field<'_>]) -> Option<String> {
    fields.iter().find_map(|Field { name, from, .. }| {
        let problem = if from == name {
            name::no_argument(name)?
        } else {
            format!(
                "its field `{name}` is read as `{from}`, by `#[output(from = \"…\")]`, so what an agent gives as \
                 `{name}` would be lost; write a struct for the arguments"
            )
        };
        Some(format!("`{}` can't stand in arguments: {problem}", input.ident))
    })
}

fn schema(input: &DeriveInput, fields: &[Field<'_>], role: Role) -> syn::Result<TokenStream> {
    let ident = &input.ident;
    let about = docs::description(&input.attrs)?.unwrap_or_default();
    let no_argument = (role == Role::Output).then(|| match no_argument(input, fields) {
        Some(problem) => quote!(::keybearer_guest::__private::Option::Some(#problem)),
        None => {
            let types = fields.iter().map(|field| field.ty);
            quote!(::keybearer_guest::__private::first(&[
                #(<#types as ::keybearer_guest::Schema>::NO_ARGUMENT),*
            ]))
        }
    });
    let no_argument = no_argument.map(|problem| {
        quote! {
            const NO_ARGUMENT: ::keybearer_guest::__private::Option<&'static str> = #problem;
        }
    });
    let depths = fields
        .iter()
        .map(|Field { ty, .. }| quote_spanned!(ty.span()=> <#ty as ::keybearer_guest::Schema>::DEPTH));
    let properties = fields.iter().map(|field| {
        let Field { ty, name, facets, description, .. } = field;
        let facets = facets.tokens(description.as_deref());
        quote_spanned!(at(ty)=> object.property::<#ty>(#name, &#facets);)
    });
    let checks = fields.iter().map(|field| field.facets.checks(field.ty));
    Ok(quote! {
        #[automatically_derived]
        impl ::keybearer_guest::Schema for #ident {
            const DEPTH: u32 = ::keybearer_guest::__private::depth(&[#(#depths),*]);
            const DESCRIPTION: &'static str = #about;
            #no_argument

            fn write(
                facets: &::keybearer_guest::Facets,
                out: &mut ::keybearer_guest::__private::String,
            ) {
                let mut object = ::keybearer_guest::__private::ObjectSchema::open(facets, out);
                #(#properties)*
                object.close();
            }
        }

        const _: u32 = <#ident as ::keybearer_guest::Schema>::DEPTH;
        #(#checks)*
    })
}

fn marker(input: &DeriveInput, role: Role) -> TokenStream {
    let ident = &input.ident;
    let role = Ident::new(role.derive(), ident.span());
    quote! {
        #[automatically_derived]
        impl ::keybearer_guest::#role for #ident {}
    }
}

fn from_json(input: &DeriveInput, fields: &[Field<'_>], role: Role) -> TokenStream {
    let ident = &input.ident;
    let slots: Vec<_> = (0..fields.len()).map(|index| quote::format_ident!("slot_{index}")).collect();
    let types = fields.iter().map(|field| field.ty);
    let arms = fields.iter().zip(&slots).map(|(Field { from, ty, .. }, slot)| {
        quote_spanned!(at(ty)=> #from => ::keybearer_guest::__private::read_field(&mut #slot, reader, name),)
    });
    let takes = fields.iter().zip(&slots).map(|(Field { ident, from, ty, .. }, slot)| {
        quote_spanned!(ty.span()=> #ident: ::keybearer_guest::__private::take_field(#slot, #from)?,)
    });
    let other = match role {
        Role::Args => quote!(::keybearer_guest::__private::unknown_field(name)),
        _ => quote!(reader.skip()),
    };
    let no_reply = (role == Role::Args).then(|| {
        let problem = format!(
            "`{ident}` derives `Args`, so it can't stand in a result or a reply: it takes no field that it doesn't name; \
             derive `Output` in its place, which can stand in arguments as well, or write another struct"
        );
        quote! {
            const NO_REPLY: ::keybearer_guest::__private::Option<&'static str> =
                ::keybearer_guest::__private::Option::Some(#problem);
        }
    });
    quote! {
        #[automatically_derived]
        impl ::keybearer_guest::FromJson for #ident {
            #no_reply
            fn from_json(
                reader: &mut ::keybearer_guest::Reader<'_>,
            ) -> ::keybearer_guest::__private::Result<Self, ::keybearer_guest::JsonError> {
                #(let mut #slots: ::keybearer_guest::__private::Option<#types> =
                    ::keybearer_guest::__private::Option::None;)*
                reader.object(&mut |reader, name| match name {
                    #(#arms)*
                    _ => #other,
                })?;
                ::keybearer_guest::__private::Result::Ok(Self { #(#takes)* })
            }
        }
    }
}

fn to_json(input: &DeriveInput, fields: &[Field<'_>]) -> TokenStream {
    let ident = &input.ident;
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    let writes = fields
        .iter()
        .map(|Field { ident, name, ty, .. }| quote_spanned!(at(ty)=> object.field(#name, &self.#ident)?;));
    quote! {
        #[automatically_derived]
        impl #generics ::keybearer_guest::ToJson for #ident #arguments #bounds {
            fn to_json(
                &self,
                out: &mut ::keybearer_guest::__private::String,
            ) -> ::keybearer_guest::__private::Result<(), ::keybearer_guest::JsonError> {
                let mut object = ::keybearer_guest::__private::ObjectWriter::open(out);
                #(#writes)*
                object.close();
                ::keybearer_guest::__private::Result::Ok(())
            }
        }
    }
}
