//! What leaves is what Slack documents for incoming webhooks, whatever the alerts hold.

use proptest::prelude::*;
use whimbrel_plugin::json::Json;
use whimbrel_plugin::testing::{TestHost, strategy};

use super::*;

fn started(config: &str) -> Result<Slack, String> {
    let mut plugin: Slack = whimbrel_plugin::config::parse(config).map_err(|error| error.to_string())?;
    let cx = TestHost::new().secret(URL).channel_context();
    plugin.start(&cx).map_err(|failure| failure.to_string())?;
    Ok(plugin)
}

fn told(config: &str, alerts: &[Alert]) -> Json {
    let host = TestHost::new().secret(URL).answering(Response { body: b"ok".to_vec(), ..Response::new(200) });
    started(config).unwrap().deliver(alerts, &host.channel_context()).unwrap();
    let requests = host.requests();
    assert_eq!(
        (requests.len(), requests[0].method.as_str(), requests[0].url.as_str()),
        (1, "POST", "whimbrel-secret-url")
    );
    assert_eq!(requests[0].headers, [("content-type".to_owned(), "application/json".to_owned())]);
    Json::parse(std::str::from_utf8(&requests[0].body).unwrap()).unwrap()
}

fn list<'a>(json: &'a Json, name: &str) -> &'a [Json] {
    match json.get(name) {
        Some(Json::List(items)) => items,
        _ => &[],
    }
}

fn text<'a>(json: &'a Json, name: &str) -> &'a str {
    json.get(name).and_then(Json::as_text).unwrap_or_default()
}

/// Every text that Slack interprets: nothing in it is markup but the mention the operator wrote.
fn check_text(text: &str, limit: usize) -> Result<(), String> {
    let count = text.chars().count();
    if count > limit {
        return Err(format!("{count} characters of {limit}"));
    }
    if text.contains(['<', '>']) {
        return Err(format!("an angle bracket: {text}"));
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(format!("a control character: {text:?}"));
    }
    let bare = ["&amp;", "&lt;", "&gt;"].iter().fold(text.to_owned(), |text, escape| text.replace(escape, ""));
    if bare.contains('&') {
        return Err(format!("an ampersand that begins no escape: {text}"));
    }
    let lower = text.to_ascii_lowercase();
    if ["@here", "@channel", "@everyone", "@group"].iter().any(|call| lower.contains(call)) {
        return Err(format!("a call: {text}"));
    }
    Ok(())
}

/// Slack's documented rules for a message with attachments.
fn check(message: &Json) -> Result<(), String> {
    if message.to_string().len() > 400_000 {
        return Err("too large".to_owned());
    }
    if text(message, "text").is_empty() {
        return Err("no text".to_owned());
    }
    check_text(text(message, "text"), 40_000)?;
    let attachments = list(message, "attachments");
    if attachments.is_empty() || attachments.len() > 100 {
        return Err(format!("{} attachments", attachments.len()));
    }
    for attachment in attachments {
        for (name, limit) in [("fallback", 3_000), ("title", 3_000), ("text", 3_000), ("footer", 300)] {
            check_text(text(attachment, name), limit).map_err(|error| format!("{name}: {error}"))?;
        }
        if text(attachment, "fallback").is_empty() {
            return Err("no fallback".to_owned());
        }
        if !["good", "warning", "danger"].contains(&text(attachment, "color")) {
            return Err("color".to_owned());
        }
        for field in list(attachment, "fields") {
            check_text(text(field, "value"), 2_000).map_err(|error| format!("value: {error}"))?;
            check_text(text(field, "title"), 2_000).map_err(|error| format!("title: {error}"))?;
            if text(field, "value").is_empty() {
                return Err("a field without a value".to_owned());
            }
        }
        if let Some(link) = attachment.get("title_link").and_then(Json::as_text)
            && !link.starts_with("http")
        {
            return Err(format!("link {link}"));
        }
    }
    Ok(())
}

