//! MongoDB.

/// What a MongoDB migration does, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// The steps.
    pub steps: Vec<Step>,
}

/// A step.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {}

/// Something that must hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {}

impl std::fmt::Display for Check {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}
