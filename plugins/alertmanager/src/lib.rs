//! Hands alerts to a Prometheus Alertmanager (API v2), whose routes, silences and receivers then decide. It takes an alert for
//! over when its end has come, so one that goes on is given an end far enough ahead to be told again before.

mod alert;
mod told;

use std::collections::BTreeMap;

use whimbrel_plugin::http::Request;
use whimbrel_plugin::json::Json;
use whimbrel_plugin::notice::line;
use whimbrel_plugin::prelude::*;

use told::Told;

/// Hands alerts to a Prometheus Alertmanager.
#[derive(Config)]
pub struct Alertmanager {
    /// Where it is: `http://alertmanager.example.org:9093`, with its route prefix if it has one.
    url: String,
    /// More labels of each alert.
    #[config(default)]
    labels: BTreeMap<String, String>,
    /// After how many minutes an alert that goes on is taken for over when it is not told again. More than the route's
    /// `repeat`.
    #[config(default = 600_u32)]
    expires_minutes: u32,
}

#[channel(description = "Hands alerts to a Prometheus Alertmanager", secrets = [])]
impl Channel for Alertmanager {
    fn start(&mut self, _cx: &ChannelContext) -> Result<(), Failure> {
        let wrong = |message: String| Err(Failure::new("config", message));
        let host = self.url.strip_prefix("https://").or_else(|| self.url.strip_prefix("http://"));
        if host.is_none_or(str::is_empty) || self.url.contains(|c: char| "?#".contains(c) || c.is_whitespace()) {
            return wrong("url: write `http://HOST:9093`, without the API's path".to_owned());
        }
        if self.url.trim_end_matches('/').ends_with("/api/v2") || self.url.contains("/api/v2/") {
            return wrong("url: leave out `/api/v2/alerts`, it is added".to_owned());
        }
        for (name, value) in &self.labels {
            if !alert::is_label(name) || alert::OWN_LABELS.contains(&name.as_str()) {
                return wrong(format!("labels: `{}` cannot be a label's name here", line(name)));
            }
            if value.is_empty() || line(value) != *value {
                return wrong(format!("labels.{name}: must be one line"));
            }
        }
        if self.expires_minutes == 0 {
            return wrong("expires_minutes: must be more than 0".to_owned());
        }
        Ok(())
    }

    fn deliver(&mut self, alerts: &[Alert], cx: &ChannelContext) -> Result<(), Failure> {
        if alerts.is_empty() {
            return Ok(());
        }
        let mut told = Told::kept(cx);
        let now_ms = cx.now_ms();
        let ends_ms = now_ms.saturating_add(i64::from(self.expires_minutes).saturating_mul(60_000));
        let mut posted = Vec::with_capacity(alerts.len());
        for alert in alerts {
            let end_ms = match alert.status {
                Status::Firing | Status::Acknowledged => ends_ms,
                Status::Resolved => alert.until_ms.unwrap_or(now_ms),
            };
            posted.push(alert::of(alert, alert.severity, now_ms, end_ms, &self.labels));
            let former = told.former(alert);
            posted.extend(former.map(|former| alert::of(alert, former, now_ms, end_ms.min(now_ms), &self.labels)));
        }
        let url = format!("{}/api/v2/alerts", self.url.trim_end_matches('/'));
        cx.send(&Request::post(url).json(Json::List(posted).to_string()))?.accepted()?;
        for alert in alerts {
            told.tell(alert);
        }
        told.keep(cx);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