#[test]
fn colours_say_how_bad_it_is_and_that_it_is_over() {
    for (status, severity, wanted) in [
        (Status::Firing, Severity::Critical, "danger"),
        (Status::Firing, Severity::Warning, "warning"),
        (Status::Firing, Severity::Info, "good"),
        (Status::Acknowledged, Severity::Critical, "danger"),
        (Status::Resolved, Severity::Critical, "good"),
    ] {
        let message = told("{}", &[Alert { status, severity, ..Alert::sample() }]);
        assert_eq!(text(&list(&message, "attachments")[0], "color"), wanted, "{status:?} {severity:?}");
    }
}

#[test]
fn a_text_is_shown_as_it_is_and_never_cut_inside_an_escape() {
    for (given, chars, wanted) in [
        ("lag <!channel> & more", 100, "lag &lt;!channel&gt; &amp; more"),
        ("@here @Channel a@example.org", 100, "@\u{200b}here @\u{200b}Channel a@example.org"),
        ("a&b", 7, "a&amp;b"),
        ("a&b", 6, "a…"),
        ("a&b", 3, "a…"),
        ("🐦🐦🐦", 2, "🐦…"),
        ("ab", 0, ""),
        ("a\r\nb\u{0}", 9, "a\nb "),
    ] {
        assert_eq!(defused::defused(given, chars), wanted, "{given:?}");
    }
}

#[test]
fn an_attachment_says_what_where_since_when_and_what_to_do() {
    let alert = Alert {
        severity: Severity::Critical,
        url: Some("https://whimbrel.example.org/#8f2c".to_owned()),
        attributes: vec![("rows per second".to_owned(), Value::Float(12_400.0))],
        ..Alert::sample()
    };
    let message = told("{}", &[alert]);
    assert_eq!(text(&message, "text"), "Critical: pipeline shop is slow");
    let [attachment] = list(&message, "attachments") else { panic!("{message}") };
    assert_eq!(text(attachment, "title"), "Critical: pipeline shop is slow");
    assert_eq!(text(attachment, "title_link"), "https://whimbrel.example.org/#8f2c");
    assert_eq!(text(attachment, "text"), "12 rows/s, expected 100\nWhat to do: look at the target's load");
    let fields: Vec<(&str, &str)> =
        list(attachment, "fields").iter().map(|field| (text(field, "title"), text(field, "value"))).collect();
    assert_eq!(
        fields,
        [
            ("Where", "pipeline/shop"),
            ("Since", "2023-11-14T22:13:20.000Z"),
            ("Kind", "low_throughput"),
            ("rows per second", "12,400"),
        ]
    );
    assert_eq!(attachment.get("ts"), Some(&1_700_000_000_i64.into()));
}

