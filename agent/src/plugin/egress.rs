//! What leaves the agent on a plugin's behalf, as the host functions hand it over: checked against the plugin's rights
//! before, and sent by whoever implements [`Egress`].

use std::time::Duration;

use super::batch::Failure;
use super::rights::{HttpRights, MailRights};

/// A request with the secrets in their places.
#[derive(Debug)]
pub struct Request {
    /// "GET", "POST", …
    pub method: String,
    /// Where to.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A mail to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Recipients.
    pub to: Vec<String>,
    /// The subject line.
    pub subject: String,
    /// The plain text.
    pub text: String,
    /// The same as HTML.
    pub html: Option<String>,
}

/// Sends what plugins hand over. Calls block for `within` at the most.
pub trait Egress: Send + Sync {
    /// Sends a request to an origin these rights name, whatever its host name resolves to by now.
    ///
    /// # Errors
    /// With one of the codes in `egress.wit`.
    fn http(&self, rights: &HttpRights, request: Request, within: Duration) -> Result<Response, Failure>;

    /// Sends a mail.
    ///
    /// # Errors
    /// With one of the codes in `egress.wit`.
    fn mail(&self, rights: &MailRights, mail: Mail, within: Duration) -> Result<(), Failure>;
}
