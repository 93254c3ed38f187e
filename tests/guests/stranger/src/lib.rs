//! A guest that imports what no host of tools gives. It can't be loaded; the refusal names the first of the two.
#![cfg(target_arch = "wasm32")]

use keybearer_guest::prelude::*;

mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "stranger", generate_all });
}

use bindings::{someone::unknown::api, wasi::http::outgoing_handler};

/// What got out.
#[derive(Output)]
struct Escaped {
    /// What came back.
    statuses: Vec<u32>,
}

/// Sends without a host in between.
#[tool]
fn escape() -> Result<Escaped> {
    Ok(Escaped { statuses: vec![outgoing_handler::handle(), api::open("https://example.com/")] })
}

keybearer_guest::export!(escape);
