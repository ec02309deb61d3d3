//! What leaves is what the Events API v2 documents, whatever the alerts hold.

use proptest::prelude::*;
use whimbrel_plugin::http::Response;
use whimbrel_plugin::testing::{TestHost, strategy};

use super::*;

fn started(config: &str) -> Result<PagerDuty, String> {
    let mut plugin: PagerDuty = whimbrel_plugin::config::parse(config).map_err(|error| error.to_string())?;
    let cx = TestHost::new().secret(ROUTING_KEY).channel_context();
    plugin.start(&cx).map_err(|failure| failure.to_string())?;
    Ok(plugin)
}

/// A host that answers with these statuses.
fn host(statuses: &[u16]) -> TestHost {
    let answer = |status: &u16| Response { body: b"whimbrel-secret-routing_key".to_vec(), ..Response::new(*status) };
    statuses.iter().map(answer).fold(TestHost::new().secret(ROUTING_KEY), TestHost::answering)
}

fn bodies(host: &TestHost) -> Vec<Json> {
    let body = |request: &Request| Json::parse(std::str::from_utf8(&request.body).unwrap()).unwrap();
    host.requests().iter().map(body).collect()
}

fn text<'a>(json: &'a Json, name: &str) -> &'a str {
    json.get(name).and_then(Json::as_text).unwrap_or_default()
}

fn keys(host: &TestHost) -> Vec<String> {
    bodies(host).iter().map(|event| text(event, "dedup_key").to_owned()).collect()
}

fn named(ids: &[&str]) -> Vec<Alert> {
    ids.iter().map(|id| Alert { id: (*id).to_owned(), ..Alert::sample() }).collect()
}

/// The documented rules for an event.
fn check(event: &Json) -> Result<(), String> {
    let Json::Object(members) = event else { return Err("no object".to_owned()) };
    const KNOWN: [&str; 7] = ["routing_key", "event_action", "dedup_key", "payload", "client", "client_url", "links"];
    if let Some((name, _)) = members.iter().find(|(name, _)| !KNOWN.contains(&name.as_str())) {
        return Err(format!("unknown member {name}"));
    }
    if event.to_string().len() > 512_000 {
        return Err("larger than 512 KB".to_owned());
    }
    if text(event, "routing_key") != "whimbrel-secret-routing_key" {
        return Err("routing_key".to_owned());
    }
    let key = text(event, "dedup_key").chars().count();
    if key == 0 || key > 255 {
        return Err(format!("a dedup_key of {key} characters"));
    }
    match text(event, "event_action") {
        "acknowledge" | "resolve" => return Ok(()),
        "trigger" => {}
        other => return Err(format!("event_action {other}")),
    }
    let payload = event.get("payload").ok_or("no payload")?;
    for (name, limit) in
        [("summary", 1_024), ("source", 255), ("severity", 8), ("timestamp", 24), ("component", 255), ("class", 255)]
    {
        let length = text(payload, name).chars().count();
        if length == 0 || length > limit {
            return Err(format!("a {name} of {length} characters"));
        }
        if text(payload, name).contains(char::is_control) {
            return Err(format!("a control character in {name}"));
        }
    }
    if !["critical", "error", "warning", "info"].contains(&text(payload, "severity")) {
        return Err("severity".to_owned());
    }
    if !matches!(payload.get("custom_details"), Some(Json::Object(_))) {
        return Err("custom_details".to_owned());
    }
    if let Some(Json::List(links)) = event.get("links")
        && links.iter().any(|link| !text(link, "href").starts_with("http"))
    {
        return Err("links".to_owned());
    }
    Ok(())
}

