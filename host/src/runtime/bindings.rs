//! What wasmtime makes of `wit/tool.wit`.
#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "tool",
    imports: {
        "keybearer:tool/log": trappable,
        default: async | trappable,
    },
    exports: { default: async },
});
