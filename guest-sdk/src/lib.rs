//! SDK for Keybearer tools.
//!
//! A tool is a function: its arguments and its result are structs, and their doc comments are what the model
//! reads. Names, descriptions and both JSON Schemas are inferred.
//!
//! ```
//! use keybearer_guest::prelude::*;
//!
//! /// Which invoice to look up.
//! #[derive(Args)]
//! struct GetInvoice {
//!     /// The invoice's id, for example `in_1Abc`.
//!     #[arg(pattern = "^in_[A-Za-z0-9]+$")]
//!     id: String,
//! }
//!
//! /// What the agent sees of an invoice.
//! #[derive(Output)]
//! struct Invoice {
//!     /// The invoice's id.
//!     id: String,
//!     /// The amount due, in minor units (cents).
//!     amount_due: i64,
//!     /// Where the invoice stands, for example `open` or `paid`.
//!     status: String,
//! }
//!
//! /// Looks up a Stripe invoice by id and returns its status and the amount due.
//! #[tool(connections = ["stripe"])]
//! fn get_invoice(args: GetInvoice) -> Result<Invoice> {
//!     connection("stripe").get("/v1/invoices/{}", [&args.id]).send()?.json()
//! }
//!
//! keybearer_guest::export!(get_invoice);
//! # fn main() {
//! let upstream = keybearer_guest::testing::Upstream::new();
//! upstream
//!     .expect("GET", "/v1/invoices/in_1")
//!     .reply(200, r#"{"id": "in_1", "amount_due": 1200, "status": "open", "lines": {"data": []}}"#);
//! let invoice = get_invoice(GetInvoice { id: "in_1".into() }).unwrap();
//! assert_eq!(invoice.amount_due, 1200);
//! # }
//! ```
//!
//! The crate's type is `cdylib`; `keybearer tool build` makes the component. It imports nothing but
//! `credentialed-http` and `log`: there is no environment, no file, no socket and no clock inside, and the host
//! attaches the credential after the request has left the tool.
//!
//! | derive | for | needs descriptions |
//! |---|---|---|
//! | [`Args`] | what the agent sends: a closed object | yes |
//! | [`Output`] | what the agent sees; also read straight from a reply, whose other fields are skipped | yes |
//! | [`Choice`] | an enum of names, in both | no |
//! | [`Reply`] | a part of an upstream's reply that the tool needs and the agent doesn't see | no |
//! | [`Payload`] | a JSON body that the tool sends | no |
//!
//! A struct that stands in arguments and elsewhere too derives `Output` alone, without `from`.
//!
//! On every target but WebAssembly the imports are served by [`testing::Upstream`], so `cargo test` tests a tool's
//! logic without a host.

extern crate self as keybearer_guest;

#[doc(hidden)]
pub mod bindings;
mod error;
mod field;
mod json;
pub mod log;
mod request;
mod response;
mod schema;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod tool;

pub use error::{Error, ErrorKind, FailureReason, RequestSent, Result, SendFailure};
pub use field::{Field, PathSegment, PathValue};
pub use json::{FromJson, JsonError, Reader, ToJson};
pub use keybearer_guest_macros::{Args, Choice, Output, Payload, Reply, tool};
pub use request::{Connection, Request, connection};
pub use response::Response;
pub use schema::{Constraints, Facets, Schema};
pub use tool::{Args, NoArgs, Output, Tool};

/// Serves a call from the memory that the module begins with. Growing it costs the host a system call, and every call
/// gets a fresh instance.
#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// What a tool's source needs, in one line.
pub mod prelude {
    pub use crate::log;
    pub use crate::{Args, Choice, Output, Payload, Reply, tool};
    pub use crate::{Error, ErrorKind, Request, Response, Result, connection};
    pub use crate::{bail, ensure};
}

/// Makes the crate a component that offers these tools.
///
/// Call it once, at the root of the crate, with the functions that carry [`#[tool]`](macro@tool). Two tools of one
/// name don't compile.
#[macro_export]
macro_rules! export {
    ($($tool:path),+ $(,)?) => {
        const _: () = {
            const TOOLS: &[$crate::__private::Entry] = &[$($crate::__private::Entry::of::<$tool>()),+];
            const _: () = $crate::__private::assert_names_differ(TOOLS);

            #[cfg(target_arch = "wasm32")]
            struct Component;

            #[cfg(target_arch = "wasm32")]
            impl $crate::__private::bindings::Guest for Component {
                fn describe() -> $crate::__private::Vec<$crate::__private::bindings::ToolDescription> {
                    $crate::__private::describe(TOOLS)
                }

                fn call(
                    name: $crate::__private::String,
                    arguments_json: $crate::__private::String,
                ) -> ::core::result::Result<$crate::__private::String, $crate::__private::bindings::ToolError> {
                    $crate::__private::call(TOOLS, &name, &arguments_json)
                }
            }

            #[cfg(target_arch = "wasm32")]
            $crate::__private::bindings::export_component!(Component with_types_in $crate::__private::bindings);
        };
    };
}

/// Ends the tool with [`ErrorKind::Failed`] and a formatted message.
#[macro_export]
macro_rules! bail {
    ($($message:tt)+) => {
        return ::core::result::Result::Err($crate::Error::failed(::std::format!($($message)+)))
    };
}

/// Ends the tool as [`bail!`] does unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            $crate::bail!($($message)+);
        }
    };
}

/// What the macros' output names. No part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings;
    pub use crate::json::{ObjectWriter, read_field, take_field, unknown_field};
    pub use crate::schema::{ObjectSchema, depth, first, refuse, write_choice};
    pub use crate::tool::{Entry, Scope, ToolResult, assert_names_differ, call, describe};
    pub use std::option::Option;
    pub use std::result::Result;
    pub use std::string::String;
    pub use std::vec::Vec;
}
