//! What the WIT files say, as Rust: generated, and nothing else. The batch stays with the host, so the generated
//! resource maps to a marker; `host` finds the real batch in the store. The worlds share the types and host
//! interfaces of the first one.

/// The world of transforms, and what all worlds share.
pub(super) mod transform {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "event-transform",
        imports: { default: trappable },
        additional_derives: [PartialEq],
        with: { "whimbrel:plugin/events.batch": crate::plugin::host::BatchHandle },
    });
}

/// The world of rules.
pub(super) mod rule {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "anomaly-rule",
        imports: { default: trappable },
        additional_derives: [PartialEq],
        with: {
            "whimbrel:plugin/types": super::transform::whimbrel::plugin::types,
            "whimbrel:plugin/host-log": super::transform::whimbrel::plugin::host_log,
            "whimbrel:plugin/host-state": super::transform::whimbrel::plugin::host_state,
            "whimbrel:plugin/host-metrics": super::transform::whimbrel::plugin::host_metrics,
            "whimbrel:plugin/host-clock": super::transform::whimbrel::plugin::host_clock,
        },
    });
}

/// The world of channels.
pub(super) mod channel {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "alert-channel",
        imports: { default: trappable },
        additional_derives: [PartialEq],
        with: {
            "whimbrel:plugin/types": super::transform::whimbrel::plugin::types,
            "whimbrel:plugin/host-log": super::transform::whimbrel::plugin::host_log,
            "whimbrel:plugin/host-state": super::transform::whimbrel::plugin::host_state,
            "whimbrel:plugin/host-metrics": super::transform::whimbrel::plugin::host_metrics,
            "whimbrel:plugin/host-clock": super::transform::whimbrel::plugin::host_clock,
        },
    });
}

/// The world of migrations.
pub(super) mod migration {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "database-migration",
        imports: { default: trappable },
        additional_derives: [PartialEq],
        with: {
            "whimbrel:plugin/types": super::transform::whimbrel::plugin::types,
            "whimbrel:plugin/host-log": super::transform::whimbrel::plugin::host_log,
            "whimbrel:plugin/host-state": super::transform::whimbrel::plugin::host_state,
            "whimbrel:plugin/host-metrics": super::transform::whimbrel::plugin::host_metrics,
            "whimbrel:plugin/host-clock": super::transform::whimbrel::plugin::host_clock,
        },
    });
}

pub(super) use transform::whimbrel::plugin::{events, types};
