//! Mail of a channel, as plain data: the agent sends it, from an address and through a server of its own.

/// A mail.
///
/// ```
/// use whimbrel_plugin::{Alert, Mail};
///
/// let alert = Alert::sample();
/// let mail = Mail {
///     to: vec!["oncall@example.org".to_owned()],
///     subject: alert.title.clone(),
///     text: format!("{}\n{}", alert.detail, alert.action),
///     ..Mail::default()
/// };
/// assert_eq!(mail.text, "12 rows/s, expected 100\nlook at the target's load");
/// assert_eq!(mail.html, None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// Recipients' addresses.
    pub to: Vec<String>,
    /// One line.
    pub subject: String,
    /// The plain text.
    pub text: String,
    /// The same as HTML.
    pub html: Option<String>,
}
