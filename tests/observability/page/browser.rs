//! The page in a real browser, headless: `./x check page`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::super::env;
use super::super::http::Endpoint;
use super::world::{World, monitor};

const PIPELINES: usize = 50;

/// The script looks and says what it saw; when it says `stop`, the agent is stopped under its eyes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a browser: ./x check page"]
async fn fifty_pipelines_in_a_browser() {
    let endpoint = Endpoint::start().await;
    let mut world = World::new(&endpoint.instruments, PIPELINES);
    let instruments = endpoint.instruments.clone();
    let (mut monitor, view) = tokio::task::spawn_blocking(move || monitor(&instruments)).await.unwrap();
    endpoint.monitor.set(view).unwrap();
    let time = tokio::spawn(async move {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        loop {
            seconds.tick().await;
            world.second();
        }
    });
    cost(&endpoint).await;
    let mut script = Command::new(env("WHIMBREL_BROWSER_PYTHON"))
        .arg(env("WHIMBREL_BROWSER_SCRIPT"))
        .arg(&endpoint.base)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut told, said) = (script.stdin.take().unwrap(), BufReader::new(script.stdout.take().unwrap()));
    let (lines, mut heard) = tokio::sync::mpsc::channel(16);
    let reader = tokio::task::spawn_blocking(move || {
        for line in said.lines() {
            lines.blocking_send(line.unwrap()).unwrap();
        }
    });
    let mut endpoint = Some(endpoint);
    while let Some(line) = heard.recv().await {
        println!("{line}");
        if line == "stop"
            && let Some(endpoint) = endpoint.take()
        {
            endpoint.stop().await;
            writeln!(told, "stopped").unwrap();
        }
    }
    reader.await.unwrap();
    let status = tokio::task::spawn_blocking(move || script.wait().unwrap()).await.unwrap();
    assert!(status.success(), "the browser saw something that is not right; it stands above");
    assert!(endpoint.is_none(), "the script never came to its end");
    time.abort();
    tokio::task::spawn_blocking(move || monitor.stop()).await.unwrap();
}

/// Prints what a state costs the agent.
async fn cost(endpoint: &Endpoint) {
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut times = Vec::new();
    let mut size = 0;
    for _ in 0..20 {
        let begin = Instant::now();
        size = endpoint
            .client
            .get(format!("{}/api/v1/state", endpoint.base))
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap()
            .len();
        times.push(begin.elapsed());
    }
    times.sort();
    println!("a state of {PIPELINES} pipelines: {size} bytes, asked for and had in {:?} (median)", times[10]);
}
