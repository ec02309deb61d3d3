//! Calls to a channel.

use super::bindings::channel::exports::whimbrel::plugin::channel;
use super::bindings::whimbrel::plugin::types;
use super::{Slot, context};
use crate::channel::{Alert, Channel, Status};
use crate::context::ChannelContext;
use crate::stats::Severity;

impl<T: Channel> Slot<T> {
    /// The agent's first call.
    pub fn configure_channel(&self, json: &str) -> Result<(), types::Failure> {
        self.fill(json, |plugin| plugin.start(&ChannelContext(context())))
    }

    /// One notification.
    pub fn deliver(&self, alerts: Vec<channel::Alert>) -> Result<(), types::Failure> {
        let alerts: Vec<Alert> = alerts.into_iter().map(Alert::from).collect();
        self.with(|plugin| plugin.deliver(&alerts, &ChannelContext(context())))
    }
}

impl From<types::Severity> for Severity {
    fn from(severity: types::Severity) -> Self {
        match severity {
            types::Severity::Info => Severity::Info,
            types::Severity::Warning => Severity::Warning,
            types::Severity::Critical => Severity::Critical,
        }
    }
}

impl From<channel::Alert> for Alert {
    fn from(alert: channel::Alert) -> Self {
        Alert {
            id: alert.id,
            status: match alert.status {
                channel::Status::Firing => Status::Firing,
                channel::Status::Acknowledged => Status::Acknowledged,
                channel::Status::Resolved => Status::Resolved,
            },
            severity: alert.severity.into(),
            rule: alert.rule,
            kind: alert.kind,
            title: alert.title,
            detail: alert.detail,
            action: alert.action,
            scope: alert.scope,
            since_ms: alert.since_ms,
            until_ms: alert.until_ms,
            count: alert.count,
            url: alert.url,
            attributes: alert.attributes.into_iter().map(|(name, value)| (name, value.into())).collect(),
        }
    }
}

/// Exports the world.
#[doc(hidden)]
#[macro_export]
macro_rules! export_channel {
    ($exports:ident, $slot:ident) => {
        impl $crate::guest::bindings::exports::whimbrel::plugin::lifecycle::Guest for $exports {
            fn configure(
                config_json: String,
            ) -> Result<(), $crate::guest::bindings::whimbrel::plugin::types::Failure> {
                $slot.configure_channel(&config_json)
            }
        }

        impl $crate::guest::bindings::channel::exports::whimbrel::plugin::channel::Guest for $exports {
            fn deliver(
                alerts: Vec<$crate::guest::bindings::channel::exports::whimbrel::plugin::channel::Alert>,
            ) -> Result<(), $crate::guest::bindings::whimbrel::plugin::types::Failure> {
                $slot.deliver(alerts)
            }
        }

        $crate::guest::bindings::export_lifecycle!($exports with_types_in $crate::guest::bindings);
        $crate::guest::bindings::channel::export_own!($exports with_types_in $crate::guest::bindings::channel);
    };
}
pub use export_channel as export;
