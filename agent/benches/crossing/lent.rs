//! Packed columns read where they lie in the guest's memory, with hand-written host functions in the place of the
//! generated ones: what do the generated functions' copies cost?

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Resource, WasmList, WasmStr};
use whimbrel::plugin::ColumnPath;

use super::host::{BatchHandle, State, write};

#[derive(ComponentType, Lift)]
#[component(record)]
struct Lent {
    offsets: WasmList<u32>,
    data: WasmStr,
    nulls: WasmList<u8>,
}

/// Replaces the function that takes a packed column.
pub(super) fn shadow(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut host = linker.instance("bench:crossing/host")?;
    host.func_wrap(
        "[method]batch.set-text-column",
        |mut store: StoreContextMut<'_, State>, (_, path, values): (Resource<BatchHandle>, WasmStr, Lent)| {
            let mut view = store.data_mut().view.take().ok_or_else(|| wasmtime::Error::msg("no batch"))?;
            let path = path.to_str(&store)?;
            let path = ColumnPath::parse(&path).ok_or_else(|| wasmtime::Error::msg("no such path"))?;
            let done = write(
                &mut view,
                path,
                values.offsets.as_le_slice(&store),
                &values.data.to_str(&store)?,
                values.nulls.as_le_slice(&store),
            );
            store.data_mut().view = Some(view);
            done
        },
    )
}