#[test]
fn an_incident_is_triggered_acknowledged_and_resolved_under_one_key() {
    let host = host(&[202, 202, 202]);
    let mut plugin = started(r#"{"group": "shop"}"#).unwrap();
    for status in [Status::Firing, Status::Acknowledged, Status::Resolved] {
        let alert = Alert {
            status,
            severity: Severity::Critical,
            url: Some("https://whimbrel.example.org/".to_owned()),
            attributes: vec![("rows".to_owned(), Value::Integer(3)), ("rule".to_owned(), Value::Null)],
            ..Alert::sample()
        };
        plugin.deliver(&[alert], &host.channel_context()).unwrap();
    }
    let requests = host.requests();
    assert!(
        requests
            .iter()
            .all(|request| request.method == "POST" && request.url == "https://events.pagerduty.com/v2/enqueue")
    );
    assert!(
        requests.iter().all(|request| request.headers == [("content-type".to_owned(), "application/json".to_owned())])
    );
    let bodies: Vec<String> = bodies(&host).iter().map(Json::to_string).collect();
    assert_eq!(
        bodies,
        [
            concat!(
                r#"{"routing_key":"whimbrel-secret-routing_key","event_action":"trigger","dedup_key":"sample","#,
                r#""payload":{"summary":"pipeline shop is slow","source":"pipeline/shop","severity":"critical","#,
                r#""timestamp":"2023-11-14T22:13:20.000Z","component":"pipeline/shop","class":"low_throughput","#,
                r#""group":"shop","custom_details":{"detail":"12 rows/s, expected 100","#,
                r#""what to do":"look at the target's load","rule":"sample-rule","reported":1,"rows":"3"}},"#,
                r#""client":"whimbrel","client_url":"https://whimbrel.example.org/","#,
                r#""links":[{"href":"https://whimbrel.example.org/","text":"Whimbrel"}]}"#
            ),
            r#"{"routing_key":"whimbrel-secret-routing_key","event_action":"acknowledge","dedup_key":"sample"}"#,
            r#"{"routing_key":"whimbrel-secret-routing_key","event_action":"resolve","dedup_key":"sample"}"#,
        ]
    );
}

#[test]
fn a_status_decides_whether_it_is_tried_again() {
    for (status, wanted) in [
        (202, None),
        (200, None),
        (400, Some(false)),
        (403, Some(false)),
        (404, Some(false)),
        (408, Some(true)),
        (429, Some(true)),
        (500, Some(true)),
        (503, Some(true)),
    ] {
        let host = host(&[status]);
        let failure = started("{}").unwrap().deliver(&[Alert::sample()], &host.channel_context()).err();
        assert_eq!(failure.as_ref().map(|failure| failure.retryable), wanted, "{status}");
        assert!(failure.is_none_or(|failure| !failure.to_string().contains("whimbrel-secret")));
    }
    let host = TestHost::new().secret(ROUTING_KEY).refusing(Failure::retryable("timeout", "no answer"));
    assert!(started("{}").unwrap().deliver(&[Alert::sample()], &host.channel_context()).unwrap_err().retryable);
    let host = self::host(&[400]);
    let failure = started("{}").unwrap().deliver(&[Alert::sample()], &host.channel_context()).unwrap_err();
    assert!(failure.message.contains("is the secret `routing_key` the 32 characters"), "{failure}");
}

#[test]
fn when_it_is_tried_again_only_what_was_not_accepted_is_sent_again() {
    let alerts = named(&["a", "b", "c"]);
    let host = host(&[202, 429, 503, 202, 202, 202, 202, 202]);
    let mut plugin = started("{}").unwrap();
    let mut deliver =
        |alerts: &[Alert]| plugin.deliver(alerts, &host.channel_context()).map_err(|failure| failure.retryable);
    assert_eq!(deliver(&alerts), Err(true));
    assert_eq!(deliver(&alerts), Err(true));
    assert_eq!(deliver(&alerts), Ok(()));
    assert_eq!(keys(&host), ["a", "b", "b", "b", "c"]);
    // A reminder later is another notification, and told whole.
    assert_eq!(deliver(&alerts), Ok(()));
    assert_eq!(keys(&host)[5..], ["a", "b", "c"]);
}

#[test]
fn what_was_accepted_of_one_notification_says_nothing_of_another() {
    let host = host(&[202, 429, 202, 202, 202]);
    let mut plugin = started("{}").unwrap();
    assert!(plugin.deliver(&named(&["a", "b"]), &host.channel_context()).is_err());
    let over = Alert { status: Status::Resolved, ..named(&["a"])[0].clone() };
    plugin.deliver(&[over], &host.channel_context()).unwrap();
    plugin.deliver(&named(&["a", "b"]), &host.channel_context()).unwrap();
    assert_eq!(keys(&host), ["a", "b", "a", "a", "b"]);
}

#[test]
fn two_notifications_that_are_interrupted_in_turn_are_both_told_whole() {
    let host = host(&[202, 429, 202, 429, 202, 202, 202, 202]);
    let mut plugin = started("{}").unwrap();
    let (first, second) = (named(&["a", "b"]), named(&["c", "d"]));
    let mut deliver = |alerts: &[Alert]| plugin.deliver(alerts, &host.channel_context()).is_ok();
    assert_eq!([&first, &second, &first, &second].map(|alerts| deliver(alerts)), [false, false, true, true]);
    assert_eq!(keys(&host), ["a", "b", "c", "d", "a", "b", "c", "d"]);
}

#[test]
fn an_event_that_is_refused_does_not_keep_back_the_others() {
    let host = host(&[202, 400, 202]);
    let failure = started("{}").unwrap().deliver(&named(&["a", "b", "c"]), &host.channel_context()).unwrap_err();
    assert_eq!((failure.retryable, keys(&host)), (false, vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]));
}

