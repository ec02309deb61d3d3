//! Sins of channels: where they send, what they send, and to whom it leads. A failure of the host's is passed on as the
//! guest's own answer, so that the test sees what a plugin would see.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::trial::{Ends, Means, Verdicts, trial};
use crate::config::secret::Secret;
use crate::egress::server::{self, Asked, whole};
use crate::egress::{Outbound, OutboundSettings};
use crate::plugin::egress::{Egress, Mail, Request, Response};
use crate::plugin::fixture::kinds::Sin;
use crate::plugin::rights::{HttpRights, MailRights, Origin};
use crate::plugin::{Failure, Kind, TrapCause};

const SECRET: &str = "s3cret";

fn server() -> (SocketAddr, Asked) {
    server::http(|head| match head.split(' ').nth(1).unwrap_or_default() {
        "/away" => whole("302 Found", "location: http://127.0.0.2:9/\r\n", ""),
        "/slow" => vec![(3_000, Vec::new())],
        "/drip" => {
            let mut parts = vec![(0, b"HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n".to_vec())];
            parts.extend((0..90).map(|_| (50, b"x".to_vec())));
            parts
        }
        "/large" => vec![(0, b"HTTP/1.1 200 OK\r\ncontent-length: 90000000\r\n\r\n".to_vec())],
        _ => whole("200 OK", "", "ok"),
    })
}

/// Sends the request whose URL stands at 4096; the answer is the guest's.
fn send(length: &str) -> String {
    format!(
        "(call $http (i32.const 4000) (i32.const 3) (i32.const 4096) {length} (i32.const 0) (i32.const 0)
          (i32.const 0) (i32.const 0) (i32.const 1024))"
    )
}

