use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::AUTHORITY;
use super::server::{self, Asked};
use crate::config::secret::Secret;
use crate::egress::{MailSettings, MailTls, Outbound, OutboundSettings, SetupError};
use crate::plugin::Failure;
use crate::plugin::egress::{Egress, Mail};
use crate::plugin::rights::MailRights;

/// An SMTP server (RFC 5321) that offers STARTTLS and PLAIN, and answers a command with what `says` says, if anything.
fn smtp(says: fn(&str) -> Option<&'static str>) -> (SocketAddr, Asked) {
    server::serve(move |mut socket, asked| {
        let _ = socket.write_all(b"220 double\r\n");
        if converse(&mut socket, says, asked) {
            let _ = converse(&mut server::secured(socket), says, asked);
        }
    })
}

fn line(stream: &mut impl Read) -> Option<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        line.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// True when the client wants TLS now.
fn converse(stream: &mut (impl Read + Write), says: fn(&str) -> Option<&'static str>, asked: &Asked) -> bool {
    let mut mail = false;
    while let Some(line) = line(stream) {
        asked.lock().unwrap().push(line.clone());
        let word = line.split(' ').next().unwrap_or_default();
        let answer = match word {
            _ if mail && line != "." => continue,
            _ if mail => {
                mail = false;
                says(".").unwrap_or("250 kept")
            }
            _ => says(word).unwrap_or(match word {
                "EHLO" => "250-double\r\n250-STARTTLS\r\n250 AUTH PLAIN",
                "STARTTLS" => "220 go on",
                "AUTH" => "235 welcome",
                "DATA" => "354 tell me",
                "QUIT" => "221 bye",
                _ => "250 ok",
            }),
        };
        mail |= answer.starts_with("354");
        if stream.write_all(format!("{answer}\r\n").as_bytes()).is_err() {
            return false;
        }
        if word == "STARTTLS" && answer.starts_with("220") {
            return true;
        }
    }
    false
}

fn settings(address: SocketAddr) -> MailSettings {
    MailSettings {
        host: "localhost".to_owned(),
        port: address.port(),
        tls: MailTls::StartTls,
        login: Some(("whimbrel".to_owned(), Secret::new("s3cret"))),
        from: "Whimbrel <whimbrel@example.org>".to_owned(),
    }
}

fn outbound(mail: MailSettings, authorities: Vec<Vec<u8>>) -> Result<Outbound, SetupError> {
    Outbound::new(OutboundSettings { mail: Some(mail), authorities, ..OutboundSettings::default() })
}

fn mail(to: &[&str]) -> Mail {
    Mail {
        to: to.iter().map(|to| (*to).to_owned()).collect(),
        subject: "Lag of shop\r\nBcc: everybody@example.org".to_owned(),
        text: "60 s behind\r\n.\r\nMAIL FROM:<x@example.org>".to_owned(),
        html: Some("<p>60 s behind</p>".to_owned()),
    }
}

fn send(mail_settings: MailSettings, to: &[&str]) -> Result<(), Failure> {
    let rights = MailRights { recipients: vec!["@example.org".to_owned()] };
    let outbound = outbound(mail_settings, vec![AUTHORITY.to_vec()]).unwrap();
    outbound.mail(&rights, mail(to), Duration::from_secs(2))
}

#[test]
fn a_mail_goes_out_over_tls_and_what_a_plugin_writes_stays_text() {
    let (address, asked) = smtp(|_| None);
    send(settings(address), &["a@example.org", "b@example.org"]).unwrap();
    let asked = asked.lock().unwrap();
    let at = |line: &str| asked.iter().position(|asked| asked.starts_with(line));
    assert!(at("STARTTLS") < at("AUTH PLAIN ") && at("AUTH PLAIN ").is_some(), "{asked:?}");
    for line in ["MAIL FROM:<whimbrel@example.org>", "RCPT TO:<a@example.org>", "RCPT TO:<b@example.org>", "From: "] {
        assert!(at(line).is_some(), "{line} in {asked:?}");
    }
    // The line that would end the mail is text, and so is what looks like a command behind it.
    assert_eq!(asked[asked.len() - 2..].iter().filter(|line| *line == ".").count(), 1, "{asked:?}");
    assert!(
        at("DATA") < at("..") && at("..") < asked.iter().rposition(|line| line.starts_with("MAIL FROM:")),
        "{asked:?}"
    );
    assert!(at("Bcc:").is_none(), "{asked:?}");
    assert!(at("Subject: Lag of shop  Bcc: everybody@example.org").is_some(), "{asked:?}");
}

