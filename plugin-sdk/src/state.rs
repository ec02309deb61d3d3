//! What the agent keeps for a plugin. Nothing is held here; each call goes to the host.

use crate::failure::Failure;
use crate::host::{self, Services};

/// Bytes by key that outlive the instance; see [`crate::Context::state`]. What a call writes stands only when the call ends well.
///
/// ```
/// use whimbrel_plugin::testing::context;
///
/// let cx = context();
/// let state = cx.state();
/// state.set("last_id", b"1815")?;
/// assert_eq!(state.get("last_id").as_deref(), Some(&b"1815"[..]));
/// state.delete("last_id");
/// assert_eq!(state.get("last_id"), None);
/// # Ok::<(), whimbrel_plugin::Failure>(())
/// ```
#[derive(Debug)]
pub struct State<'a>(pub(crate) &'a Services);

impl State<'_> {
    /// What is kept under this key.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::TestHost;
    /// let cx = TestHost::new().state("last_id", b"1815").context();
    /// let last_id = cx.state().get("last_id").and_then(|bytes| String::from_utf8(bytes).ok());
    /// assert_eq!(last_id.as_deref(), Some("1815"));
    /// assert_eq!(cx.state().get("never written"), None);
    /// ```
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        host::state_get(self.0, key)
    }

    /// Keeps a value.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::TestHost;
    /// let host = TestHost::new();
    /// let cx = host.context();
    /// cx.state().set("last_id", b"1815")?;
    /// assert_eq!(host.kept("last_id").as_deref(), Some(&b"1815"[..]));
    /// assert_eq!(cx.state().set("", b"1815").unwrap_err().code, "key");
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    ///
    /// # Errors
    /// With "quota" when that is more than was granted, with "key" when the key is empty or longer than 256 bytes.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<(), Failure> {
        host::state_set(self.0, key, value)
    }

    /// Forgets a key.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::TestHost;
    /// let host = TestHost::new().state("last_id", b"1815");
    /// host.context().state().delete("last_id");
    /// assert_eq!(host.kept("last_id"), None);
    /// ```
    pub fn delete(&self, key: &str) {
        host::state_delete(self.0, key);
    }
}