fn asks(url: &str) -> Sin {
    Sin {
        extra: format!(r#"(data (i32.const 4000) "GET") (data (i32.const 4096) "{url}")"#),
        body: send(&format!("(i32.const {})", url.len())),
        ..Sin::default()
    }
}

/// Puts the reference of the secret `token` between two texts and asks for that.
fn tells(before: &str, after: &str) -> Sin {
    let (start, rest) = (4096 + before.len(), after.len());
    Sin {
        extra: format!(
            r#"(data (i32.const 4000) "GET") (data (i32.const 4010) "token")
               (data (i32.const 4096) "{before}") (data (i32.const 6000) "{after}")"#
        ),
        body: format!(
            "(call $reference (i32.const 4010) (i32.const 5) (i32.const 1536))
             (memory.copy (i32.const {start}) (i32.load (i32.const 1540)) (i32.load (i32.const 1544)))
             (memory.copy (i32.add (i32.const {start}) (i32.load (i32.const 1544))) (i32.const 6000) (i32.const {rest}))
             {}",
            send(&format!("(i32.add (i32.load (i32.const 1544)) (i32.const {}))", before.len() + rest))
        ),
        ..Sin::default()
    }
}

fn means(origins: &[&str], private_addresses: bool) -> Means {
    let mut means = Means::default();
    means.limits.call = Duration::from_millis(500);
    let origins = origins.iter().map(|origin| Origin::parse(origin).unwrap()).collect();
    means.grants.http = Some(HttpRights { origins, private_addresses });
    means.grants.secrets = BTreeMap::from([("token".to_owned(), Secret::new(SECRET))]);
    // As if a name were bound to this machine after it was granted.
    let lookup: crate::egress::Lookup = Arc::new(|_| Box::pin(async { Ok(vec![[127, 0, 0, 1].into()]) }));
    means.egress = Some(Arc::new(Outbound::new(OutboundSettings { lookup, ..OutboundSettings::default() }).unwrap()));
    means
}

#[test]
fn a_channel_reaches_what_was_granted_and_nothing_else() {
    let (address, asked) = server();
    let port = address.port();
    let here = format!("http://{address}");
    let cases: Vec<(&str, String, bool, &str)> = vec![
        ("asks a stranger", "http://elsewhere.example.org/".to_owned(), true, "denied"),
        ("asks another port", "http://127.0.0.1:1/".to_owned(), true, "denied"),
        ("asks another scheme", format!("https://{address}/"), true, "denied"),
        ("reads a file", "file:///etc/passwd".to_owned(), true, "denied"),
        ("asks nobody", "http://".to_owned(), true, "request"),
        ("follows a redirect away", format!("{here}/away"), true, "redirect"),
        ("waits for the slow", format!("{here}/slow"), true, "timeout"),
        ("sips from the slow", format!("{here}/drip"), true, "timeout"),
        ("swallows too much", format!("{here}/large"), true, "too-large"),
        ("asks this machine", here.clone(), false, "denied"),
        ("asks this machine in decimal", format!("http://2130706433:{port}"), false, "denied"),
        ("asks this machine in octal", format!("http://0177.0.0.01:{port}"), false, "denied"),
        ("asks this machine in IPv6", format!("http://[::ffff:127.0.0.1]:{port}"), false, "denied"),
        ("asks no machine", format!("http://0.0.0.0:{port}"), true, "denied"),
        ("asks the cloud's metadata", "http://169.254.169.254".to_owned(), false, "denied"),
        ("is led to this machine by a name", format!("http://rebound.example.org:{port}"), false, "denied"),
    ];
    for (name, url, private, code) in cases {
        let granted = [here.as_str(), "http://169.254.169.254"];
        let mut granted: Vec<String> = granted.iter().map(|origin| (*origin).to_owned()).collect();
        // What is denied for its address was granted as an origin.
        if !private || name == "asks no machine" {
            granted.push(url.clone());
        }
        let granted: Vec<&str> = granted.iter().map(String::as_str).collect();
        let evidence = trial(Kind::Channel, name, &asks(&url), means(&granted, private), Ends::Refused(code));
        assert!(!format!("{:?}{:?}", evidence.verdict, evidence.lines).contains(SECRET), "{name}");
    }
    let asked = asked.lock().unwrap();
    assert!(asked.iter().all(|head| !head.starts_with("GET / ")), "nothing that was denied was dialled: {asked:?}");
}

#[test]
fn a_secret_goes_where_it_was_granted_and_its_name_is_all_a_guest_has() {
    let (address, asked) = server();
    let here = format!("http://{address}");
    trial(Kind::Channel, "uses its secret", &tells(&format!("{here}/hook/"), ""), means(&[&here], true), Ends::Well);
    assert!(asked.lock().unwrap()[0].starts_with("GET /hook/s3cret HTTP/1.1"), "{asked:?}");
    asked.lock().unwrap().clear();
    for (name, sin) in [
        ("takes its secret elsewhere", tells("http://elsewhere.example.org/?token=", "")),
        ("takes its secret into a host", tells("http://", ".elsewhere.example.org/")),
        ("takes its secret into a port", tells("http://user:", "@elsewhere.example.org/")),
    ] {
        let evidence = trial(Kind::Channel, name, &sin, means(&[&here], true), Ends::Refused("denied"));
        let Verdicts::Refused(_, message) = &evidence.verdict else { panic!("{name}") };
        assert!(!message.contains(SECRET) && message.contains("is not granted"), "{name}: {message}");
        assert!(evidence.lines.iter().all(|line| !line.contains(SECRET)), "{name}: {:?}", evidence.lines);
    }
    let other = Sin {
        extra: r#"(data (i32.const 4010) "other")"#.to_owned(),
        body: "(call $reference (i32.const 4010) (i32.const 5) (i32.const 1024))".to_owned(),
        ..Sin::default()
    };
    trial(Kind::Channel, "asks for another's secret", &other, means(&[&here], true), Ends::Refused("denied"));
    assert!(asked.lock().unwrap().is_empty());
}

/// Takes its time, whatever was agreed.
struct Oversleeps;

impl Egress for Oversleeps {
    fn http(&self, _: &HttpRights, _: Request, within: Duration) -> Result<Response, Failure> {
        std::thread::sleep(within + Duration::from_millis(120));
        Ok(Response { status: 200, headers: Vec::new(), body: Vec::new() })
    }

    fn mail(&self, _: &MailRights, _: Mail, _: Duration) -> Result<(), Failure> {
        Ok(())
    }
}

#[test]
fn waits_in_the_host_count() {
    let here = "http://hooks.example.org";
    let means = Means { egress: Some(Arc::new(Oversleeps)), ..means(&[here], true) };
    let ends = Ends::Trap(TrapCause::Deadline, "longer than its budget");
    trial(Kind::Channel, "sleeps in the host", &asks(here), means, ends);
}
