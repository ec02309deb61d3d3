//! HTTP requests of a channel, as plain data: the agent sends them.

/// A request. Header values, URL and body may hold references to secrets ([`crate::ChannelContext::secret`]).
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
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The same request with a body of JSON text.
    #[must_use]
    pub fn json(self, body: impl Into<String>) -> Self {
        let mut request = self.header("content-type", "application/json");
        request.body = body.into().into_bytes();
        request
    }
}

/// The answer.
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
    #[must_use]
    pub fn new(status: u16) -> Self {
        Response { status, headers: Vec::new(), body: Vec::new() }
    }

    /// Whether the status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of this name, letter case aside.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text, with what is not UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
