//! Mail of a channel, as plain data: the agent sends it, from an address and through a server of its own.

/// A mail.
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