/// Has alerts delivered again and again until that is over. Gives how it ended, how long each call took, and what was said of
/// those that were not the last.
fn persist(alerts: &[Alert], host: &TestHost) -> (Result<(), Failure>, Vec<i64>, Vec<String>) {
    let mut plugin = started("{}").unwrap();
    let (mut took_ms, mut said) = (Vec::new(), Vec::new());
    loop {
        let cx = host.channel_context();
        let begun_ms = cx.now_ms();
        let outcome = plugin.deliver(alerts, &cx);
        took_ms.push(cx.now_ms() - begun_ms);
        match outcome {
            Err(failure) if failure.retryable && took_ms.len() < 100 => said.push(failure.to_string()),
            outcome => return (outcome, took_ms, said),
        }
    }
}

#[test]
fn a_call_ends_in_time_and_the_next_one_goes_on_however_slow_the_service_is() {
    let ids: Vec<String> = (0..20).map(|number| format!("incident {number}")).collect();
    let alerts = named(&ids.iter().map(String::as_str).collect::<Vec<&str>>());
    for (request_ms, calls_ms) in [
        (100, vec![2_000]),
        (2_000, vec![16_000, 16_000, 8_000]),
        (20_000, vec![20_000; 20]),
        // A clock that is set back all the time.
        (-4_000, vec![-16_000; 5]),
    ] {
        for status in [202, 400] {
            let host = host(&[status; 20]).at(1_700_000_600_000).request_takes_ms(request_ms);
            let (outcome, took_ms, said) = persist(&alerts, &host);
            assert_eq!(outcome.is_ok(), status == 202, "{request_ms} ms, {status}: {outcome:?}");
            assert_eq!((keys(&host), took_ms), (ids.clone(), calls_ms.clone()), "{request_ms} ms, {status}");
            if request_ms == 2_000 {
                let first = "timeout: 8 of 20 events sent; the others follow";
                assert_eq!(said, [first, "timeout: 16 of 20 events sent; the others follow"]);
            }
        }
    }
}

