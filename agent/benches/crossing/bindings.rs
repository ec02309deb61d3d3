//! What the benchmark's WIT file says, as Rust: generated, and nothing else.

wasmtime::component::bindgen!({
    path: "benches/crossing/wit",
    world: "crossing",
    imports: { default: trappable },
    with: { "bench:crossing/host.batch": super::host::BatchHandle },
});
