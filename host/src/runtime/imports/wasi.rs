//! The WASI that guests of other languages are linked to: everything is there, and there's nothing in it.

use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};

use crate::runtime::guest::Guest;

/// Streams, pollables and descriptors that a guest may hold at a time.
const RESOURCES_MAX: usize = 4096;
/// Random bytes in one request for them.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// A WASI without environment, arguments, folders, sockets and name look-up. Clocks and random bytes work; what is
/// written to standard output is thrown away, and standard input is at its end.
pub(in crate::runtime) struct EmptyWasi {
    context: WasiCtx,
    resources: ResourceTable,
}

impl EmptyWasi {
    fn new() -> Self {
        let mut resources = ResourceTable::new();
        resources.set_max_capacity(RESOURCES_MAX);
        let context = WasiCtx::builder()
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .socket_addr_check(|_, _| Box::pin(async { false }))
            .max_random_size(RANDOM_BYTES_MAX)
            .build();
        Self { context, resources }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi.get_or_insert_with(|| Box::new(EmptyWasi::new()));
        WasiCtxView { ctx: &mut wasi.context, table: &mut wasi.resources }
    }
}
