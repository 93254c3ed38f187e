//! The floor: wasmtime alone, with the host's own settings, and a fresh instance for each call.

use anyhow::Context as _;
use bytes::Bytes;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

use bindings::keybearer::tool::{credentialed_http, log};

mod bindings {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]

    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "tool",
        imports: {
            "keybearer:tool/log": trappable,
            default: async | trappable,
        },
        exports: { default: async },
    });
}

/// How many instances there may be at a time, as in the host.
const INSTANCES_MAX: u32 = 512;

/// A component, linked to imports that check nothing and record nothing.
pub(crate) struct Raw {
    engine: Engine,
    tool: bindings::ToolPre<Upstream>,
    reply: Bytes,
}

/// What every request is answered with.
struct Upstream(Bytes);

impl Raw {
    /// Compiles a component. `reply` is the body that each of its requests gets.
    pub(crate) fn new(component: &[u8], reply: Bytes) -> anyhow::Result<Self> {
        let engine = Engine::new(&settings()).map_err(|error| anyhow::anyhow!("{error:#}"))?;
        let tool = link(&engine, component).map_err(|error| anyhow::anyhow!("{error:#}"))?;
        Ok(Self { engine, tool, reply })
    }

    /// A fresh instance, one call, its result.
    pub(crate) async fn call(&self, name: &str, arguments: &str) -> anyhow::Result<String> {
        let mut store = Store::new(&self.engine, Upstream(self.reply.clone()));
        store.set_epoch_deadline(1 << 40);
        let called = async {
            let tool = self.tool.instantiate_async(&mut store).await?;
            tool.call_call(&mut store, name, arguments).await
        };
        let result = called.await.map_err(|error| anyhow::anyhow!("{error:#}"))?;
        result.map_err(|error| anyhow::anyhow!("{}", error.message)).context("the tool failed")
    }
}

fn link(engine: &Engine, component: &[u8]) -> wasmtime::Result<bindings::ToolPre<Upstream>> {
    let mut linker = Linker::new(engine);
    bindings::Tool::add_to_linker::<_, HasSelf<Upstream>>(&mut linker, |upstream| upstream)?;
    bindings::ToolPre::new(linker.instantiate_pre(&Component::from_binary(engine, component)?)?)
}

/// Those of `host/src/runtime/engine.rs`.
fn settings() -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES_MAX)
        .total_stacks(INSTANCES_MAX)
        .total_memories(INSTANCES_MAX * 2)
        .total_tables(INSTANCES_MAX * 4)
        .total_core_instances(INSTANCES_MAX * 32)
        .max_tables_per_module(8)
        .table_elements(1 << 16)
        .linear_memory_keep_resident(4 << 20)
        .table_keep_resident(64 << 10);
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes);
    }
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.max_wasm_stack(1 << 20);
    config.async_stack_size(2 << 20);
    config.memory_init_cow(true);
    config.concurrency_support(false);
    config.wasm_memory64(false);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

impl credentialed_http::Host for Upstream {
    async fn send(
        &mut self,
        _: credentialed_http::Request,
    ) -> wasmtime::Result<Result<credentialed_http::Response, credentialed_http::Failure>> {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Ok(Ok(credentialed_http::Response { status: 200, headers, body: self.0.to_vec() }))
    }
}

impl log::Host for Upstream {
    fn write(&mut self, _: log::Level, _: String) -> wasmtime::Result<()> {
        Ok(())
    }
}
