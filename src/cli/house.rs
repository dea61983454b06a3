//! Puts the daemon together from a configuration: the only place that knows every adapter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::adapters::{self, directory, mailstore, open_ledger};
use super::users;
use crate::config::{Config, DirectorySource, StoreKind};
use crate::ledger::Ledger;
use crate::mailer::Mailer;
use crate::mailstore::MailStore;
use crate::mailstore::maildir::Layout;
use crate::service::accounting::Accounting;
use crate::service::admission::Admission;
use crate::service::clock::{Clock, SystemClock};
use crate::service::dict::Totals;
use crate::service::dict::doubts::Doubts;
use crate::service::dict::keeper::Mailboxes;
use crate::service::dict::limits::Limits;
use crate::service::dict::names::{Folders, Users};
use crate::service::hints::{self, Delays, Hints, HintsTaken};
use crate::service::http::Api;
use crate::service::measuring::Measuring;
use crate::service::queue::{self, Queues};
use crate::service::settings::Settings;
use crate::service::status::DirectoryStatus;
use crate::service::sync::Sync;
use crate::service::unixquota::UnixReading;
use crate::service::watch::Watching;
use crate::service::{catch_up, enforce, jobs, notify, outbox, over_flag, resync, warnings};
use crate::telemetry::metrics::Metrics;

/// Changes of the directory that may wait for the service: enough to keep both busy, little memory.
const CHANGES: usize = 4096;

/// How often whoever waits for the directory looks whether it is lost.
const LOOK: Duration = Duration::from_millis(250);

/// Everything but the sockets.
pub struct House {
    pub api: Api,
    settings: Arc<ArcSwap<Settings>>,
    reloaded: watch::Sender<()>,
    sync: Option<Sync>,
    hints: Hints,
    hinted: Option<HintsTaken>,
    mailer: Arc<dyn Mailer>,
    unix: Option<Arc<UnixReading>>,
    tasks: JoinSet<()>,
}

impl House {
    /// Opens the ledger and makes the parts; nothing runs yet.
    pub fn build(config: &Config) -> Result<House> {
        let metrics = Arc::new(Metrics::default());
        let ledger: Arc<dyn Ledger> = Arc::new(open_ledger(config)?);
        let store: Arc<dyn MailStore> = mailstore(config);
        let directory = directory(config)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let settings = Arc::new(ArcSwap::from_pointee(adapters::settings(config)?));
        let accounting = Arc::new(Accounting::new(ledger, settings.clone(), clock, metrics.clone()));
        let (hints, taken) = hints::hints();
        let directory_status = Arc::new(DirectoryStatus::default());
        let mut sync = Sync::new(accounting.clone(), directory_status.clone(), hints.clone());
        // An LDIF file is its own snapshot.
        if let DirectorySource::Ldap(_) = config.directory.source {
            sync = sync.keeping();
        }
        let unix = adapters::unix_quotas(config).map(|quotas| {
            let options = adapters::unix_options(config);
            Arc::new(UnixReading::new(accounting.clone(), quotas, options))
        });
        let sources = config.queue.sources.iter().map(|source| source.source.clone()).collect();
        let queues = Arc::new(Queues::new(sources, metrics.clone()));
        queues.install(config.queue.settings.quotas.clone());
        let api = Api {
            admission: Arc::new(Admission::new(accounting.clone(), hints.clone(), metrics.clone()).with_queues(queues)),
            measuring: Arc::new(
                Measuring::new(accounting.clone(), store, config.mailstore.threads).with_unix(unix.clone()),
            ),
            accounting,
            directory,
            directory_status,
            metrics,
            watch: Arc::default(),
        };
        Ok(House {
            api,
            settings,
            reloaded: watch::Sender::new(()),
            sync: Some(sync),
            hints,
            hinted: Some(taken),
            mailer: adapters::mailer(config)?,
            unix,
            tasks: JoinSet::new(),
        })
    }

    /// Starts what runs in the background: the directory, the outbox, timers, measuring and jobs.
    pub fn start(&mut self, config: &Config, stop: &CancellationToken) {
        self.follow_directory(stop);
        let Api { accounting, measuring, .. } = self.api.clone();
        self.tasks.spawn(enforce::run(accounting.clone(), stop.clone()));
        let (alarms, at_once) = (adapters::alarms(config), config.warnings.at_once);
        self.tasks.spawn(warnings::run(accounting.clone(), alarms, at_once, stop.clone()));
        self.tasks.spawn(notify::queue::run(accounting.clone(), self.mailer.clone(), stop.clone()));
        if let Some(hinted) = self.hinted.take() {
            let delays = Delays {
                delivery: config.mailstore.measure_after_delivery,
                change: config.mailstore.measure_after_change,
            };
            self.tasks.spawn(measuring.follow_hints(hinted, delays, stop.clone()));
        }
        self.watch(config, stop);
        if let Some(unix) = self.unix.take() {
            self.tasks.spawn(unix.run(stop.clone()));
        }
        self.follow_queues(config, stop);
        self.schedule(config, stop);
    }

