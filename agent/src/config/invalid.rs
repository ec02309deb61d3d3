//! What a stage says of a setting it cannot use.

/// A setting that is well-formed but wrong. The loader adds file and line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}; {hint}")]
pub struct Invalid {
    /// Path of the field from where the stage's section begins, such as `kafka.topics[0]`; the caller prefixes its own.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub hint: String,
}

impl Invalid {
    /// A finding about the field at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), hint: hint.into() }
    }

    /// The same finding seen from one level up.
    #[must_use]
    pub fn within(mut self, parent: &str) -> Self {
        self.path = if parent.is_empty() {
            self.path
        } else if self.path.is_empty() {
            parent.to_owned()
        } else if self.path.starts_with('[') {
            format!("{parent}{}", self.path)
        } else {
            format!("{parent}.{}", self.path)
        };
        self
    }
}
