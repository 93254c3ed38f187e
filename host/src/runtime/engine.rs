//! The engine: its settings, its pool, and the thread that ticks its epochs.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::ids::Digest;
use crate::runtime::RuntimeError;

/// How often the epoch ticks: how long a computing guest may hold a thread before it lets others have it, and by how
/// much it may miss its deadline.
pub const EPOCH_TICK: Duration = Duration::from_millis(5);

/// The stack of one tool, in bytes. Beyond it a guest traps.
const TOOL_STACK_BYTES: usize = 1 << 20;
/// The stack of an interpreter, in bytes: deep enough that CPython's own limit on recursion is reached first, and a
/// program that recurses too far gets an exception and not the end of its run.
const CODE_STACK_BYTES: usize = 6 << 20;
/// What host functions have beyond the guest's stack, in bytes.
const HOST_STACK_BYTES: usize = 1 << 20;

/// How much of a tool's linear memory stays mapped between two instances, in bytes. Pages that stay are cleared by
/// copying instead of by unmapping; unmapping makes every core flush its address translations, so that two threads
/// would be slower than one.
const TOOL_KEEP_RESIDENT_BYTES: usize = 4 << 20;
/// The same for an interpreter, whose every execution writes to several MiB.
const CODE_KEEP_RESIDENT_BYTES: usize = 32 << 20;
/// The same for tables.
const TABLE_KEEP_RESIDENT_BYTES: usize = 64 << 10;

/// Slots in the pool for each instance: components built from several core modules use more than one of each.
const MEMORIES_PER_INSTANCE: u32 = 2;
const TABLES_PER_INSTANCE: u32 = 4;
const CORE_INSTANCES_PER_INSTANCE: u32 = 32;
/// Elements of the largest table that the pool has room for. [`Limits`](crate::runtime::Limits) sets the limit of a
/// run, below this.
const POOL_TABLE_ELEMENTS_MAX: usize = 1 << 16;
/// Tables that one core module may define. Of memories it may define one, as wasmtime's pool has it.
const TABLES_PER_MODULE_MAX: u32 = 8;

/// Where instances get their memory from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    /// From a pool if there's enough address space, from the operating system otherwise.
    Auto,
    /// From the operating system, each time. Slow, and sparing with address space.
    OnDemand,
}

/// How the runtime is set up.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// How many instances there may be at a time. A call beyond that is refused as busy. With a pool, each takes
    /// 8 GiB of address space (not of memory).
    pub instances_max: u32,
    /// Where instances get their memory from.
    pub allocation: Allocation,
    /// How much of an instance's linear memory stays with its place in the pool when it ends, in bytes. All places
    /// together may hold `instances_max` times as much.
    pub keep_resident_bytes: usize,
    /// The stack of one guest, in bytes.
    pub stack_bytes: usize,
}

impl RuntimeConfig {
    /// For commands that run few instances, one after the other: no pool to set up. Their stack is an interpreter's,
    /// since they run sandboxes too.
    #[must_use]
    pub fn for_commands() -> Self {
        Self {
            instances_max: 16,
            allocation: Allocation::OnDemand,
            stack_bytes: CODE_STACK_BYTES,
            ..Self::default()
        }
    }

    /// For sandboxes that run code: few instances, each of them large. They have a runtime of their own, so that tools,
    /// of which there may be many at a time, can't make every place keep as much.
    ///
    /// Code compiled by one runtime is good for the other: these settings aren't part of it.
    #[must_use]
    pub fn for_code(instances_max: u32) -> Self {
        Self {
            instances_max,
            keep_resident_bytes: CODE_KEEP_RESIDENT_BYTES,
            stack_bytes: CODE_STACK_BYTES,
            ..Self::default()
        }
    }
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            instances_max: 512,
            allocation: Allocation::Auto,
            keep_resident_bytes: TOOL_KEEP_RESIDENT_BYTES,
            stack_bytes: TOOL_STACK_BYTES,
        }
    }
}

/// Makes the engine.
pub(super) fn build(config: &RuntimeConfig) -> Result<Engine, RuntimeError> {
    match config.allocation {
        Allocation::OnDemand => on_demand(config),
        Allocation::Auto => pooled(config).or_else(|error| {
            tracing::warn!(%error, "no pool for instances, so each call costs more; is address space limited (ulimit -v)?");
            on_demand(config)
        }),
    }
}

