//! A fresh instance and one call into it.

use tokio::time::{Instant, timeout_at};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, ComponentNamedList, InstancePre, Lift, Lower};
use wasmtime::{PoolConcurrencyLimitError, Store, StoreContextMut, Trap, UpdateDeadline};

use crate::runtime::guest::Guest;
use crate::runtime::imports::NoRights;
use crate::runtime::{RunFailure, Runtime, RuntimeError};

/// How much of a trap's cause is kept for the log, in characters.
const CAUSE_CHARS_MAX: usize = 2000;
/// How often it's tried to lay a component's memory out.
const LAYOUT_TRIES: u32 = 4;
/// What a value costs besides its bytes when it goes from guest to host: pointers, lengths, discriminants.
const LIFT_OVERHEAD_BYTES: usize = 64 << 10;

impl Runtime {
    /// A store with all of its guest's limits in force. It serves one instance and is then thrown away: nothing
    /// stays from one call to the next.
    pub(super) fn store(&self, guest: Guest) -> Store<Guest> {
        let bytes_max = guest.limits.output_bytes_max.max(guest.limits.import_bytes_max);
        let mut store = Store::new(&self.engine, guest);
        store.set_hostcall_fuel(bytes_max.saturating_add(LIFT_OVERHEAD_BYTES));
        store.limiter(|guest| &mut guest.ceiling);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(at_epoch);
        store
    }
}

/// Makes an instance in the store and calls one of its exports, until the guest's deadline.
pub(super) async fn enter<P, R>(
    store: &mut Store<Guest>,
    component: &InstancePre<Guest>,
    export: &ComponentExportIndex,
    parameters: P,
) -> Result<R, RunFailure>
where
    P: ComponentNamedList + Lower + Send + Sync,
    R: ComponentNamedList + Lift + Send + Sync + 'static,
{
    let deadline = store.data().deadline;
    let call = async {
        let instance = component.instantiate_async(&mut *store).await?;
        let function = instance.get_typed_func::<P, R>(&mut *store, export)?;
        function.call_async(&mut *store, parameters).await
    };
    match timeout_at(deadline, call).await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(error)) => Err(failure(store.data(), &error)),
        Err(_) => Err(RunFailure::Deadline),
    }
}

/// Has the memory laid out that every instance begins with. wasmtime would do so for the first instance, and fail it where
/// the kernel can't seal the pages just then (`EBUSY`, for as long as something else of the kernel's looks at one of them):
/// so it's tried a few times, and what fails even so is left to the first instance.
pub(super) fn lay_memory_out(component: &Component) {
    for attempt in 1..=LAYOUT_TRIES {
        match component.initialize_copy_on_write_image() {
            Ok(()) => return,
            Err(error) => tracing::info!(attempt, "a component's memory can't be laid out: {error:#}"),
        }
    }
}

/// Finds an export and checks its type, once for all calls.
pub(super) fn export<P, R>(
    component: &Component,
    linked: &InstancePre<Guest>,
    name: &str,
) -> Result<ComponentExportIndex, RuntimeError>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    let (item, index) = component
        .get_export(None, name)
        .ok_or_else(|| RuntimeError::Contract(format!("there's no export `{name}`")))?;
    let ComponentItem::ComponentFunc(function) = item else {
        return Err(RuntimeError::Contract(format!("the export `{name}` is no function")));
    };
    function.typecheck::<P, R>(&linked.instance_type()).map_err(|error| {
        RuntimeError::Contract(format!("the export `{name}` has another type: {error:#}"))
    })?;
    Ok(index)
}

/// At each tick a computing guest lets others have the thread, unless its time is up. Without that, as many endless
/// loops as there are threads would stop the whole host, deadlines included.
fn at_epoch(guest: StoreContextMut<'_, Guest>) -> wasmtime::Result<UpdateDeadline> {
    if Instant::now() >= guest.data().deadline {
        Ok(UpdateDeadline::Interrupt)
    } else {
        // Tokio's own yield lets sockets and timers have their turn; a bare one is taken up again at once, and only
        // every sixty-first time would the thread look at anything else.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    }
}

fn failure(guest: &Guest, error: &wasmtime::Error) -> RunFailure {
    if error.is::<PoolConcurrencyLimitError>() {
        return RunFailure::Busy;
    }
    if matches!(error.downcast_ref(), Some(Trap::Interrupt)) {
        return RunFailure::Deadline;
    }
    if guest.ceiling.was_hit() {
        return RunFailure::Memory;
    }
    let cause = match error.downcast_ref::<NoRights>() {
        Some(refused) => refused.to_string(),
        None => format!("{error:#}"),
    };
    // wasmtime doesn't export this error's type.
    if cause.contains("fuel allocated for hostcalls has been exhausted") {
        return RunFailure::OutputTooLarge;
    }
    RunFailure::Trap(for_the_log(&cause))
}

/// A cause on one line: it holds names that the component's author chose.
fn for_the_log(cause: &str) -> String {
    let lines: Vec<_> = cause.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" | ").chars().filter(|char| !char.is_control()).take(CAUSE_CHARS_MAX).collect()
}