#[test]
fn an_event_that_was_refused_is_not_sent_again_and_told_at_the_end() {
    let host = host(&[400, 503, 202, 403]);
    let mut plugin = started("{}").unwrap();
    let alerts = named(&["a", "b", "c"]);
    assert!(plugin.deliver(&alerts, &host.channel_context()).unwrap_err().retryable);
    let failure = plugin.deliver(&alerts, &host.channel_context()).unwrap_err();
    assert_eq!((failure.retryable, keys(&host)), (false, ["a", "b", "b", "c"].map(str::to_owned).to_vec()));
    assert!(failure.message.starts_with("the server answered with 400"), "the first is told: {failure}");

    // Another notification has nothing to do with it.
    let host = self::host(&[400, 503, 202]);
    assert!(plugin.deliver(&alerts, &host.channel_context()).unwrap_err().retryable);
    assert_eq!(plugin.deliver(&named(&["d"]), &host.channel_context()), Ok(()));
}

#[test]
fn ids_that_are_too_long_for_a_key_have_keys_of_their_own() {
    let long = |begin: &str, end: &str| format!("{begin}{}{end}", "é".repeat(260));
    let ids =
        [long("a", ""), long("b", ""), long("", "a"), long("", "b"), "é".repeat(255), "é".repeat(256), "é".repeat(257)];
    let host = host(&[202; 7]);
    let alerts = named(&ids.each_ref().map(String::as_str));
    started("{}").unwrap().deliver(&alerts, &host.channel_context()).unwrap();
    let keys = keys(&host);
    let others: std::collections::BTreeSet<&String> = keys.iter().collect();
    assert_eq!(others.len(), ids.len(), "two share a key: {keys:?}");
    assert!(keys.iter().all(|key| key.chars().count() == 255));
    assert_eq!((&keys[4], keys[0].starts_with("aééé")), (&ids[4], true), "what fits is left as it is");
}

#[test]
fn nothing_to_tell_is_not_told() {
    let host = host(&[]);
    assert_eq!(started("{}").unwrap().deliver(&[], &host.channel_context()), Ok(()));
    assert!(host.requests().is_empty());
}

#[test]
fn limits_are_kept_without_cutting_a_character() {
    let alert = Alert { id: "é".repeat(300), title: "🐦".repeat(2_000), scope: String::new(), ..Alert::sample() };
    let host = host(&[202]);
    started("{}").unwrap().deliver(&[alert], &host.channel_context()).unwrap();
    let event = &bodies(&host)[0];
    assert_eq!(check(event), Ok(()));
    let payload = event.get("payload").unwrap();
    assert_eq!(text(payload, "summary"), format!("{}…", "🐦".repeat(1_023)));
    assert_eq!((text(payload, "source"), text(event, "dedup_key").chars().count()), ("whimbrel", 255));

    let host = self::host(&[202]);
    let alert = Alert { title: "\n".to_owned(), kind: String::new(), ..Alert::sample() };
    started("{}").unwrap().deliver(&[alert], &host.channel_context()).unwrap();
    assert_eq!(check(&bodies(&host)[0]), Ok(()), "an event needs a summary");
}

#[test]
fn configurations_that_mean_nothing_are_refused() {
    for (config, message) in [
        (r#"{"url": "events.pagerduty.com"}"#, "config: url: must begin with https:// or http://"),
        (r#"{"group": ""}"#, "config: group: write one line, or leave it out"),
        (r#"{"group": "a\nb"}"#, "config: group: write one line, or leave it out"),
        (r#"{"settled": []}"#, "unknown option `settled`, expected one of `url`, `group`"),
    ] {
        assert_eq!(started(config).err().as_deref(), Some(message), "{config}");
    }
    let mut plugin: PagerDuty = whimbrel_plugin::config::parse("{}").unwrap();
    assert_eq!(plugin.start(&TestHost::new().channel_context()).unwrap_err().code, "denied");
}

proptest! {
    #[test]
    fn whatever_alerts_hold_each_is_one_event_as_documented(alerts in strategy::alerts()) {
        let host = host(&vec![202; alerts.len()]);
        started("{}").unwrap().deliver(&alerts, &host.channel_context()).unwrap();
        let events = bodies(&host);
        prop_assert_eq!(events.len(), alerts.len());
        for event in &events {
            prop_assert_eq!(check(event), Ok(()));
        }
    }
}