fn pooled(config: &RuntimeConfig) -> Result<Engine, RuntimeError> {
    with(config, InstanceAllocationStrategy::Pooling(pool(config)))
}

fn on_demand(config: &RuntimeConfig) -> Result<Engine, RuntimeError> {
    with(config, InstanceAllocationStrategy::OnDemand)
}

fn with(config: &RuntimeConfig, strategy: InstanceAllocationStrategy) -> Result<Engine, RuntimeError> {
    let mut settings = settings(config);
    settings.allocation_strategy(strategy);
    Engine::new(&settings).map_err(|error| RuntimeError::Engine(format!("{error:#}")))
}

/// Starts the thread that ticks the engine's epochs. It holds the engine weakly, and ends with it.
pub(super) fn start_epochs(engine: &Engine) -> Result<(), RuntimeError> {
    let engine = engine.weak();
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(EPOCH_TICK);
        }
    };
    match std::thread::Builder::new().name("epoch".to_owned()).spawn(tick) {
        Ok(_) => Ok(()),
        Err(error) => Err(RuntimeError::Engine(format!("no thread for epochs: {error}"))),
    }
}

/// A hash of all that compiled code depends on.
pub(super) fn key(engine: &Engine) -> Digest {
    let mut hasher = Sha256Hasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    Digest(hasher.0.finalize().into())
}

/// The settings that every allocation strategy shares.
fn settings(config: &RuntimeConfig) -> Config {
    let mut settings = Config::new();
    settings.epoch_interruption(true);
    settings.max_wasm_stack(config.stack_bytes);
    settings.async_stack_size(config.stack_bytes.saturating_add(HOST_STACK_BYTES));
    settings.memory_init_cow(true);
    // What the contract doesn't use is left out.
    settings.concurrency_support(false);
    settings.wasm_memory64(false);
    settings
}

fn pool(config: &RuntimeConfig) -> PoolingAllocationConfig {
    let instances_max = config.instances_max;
    let times = |each: u32| instances_max.saturating_mul(each);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances_max)
        .total_stacks(instances_max)
        .total_memories(times(MEMORIES_PER_INSTANCE))
        .total_tables(times(TABLES_PER_INSTANCE))
        .total_core_instances(times(CORE_INSTANCES_PER_INSTANCE))
        .max_tables_per_module(TABLES_PER_MODULE_MAX)
        .table_elements(POOL_TABLE_ELEMENTS_MAX)
        .linear_memory_keep_resident(config.keep_resident_bytes)
        .table_keep_resident(TABLE_KEEP_RESIDENT_BYTES);
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes);
    } else {
        tracing::info!("this kernel has no PAGEMAP_SCAN (6.7 has), so resetting a memory costs more");
    }
    pool
}

/// SHA-256 as a [`Hasher`]: the key names files that outlive the process, so it must not depend on how the standard
/// library hashes.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Not used: the digest is read instead.
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_does_not_fit_gives_way() {
        // 2^32 memories of 4 GiB each fit no address space.
        let huge = RuntimeConfig { instances_max: u32::MAX / 2, ..RuntimeConfig::default() };
        assert!(matches!(pooled(&huge), Err(RuntimeError::Engine(_))));
        assert!(build(&huge).is_ok());
    }

    #[test]
    fn the_key_is_the_same_for_every_allocation_and_stack_and_changes_with_the_settings() {
        let config = RuntimeConfig { instances_max: 4, ..RuntimeConfig::default() };
        let (pooled, on_demand) = (pooled(&config).unwrap(), on_demand(&config).unwrap());
        let for_code = build(&RuntimeConfig::for_code(4)).unwrap();
        assert_eq!(key(&pooled), key(&on_demand));
        assert_eq!(key(&pooled), key(&for_code));
        assert_ne!(key(&pooled), key(&Engine::default()));
    }

    #[test]
    fn the_ticking_thread_does_not_keep_the_engine() {
        let engine = build(&RuntimeConfig::for_commands()).unwrap();
        start_epochs(&engine).unwrap();
        let weak = engine.weak();
        drop(engine);
        std::thread::sleep(EPOCH_TICK * 4);
        assert!(weak.upgrade().is_none());
    }
}
