//! The status page and the stream that feeds it, as a client and as a browser see them.

mod browser;
mod world;

use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::Endpoint;
use super::{shop, until};

/// Listeners that the agent serves at a time.
const SEATS: usize = 16;

/// An open stream.
struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(endpoint: &Endpoint) -> Result<Self, u16> {
        let response = endpoint.client.get(format!("{}/api/v1/stream", endpoint.base)).send().await.unwrap();
        match response.status().as_u16() {
            200 => Ok(Self { response, text: String::new() }),
            status => Err(status),
        }
    }

    /// The next event as it was sent, or none when the stream ended.
    async fn event(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = event.to_owned();
                self.text = rest.to_owned();
                return Some(event);
            }
            let chunk = tokio::time::timeout(Duration::from_secs(5), self.response.chunk()).await.unwrap();
            self.text += std::str::from_utf8(&chunk.ok()??).unwrap();
        }
    }
}

#[tokio::test]
async fn the_page_is_whole_and_its_policy_lets_it_fetch_nothing_from_elsewhere() {
    let endpoint = Endpoint::start().await;
    let get = async |path: &str| endpoint.client.get(format!("{}{path}", endpoint.base)).send().await.unwrap();
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/page/main.js", "text/javascript; charset=utf-8"),
        ("/page/page.css", "text/css; charset=utf-8"),
        ("/page/uPlot.iife.min.js", "text/javascript; charset=utf-8"),
        ("/page/uPlot.LICENSE", "text/plain; charset=utf-8"),
    ] {
        let answer = get(path).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &kind.parse().unwrap()),
            "{path}"
        );
        let policy = answer.headers()["content-security-policy"].to_str().unwrap();
        let mut rules: Vec<&str> = policy.split(';').map(str::trim).collect();
        rules.sort_unstable();
        assert_eq!(
            rules,
            [
                "base-uri 'none'",
                "connect-src 'self'",
                "default-src 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
                "img-src 'self'",
                "require-trusted-types-for 'script'",
                "script-src 'self'",
                "style-src 'self'",
                "trusted-types 'none'",
            ]
        );
        assert_eq!(answer.headers()["x-frame-options"], "DENY");
        assert!(answer.text().await.unwrap().len() > 200, "{path}");
    }
    assert_eq!(get("/page/secret").await.status(), 404);
    assert_eq!(get("/page/../Cargo.toml").await.status(), 404);
    endpoint.stop().await;
}

#[tokio::test]
async fn the_stream_tells_the_whole_state_each_second_and_everybody_hears_the_same() {
    let endpoint = Endpoint::start().await;
    let _observer = shop(&endpoint.instruments, "shop");
    let mut one = Stream::open(&endpoint).await.unwrap();
    assert_eq!(one.response.headers()["content-type"], "text/event-stream");
    assert_eq!(one.response.headers()["cache-control"], "no-store");
    one.event().await.unwrap();
    let mut other = Stream::open(&endpoint).await.unwrap();
    let begin = Instant::now();
    let heard = [one.event().await.unwrap(), one.event().await.unwrap()];
    assert!(begin.elapsed() > Duration::from_millis(900), "{:?}", begin.elapsed());
    assert_eq!(other.event().await.unwrap(), heard[0]);
    assert_eq!(other.event().await.unwrap(), heard[1]);

    let lines: Vec<&str> = heard[0].lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "event: state"));
    let state: Value = serde_json::from_str(lines[1].strip_prefix("data: ").unwrap()).unwrap();
    let shop = &state["status"]["pipelines"][0];
    assert_eq!((&shop["pipeline"], &shop["lag"]["state"]), (&"shop".into(), &"behind".into()));
    assert_eq!(shop["lag"]["messages"], 10);
    assert_eq!((&shop["lag"]["partitions"], &shop["lag"]["tables"]), (&Value::Array(vec![]), &Value::Array(vec![])));
    assert_eq!((&state["migrations"], &state["incidents"]), (&Value::Null, &Value::Null), "not known is not empty");

    let once = endpoint.client.get(format!("{}/api/v1/state", endpoint.base)).send().await.unwrap();
    let once: Value = serde_json::from_str(&once.text().await.unwrap()).unwrap();
    assert_eq!(once["status"]["pipelines"][0]["pipeline"], "shop");
    endpoint.stop().await;
}

#[tokio::test]
async fn listeners_are_bounded_and_who_leaves_makes_room() {
    let endpoint = Endpoint::start().await;
    let mut streams = Vec::new();
    for _ in 0..SEATS {
        streams.push(Stream::open(&endpoint).await.unwrap());
    }
    assert_eq!(Stream::open(&endpoint).await.err(), Some(503));
    let state = endpoint.client.get(format!("{}/api/v1/state", endpoint.base)).send().await.unwrap();
    assert_eq!(state.status(), 200, "who found no room can still ask");
    streams.pop();
    let room = async || Stream::open(&endpoint).await.ok();
    let mut last = until("room for one more", Duration::from_secs(5), room).await;
    last.event().await.unwrap();
    let foreign =
        endpoint.client.get(format!("{}/api/v1/stream", endpoint.base)).header("sec-fetch-site", "cross-site");
    assert_eq!(foreign.send().await.unwrap().status(), 403);
    endpoint.stop().await;
}

#[tokio::test]
async fn streams_end_with_the_agent_and_do_not_hold_it_up() {
    let endpoint = Endpoint::start().await;
    let mut stream = Stream::open(&endpoint).await.unwrap();
    stream.event().await.unwrap();
    let begin = Instant::now();
    endpoint.stop().await;
    assert!(begin.elapsed() < Duration::from_millis(800), "{:?}", begin.elapsed());
    assert_eq!(stream.event().await, None);
}