#[test]
fn the_worst_comes_first_and_what_is_beyond_is_counted() {
    let alert = |title: String, status, severity| Alert { title, status, severity, ..Alert::sample() };
    let mut alerts: Vec<Alert> =
        (0..30).map(|index| alert(format!("slow {index}"), Status::Firing, Severity::Warning)).collect();
    alerts.push(alert("over".to_owned(), Status::Resolved, Severity::Critical));
    alerts.push(alert("worst".to_owned(), Status::Firing, Severity::Critical));
    let message = told(r#"{"most": 3}"#, &alerts);
    assert_eq!(text(&message, "text"), "32 alerts (31 firing, 1 resolved): worst, …");
    let titles: Vec<&str> = list(&message, "attachments").iter().map(|attachment| text(attachment, "title")).collect();
    assert_eq!(titles, ["Critical: worst", "Warning: slow 0", "Warning: slow 1", "and 29 more"]);
    assert_eq!(check(&message), Ok(()));
}

#[test]
fn people_are_called_for_critical_alerts_only_and_only_when_they_fire() {
    for (status, severity, wanted) in [
        (Status::Firing, Severity::Critical, "<!here> Critical: pipeline shop is slow"),
        (Status::Firing, Severity::Warning, "Warning: pipeline shop is slow"),
        (Status::Resolved, Severity::Critical, "Resolved: pipeline shop is slow"),
    ] {
        let message = told(r#"{"mention": "<!here>"}"#, &[Alert { status, severity, ..Alert::sample() }]);
        assert_eq!(text(&message, "text"), wanted);
    }
}

#[test]
fn a_status_decides_whether_it_is_tried_again_and_only_known_words_are_repeated() {
    for (status, body, retryable, message) in [
        (
            400,
            "invalid_payload",
            false,
            "the server answered with 400: invalid_payload, the message is not as Slack wants it",
        ),
        (
            403,
            "action_prohibited\n",
            false,
            "the server answered with 403: action_prohibited, the workspace does not let this webhook post there",
        ),
        (404, "https://hooks.example.org/T0/B0/secret", false, "the server answered with 404"),
        (
            410,
            "channel_is_archived",
            false,
            "the server answered with 410: channel_is_archived, the channel is archived",
        ),
        (429, "rate_limited", true, "the server answered with 429"),
        (500, "rollup_error", true, "the server answered with 500"),
        (503, "", true, "the server answered with 503"),
        (408, "", true, "the server answered with 408"),
        (302, "", false, "the server answered with 302"),
    ] {
        let answer = Response { body: body.as_bytes().to_vec(), ..Response::new(status) };
        let host = TestHost::new().secret(URL).answering(answer);
        let failure = started("{}").unwrap().deliver(&[Alert::sample()], &host.channel_context()).unwrap_err();
        assert_eq!((failure.retryable, failure.message.as_str()), (retryable, message));
    }
    let headers = vec![("Retry-After".to_owned(), "30".to_owned())];
    let host = TestHost::new().secret(URL).answering(Response { headers, ..Response::new(429) });
    let failure = started("{}").unwrap().deliver(&[Alert::sample()], &host.channel_context()).unwrap_err();
    assert_eq!(failure, Failure::retryable("status", "the server answered with 429: retry after 30 s"));
    let host = TestHost::new().secret(URL).refusing(Failure::retryable("timeout", "no answer"));
    assert!(started("{}").unwrap().deliver(&[Alert::sample()], &host.channel_context()).unwrap_err().retryable);
}

#[test]
fn nothing_to_tell_is_not_told() {
    let host = TestHost::new().secret(URL);
    assert_eq!(started("{}").unwrap().deliver(&[], &host.channel_context()), Ok(()));
    assert!(host.requests().is_empty());
}

#[test]
fn configurations_that_mean_nothing_are_refused() {
    let mention = "config: mention: write `<!here>`, `<!channel>`, `<@USER-ID>` or `<!subteam^GROUP-ID>`";
    for (config, message) in [
        (r#"{"mention": "@here"}"#, mention),
        (r#"{"mention": "<!here> <!channel>"}"#, mention),
        (r#"{"mention": "<@>"}"#, mention),
        (r#"{"mention": "<https://example.org|x>"}"#, mention),
        (r#"{"most": 0}"#, "config: most: write a number from 1 to 20"),
        (r#"{"most": 21}"#, "config: most: write a number from 1 to 20"),
    ] {
        assert_eq!(started(config).err().as_deref(), Some(message), "{config}");
    }
    for mention in ["<!here>", "<!channel>", "<@U024BE7LH>", "<!subteam^SAZ94GDB8>"] {
        assert!(started(&format!(r#"{{"mention": "{mention}"}}"#)).is_ok(), "{mention}");
    }
    let mut plugin: Slack = whimbrel_plugin::config::parse("{}").unwrap();
    assert_eq!(plugin.start(&TestHost::new().channel_context()).unwrap_err().code, "denied");
}

proptest! {
    #[test]
    fn whatever_alerts_hold_the_message_keeps_slacks_rules(alerts in strategy::alerts(), most in 1_u32..=20) {
        prop_assume!(!alerts.is_empty());
        let message = told(&format!(r#"{{"most": {most}}}"#), &alerts);
        prop_assert_eq!(check(&message), Ok(()));
    }
}
