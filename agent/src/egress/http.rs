//! One HTTP request of a plugin: method, headers and size within bounds, addresses checked when dialled, redirects only
//! within the origin. No proxy, no cookies, no connection kept: each request is dialled, and so checked, anew.

use std::future::Future;
use std::net::IpAddr;

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Certificate, Client, Method, StatusCode, redirect};
use url::{Host, Url};

use super::address::{Guarded, Lookup, NotAdmitted, Reach};
use super::{SetupError, cause, failure, for_now, late};
use crate::plugin::Failure;
use crate::plugin::egress::{Request, Response};
use crate::plugin::rights::{HttpRights, Origin};

/// What webhooks and APIs need.
const METHODS: [Method; 6] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD];

/// Redirects that are followed; a service that needs more goes in circles.
const MAX_REDIRECTS: usize = 3;
/// Largest body of an answer, in bytes. Plugins tell people things, they do not fetch files.
const MAX_BODY: usize = 1 << 20;
/// Most headers of a request or an answer.
const MAX_HEADERS: usize = 100;
/// Most bytes of all names and values together.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// These belong to the connection, which is the agent's.
const RESERVED: [&str; 11] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "expect",
];

/// Sends requests.
pub(super) struct Http {
    /// For plugins that reach public addresses only.
    public: Client,
    /// For plugins granted private addresses too.
    private: Client,
}

impl Http {
    pub(super) fn new(authorities: &[Vec<u8>], lookup: Lookup) -> Result<Self, SetupError> {
        let mut trusted = Vec::new();
        for pem in authorities {
            trusted.extend(Certificate::from_pem_bundle(pem).map_err(SetupError::Http)?);
        }
        let client = |private| {
            Client::builder()
                .no_proxy()
                .redirect(redirect::Policy::none())
                .referer(false)
                .retry(reqwest::retry::never())
                .http1_max_headers(MAX_HEADERS)
                .pool_max_idle_per_host(0)
                .user_agent(concat!("whimbrel/", env!("CARGO_PKG_VERSION")))
                .tls_certs_merge(trusted.iter().cloned())
                .dns_resolver(Guarded { lookup: lookup.clone(), private })
                .build()
                .map_err(SetupError::Http)
        };
        Ok(Http { public: client(false)?, private: client(true)? })
    }

    /// Checks a request; the future sends it.
    pub(super) fn send(
        &self,
        rights: &HttpRights,
        request: Request,
    ) -> Result<impl Future<Output = Result<Response, Failure>> + Send + 'static, Failure> {
        let method = METHODS.into_iter().find(|known| known.as_str() == request.method);
        let method = method.ok_or_else(|| {
            failure("request", "the method must be one of GET, POST, PUT, PATCH, DELETE, HEAD, in capitals")
        })?;
        let url = Url::parse(&request.url).map_err(|_| failure("request", "the URL cannot be read"))?;
        let origin = Origin::of(&url).filter(|origin| rights.origins.contains(origin));
        let origin = origin.ok_or_else(|| failure("denied", "the URL's origin is not granted"))?;
        let headers = headers(&request.headers)?;
        let private = rights.private_addresses;
        admit(&url, private)?;
        let client = if private { self.private.clone() } else { self.public.clone() };
        Ok(follow(client, origin, Step { method, url, headers, body: request.body }, private))
    }
}

/// One request on the way through redirects.
struct Step {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
}

