//! `mailquotad serve`: the story of a start, from top to bottom, and of a stop.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::house::House;
use crate::config::{Config, SocketAccess};
use crate::service::dict::DictSession;
use crate::service::http::{self, Api, Token, server};
use crate::service::listener::{self, Ended, Limits};
use crate::service::lookup::{LookupSession, Lookups};
use crate::service::paced::Pace;
use crate::service::policy::PolicySession;
use crate::service::socket::{Access, Bound};
use crate::service::warned::WarnedSession;
use crate::telemetry::events;
use crate::telemetry::log::Log;
use crate::wire::endpoint::Endpoint;

/// How long requests in hand may take at a stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Calls of Dovecot's at once, and how long one may take.
const WARNED_CONNECTIONS: u32 = 64;
const WARNED_PATIENCE: Duration = Duration::from_secs(10);

/// Connections to the API at once: commands, a scraper, a few programs.
const API_CONNECTIONS: u32 = 64;

/// Dovecot hangs up as a rule as soon as it has its answer; it may keep a connection for later.
const DICT_PACE: Pace = Pace { idle: Duration::from_secs(600), request: Duration::from_secs(30) };

pub fn serve(file: &Path) -> Result<Exit> {
    let config = Config::load(file)?;
    let log = Log::start(&config.log)?;
    super::block_on(run(file, config, &log, async |_| ()))??;
    Ok(Exit::Fine)
}

/// Serves until a signal. `ready` runs once the directory has been read.
pub async fn run(file: &Path, config: Config, log: &Log, ready: impl AsyncFnOnce(&Api)) -> Result<()> {
    let (begun, config) = (Instant::now(), Arc::new(config));
    // From here on a signal means an orderly end: it may come before anybody is answered.
    let mut signals = Signals::listen()?;
    events::started(env!("CARGO_PKG_VERSION"), &file.display());
    // Sockets first: what cannot listen must not touch the ledger.
    let policy = bind(&config.policy.listen, &config.policy.access)?;
    let lookup = bind(&config.lookup.listen, &config.lookup.access)?;
    let dict = bind(&config.dovecot.listen, &config.dovecot.access)?;
    let warned = bind(&config.warnings.listen, &config.warnings.access)?;
    let socket = Endpoint::Unix(config.http.socket.clone());
    let private = bind(std::slice::from_ref(&socket), &config.http.access)?;
    let public = bind(&config.http.listen, &config.http.access)?;
    let token = read_token(&config)?.map(|token| Arc::new(Token::from_pointee(token)));

    // A large ledger takes a while to open, which nothing can cut short.
    let building = config.clone();
    let mut building = tokio::task::spawn_blocking(move || House::build(&building));
    let built = tokio::select! {
        built = &mut building => built?,
        told = signals.end() => {
            // What cannot be built now need not be closed.
            let closed = async {
                let Ok(Ok(house)) = building.await else { return Ok(()) };
                house.finish().await
            };
            return end(told, closed).await;
        }
    };
    let mut house = built?;
    let stop = CancellationToken::new();
    let keeper = house.mailboxes(&config, &stop)?;
    house.start(&config, &stop);

    // Answers are given from here on, from what the ledger and the directory have told so far.
    let answering = stop.child_token();
    let pace = Pace { idle: config.policy.idle_timeout, request: config.policy.request_timeout };
    let metrics = house.api.accounting.metrics.clone();
    let session = PolicySession { answer: house.api.admission.clone(), pace, metrics };
    let connections = u32::try_from(config.policy.max_connections).unwrap_or(u32::MAX);
    let limits = Limits { connections, drain: DRAIN };
    let all = [
        ("policy", &policy),
        ("lookup", &lookup),
        ("dict", &dict),
        ("warned", &warned),
        ("api", &private),
        ("api", &public),
    ];
    for (service, sockets) in all {
        sockets.iter().for_each(|socket| events::listening(service, socket.endpoint()));
    }
    let threads = listener::Threads::new("policy", session);
    let mut services = tokio::task::JoinSet::new();
    services.spawn(listener::run(policy, limits, threads, answering.clone()));
    services.spawn(listener::run(lookup, lookup_limits(&config), lookups(&config, &house.api), answering.clone()));
    let connections = u32::try_from(config.dovecot.max_connections).unwrap_or(u32::MAX);
    let limits = Limits { connections, drain: DRAIN };
    let session = DictSession { keeper, pace: DICT_PACE, metrics: house.api.metrics.clone() };
    services.spawn(listener::run(dict, limits, listener::Threads::new("dict", session), answering.clone()));
    services.spawn(listener::run(warned, warned_limits(), warnings(&house.api), answering.clone()));
    let limits = Limits { connections: API_CONNECTIONS, drain: DRAIN };
    let open = server::host(http::router(house.api.clone(), None));
    services.spawn(listener::run(private, limits, open, answering.clone()));
    let closed = server::host(http::router(house.api.clone(), token.clone()));
    services.spawn(listener::run(public, limits, closed, answering.clone()));
    // Where systemd does not listen there is nothing to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);

    let reload = Reload { file, started: &config, house: &house, log, token };
    let told = tokio::select! {
        told = signals.wait(&reload) => Ok(told),
        ended = services.join_next() => Err(died(ended)),
        told = async {
            house.api.accounting.load_completed().await;
            let book = &house.api.accounting.book;
            events::ready(book.accounts(), book.domains().len(), begun.elapsed());
            ready(&house.api).await;
            std::future::pending().await
        } => told,
    };
    let closed = async {
        answering.cancel();
        while services.join_next().await.is_some() {}
        stop.cancel();
        house.finish().await
    };
    match told {
        Ok(signal) => end(signal, closed).await,
        Err(error) => end("a service has died", closed).await.and(Err(error)),
    }
}