    fn watch(&mut self, config: &Config, stop: &CancellationToken) {
        let Some((paths, open)) = adapters::watch(config) else { return };
        let Api { accounting, watch, .. } = self.api.clone();
        let watching = Watching::new(accounting, self.hints.clone(), paths, watch);
        let stop = stop.clone();
        self.tasks.spawn_blocking(move || watching.run(&open, &stop));
    }

    fn follow_queues(&mut self, config: &Config, stop: &CancellationToken) {
        let (accounting, queues) = (&self.api.accounting, self.api.admission.queues());
        for (host, source) in config.queue.sources.iter().enumerate() {
            let reader = adapters::mailqueue(source, config.queue.timeout);
            self.tasks.spawn(queue::follow::run(queues.clone(), host, reader, accounting.clone(), stop.clone()));
            let (queues, source, stop) = (queues.clone(), source.clone(), stop.clone());
            self.tasks.spawn(async move {
                // Without quotas nobody wants to know, or to read that we may not; a reload may bring the first.
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = queues.limited() => {}
                }
                let listen = |watch| queue::follow::listen(queues.clone(), host, watch, stop.clone());
                if let Err(error) = adapters::departures(&source).and_then(|watch| watch.map_or(Ok(()), listen)) {
                    crate::telemetry::events::queue_unwatched(&source.source.name, &error);
                }
            });
        }
        self.tasks.spawn(queue::follow::decay(queues.clone(), accounting.clone(), stop.clone()));
    }

    /// Starts only what a single command needs.
    pub fn start_offline(&mut self, stop: &CancellationToken) {
        self.follow_directory(stop);
    }

    /// Gives wishes that a command has led to a last chance; what cannot be written stays in the outbox.
    pub async fn write_statuses(&self) {
        outbox::work_once(&self.api.accounting, &self.api.directory).await;
    }

    /// What Dovecot's dict protocol is answered from. Called within the runtime.
    pub fn mailboxes(&mut self, config: &Config, stop: &CancellationToken) -> Result<Arc<Mailboxes>> {
        let options = &config.dovecot;
        let Api { accounting, directory, metrics, .. } = self.api.clone();
        let (doubts, runtime) = (Arc::new(Doubts::default()), tokio::runtime::Handle::current());
        let totals = match config.mailstore.kind {
            StoreKind::Maildir | StoreKind::Doveadm | StoreKind::Imap => Totals::Checked,
            StoreKind::Reported => Totals::Believed,
        };
        let mut separators = vec![options.separator];
        // No folder of that layout can have a dot in its name, and Dovecot's own default shows it.
        if config.mailstore.kind == StoreKind::Maildir && config.mailstore.layout == Layout::MaildirPlusPlus {
            separators.push('.');
        }
        let setters = options.limit_setters.iter().map(|name| users::user(name).context("dovecot.limit_setters"));
        let limits = Limits { directory, setters: setters.collect::<Result<_>>()?, runtime: runtime.clone() };
        self.tasks.spawn(doubts.clone().run(self.hints.clone(), metrics, stop.clone()));
        // What Dovecot told while nobody listened; who watches the mail store finds it anyway.
        if !options.listen.is_empty() && adapters::watch(config).is_none() {
            let measuring = self.api.measuring.clone();
            self.tasks.spawn(catch_up::run(measuring, accounting.clone(), stop.clone()));
        }
        Ok(Arc::new(Mailboxes {
            accounting,
            hints: self.hints.clone(),
            doubts,
            totals,
            users: Users { default_domain: options.default_domain.as_deref().map(Into::into) },
            folders: Folders { separators: separators.into(), prefix: options.prefix.as_str().into() },
            limits,
            runtime,
        }))
    }

    fn follow_directory(&mut self, stop: &CancellationToken) {
        let (changes, received) = mpsc::channel(CHANGES);
        let Api { accounting, directory, directory_status, .. } = self.api.clone();
        let now = accounting.clock.clone();
        self.tasks.spawn(outbox::run(accounting, directory.clone(), stop.clone()));
        let Some(mut sync) = self.sync.take() else { return };
        let (reloaded, stop) = (self.reloaded.subscribe(), stop.clone());
        self.tasks.spawn(async move {
            // What is kept comes first, so that answers do not wait for the directory.
            let restored = tokio::task::spawn_blocking(move || {
                let token = sync.restore();
                (sync, token)
            });
            let Ok((sync, token)) = restored.await else { return };
            let token = token.unwrap_or_else(|error| {
                crate::telemetry::events::ledger_failed(&error);
                None
            });
            let following = stop.clone();
            let follow = tokio::spawn(async move {
                if let Err(error) = directory.follow(token, changes, following).await {
                    crate::telemetry::events::directory_lost(&error.to_string());
                    directory_status.lost(error.to_string(), now.now());
                }
            });
            sync.run(received, reloaded, stop).await;
            if let Err(error) = follow.await {
                crate::telemetry::events::task_died(&error);
            }
        });
    }

    fn schedule(&mut self, config: &Config, stop: &CancellationToken) {
        let accounting = &self.api.accounting;
        if let Some(schedule) = config.jobs.enforce.clone() {
            let work = with(accounting, |accounting| accounting.settle_accounts());
            self.tasks.spawn(jobs::run("enforce", schedule, accounting.clone(), work, stop.clone()));
        }
        if let Some(schedule) = config.jobs.enforce_domains.clone() {
            let work = with(accounting, |accounting| accounting.settle_domains());
            self.tasks.spawn(jobs::run("enforce_domains", schedule, accounting.clone(), work, stop.clone()));
        }
        if let Some(schedule) = config.jobs.digest.clone() {
            let status = self.api.directory_status.clone();
            let work = with(accounting, move |accounting| {
                let lost = status.state().lost.map(|why| format!("the directory: {why}"));
                let trouble = accounting.ledger.health().trouble.map(|why| format!("the ledger: {why}"));
                notify::digest::make(accounting, &lost.into_iter().chain(trouble).collect::<Vec<_>>());
            });
            self.tasks.spawn(jobs::run("digest", schedule, accounting.clone(), work, stop.clone()));
        }
        if let Some(schedule) = config.jobs.compare_flags.clone().filter(|_| config.over_flag.is_some()) {
            let (compared, directory) = (accounting.clone(), self.api.directory.clone());
            let work = move || over_flag::compare(compared.clone(), directory.clone());
            self.tasks.spawn(jobs::run("compare_flags", schedule, accounting.clone(), work, stop.clone()));
        }
        if let Some(schedule) = config.jobs.resync.clone() {
            let (accounting, measuring) = (accounting.clone(), self.api.measuring.clone());
            let work = {
                let accounting = accounting.clone();
                move || resync::measure_everything(measuring.clone(), accounting.clone())
            };
            self.tasks.spawn(jobs::run("resync", schedule, accounting, work, stop.clone()));
        }
    }

    /// Puts new settings in force, read by [`Config::load_again`]. What sockets, ledger, directory and mail store are
    /// made of stays as it was started; the caller says so.
    pub fn reload(&self, config: &Config) -> Result<()> {
        self.settings.store(Arc::new(adapters::settings(config)?));
        self.api.admission.queues().install(config.queue.settings.quotas.clone());
        self.reloaded.send_replace(());
        Ok(())
    }

    /// Returns when the directory has been read once, or with what keeps it from being read: when nothing comes in
    /// for `away` while it is lost, and after `patience` in any case.
    pub async fn loaded(&self, patience: Duration, away: Duration) -> Result<()> {
        let Api { accounting, directory_status, .. } = &self.api;
        let begun = Instant::now();
        let (mut known, mut came_in) = (0, begun);
        let completed = accounting.load_completed();
        tokio::pin!(completed);
        loop {
            if tokio::time::timeout(LOOK, completed.as_mut()).await.is_ok() {
                return Ok(());
            }
            let now = accounting.book.accounts();
            if std::mem::replace(&mut known, now) != now {
                came_in = Instant::now();
            }
            let lost = directory_status.state().lost;
            match lost {
                Some(why) if came_in.elapsed() >= away => anyhow::bail!("the directory cannot be read: {why}"),
                None if begun.elapsed() >= patience => {
                    anyhow::bail!("the directory could not be read within {patience:?}")
                }
                _ => {}
            }
        }
    }

    /// Lets the tasks end and closes the ledger. The caller has cancelled `stop`.
    pub async fn finish(mut self) -> Result<()> {
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                crate::telemetry::events::task_died(&error);
            }
        }
        let ledger = self.api.accounting.ledger.clone();
        tokio::task::spawn_blocking(move || ledger.close()).await?.context("closing the ledger")
    }
}

fn with<W: Fn(&Accounting)>(accounting: &Arc<Accounting>, work: W) -> impl Fn() -> std::future::Ready<()> + use<W> {
    let accounting = accounting.clone();
    move || {
        work(&accounting);
        std::future::ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_directory_that_is_not_there_is_not_waited_for_in_silence() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().display();
        let text = format!(
            "[directory]\nkind = \"ldif\"\nfile = \"{dir}/none.ldif\"\n[ledger]\npath = \"{dir}/ledger\"\n\
             [mailstore]\npath = \"{dir}/%n\"\n"
        );
        let config = Config::read("x.toml", &text, &Default::default()).unwrap();
        let stop = CancellationToken::new();
        let mut house = House::build(&config).unwrap();
        house.start_offline(&stop);
        let waited = house.loaded(Duration::from_secs(3600), Duration::ZERO);
        let why = tokio::time::timeout(Duration::from_secs(60), waited).await.expect("an answer").unwrap_err();
        stop.cancel();
        house.finish().await.unwrap();
        let told = format!("the directory cannot be read: {dir}/none.ldif: No such file or directory (os error 2)");
        assert_eq!(why.to_string(), told);
    }
}