async fn follow(client: Client, origin: Origin, mut step: Step, private: bool) -> Result<Response, Failure> {
    for _ in 0..=MAX_REDIRECTS {
        let request = client.request(step.method.clone(), step.url.clone());
        let request = request.headers(step.headers.clone()).body(step.body.clone());
        let answer = request.send().await.map_err(|error| failed(&origin, &error))?;
        let Some(next) = redirected(&answer, &step.url)? else { return take(&origin, answer).await };
        if Origin::of(&next).as_ref() != Some(&origin) {
            // The new address is not repeated: it may echo what the request held.
            return Err(failure("redirect", format!("{origin} redirects to another origin, which is not followed")));
        }
        admit(&next, private)?;
        // As browsers do (RFC 9110, 15.4): only 307 and 308 keep method and body.
        if !matches!(answer.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
            if step.method != Method::HEAD {
                step.method = Method::GET;
            }
            step.body.clear();
            step.headers.remove(CONTENT_TYPE);
        }
        step.url = next;
    }
    Err(failure("redirect", format!("{origin} redirects more than {MAX_REDIRECTS} times")))
}

/// A host that is written as an address is not resolved, so it is checked here. The parser has brought decimal, octal and
/// hexadecimal notations into one form.
fn admit(url: &Url, private: bool) -> Result<(), Failure> {
    let address: IpAddr = match url.host() {
        Some(Host::Ipv4(address)) => address.into(),
        Some(Host::Ipv6(address)) => address.into(),
        Some(Host::Domain(_)) => return Ok(()),
        None => return Err(failure("request", "the URL names no host")),
    };
    if Reach::of(address).admitted(private) { Ok(()) } else { Err(failure("denied", NotAdmitted.to_string())) }
}

fn headers(list: &[(String, String)]) -> Result<HeaderMap, Failure> {
    let bytes: usize = list.iter().map(|(name, value)| name.len() + value.len()).sum();
    if list.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        return Err(failure("request", "more than 100 headers, or more than 64 KiB of them"));
    }
    let mut map = HeaderMap::with_capacity(list.len());
    for (name, value) in list {
        // Neither is repeated: a secret may stand in either.
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| failure("request", "a header's name has characters that no name may have"))?;
        if RESERVED.contains(&name.as_str()) {
            return Err(failure("request", format!("the header `{name}` is the agent's to set")));
        }
        let value = HeaderValue::from_str(value)
            .map_err(|_| failure("request", format!("the value of the header `{name}` has control characters")))?;
        map.append(name, value);
    }
    Ok(map)
}

/// Where an answer sends us, if it does.
fn redirected(answer: &reqwest::Response, from: &Url) -> Result<Option<Url>, Failure> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = answer.headers().get(LOCATION) else { return Ok(None) };
    let target = location.to_str().ok().and_then(|location| from.join(location).ok());
    target.map(Some).ok_or_else(|| failure("redirect", "the answer redirects to something that is no URL"))
}

/// Takes the answer in, chunk by chunk and never more than allowed.
async fn take(origin: &Origin, mut answer: reqwest::Response) -> Result<Response, Failure> {
    let too_large = || failure("too-large", format!("the answer of {origin} is larger than 1 MiB"));
    let announced = answer.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let has_body = answer.content_length() != Some(0);
    if has_body && announced.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(too_large());
    }
    let headers: Vec<(String, String)> = answer
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    if headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MAX_HEADER_BYTES {
        return Err(failure("too-large", format!("the answer of {origin} has more than 64 KiB of headers")));
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| failed(origin, &error))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response { status: answer.status().as_u16(), headers, body })
}

/// Names what went wrong by what caused it. The client's own words hold the URL and are left out.
fn failed(origin: &Origin, error: &reqwest::Error) -> Failure {
    if cause::<NotAdmitted>(error).is_some() {
        return failure("denied", NotAdmitted.to_string());
    }
    if let Some(tls) = cause::<rustls::Error>(error) {
        // Somebody will mend the certificate; what was to be told is worth the wait.
        return for_now("tls", format!("no trusted TLS connection to {origin}: {tls}"));
    }
    if error.is_timeout() {
        late()
    } else if error.is_builder() {
        failure("request", "the request cannot be sent as it is")
    } else if error.is_connect() {
        for_now("connect", format!("{origin} cannot be reached"))
    } else {
        for_now("connect", format!("the connection to {origin} broke, or what it answered is not HTTP"))
    }
}
