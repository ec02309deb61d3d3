//! `whimbrel top`: a running agent's state on a terminal. Asks the agent once a second; the agent itself is not changed by
//! being looked at.

mod app;
mod pages;
mod state;
#[cfg(test)]
mod tests;
mod view;
mod words;

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use ratatui::DefaultTerminal;
use reqwest::{Client, Url};
use tokio::signal::unix::{SignalKind, signal};

use self::app::{App, Turn};
use self::state::State;
use super::Exit;
use crate::config;
use crate::runtime::logging::chain;
use crate::runtime::tls;

/// As fast as people read figures.
const EVERY: Duration = Duration::from_secs(1);
/// An agent that does not answer for so long is away.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Keys are felt at once, and what is heard is shown soon.
const PATIENCE: Duration = Duration::from_millis(50);

/// Arguments of `whimbrel top`.
#[derive(Debug, Args)]
#[command(after_help = "Keys: Tab or ← → another page, ↑ ↓ PgUp PgDn Home End move, p pause, q end.

The same is at the agent's address for a browser, and as JSON at /api/v1/state.

Exit status: 0 ended as asked, 1 no agent there or an error, 2 usage or configuration.")]
pub struct TopArgs {
    /// Where the agent listens
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9464")]
    agent_url: Url,
    /// Configuration file of the agent, which says where it listens
    #[arg(long, value_name = "FILE", conflicts_with = "agent_url")]
    config: Option<PathBuf>,
}

/// What the one who asks tells the one who shows.
enum Heard {
    State(Box<State>),
    Trouble(String),
    End,
}

/// Shows the agent until somebody has seen enough.
///
/// # Errors
/// When there is no agent, or no terminal.
pub fn run(args: &TopArgs) -> anyhow::Result<Exit> {
    let base = match &args.config {
        None => args.agent_url.clone(),
        Some(file) => match config::load(file) {
            Ok(loaded) => url_of(loaded.config.export.listen)?,
            Err(report) => {
                eprint!("{report}");
                return Ok(Exit::Usage);
            }
        },
    };
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        eprintln!("whimbrel top: this is no terminal; ask {}api/v1/state for the same as JSON", with_slash(&base));
        return Ok(Exit::Usage);
    }
    tls::install();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asker = Asker::new(&base)?;
    // Once before the terminal is taken over: whoever named the wrong address reads why.
    let first = runtime.block_on(asker.ask())?;
    let (tell, heard) = sync_channel(1);
    std::thread::Builder::new().name("top".into()).spawn(move || runtime.block_on(listen(&asker, &tell)))?;
    let mut screen = Screen::open().context("the terminal cannot be taken over")?;
    let mut app = App::new(base.as_str());
    app.heard(first);
    screen.show(&mut app, &heard)?;
    Ok(Exit::Ok)
}

/// Asks one agent.
struct Asker {
    client: Client,
    url: Url,
    base: Url,
}

impl Asker {
    fn new(base: &Url) -> anyhow::Result<Self> {
        if !matches!(base.scheme(), "http" | "https") {
            bail!("{base} is no http address; name the agent's with --agent-url");
        }
        let url = with_slash(base).join("api/v1/state")?;
        let client = Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        Ok(Self { client, url, base: base.clone() })
    }

    async fn ask(&self) -> anyhow::Result<State> {
        let unreachable = || format!("no agent answers at {}; name its address with --agent-url", self.base);
        let answer = self.client.get(self.url.clone()).send().await.with_context(unreachable)?;
        if !answer.status().is_success() {
            bail!("{} answers {}: is it a whimbrel agent of this version?", self.url, answer.status());
        }
        answer.json().await.with_context(|| format!("{} answers something else than an agent's state", self.url))
    }
}

/// The address with a path that others can be appended to.
fn with_slash(base: &Url) -> Url {
    let mut base = base.clone();
    if !base.path().ends_with('/') {
        let path = format!("{}/", base.path());
        base.set_path(&path);
    }
    base
}

/// Where an agent that listens there is asked: on every address means also on this machine's own.
fn url_of(mut listen: SocketAddr) -> anyhow::Result<Url> {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    if listen.port() == 0 {
        bail!("http.listen has port 0, so the agent took a free one; name its address with --agent-url");
    }
    Ok(format!("http://{listen}").parse()?)
}

/// Asks each second and tells, until nobody listens any more. A signal that would end the process ends the display, so
/// that the terminal is given back.
async fn listen(asker: &Asker, tell: &SyncSender<Heard>) {
    let (Ok(mut term), Ok(mut hangup)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup())) else {
        // The receiver may be gone already.
        let _ = tell.send(Heard::End);
        return;
    };
    loop {
        let heard = tokio::select! {
            _ = term.recv() => Heard::End,
            _ = hangup.recv() => Heard::End,
            heard = async {
                tokio::time::sleep(EVERY).await;
                match asker.ask().await {
                    Ok(state) => Heard::State(Box::new(state)),
                    Err(error) => Heard::Trouble(chain(&*error)),
                }
            } => heard,
        };
        let last = matches!(heard, Heard::End);
        if tell.send(heard).is_err() || last {
            return;
        }
    }
}

/// The terminal, which is itself again when this is dropped, also by a panic.
struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    fn open() -> std::io::Result<Self> {
        Ok(Self { terminal: ratatui::try_init()? })
    }

    fn show(&mut self, app: &mut App, heard: &Receiver<Heard>) -> std::io::Result<()> {
        let mut dirty = true;
        loop {
            if dirty {
                self.terminal.draw(|frame| view::draw(frame, app))?;
            }
            dirty = false;
            if crossterm::event::poll(PATIENCE)? {
                // Also a new size: whatever happened, it is drawn anew.
                dirty = true;
                if app.event(&crossterm::event::read()?) == Turn::End {
                    return Ok(());
                }
            }
            match heard.try_recv() {
                Ok(Heard::State(state)) => app.heard(*state),
                Ok(Heard::Trouble(why)) => app.trouble(why),
                Ok(Heard::End) | Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => continue,
            }
            dirty = true;
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}