/// Stops, unless another signal ends it here and now.
async fn end(told: &str, closed: impl Future<Output = Result<()>>) -> Result<()> {
    events::stopping(told);
    // Where systemd does not listen there is nothing to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    tokio::select! {
        finished = closed => finished?,
        () = another_signal() => events::forced(),
    }
    events::stopped();
    Ok(())
}

/// A service that ends by itself leaves a port to which nobody answers.
fn died(ended: Option<Result<std::io::Result<Ended>, JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok(Err(error))) => anyhow::Error::from(error).context("cannot wait at a socket"),
        Some(Err(error)) => anyhow::Error::from(error).context("a service has died"),
        Some(Ok(Ok(_))) | None => anyhow::anyhow!("a service has ended by itself"),
    }
}

/// Dovecot calls once for each mailbox that crosses a threshold, and hangs up.
fn warned_limits() -> Limits {
    Limits { connections: WARNED_CONNECTIONS, drain: DRAIN }
}

fn warnings(api: &Api) -> listener::Threads<WarnedSession> {
    let pace = Pace { idle: WARNED_PATIENCE, request: WARNED_PATIENCE };
    let (admission, metrics) = (api.admission.clone(), api.metrics.clone());
    listener::Threads::new("warned", WarnedSession { admission, metrics, pace })
}

fn lookup_limits(config: &Config) -> Limits {
    Limits { connections: u32::try_from(config.lookup.max_connections).unwrap_or(u32::MAX), drain: DRAIN }
}

fn lookups(config: &Config, api: &Api) -> listener::Threads<LookupSession> {
    let pace = Pace { idle: config.lookup.idle_timeout, request: config.lookup.request_timeout };
    let (lookups, metrics) = (Lookups::new(api.admission.clone()), api.metrics.clone());
    listener::Threads::new("lookup", LookupSession { lookups, pace, metrics })
}

fn bind(endpoints: &[Endpoint], access: &SocketAccess) -> Result<Vec<Bound>> {
    let group = access.group.as_deref().map(super::users::group).transpose()?;
    let access = Access { mode: access.mode, group };
    endpoints.iter().map(|at| Ok(Bound::bind(at, access)?)).collect()
}

/// What callers of `http.listen` have to show, where there is such a file.
fn read_token(config: &Config) -> Result<Option<String>> {
    let Some(file) = &config.http.token_file else { return Ok(None) };
    let text = std::fs::read_to_string(file).with_context(|| format!("reading http.token_file {}", file.display()))?;
    let token = text.trim();
    anyhow::ensure!(token.len() >= 16, "http.token_file {}: a token has at least 16 characters", file.display());
    Ok(Some(token.to_owned()))
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From here on none of them ends the process by itself.
    fn listen() -> Result<Signals> {
        let on = |kind| signal(kind).context("cannot wait for signals");
        Ok(Signals {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal to stop. A SIGHUP meanwhile is remembered.
    async fn end(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// The same; SIGHUP meanwhile reloads.
    async fn wait(mut self, reload: &Reload<'_>) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => reload.run(),
            }
        }
    }
}

/// What a SIGHUP has a hand on.
struct Reload<'a> {
    file: &'a Path,
    started: &'a Config,
    house: &'a House,
    log: &'a Log,
    token: Option<Arc<Token>>,
}

impl Reload<'_> {
    fn run(&self) {
        match self.take_over() {
            Ok(config) => events::reloaded(&self.file.display(), &self.started.needs_restart(&config)),
            Err(error) => events::reload_failed(&format!("{error:#}")),
        }
    }

    /// Takes over a whole new configuration, or keeps the old one.
    fn take_over(&self) -> Result<Config> {
        let config = self.started.load_again(self.file)?;
        let token = read_token(self.started)?;
        self.house.reload(&config)?;
        // From here on nothing fails.
        if let (Some(current), Some(token)) = (&self.token, token) {
            current.store(Arc::new(token));
        }
        self.log.set_level(config.log.level);
        Ok(config)
    }
}

async fn another_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
