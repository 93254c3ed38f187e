//! The attributes of fields and variants: `#[arg(min = 1)]`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{Attribute, GenericArgument, LitInt, LitStr, PathArguments, Type};

use crate::bound;

/// What a field says of itself, beside its description.
#[derive(Default)]
pub(crate) struct Facets {
    pub(crate) name: Option<LitStr>,
    /// The name in an upstream's reply, where it's another one than the agent sees.
    pub(crate) from: Option<LitStr>,
    minimum: Option<String>,
    maximum: Option<String>,
    pattern: Option<LitStr>,
    length: [Option<u32>; 2],
    /// The keys that were given to a type that only the compiler knows, and what they are for.
    unchecked: Vec<(String, Kind)>,
}

impl Facets {
    /// Refuses attributes named `helper` on a type itself, where they'd say nothing.
    ///
    /// # Errors
    ///
    /// When there's one; `places` says where they belong.
    pub(crate) fn refuse_on_type(helper: &str, places: &str, attributes: &[Attribute]) -> syn::Result<()> {
        match attributes.iter().find(|attribute| attribute.path().is_ident(helper)) {
            Some(attribute) => {
                let message = format!("`{helper}` stands on {places}: on the type itself it says nothing");
                Err(syn::Error::new_spanned(attribute, message))
            }
            None => Ok(()),
        }
    }

    /// Reads a field's attributes named `helper`.
    ///
    /// # Errors
    ///
    /// For an unknown key, a key that doesn't fit the field's type, or a value that can't be.
    pub(crate) fn read(
        helper: &str,
        constraints: bool,
        attributes: &[Attribute],
        ty: &Type,
    ) -> syn::Result<Self> {
        let mut facets = Self::default();
        let ty = name(ty);
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident(helper)) {
            attribute.parse_nested_meta(|meta| facets.read_one(helper, constraints, &ty, &meta))?;
        }
        Ok(facets)
    }

    /// Reads a variant's attributes, which have a name at most.
    pub(crate) fn read_name(helper: &str, attributes: &[Attribute]) -> syn::Result<Option<LitStr>> {
        let mut name = None;
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident(helper)) {
            attribute.parse_nested_meta(|meta| {
                if !meta.path.is_ident("name") {
                    return Err(meta.error(format!("`{helper}` takes `name = \"…\"` alone")));
                }
                name = Some(meta.value()?.parse()?);
                Ok(())
            })?;
        }
        Ok(name)
    }

    fn read_one(
        &mut self,
        helper: &str,
        constraints: bool,
        ty: &str,
        meta: &ParseNestedMeta<'_>,
    ) -> syn::Result<()> {
        let key = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
        let wanted = match key.as_str() {
            "name" => {
                self.name = Some(meta.value()?.parse()?);
                return Ok(());
            }
            "from" if helper == "output" => {
                self.from = Some(meta.value()?.parse()?);
                return Ok(());
            }
            _ if !constraints => return Err(meta.error(format!("`{helper}` takes `name = \"…\"` alone"))),
            "min" | "max" => Kind::Number,
            "min_len" | "max_len" | "pattern" => Kind::Text,
            "min_items" | "max_items" => Kind::List,
            _ => {
                return Err(meta.error(format!(
                    "`{helper}` takes `min`, `max`, `min_len`, `max_len`, `pattern`, `min_items`, `max_items` and `name`{}",
                    if helper == "output" { ", and `from`" } else { "" }
                )));
            }
        };
        let kind = Kind::of(ty);
        if kind != wanted && kind != Kind::Other {
            return Err(meta.error(format!(
                "`{key}` is for {}; this field is {}",
                wanted.words(),
                kind.words()
            )));
        }
        if kind == Kind::Other {
            self.unchecked.push((key.clone(), wanted));
        }
        match key.as_str() {
            "min" => self.minimum = Some(bound::json(&meta.value()?.parse()?, ty)?),
            "max" => self.maximum = Some(bound::json(&meta.value()?.parse()?, ty)?),
            "pattern" => self.pattern = Some(pattern(meta)?),
            "min_len" | "min_items" => self.length[0] = Some(length(meta)?),
            _ => self.length[1] = Some(length(meta)?),
        }
        if self.is_inverted() {
            let (least, most) = wanted.bounds();
            return Err(meta.error(format!("`{least}` is larger than `{most}`: no value fits both")));
        }
        Ok(())
    }

    /// Whether the bounds leave nothing between them.
    fn is_inverted(&self) -> bool {
        let numbers = match (&self.minimum, &self.maximum) {
            (Some(least), Some(most)) => bound::is_less(most, least),
            _ => false,
        };
        numbers || matches!(self.length, [Some(least), Some(most)] if least > most)
    }

    /// Items that don't compile unless the field's type takes the keys that it was given.
    pub(crate) fn checks(&self, ty: &Type) -> TokenStream {
        self.unchecked
            .iter()
            .map(|(key, wanted)| {
                let constraints = match wanted {
                    Kind::Number => quote!(Number),
                    Kind::Text => quote!(Text),
                    _ => quote!(List),
                };
                let message = format!("`{key}` is for {}, and this field's type isn't one", wanted.words());
                quote_spanned! {ty.span()=>
                    const _: () = ::core::assert!(
                        ::core::matches!(
                            <#ty as ::keybearer_guest::Schema>::CONSTRAINTS,
                            ::keybearer_guest::Constraints::#constraints
                        ),
                        #message
                    );
                }
            })
            .collect()
    }

    /// The value of type `keybearer_guest::Facets`.
    pub(crate) fn tokens(&self, description: Option<&str>) -> TokenStream {
        let description = description.unwrap_or_default();
        let minimum = option(self.minimum.as_ref());
        let maximum = option(self.maximum.as_ref());
        let pattern = option(self.pattern.as_ref());
        let [least, most] = self.length.map(|length| option(length.as_ref()));
        quote! {
            ::keybearer_guest::Facets {
                description: #description,
                minimum: #minimum,
                maximum: #maximum,
                pattern: #pattern,
                length: (#least, #most),
            }
        }
    }
}

