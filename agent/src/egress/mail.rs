//! One mail of a plugin, through the server the agent is configured with. Sender and server are not the plugin's business;
//! what it writes cannot become a header.

use std::future::Future;
use std::time::Duration;

use lettre::message::{Mailbox, Message, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use super::{SetupError, cause, failure, for_now, late};
use crate::config::secret::Secret;
use crate::plugin::Failure;
use crate::plugin::egress::Mail;
use crate::plugin::rights::MailRights;

/// Most recipients of one mail; servers refuse more than some hundred.
const MAX_RECIPIENTS: usize = 50;
/// Longest subject, in characters; what is beyond is cut.
const MAX_SUBJECT: usize = 500;
/// Most bytes of text and HTML together.
const MAX_TEXT: usize = 1 << 20;

/// The server that takes the agent's mail.
#[derive(Clone)]
pub struct MailSettings {
    /// Its host.
    pub host: String,
    /// Its port: 587 with STARTTLS, 465 with TLS from the start.
    pub port: u16,
    /// How the connection is protected.
    pub tls: MailTls,
    /// User and password, where the server wants them.
    pub login: Option<(String, Secret)>,
    /// The sender: an address, with a name before it or not.
    pub from: String,
}

crate::config::opaque::opaque_debug!(MailSettings);

/// How the connection to the mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// It begins plain and must become TLS before anything is said; a server that cannot is refused.
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// Nothing: for a relay on this machine. No login then.
    None,
}

/// Sends mail.
pub(super) struct Mailer {
    settings: MailSettings,
    from: Mailbox,
    tls: Tls,
}

impl Mailer {
    pub(super) fn new(settings: MailSettings, authorities: &[Vec<u8>]) -> Result<Self, SetupError> {
        let wrong = |what: String| SetupError::Mail { what };
        let from = settings.from.parse().map_err(|_| {
            wrong("the sender is no address; write `whimbrel@example.org` or `Whimbrel <whimbrel@example.org>`".into())
        })?;
        if settings.tls == MailTls::None && settings.login.is_some() {
            return Err(wrong("a password over a connection without TLS; use STARTTLS or TLS, or no login".into()));
        }
        let parameters = || {
            let mut builder = TlsParameters::builder(settings.host.clone());
            for pem in authorities {
                let authority = Certificate::from_pem(pem)
                    .map_err(|error| wrong(format!("an authority's certificate cannot be read: {error}")))?;
                builder = builder.add_root_certificate(authority);
            }
            builder.build().map_err(|error| wrong(format!("TLS cannot be set up: {error}")))
        };
        let tls = match settings.tls {
            MailTls::StartTls => Tls::Required(parameters()?),
            MailTls::Tls => Tls::Wrapper(parameters()?),
            MailTls::None => Tls::None,
        };
        Ok(Mailer { settings, from, tls })
    }

    /// Checks a mail; the future sends it.
    pub(super) fn send(
        &self,
        rights: &MailRights,
        mail: Mail,
        within: Duration,
    ) -> Result<impl Future<Output = Result<(), Failure>> + Send + 'static, Failure> {
        let message = self.message(rights, mail)?;
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(self.settings.host.as_str())
            .port(self.settings.port)
            .tls(self.tls.clone())
            .timeout(Some(within));
        if let Some((user, password)) = &self.settings.login {
            transport = transport.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        let transport = transport.build();
        Ok(async move { transport.send(message).await.map(drop).map_err(|error| failed(&error)) })
    }

    fn message(&self, rights: &MailRights, mail: Mail) -> Result<Message, Failure> {
        if mail.to.is_empty() || mail.to.len() > MAX_RECIPIENTS {
            return Err(failure("address", format!("a mail has 1 to {MAX_RECIPIENTS} recipients")));
        }
        if mail.text.len() + mail.html.as_ref().map_or(0, String::len) > MAX_TEXT {
            return Err(failure("rejected", "the mail is larger than 1 MiB"));
        }
        let mut message = Message::builder().from(self.from.clone()).subject(subject(&mail.subject));
        for to in &mail.to {
            // An address and nothing else: a display name or a second address would not have been checked.
            let address: Address = to
                .parse()
                .map_err(|_| failure("address", "a recipient is not a plain address such as a@example.org"))?;
            if !rights.admit(address.as_ref()) {
                return Err(failure("denied", "a recipient is not granted; see `grants: mail: recipients:`"));
            }
            message = message.to(Mailbox::new(None, address));
        }
        let built = match mail.html {
            Some(html) => message.multipart(MultiPart::alternative_plain_html(mail.text, html)),
            None => message.singlepart(SinglePart::plain(mail.text)),
        };
        built.map_err(|_| failure("address", "the mail cannot be put together"))
    }
}

/// One line: a line break would begin another header.
fn subject(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SUBJECT).collect()
}

/// Codes of RFC 5321 and 4954, by what a plugin can do about them. The server's words may repeat addresses, never secrets.
fn failed(error: &lettre::transport::smtp::Error) -> Failure {
    if error.is_timeout() {
        return late();
    }
    if let Some(code) = error.status() {
        let code = u16::from(code);
        return match code {
            454 => for_now("auth", "the mail server cannot check the login now"),
            530 | 534 | 535 | 538 => failure("auth", format!("the mail server refuses the agent's login ({code})")),
            _ if error.is_transient() => for_now("rejected", format!("the mail server says not now ({code})")),
            _ => failure("rejected", format!("the mail server refuses the mail ({code})")),
        };
    }
    if error.is_tls() || cause::<rustls::Error>(error).is_some() {
        return for_now("tls", "no trusted TLS connection to the mail server");
    }
    if error.is_client() {
        // STARTTLS or a login that the server does not offer, or an address it cannot take.
        return failure("connect", format!("the mail server does not offer what is configured: {error}"));
    }
    for_now("connect", "the mail server cannot be reached, or hung up")
}
