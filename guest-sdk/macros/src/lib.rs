//! Derive and attribute macros of `keybearer-guest`. Use them through that crate.
//!
//! What a model reads comes from doc comments, so a missing one is an error that says what to write. A text ends at
//! its first Markdown heading: from there on it's for developers.

mod attributes;
mod bound;
mod choice;
mod docs;
mod name;
mod object;
mod tool;

use proc_macro::TokenStream;
use syn::{DeriveInput, ItemFn, parse_macro_input};

use object::Role;

/// Makes a function a tool that agents can call.
///
/// The tool's name is the function's; its description is the doc comment. It takes one struct that derives `Args`,
/// or nothing, and returns `Result` of one that derives `Output`. `connections` names those that it sends to.
///
/// ```text
/// /// Looks up a Stripe invoice by id and returns its status and the amount due.
/// #[tool(connections = ["stripe"])]
/// fn get_invoice(args: GetInvoice) -> Result<Invoice> { … }
/// ```
#[proc_macro_attribute]
pub fn tool(attributes: TokenStream, item: TokenStream) -> TokenStream {
    let attributes = parse_macro_input!(attributes as tool::Attributes);
    let function = parse_macro_input!(item as ItemFn);
    finish(tool::expand(&attributes, &function))
}

/// What the agent sends: a closed object whose every field has a doc comment.
///
/// `#[arg(…)]` on a field takes `min`, `max` (numbers), `min_len`, `max_len`, `pattern` (strings), `min_items`,
/// `max_items` (lists) and `name`. The host checks them before the tool runs. A field of type `Option` may be left
/// out. A struct that stands in a result or a reply as well derives `Output` alone.
#[proc_macro_derive(Args, attributes(arg))]
pub fn args(item: TokenStream) -> TokenStream {
    derive(item, |input| object::expand(input, Role::Args))
}

/// What the agent sees: an object whose every field has a doc comment. Nothing else reaches the agent.
///
/// It can also be read from an upstream's reply, whose other fields are skipped. `#[output(…)]` on a field takes
/// what `#[arg(…)]` takes, and `from`: the field's name in the reply, where the agent is to see another. A struct without
/// `from` can stand in one that derives `Args`, too.
#[proc_macro_derive(Output, attributes(output))]
pub fn output(item: TokenStream) -> TokenStream {
    derive(item, |input| object::expand(input, Role::Output))
}

/// The part of an upstream's reply that a tool reads. Other fields are skipped. `#[reply(name = "…")]` on a field
/// gives it another name.
#[proc_macro_derive(Reply, attributes(reply))]
pub fn reply(item: TokenStream) -> TokenStream {
    derive(item, |input| object::expand(input, Role::Reply))
}

/// A JSON body that a tool sends; it may borrow. Fields that are `None` are left out. `#[payload(name = "…")]` on a field gives it
/// another name.
#[proc_macro_derive(Payload, attributes(payload))]
pub fn payload(item: TokenStream) -> TokenStream {
    derive(item, |input| object::expand(input, Role::Payload))
}

/// One of a list of names: an enum without data, in arguments, results, bodies and queries.
///
/// A variant's name is its own in `snake_case`, where capitals in a row are one word (`USD` is `usd`, `HTTPError` is
/// `http_error`); `#[choice(name = "…")]` gives it another.
#[proc_macro_derive(Choice, attributes(choice))]
pub fn choice(item: TokenStream) -> TokenStream {
    derive(item, choice::expand)
}

fn derive(
    item: TokenStream,
    expand: impl Fn(&DeriveInput) -> syn::Result<proc_macro2::TokenStream>,
) -> TokenStream {
    let input = parse_macro_input!(item as DeriveInput);
    finish(expand(&input))
}

fn finish(expanded: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    expanded.unwrap_or_else(|error| error.into_compile_error()).into()
}
