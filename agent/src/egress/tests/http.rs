use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::dns::Resolve;

use super::AUTHORITY;
use super::server::{self, Part, whole};
use crate::egress::address::{Guarded, Lookup, NotAdmitted};
use crate::egress::{Outbound, OutboundSettings};
use crate::plugin::Failure;
use crate::plugin::egress::{Egress, Request, Response};
use crate::plugin::rights::{HttpRights, Origin};

fn outbound() -> Outbound {
    Outbound::new(OutboundSettings { authorities: vec![AUTHORITY.to_vec()], ..OutboundSettings::default() }).unwrap()
}

fn rights(origin: &str, private_addresses: bool) -> HttpRights {
    HttpRights { origins: vec![Origin::parse(origin).unwrap()], private_addresses }
}

fn get(url: &str) -> Request {
    Request { method: "GET".to_owned(), url: url.to_owned(), headers: Vec::new(), body: Vec::new() }
}

fn ask(origin: &str, path: &str, private: bool) -> Result<Response, Failure> {
    let request = Request {
        headers: vec![("authorization".to_owned(), "Bearer s3cret".to_owned())],
        ..get(&format!("{origin}{path}"))
    };
    outbound().http(&rights(origin, private), request, Duration::from_millis(700))
}

#[test]
fn a_request_arrives_whole_and_so_does_its_answer() {
    let (address, asked) = server::http(|_| whole("201 Created", "x-answer: yes\r\n", "body"));
    let origin = format!("http://{address}");
    let request = Request {
        method: "POST".to_owned(),
        headers: vec![("x-one".to_owned(), "1".to_owned()), ("x-one".to_owned(), "2".to_owned())],
        body: b"hello".to_vec(),
        ..get(&format!("{origin}/path?query=1"))
    };
    let answer = outbound().http(&rights(&origin, true), request, Duration::from_secs(5)).unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (201, b"body".as_slice()));
    assert!(answer.headers.contains(&("x-answer".to_owned(), "yes".to_owned())));
    let asked = asked.lock().unwrap().join("\n");
    for expect in ["POST /path?query=1 HTTP/1.1", "x-one: 1", "x-one: 2", "content-length: 5", "user-agent: whimbrel/"]
    {
        assert!(asked.contains(expect), "{expect} in {asked}");
    }
}

/// What servers do, and what a plugin gets to know of it: code, whether to try again, and never a word of the request.
#[test]
fn a_server_that_misbehaves_becomes_a_failure_with_its_code() {
    let big = || vec![b'x'; 300_000];
    #[expect(clippy::type_complexity, reason = "a table of cases")]
    let cases: Vec<(&str, &str, bool, Box<dyn Fn(&str) -> Vec<Part> + Send + Sync>)> = vec![
        ("never answers", "timeout", true, Box::new(|_| vec![(3_000, Vec::new())])),
        ("drips its head", "timeout", true, {
            Box::new(|_| b"HTTP/1.1 200 OK\r\nx: yyyyyyyy".iter().map(|byte| (100, vec![*byte])).collect())
        }),
        ("drips its body", "timeout", true, {
            Box::new(|_| {
                let mut parts = whole("200 OK", "", "");
                parts[0].1 = b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n".to_vec();
                parts.extend((0..50).map(|_| (100, b"x".to_vec())));
                parts
            })
        }),
        ("announces too much", "too-large", false, {
            Box::new(|_| vec![(0, b"HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n".to_vec())])
        }),
        ("sends too much unannounced", "too-large", false, {
            Box::new(move |_| {
                let mut parts = vec![(0, b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec())];
                parts.extend((0..8).map(|_| (0, big())));
                parts
            })
        }),
        ("sends too many headers", "connect", true, Box::new(|_| whole("200 OK", &"a: b\r\n".repeat(200), ""))),
        ("sends too large headers", "too-large", false, {
            Box::new(|_| whole("200 OK", &format!("a: {}\r\n", "b".repeat(70_000)), ""))
        }),
        ("hangs up", "connect", true, Box::new(|_| Vec::new())),
        ("hangs up halfway", "connect", true, {
            Box::new(|_| vec![(0, b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec())])
        }),
        ("speaks something else", "connect", true, Box::new(|_| vec![(0, b"220 mail.example.org ESMTP\r\n".to_vec())])),
        ("redirects elsewhere", "redirect", false, {
            Box::new(|_| whole("302 Found", "location: http://127.0.0.1:1/s3cret\r\n", ""))
        }),
        ("redirects to another scheme", "redirect", false, {
            Box::new(|_| whole("307 Temporary Redirect", "location: file:///etc/passwd\r\n", ""))
        }),
        ("redirects in circles", "redirect", false, Box::new(|_| whole("301 Moved", "location: /again\r\n", ""))),
    ];
    for (what, code, retryable, answer) in cases {
        let (address, _) = server::http(answer);
        let begun = Instant::now();
        let failed = ask(&format!("http://{address}"), "/hook/s3cret?token=s3cret", true).unwrap_err();
        assert_eq!((failed.code.as_str(), failed.retryable), (code, retryable), "{what}: {}", failed.message);
        assert!(!failed.message.contains("s3cret") && !failed.message.contains("hook"), "{what}: {}", failed.message);
        assert!(begun.elapsed() < Duration::from_secs(2), "{what}: {:?}", begun.elapsed());
    }
}

