//! What leaves is what the page on channels promises, whatever the alerts hold.

use proptest::prelude::*;
use whimbrel_plugin::http::Response;
use whimbrel_plugin::json::Json;
use whimbrel_plugin::testing::{TestHost, strategy};

use super::*;

const URL: &str = "https://hooks.example.org/whimbrel";

fn started(config: &str, host: &TestHost) -> Result<Webhook, String> {
    let mut plugin: Webhook = whimbrel_plugin::config::parse(config).map_err(|error| error.to_string())?;
    plugin.start(&host.channel_context()).map_err(|failure| failure.to_string())?;
    Ok(plugin)
}

/// The body of the one request that these alerts make.
fn body(template: &str, alerts: &[Alert]) -> String {
    let host = TestHost::new().answering(Response::new(200));
    let config = Json::object([("url", URL.into()), ("template", template.into())]).to_string();
    started(&config, &host).unwrap().deliver(alerts, &host.channel_context()).unwrap();
    String::from_utf8(host.requests()[0].body.clone()).unwrap()
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// Checks the default JSON against what the page says of it.
fn check_default(json: &Json, alerts: &[Alert]) -> Result<(), String> {
    let Json::Object(members) = json else { return Err("no object".to_owned()) };
    let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    if names != ["version", "delivery", "status", "severity", "title", "alerts"] {
        return Err(format!("members {names:?}"));
    }
    let Some(Json::List(told)) = json.get("alerts") else { return Err("no list of alerts".to_owned()) };
    if told.len() != alerts.len() {
        return Err(format!("{} of {} alerts", told.len(), alerts.len()));
    }
    for (told, alert) in told.iter().zip(alerts) {
        for (name, wanted) in [("id", &alert.id), ("title", &alert.title), ("detail", &alert.detail)] {
            if told.get(name).and_then(Json::as_text) != Some(wanted) {
                return Err(format!("{name} is not what was handed over"));
            }
        }
        let since = told.get("since").and_then(Json::as_text).unwrap_or_default();
        if since.len() != 24 || !since.ends_with('Z') {
            return Err(format!("since {since}"));
        }
        if (told.get("until") == Some(&Json::Null)) != alert.until_ms.is_none() {
            return Err("until".to_owned());
        }
        if !matches!(told.get("attributes"), Some(Json::Object(_))) {
            return Err("attributes".to_owned());
        }
    }
    Ok(())
}

#[test]
fn placeholders_become_what_they_stand_for() {
    let over =
        Alert { id: "b".to_owned(), status: Status::Resolved, until_ms: Some(1_700_000_060_000), ..Alert::sample() };
    let two = [Alert::sample(), over.clone()];
    for (template, alerts, wanted) in [
        (r#"{"text":"{{title}}"}"#, &two[..1], r#"{"text":"pipeline shop is slow"}"#),
        (r#"{"n":"{{alerts}}","of":"{{ firing }}/{{resolved}}"}"#, &two, r#"{"n":2,"of":"1/1"}"#),
        (r#""{{status}} {{severity}}""#, &two, r#""firing warning""#),
        (r#"[{"for_each_alert":"{{id}}"}]"#, &two, r#"["sample","b"]"#),
        (
            r#"["first",{"for_each_alert":{"until":"{{until_ms}}"}}]"#,
            &two,
            r#"["first",{"until":null},{"until":1700000060000}]"#,
        ),
        (r#"[{"for_each_alert":"{{title}} until {{until}}."}]"#, &two[..1], r#"["pipeline shop is slow until ."]"#),
        (r#"{"a":[1,true,null,"}}{"]}"#, &two, r#"{"a":[1,true,null,"}}{"]}"#),
    ] {
        assert_eq!(body(template, alerts), wanted, "{template}");
    }
}

#[test]
fn what_an_alert_holds_cannot_become_structure_or_another_placeholder() {
    let alert = Alert { title: "\"},\"admin\":true,\"x\":{\"{{id}}".to_owned(), ..Alert::sample() };
    assert_eq!(body(r#"{"text": "[{{title}}]"}"#, &[alert]), r#"{"text":"[\"},\"admin\":true,\"x\":{\"{{id}}]"}"#);
}

#[test]
fn the_default_holds_every_field() {
    let alert = Alert {
        attributes: vec![
            ("lag".to_owned(), Value::Float(12.5)),
            ("never".to_owned(), Value::Float(f64::NAN)),
            ("lag".to_owned(), Value::Integer(3)),
        ],
        url: Some("https://whimbrel.example.org/".to_owned()),
        ..Alert::sample()
    };
    let host = TestHost::new().answering(Response::new(204));
    let mut plugin = started(&format!(r#"{{"url": "{URL}"}}"#), &host).unwrap();
    plugin.deliver(&[alert], &host.channel_context()).unwrap();
    let request = &host.requests()[0];
    assert_eq!((request.method.as_str(), request.url.as_str()), ("POST", URL));
    assert_eq!(header(request, "content-type"), Some("application/json"));
    assert_eq!(header(request, SIGNATURE), None);
    let delivery = header(request, DELIVERY).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&request.body),
        format!(
            concat!(
                r#"{{"version":1,"delivery":"{delivery}","status":"firing","severity":"warning","#,
                r#""title":"pipeline shop is slow","alerts":[{{"id":"sample","status":"firing","severity":"warning","#,
                r#""rule":"sample-rule","kind":"low_throughput","title":"pipeline shop is slow","#,
                r#""detail":"12 rows/s, expected 100","action":"look at the target's load","scope":"pipeline/shop","#,
                r#""since":"2023-11-14T22:13:20.000Z","until":null,"count":1,"url":"https://whimbrel.example.org/","#,
                r#""attributes":{{"lag":12.5,"never":null}}}}]}}"#
            ),
            delivery = delivery
        )
    );
}

#[test]
fn the_signature_covers_time_and_body() {
    let host = TestHost::new().at(1_700_000_000_123).secret("signing").answering(Response::new(200));
    let mut plugin = started(&format!(r#"{{"url": "{URL}", "secret": "signing"}}"#), &host).unwrap();
    plugin.deliver(&[Alert::sample()], &host.channel_context()).unwrap();
    let request = &host.requests()[0];
    let hex = header(request, SIGNATURE).unwrap().strip_prefix("t=1700000000123,v1=").unwrap();
    let signed = [b"signed with signing: 1700000000123.".as_slice(), &request.body].concat();
    assert_eq!(hex, signed.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
}

#[test]
fn secrets_stand_as_references_only() {
    let host = TestHost::new().secret("hook").secret("token").answering(Response::new(200));
    let config = r#"{"url_secret": "hook", "headers": [
        {"name": "authorization", "value": "Bearer ", "secret": "token"}, {"name": "x-team", "value": "data"}]}"#;
    started(config, &host).unwrap().deliver(&[Alert::sample()], &host.channel_context()).unwrap();
    let request = &host.requests()[0];
    assert_eq!(request.url, "whimbrel-secret-hook");
    assert_eq!(header(request, "authorization"), Some("Bearer whimbrel-secret-token"));
    assert_eq!(header(request, "x-team"), Some("data"));
}

#[test]
fn a_delivery_has_the_same_name_until_something_is_new() {
    let alert = |id: &str, status, count| Alert { id: id.to_owned(), status, count, ..Alert::sample() };
    let told = [alert("a", Status::Firing, 1), alert("b", Status::Firing, 1)];
    let name = fields::delivery(&told);
    assert_eq!((name.len(), fields::delivery(&[told[1].clone(), told[0].clone()])), (32, name.clone()));
    for other in [
        vec![told[0].clone()],
        vec![told[0].clone(), alert("b", Status::Resolved, 1)],
        vec![told[0].clone(), alert("b", Status::Firing, 2)],
        vec![alert("ab", Status::Firing, 1)],
    ] {
        assert_ne!(fields::delivery(&other), name, "{other:?}");
    }
}

#[test]
fn a_status_decides_whether_it_is_tried_again() {
    for (status, wanted) in [
        (200, None),
        (202, None),
        (204, None),
        (301, Some(false)),
        (400, Some(false)),
        (401, Some(false)),
        (404, Some(false)),
        (408, Some(true)),
        (410, Some(false)),
        (429, Some(true)),
        (500, Some(true)),
        (503, Some(true)),
    ] {
        let host = TestHost::new().answering(Response { body: b"echo of a secret".to_vec(), ..Response::new(status) });
        let mut plugin = started(&format!(r#"{{"url": "{URL}"}}"#), &host).unwrap();
        let failure = plugin.deliver(&[Alert::sample()], &host.channel_context()).err();
        assert_eq!(failure.as_ref().map(|failure| failure.retryable), wanted, "{status}");
        assert!(failure.is_none_or(|failure| !failure.to_string().contains("echo")));
    }
    let host = TestHost::new().refusing(Failure::retryable("timeout", "no answer"));
    let mut plugin = started(&format!(r#"{{"url": "{URL}"}}"#), &host).unwrap();
    assert!(plugin.deliver(&[Alert::sample()], &host.channel_context()).unwrap_err().retryable);
}

#[test]
fn one_by_one_an_alert_that_is_refused_does_not_keep_back_the_others() {
    let answers =
        |statuses: &[u16]| statuses.iter().fold(TestHost::new(), |host, status| host.answering(Response::new(*status)));
    let alerts: Vec<Alert> = ["a", "b", "c"].map(|id| Alert { id: id.to_owned(), ..Alert::sample() }).to_vec();
    for (statuses, requests, wanted) in
        [(&[200, 200, 200][..], 3, None), (&[200, 400, 200], 3, Some(false)), (&[400, 503], 2, Some(true))]
    {
        let host = answers(statuses);
        let config = format!(r#"{{"url": "{URL}", "one_by_one": true}}"#);
        let mut plugin = started(&config, &host).unwrap();
        let failure = plugin.deliver(&alerts, &host.channel_context()).err();
        assert_eq!((host.requests().len(), failure.map(|failure| failure.retryable)), (requests, wanted));
    }
}

#[test]
fn one_by_one_a_template_names_the_alerts_own_fields() {
    let host = TestHost::new().answering(Response::new(200)).answering(Response::new(200));
    let template = r#"["{{detail}}","{{id}}","{{alerts}}",{"for_each_alert":"{{kind}}"}]"#;
    let config =
        Json::object([("url", URL.into()), ("one_by_one", true.into()), ("template", template.into())]).to_string();
    let alerts = ["a", "b"].map(|id| Alert { id: id.to_owned(), ..Alert::sample() });
    started(&config, &host).unwrap().deliver(&alerts, &host.channel_context()).unwrap();
    let bodies: Vec<String> =
        host.requests().iter().map(|request| String::from_utf8_lossy(&request.body).into_owned()).collect();
    assert_eq!(bodies, ["a", "b"].map(|id| format!(r#"["12 rows/s, expected 100","{id}",1,"low_throughput"]"#)));
}

#[test]
fn nothing_to_tell_is_not_told() {
    let host = TestHost::new();
    let mut plugin = started(&format!(r#"{{"url": "{URL}"}}"#), &host).unwrap();
    assert_eq!(plugin.deliver(&[], &host.channel_context()), Ok(()));
    assert!(host.requests().is_empty());
}

#[test]
fn configurations_that_mean_nothing_are_refused() {
    for (config, message) in [
        (r#"{}"#, "config: give one of `url` and `url_secret`"),
        (r#"{"url": "https://a", "url_secret": "b"}"#, "config: give one of `url` and `url_secret`"),
        (r#"{"url": "ftp://a"}"#, "config: url: must begin with https:// or http://"),
        (
            r#"{"url": "https://a", "secret": "none"}"#,
            "denied: no secret `none` is granted; add it with `TestHost::secret`",
        ),
        (
            r#"{"url": "https://a", "headers": [{"name": "a b"}]}"#,
            "config: headers[0]: a header's name has letters, digits and hyphens only",
        ),
        (
            r#"{"url": "https://a", "headers": [{"name": "Content-Type"}]}"#,
            "config: headers[0]: this header is set already",
        ),
        (
            r#"{"url": "https://a", "headers": [{"name": "a", "value": "b\r\nc: d"}]}"#,
            "config: headers[0]: a header's value is one line",
        ),
        (
            r#"{"url": "https://a", "template": "{"}"#,
            "config: template: invalid JSON at byte 1: expected a member name",
        ),
        (r#"{"url": "https://a", "template": "\"{{title\""}"#, "config: template: `{{title`: `{{` without `}}`"),
        (
            r#"{"url": "https://a", "template": "{\"{{title}}\": 1}"}"#,
            "config: template: `{{title}}`: a member's name has no placeholders",
        ),
        (
            r#"{"url": "https://a", "template": "\"{{detail}}\""}"#,
            "config: template: there is no `{{detail}}` here, expected one of delivery, status, severity, title, alerts, firing, resolved",
        ),
        (
            r#"{"url": "https://a", "template": "{\"for_each_alert\": 1}"}"#,
            "config: template: `for_each_alert` stands alone in an object that is an item of a list, and not inside another",
        ),
        (
            r#"{"url": "https://a", "template": "[{\"for_each_alert\": [{\"for_each_alert\": 1}]}]"}"#,
            "config: template: `for_each_alert` stands alone in an object that is an item of a list, and not inside another",
        ),
    ] {
        assert_eq!(started(config, &TestHost::new()).err().as_deref(), Some(message), "{config}");
    }
}

proptest! {
    #[test]
    fn whatever_alerts_hold_the_body_is_the_documented_json(alerts in strategy::alerts()) {
        prop_assume!(!alerts.is_empty());
        let json = Json::parse(&body(DEFAULT_TEMPLATE, &alerts)).unwrap();
        prop_assert_eq!(check_default(&json, &alerts), Ok(()));
    }

    #[test]
    fn whatever_alerts_hold_a_template_keeps_its_shape(alerts in strategy::alerts()) {
        prop_assume!(!alerts.is_empty());
        let json = Json::parse(&body(r#"{"text": "*{{title}}*", "all": [{"for_each_alert": ["{{detail}}", "<{{kind}}>"]}]}"#, &alerts)).unwrap();
        let Json::Object(members) = &json else { panic!("{json}") };
        prop_assert_eq!(members.len(), 2);
        let Some(Json::List(all)) = json.get("all") else { panic!("{json}") };
        let wanted: Vec<Json> = alerts
            .iter()
            .map(|alert| Json::List(vec![alert.detail.as_str().into(), format!("<{}>", alert.kind).into()]))
            .collect();
        prop_assert_eq!(all, &wanted);
    }
}