#[test]
fn what_a_mail_server_says_becomes_a_failure_with_its_code() {
    #[expect(clippy::type_complexity, reason = "a table of cases")]
    let cases: [(&str, &str, bool, fn(&str) -> Option<&'static str>); 8] = [
        ("no such user", "rejected", false, |word| (word == "RCPT").then_some("550 no such user")),
        ("greylisted", "rejected", true, |word| (word == "RCPT").then_some("451 come back later")),
        ("wrong password", "auth", false, |word| (word == "AUTH").then_some("535 who are you")),
        ("login not possible now", "auth", true, |word| (word == "AUTH").then_some("454 not now")),
        ("login wanted", "auth", false, |word| (word == "MAIL").then_some("530 log in first")),
        ("spam", "rejected", false, |word| (word == ".").then_some("554 spam")),
        // Without the offer of TLS nothing is said, least of all the password.
        ("no TLS", "connect", false, |word| (word == "EHLO").then_some("250-double\r\n250 AUTH PLAIN")),
        ("no SMTP", "connect", true, |_| Some("SSH-2.0-double")),
    ];
    for (what, code, retryable, says) in cases {
        let (address, asked) = smtp(says);
        let failed = send(settings(address), &["a@example.org"]).unwrap_err();
        assert_eq!((failed.code.as_str(), failed.retryable), (code, retryable), "{what}: {}", failed.message);
        assert!(!failed.message.contains("s3cret"), "{what}: {}", failed.message);
        if what == "no TLS" {
            assert!(asked.lock().unwrap().iter().all(|line| !line.starts_with("AUTH")), "{what}");
        }
    }
}

#[test]
fn a_mail_server_that_is_silent_away_or_a_stranger_is_named_as_that() {
    let (silent, _) = server::serve(|mut socket: TcpStream, _| drop(socket.read(&mut [0; 16])));
    let rights = MailRights { recipients: vec!["a@example.org".to_owned()] };
    let within = Duration::from_millis(300);
    let failed = outbound(settings(silent), Vec::new()).unwrap().mail(&rights, mail(&["a@example.org"]), within);
    assert_eq!(failed.unwrap_err().code, "timeout");
    let (stranger, asked) = smtp(|_| None);
    let within = Duration::from_secs(5);
    let failed = outbound(settings(stranger), Vec::new()).unwrap().mail(&rights, mail(&["a@example.org"]), within);
    assert_eq!(failed.unwrap_err().code, "tls");
    assert!(asked.lock().unwrap().iter().all(|line| !line.starts_with("AUTH")));
    let away = SocketAddr::from(([127, 0, 0, 1], 1));
    assert_eq!(send(settings(away), &["a@example.org"]).unwrap_err().code, "connect");
}

#[test]
fn recipients_are_plain_addresses_that_were_granted() {
    let (address, asked) = smtp(|_| None);
    for (code, to) in [
        ("denied", vec!["a@elsewhere.org"]),
        ("denied", vec!["a@example.org", "a@elsewhere.org"]),
        ("address", vec!["a@elsewhere.org,b@example.org"]),
        ("address", vec!["Somebody <a@example.org>"]),
        ("address", vec!["a@example.org\r\nBcc: b@example.org"]),
        ("address", vec!["a"]),
        ("address", vec![]),
        ("address", vec!["a@example.org"; 51]),
    ] {
        assert_eq!(send(settings(address), &to).unwrap_err().code, code, "{to:?}");
    }
    assert!(asked.lock().unwrap().is_empty());
}

#[test]
fn a_password_needs_tls_and_a_sender_an_address() {
    let address = SocketAddr::from(([127, 0, 0, 1], 25));
    for (what, wrong) in [
        ("password", MailSettings { tls: MailTls::None, ..settings(address) }),
        ("sender", MailSettings { from: "Whimbrel\r\nBcc: x".to_owned(), ..settings(address) }),
    ] {
        let error = outbound(wrong, Vec::new()).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}
