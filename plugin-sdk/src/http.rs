//! HTTP requests of a channel, as plain data: the agent sends them.
//!
//! ```
//! use whimbrel_plugin::http::{Request, Response};
//! use whimbrel_plugin::testing::TestHost;
//!
//! let host = TestHost::new().answering(Response::new(429));
//! let answer = host.channel_context().send(&Request::new("GET", "https://status.example.org/"))?;
//! assert_eq!(answer.status, 429);
//! # Ok::<(), whimbrel_plugin::Failure>(())
//! ```

use crate::failure::Failure;

/// A request. Header values, URL and body may hold references to secrets ([`crate::ChannelContext::secret`]).
///
/// ```
/// use whimbrel_plugin::http::Request;
///
/// let request = Request {
///     method: "PUT".to_owned(),
///     url: "https://chat.example.org/topic".to_owned(),
///     headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
///     body: b"pipeline shop is slow".to_vec(),
/// };
/// assert_eq!(Request::new("PUT", "https://chat.example.org/topic").url, request.url);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// "GET", "POST", …
    pub method: String,
    /// Scheme, host, path and query.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without headers and body.
    ///
    /// ```
    /// # use whimbrel_plugin::http::Request;
    /// let request = Request::new("DELETE", "https://chat.example.org/message/7");
    /// assert_eq!(request.method, "DELETE");
    /// assert!(request.headers.is_empty() && request.body.is_empty());
    /// ```
    #[must_use]
    pub fn new(method: &str, url: impl Into<String>) -> Self {
        Request { method: method.to_owned(), url: url.into(), headers: Vec::new(), body: Vec::new() }
    }

    /// A POST request.
    ///
    /// ```
    /// use whimbrel_plugin::http::Request;
    ///
    /// let request = Request::post("https://example.org/hook").header("x-team", "data").json("{}");
    /// assert_eq!(request.headers.len(), 2);
    /// ```
    #[must_use]
    pub fn post(url: impl Into<String>) -> Self {
        Request::new("POST", url)
    }

    /// The same request with one more header.
    ///
    /// ```
    /// # use whimbrel_plugin::http::Request;
    /// let request = Request::post("https://chat.example.org/").header("x-team", "data").header("x-shift", "night");
    /// assert_eq!(request.headers[1], ("x-shift".to_owned(), "night".to_owned()));
    /// ```
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The same request with a body of JSON text.
    ///
    /// ```
    /// # use whimbrel_plugin::http::Request;
    /// let request = Request::post("https://chat.example.org/").json(r#"{"text":"hello"}"#);
    /// assert_eq!(request.headers, [("content-type".to_owned(), "application/json".to_owned())]);
    /// assert_eq!(request.body, br#"{"text":"hello"}"#);
    /// ```
    #[must_use]
    pub fn json(self, body: impl Into<String>) -> Self {
        let mut request = self.header("content-type", "application/json");
        request.body = body.into().into_bytes();
        request
    }
}

/// The answer.
///
/// ```
/// use whimbrel_plugin::http::Response;
///
/// let answer = Response { body: b"no such channel".to_vec(), ..Response::new(404) };
/// assert!(!answer.is_success());
/// assert_eq!(answer.text(), "no such channel");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body, as far as the agent's size limit allows.
    pub body: Vec<u8>,
}

impl Response {
    /// An answer without headers and body, for tests.
    ///
    /// ```
    /// # use whimbrel_plugin::http::Response;
    /// let answer = Response::new(204);
    /// assert_eq!((answer.status, answer.body.len()), (204, 0));
    /// ```
    #[must_use]
    pub fn new(status: u16) -> Self {
        Response { status, headers: Vec::new(), body: Vec::new() }
    }

    /// Whether the status is 2xx.
    ///
    /// ```
    /// # use whimbrel_plugin::http::Response;
    /// assert!(Response::new(204).is_success());
    /// assert!(!Response::new(302).is_success());
    /// ```
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The answer when its status is 2xx, and otherwise a failure that says whether the same may succeed later. The body is
    /// not repeated: it may echo what the request held. For how many seconds the server wants to be left alone (`Retry-After`,
    /// RFC 9110, 10.2.3) is said in the message; a date there is not, and when it is tried again is the agent's matter.
    ///
    /// ```
    /// # use whimbrel_plugin::http::Response;
    /// assert!(Response::new(202).accepted().is_ok());
    /// assert!(Response::new(429).accepted().unwrap_err().retryable);
    /// assert!(!Response::new(400).accepted().unwrap_err().retryable);
    ///
    /// let headers = vec![("retry-after".to_owned(), "30".to_owned())];
    /// let busy = Response { headers, ..Response::new(429) }.accepted().unwrap_err();
    /// assert_eq!(busy.message, "the server answered with 429: retry after 30 s");
    /// ```
    ///
    /// # Errors
    /// [`Failure::status`], when the status is not 2xx.
    pub fn accepted(self) -> Result<Self, Failure> {
        if self.is_success() {
            return Ok(self);
        }
        let mut failure = Failure::status(self.status);
        let named = self.header("retry-after").and_then(|seconds| seconds.trim().parse::<u32>().ok());
        if let Some(seconds) = named.filter(|_| failure.retryable) {
            failure.message.push_str(&format!(": retry after {seconds} s"));
        }
        Err(failure)
    }

    /// The first header of this name, letter case aside.
    ///
    /// ```
    /// # use whimbrel_plugin::http::Response;
    /// let headers = vec![("Retry-After".to_owned(), "30".to_owned())];
    /// let answer = Response { headers, ..Response::new(429) };
    /// assert_eq!(answer.header("retry-after"), Some("30"));
    /// assert_eq!(answer.header("etag"), None);
    /// ```
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text, with what is not UTF-8 replaced.
    ///
    /// ```
    /// # use whimbrel_plugin::http::Response;
    /// let answer = Response { body: b"caf\xe9".to_vec(), ..Response::new(200) };
    /// assert_eq!(answer.text(), "caf\u{fffd}");
    /// ```
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_seconds_after_which_it_may_succeed_are_told() {
        for (status, header, told) in [
            (429, "30", "the server answered with 429: retry after 30 s"),
            (503, " 120 ", "the server answered with 503: retry after 120 s"),
            (429, "Wed, 21 Oct 2026 07:28:00 GMT", "the server answered with 429"),
            (429, "whimbrel-secret", "the server answered with 429"),
            (429, "-1", "the server answered with 429"),
            (429, "99999999999", "the server answered with 429"),
            (400, "30", "the server answered with 400"),
        ] {
            let headers = vec![("Retry-After".to_owned(), header.to_owned())];
            let failure = Response { headers, ..Response::new(status) }.accepted().unwrap_err();
            assert_eq!(failure.message, told, "{header}");
            assert_eq!(failure.retryable, status != 400, "{status}");
        }
    }
}