/// What a field's type looks like. A macro sees names alone: what a type alias takes is for the compiler to check.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    List,
    Boolean,
    Other,
}

impl Kind {
    /// Of a type of this name.
    fn of(name: &str) -> Self {
        match name {
            "f64" => Self::Number,
            "String" => Self::Text,
            "Vec" => Self::List,
            "bool" => Self::Boolean,
            _ if bound::range(name).is_some() => Self::Number,
            _ => Self::Other,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Text => "a string",
            Self::List => "a list",
            Self::Boolean => "a boolean",
            Self::Other => "another type",
        }
    }

    /// The keys of its bounds.
    fn bounds(self) -> (&'static str, &'static str) {
        match self {
            Self::Number => ("min", "max"),
            Self::Text => ("min_len", "max_len"),
            Self::List | Self::Boolean | Self::Other => ("min_items", "max_items"),
        }
    }
}

/// A type's name without its path, of an `Option` that of what is in it. Empty for a type that has none.
fn name(ty: &Type) -> String {
    let path = match ty {
        Type::Path(path) => path,
        // What came through a macro.
        Type::Group(group) => return name(&group.elem),
        Type::Paren(paren) => return name(&paren.elem),
        _ => return String::new(),
    };
    let Some(last) = path.path.segments.last() else { return String::new() };
    match &last.arguments {
        PathArguments::AngleBracketed(arguments) if last.ident == "Option" => match arguments.args.first() {
            Some(GenericArgument::Type(ty)) => name(ty),
            _ => String::new(),
        },
        _ => last.ident.to_string(),
    }
}

fn length(meta: &ParseNestedMeta<'_>) -> syn::Result<u32> {
    meta.value()?.parse::<LitInt>()?.base10_parse()
}

/// A regular expression without look-around, which agents' clients can't compile.
fn pattern(meta: &ParseNestedMeta<'_>) -> syn::Result<LitStr> {
    let pattern: LitStr = meta.value()?.parse()?;
    if ["(?=", "(?!", "(?<=", "(?<!"].iter().any(|look| pattern.value().contains(look)) {
        return Err(syn::Error::new(
            pattern.span(),
            "a pattern has no look-ahead or look-behind: agents' clients can't compile it",
        ));
    }
    Ok(pattern)
}

fn option(value: Option<&impl ToTokens>) -> TokenStream {
    match value {
        Some(value) => quote!(::keybearer_guest::__private::Option::Some(#value)),
        None => quote!(::keybearer_guest::__private::Option::None),
    }
}
