//! What leaves is a mail in which nothing an alert holds is more than text.

use proptest::prelude::*;
use whimbrel_plugin::testing::{TestHost, strategy};

use super::*;

const TO: &str = r#"{"to": ["ops@example.org", "lead@example.org"]}"#;

fn started(config: &str) -> Result<Email, String> {
    let mut plugin: Email = whimbrel_plugin::config::parse(config).map_err(|error| error.to_string())?;
    plugin.start(&TestHost::new().channel_context()).map_err(|failure| failure.to_string())?;
    Ok(plugin)
}

fn told(config: &str, alerts: &[Alert]) -> Mail {
    let host = TestHost::new();
    started(config).unwrap().deliver(alerts, &host.channel_context()).unwrap();
    assert!(host.requests().is_empty());
    let [mail] = host.mails().try_into().unwrap();
    mail
}

/// The HTML has these tags only, closed in order, these attributes only, and no character that is none of a text.
fn check_html(html: &str) -> Result<(), String> {
    const TAGS: [&str; 10] = ["html", "body", "table", "tr", "td", "th", "p", "b", "a", "br"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html.strip_prefix("<!DOCTYPE html>\n").ok_or("no doctype")?;
    while let Some((text, tail)) = rest.split_once('<') {
        check_piece(text)?;
        let (tag, tail) = tail.split_once('>').ok_or("a tag without an end")?;
        rest = tail;
        if let Some(closed) = tag.strip_prefix('/') {
            if open.pop() != Some(closed) {
                return Err(format!("</{closed}> closes nothing"));
            }
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        if !TAGS.contains(&name) {
            return Err(format!("<{tag}>"));
        }
        match attributes.split_once("=\"").map(|(name, value)| (name, value.strip_suffix('"'))) {
            None if attributes.is_empty() => {}
            Some(("style", Some(style))) if !style.contains(['"', '&']) => {}
            Some(("href", Some(link))) if link.starts_with("http") && !link.contains('"') => check_piece(link)?,
            _ => return Err(format!("attributes of <{tag}>")),
        }
        if name != "br" {
            open.push(name);
        }
    }
    if !open.is_empty() {
        return Err(format!("{open:?} stay open"));
    }
    check_piece(rest)
}

fn check_piece(text: &str) -> Result<(), String> {
    let bare =
        ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"].iter().fold(text.to_owned(), |text, one| text.replace(one, ""));
    match bare.chars().find(|c| matches!(c, '&' | '<' | '>' | '"') || (c.is_control() && *c != '\n')) {
        Some(odd) => Err(format!("{odd:?} in {text:?}")),
        None => Ok(()),
    }
}

fn check(mail: &Mail) -> Result<(), String> {
    if mail.subject.chars().any(|c| c.is_control() || c == '\u{2028}' || c == '\u{202e}') {
        return Err(format!("subject {:?}", mail.subject));
    }
    if mail.subject.chars().count() > SUBJECT || !mail.subject.starts_with("[whimbrel] ") {
        return Err(format!("subject {:?}", mail.subject));
    }
    if mail.text.chars().any(|c| c.is_control() && c != '\n') {
        return Err("a control character in the text".to_owned());
    }
    let html = mail.html.as_deref().ok_or("no HTML")?;
    if mail.text.len() + html.len() > 1 << 20 {
        return Err(format!("{} bytes", mail.text.len() + html.len()));
    }
    check_html(html)
}

#[test]
fn one_alert_is_told_in_full() {
    let alert = Alert {
        severity: Severity::Critical,
        url: Some("https://whimbrel.example.org/?a=1&b=2".to_owned()),
        attributes: vec![("rows per second".to_owned(), Value::Float(12_400.0))],
        ..Alert::sample()
    };
    let mail = told(TO, &[alert]);
    assert_eq!(mail.to, ["ops@example.org", "lead@example.org"]);
    assert_eq!(mail.subject, "[whimbrel] CRITICAL: pipeline shop is slow");
    assert_eq!(
        mail.text,
        "CRITICAL: pipeline shop is slow\n  12 rows/s, expected 100\n  What to do: look at the target's load\n  \
         Where: pipeline/shop\n  Since: 2023-11-14T22:13:20.000Z\n  Kind: low_throughput\n  Rule: sample-rule\n  \
         rows per second: 12,400\n  https://whimbrel.example.org/?a=1&b=2\n"
    );
    let html = mail.html.clone().unwrap();
    for part in [
        "<a href=\"https://whimbrel.example.org/?a=1&amp;b=2\">pipeline shop is slow</a>",
        "What to do: look at the target&#39;s load",
        "<td>2023-11-14T22:13:20.000Z</td>",
        "#c62828",
    ] {
        assert!(html.contains(part), "{part} in {html}");
    }
    assert_eq!(check(&mail), Ok(()));
}

#[test]
fn subjects_say_how_a_group_stands() {
    let over = Alert { status: Status::Resolved, until_ms: Some(1_700_000_090_000), ..Alert::sample() };
    let critical = Alert { severity: Severity::Critical, title: "no progress".to_owned(), ..Alert::sample() };
    for (alerts, wanted) in [
        (vec![over.clone()], "[whimbrel] RESOLVED: pipeline shop is slow"),
        (vec![over.clone(), critical.clone()], "[whimbrel] CRITICAL: 2 alerts (1 firing, 1 resolved): no progress, …"),
        (vec![Alert::sample(), critical], "[whimbrel] CRITICAL: 2 alerts (2 firing): no progress, …"),
        (
            vec![Alert { status: Status::Acknowledged, ..Alert::sample() }],
            "[whimbrel] ACKNOWLEDGED: pipeline shop is slow",
        ),
    ] {
        assert_eq!(told(TO, &alerts).subject, wanted);
    }
    let mail = told(TO, &[over]);
    assert!(mail.text.contains("  Until: 2023-11-14T22:14:50.000Z (1 min 30 s)\n"), "{}", mail.text);
    assert!(!mail.text.contains("What to do"), "it is over");
}

#[test]
fn nothing_in_a_title_becomes_a_header_or_a_tag() {
    let title = "slow\r\nBcc: all@example.org\r\n\r\n<script>alert('x')</script>\u{2028}\u{202e}".to_owned();
    let url = Some("javascript:alert(1)".to_owned());
    let mail = told(TO, &[Alert { title, url, ..Alert::sample() }]);
    assert_eq!(mail.subject, "[whimbrel] WARNING: slow Bcc: all@example.org <script>alert('x')</script>");
    assert_eq!(check(&mail), Ok(()));
    let html = mail.html.unwrap();
    assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;") && !html.contains("javascript"), "{html}");
}

#[test]
fn a_thousand_alerts_are_one_mail_of_bounded_size() {
    let alert = |index: usize| Alert {
        title: format!("slow {index}"),
        detail: "\"".repeat(5_000),
        action: "<".repeat(5_000),
        severity: if index == 999 { Severity::Critical } else { Severity::Warning },
        attributes: (0..40).map(|fact| (format!("fact {fact}"), Value::Text("&".repeat(5_000)))).collect(),
        ..Alert::sample()
    };
    let alerts: Vec<Alert> = (0..1_000).map(alert).collect();
    for (config, told_in_full) in [(TO, 13), (r#"{"to": ["a@example.org"], "most": 3}"#, 3)] {
        let mail = told(config, &alerts);
        assert_eq!(check(&mail), Ok(()));
        assert!(mail.text.starts_with("CRITICAL: slow 999\n"));
        assert_eq!(mail.text.matches("WARNING: slow").count() + 1, told_in_full);
        assert!(mail.text.ends_with(&format!("\n\nand {} more\n", 1_000 - told_in_full)), "{}", mail.text);
    }
}

#[test]
fn nothing_to_tell_is_not_told() {
    let host = TestHost::new();
    assert_eq!(started(TO).unwrap().deliver(&[], &host.channel_context()), Ok(()));
    assert!(host.mails().is_empty());
}

#[test]
fn configurations_that_mean_nothing_are_refused() {
    let address = "config: to[0]: not a plain address such as `ops@example.org`";
    for (config, message) in [
        (r#"{}"#, "the option `to` is missing"),
        (r#"{"to": []}"#, "config: to: a mail has 1 to 50 recipients"),
        (r#"{"to": ["ops"]}"#, address),
        (r#"{"to": ["@example.org"]}"#, address),
        (r#"{"to": ["Ops <ops@example.org>"]}"#, address),
        (r#"{"to": ["ops@example.org, all@example.org"]}"#, address),
        (r#"{"to": ["ops@example.org\r\nBcc: all@example.org"]}"#, address),
        (
            r#"{"to": ["a@b.org"], "subject_prefix": "a\nb"}"#,
            "config: subject_prefix: must be one line of at most 50 characters",
        ),
        (r#"{"to": ["a@b.org"], "most": 0}"#, "config: most: write a number from 1 to 50"),
    ] {
        assert_eq!(started(config).err().as_deref(), Some(message), "{config}");
    }
}

proptest! {
    #[test]
    fn whatever_alerts_hold_it_is_text_and_nothing_else(alerts in strategy::alerts()) {
        prop_assume!(!alerts.is_empty());
        prop_assert_eq!(check(&told(TO, &alerts)), Ok(()));
    }
}
