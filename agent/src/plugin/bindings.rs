//! What the WIT files say, as Rust: generated, and nothing else. The batch stays with the host, so the generated
//! resource maps to a marker; `host` finds the real batch in the store.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "event-transform",
    imports: { default: trappable },
    additional_derives: [PartialEq],
    with: { "whimbrel:plugin/events.batch": super::host::BatchHandle },
});
