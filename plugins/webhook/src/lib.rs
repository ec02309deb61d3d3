//! Alerts as JSON to any URL, signed so that the receiver knows who wrote it. What the JSON looks like is the operator's: a
//! template whose structure is read before any alert, so that no alert's text can change it.

mod fields;
mod template;

use whimbrel_plugin::http::Request;
use whimbrel_plugin::prelude::*;

pub use template::Template;

/// What is sent where the configuration has no template.
const DEFAULT_TEMPLATE: &str = include_str!("default.json");

/// Names the delivery; the same alerts in the same state have the same.
const DELIVERY: &str = "x-whimbrel-delivery";
/// `t=MILLISECONDS,v1=HEX`: the HMAC-SHA-256 of the time, a full stop and the body.
const SIGNATURE: &str = "x-whimbrel-signature";

/// Posts alerts as JSON to a URL.
#[derive(Config)]
pub struct Webhook {
    /// Where to.
    url: Option<String>,
    /// Instead of `url`: the name of the secret that is the URL.
    url_secret: Option<String>,
    /// The name of the secret that signs the body; without it, nothing is signed.
    secret: Option<String>,
    /// More headers.
    #[config(default)]
    headers: Vec<Header>,
    /// What is sent: JSON in whose texts `{{title}}` and the like stand for an alert's fields.
    #[config(default = DEFAULT_TEMPLATE.to_owned())]
    template: String,
    /// One request per alert instead of one for all.
    #[config(default = false)]
    one_by_one: bool,
    #[config(skip)]
    parsed: Option<Template>,
}

/// A header that is sent along.
#[derive(Config)]
pub struct Header {
    /// Its name.
    name: String,
    /// Its value.
    #[config(default = "")]
    value: String,
    /// The name of a secret that is put behind the value.
    secret: Option<String>,
}

impl Header {
    fn check(&self) -> Result<(), &'static str> {
        let name = self.name.to_ascii_lowercase();
        if name.is_empty()
            || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
        {
            return Err("a header's name has letters, digits and hyphens only");
        }
        if [DELIVERY, SIGNATURE, "content-type", "content-length", "host"].contains(&name.as_str()) {
            return Err("this header is set already");
        }
        if self.value.chars().any(char::is_control) {
            return Err("a header's value is one line");
        }
        Ok(())
    }
}

fn wrong(message: impl Into<String>) -> Failure {
    Failure::new("config", message)
}

#[channel(description = "Posts alerts as JSON to a URL, signed")]
impl Channel for Webhook {
    fn start(&mut self, cx: &ChannelContext) -> Result<(), Failure> {
        match (&self.url, &self.url_secret) {
            (Some(url), None) if url.starts_with("https://") || url.starts_with("http://") => {}
            (Some(_), None) => return Err(wrong("url: must begin with https:// or http://")),
            (None, Some(_)) => {}
            _ => return Err(wrong("give one of `url` and `url_secret`")),
        }
        for (index, header) in self.headers.iter().enumerate() {
            header.check().map_err(|reason| wrong(format!("headers[{index}]: {reason}")))?;
        }
        let secrets = self.headers.iter().filter_map(|header| header.secret.as_ref());
        for name in secrets.chain(&self.url_secret).chain(&self.secret) {
            cx.secret(name)?;
        }
        let template =
            Template::parse(&self.template, self.one_by_one).map_err(|reason| wrong(format!("template: {reason}")))?;
        self.parsed = Some(template);
        Ok(())
    }

    fn deliver(&mut self, alerts: &[Alert], cx: &ChannelContext) -> Result<(), Failure> {
        let Some(template) = &self.parsed else { return Err(wrong("the plugin was not started")) };
        if !self.one_by_one {
            return if alerts.is_empty() { Ok(()) } else { self.post(template, alerts, cx) };
        }
        let mut refused = None;
        for alert in alerts.chunks(1) {
            match self.post(template, alert, cx) {
                Ok(()) => {}
                // The rest would fail the same way, and comes again with this one.
                Err(failure) if failure.retryable => return Err(failure),
                // One alert that the receiver does not want must not keep the others from it.
                Err(failure) => refused = Some(refused.unwrap_or(failure)),
            }
        }
        refused.map_or(Ok(()), Err)
    }
}

impl Webhook {
    fn post(&self, template: &Template, alerts: &[Alert], cx: &ChannelContext) -> Result<(), Failure> {
        let url = match (&self.url, &self.url_secret) {
            (Some(url), _) => url.clone(),
            (None, Some(name)) => cx.secret(name)?,
            (None, None) => return Err(wrong("there is no URL")),
        };
        let delivery = fields::delivery(alerts);
        let body = template.filled(alerts).to_string();
        let mut request = Request::post(url).header(DELIVERY, delivery);
        if let Some(name) = &self.secret {
            let at_ms = cx.now_ms();
            let signature = cx.sign(name, format!("{at_ms}.{body}").as_bytes())?;
            let hex: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
            request = request.header(SIGNATURE, format!("t={at_ms},v1={hex}"));
        }
        for header in &self.headers {
            let secret = header.secret.as_ref().map(|name| cx.secret(name)).transpose()?;
            request = request.header(&header.name, format!("{}{}", header.value, secret.unwrap_or_default()));
        }
        cx.send(&request.json(body))?.accepted().map(drop)
    }
}

#[cfg(test)]
mod tests;