#[test]
fn a_redirect_within_the_origin_is_followed_without_the_body() {
    let (address, asked) = server::http(|head| match head.split(' ').nth(1) {
        Some("/new") => whole("200 OK", "", "here"),
        _ => whole("303 See Other", "location: new\r\n", ""),
    });
    let origin = format!("http://{address}");
    let request = Request { method: "POST".to_owned(), body: b"once".to_vec(), ..get(&format!("{origin}/old")) };
    let answer = outbound().http(&rights(&origin, true), request, Duration::from_secs(5)).unwrap();
    assert_eq!(answer.body, b"here");
    let asked = asked.lock().unwrap();
    assert!(asked[0].starts_with("POST /old ") && asked[1].starts_with("GET /new "), "{asked:?}");
    assert!(!asked[1].contains("once"));
}

#[test]
fn this_machine_and_its_network_need_a_grant_however_they_are_written() {
    let (address, asked) = server::http(|_| whole("200 OK", "", ""));
    let port = address.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "10.0.0.1",
        "0.0.0.0",
        "[::]",
    ] {
        let failed = ask(&format!("http://{host}:{port}"), "/", false).unwrap_err();
        assert_eq!((failed.code.as_str(), failed.retryable), ("denied", false), "{host}: {}", failed.message);
        assert!(failed.message.contains("private_addresses"), "{host}: {}", failed.message);
    }
    assert!(asked.lock().unwrap().is_empty(), "nothing was dialled");
    assert_eq!(ask(&format!("http://0.0.0.0:{port}"), "/", true).unwrap_err().code, "denied", "no address at all");
    assert_eq!(ask(&format!("http://localhost:{port}"), "/", true).unwrap().status, 200);
    assert_eq!(asked.lock().unwrap().len(), 1);
}

/// Answers each question with the next of these lists.
fn rebinding(answers: &'static [&'static [&'static str]]) -> Lookup {
    let at = AtomicUsize::new(0);
    Arc::new(move |_| {
        let answer = answers[at.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1)];
        Box::pin(async move { Ok(answer.iter().map(|address| address.parse::<IpAddr>().unwrap()).collect()) })
    })
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_checked_each_time() {
    let lookup =
        rebinding(&[&["1.1.1.1"], &["127.0.0.1"], &["10.0.0.1", "1.1.1.1", "::ffff:127.0.0.1"], &["::1", "fe80::1"]]);
    let guarded = Guarded { lookup, private: false };
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(match guarded.resolve("rebinding.example.org".parse().unwrap()).await {
            Ok(addresses) => Ok(addresses.map(|address: SocketAddr| address.ip().to_string()).collect::<Vec<_>>()),
            Err(error) => Err(error.is::<NotAdmitted>()),
        });
    }
    let public = || Ok(vec!["1.1.1.1".to_owned()]);
    assert_eq!(seen, [public(), Err(true), public(), Err(true)]);
}

#[test]
fn a_name_that_leads_to_this_machine_is_denied_when_it_is_dialled() {
    let (address, asked) = server::http(|_| whole("200 OK", "", ""));
    let settings = OutboundSettings { lookup: rebinding(&[&["127.0.0.1"]]), ..OutboundSettings::default() };
    let origin = format!("http://hooks.example.org:{}", address.port());
    let send = |private| {
        let outbound = Outbound::new(settings.clone()).unwrap();
        outbound.http(&rights(&origin, private), get(&origin), Duration::from_secs(5))
    };
    assert_eq!(send(false).unwrap_err().code, "denied");
    assert!(asked.lock().unwrap().is_empty());
    assert_eq!(send(true).unwrap().status, 200);
}

#[test]
fn only_a_server_with_a_trusted_certificate_for_its_name_gets_the_request() {
    let (address, asked) = server::https(|_| whole("200 OK", "", ""));
    let origin = format!("https://localhost:{}", address.port());
    assert_eq!(ask(&origin, "/", true).unwrap().status, 200);
    let stranger = Outbound::new(OutboundSettings::default()).unwrap();
    let failed = stranger.http(&rights(&origin, true), get(&origin), Duration::from_secs(5)).unwrap_err();
    assert_eq!((failed.code.as_str(), failed.retryable), ("tls", true), "{}", failed.message);
    let (plain, _) = server::serve(|mut socket, _| drop(socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")));
    let failed = ask(&format!("https://localhost:{}", plain.port()), "/s3cret", true).unwrap_err();
    assert_eq!((failed.code.as_str(), failed.message.contains("s3cret")), ("tls", false), "{}", failed.message);
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[test]
fn a_request_that_is_none_is_not_sent() {
    let (address, asked) = server::http(|_| whole("200 OK", "", ""));
    let origin = format!("http://{address}");
    let with = |name: &str, value: &str| Request {
        headers: vec![(name.to_owned(), value.to_owned())],
        ..get(&format!("{origin}/"))
    };
    for (code, request) in [
        ("request", Request { method: "CONNECT".to_owned(), ..get(&origin) }),
        ("request", Request { method: "get".to_owned(), ..get(&origin) }),
        ("request", get("http://")),
        ("denied", get("http://127.0.0.1:1/")),
        ("denied", get("ftp://127.0.0.1/")),
        ("request", with("host", "elsewhere.example.org")),
        ("request", with("Content-Length", "5")),
        ("request", with("transfer-encoding", "chunked")),
        ("request", with("x-a", "b\r\nx-injected: 1")),
        ("request", with("x a", "b")),
        ("request", with("x-a", &"b".repeat(70_000))),
        ("request", Request { headers: vec![("a".to_owned(), String::new()); 101], ..get(&origin) }),
    ] {
        let shown = format!("{request:.200?}");
        let failed = outbound().http(&rights(&origin, true), request, Duration::from_secs(5)).unwrap_err();
        assert_eq!((failed.code.as_str(), failed.retryable), (code, false), "{shown}: {}", failed.message);
    }
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn it_can_be_dropped_on_an_async_worker() {
    drop(outbound());
}
