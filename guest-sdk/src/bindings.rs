//! What `wit-bindgen` makes of the contract in `wit/`. Nothing here is written by hand.
#![allow(unsafe_code, reason = "the canonical ABI is raw memory; the generated code alone touches it")]
#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]

wit_bindgen::generate!({
    path: "../wit",
    world: "tool",
    pub_export_macro: true,
    export_macro_name: "export_component",
    runtime_path: "keybearer_guest::__private::bindings::rt",
});

pub use wit_bindgen::rt;
