//! A bug in what hands notices over or carries warnings out: it costs a pause, as an error does, and nobody else anything.

mod support {
    pub mod site;
    pub mod wait;
}

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use mailquotad::alarm::{Alarm, AlarmError, Alarms};
use mailquotad::mailer::{Mail, MailError, Mailer};
use mailquotad::service::{notify, warnings};
use support::site::{Site, account, domain};
use support::wait::until;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// What was tried, and how often, for each of two accounts.
#[derive(Default)]
struct Tried {
    anna: AtomicUsize,
    ben: AtomicUsize,
}

/// Dies of every letter to Anna but the fourth, and puts off every one to Ben.
#[async_trait]
impl Mailer for Tried {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        if mail.to.as_str().starts_with("ben") {
            self.ben.fetch_add(1, Ordering::SeqCst);
            return Err(MailError::Deferred("later".into()));
        }
        let before = self.anna.fetch_add(1, Ordering::SeqCst);
        assert!(before >= 3, "a bug");
        Ok(())
    }
}

/// Dies of the first two warnings about Anna, and fails to carry out the first two about Ben.
#[async_trait]
impl Alarms for Tried {
    async fn raise(&self, alarm: &Alarm) -> Result<(), AlarmError> {
        let Alarm::Webhook { body, .. } = alarm else { return Err(AlarmError("not what was set up".into())) };
        if body.contains("ben@example.org") {
            let before = self.ben.fetch_add(1, Ordering::SeqCst);
            return if before >= 2 { Ok(()) } else { Err(AlarmError("not now".into())) };
        }
        let before = self.anna.fetch_add(1, Ordering::SeqCst);
        assert!(before >= 2, "a bug");
        Ok(())
    }
}

fn both_full(settings: &str) -> Site {
    let mut site = Site::new(settings);
    site.load([
        domain(1, "example.org", ""),
        account(2, "anna@example.org", "10"),
        account(3, "ben@example.org", "10"),
    ]);
    site.holds("anna@example.org", 20, 1);
    site.holds("ben@example.org", 20, 1);
    site
}

#[test]
fn a_notice_that_the_carrier_dies_of_waits_as_long_as_one_that_was_put_off() {
    let site = both_full("[notify]\nenabled = true\nfrom = \"quota@example.org\"\n");
    assert_eq!(site.accounting.notices.waiting().len(), 2);
    let (tried, stop, runtime) = (Arc::new(Tried::default()), CancellationToken::new(), Runtime::new().unwrap());
    let carrier = runtime.spawn(notify::queue::run(site.accounting.clone(), tried.clone(), stop.clone()));
    until("Anna's is sent in the end", || site.accounting.notices.waiting().len() == 1);
    // Both are taken in hand together, and wait for the same times.
    let (anna, ben) = (tried.anna.load(Ordering::SeqCst), tried.ben.load(Ordering::SeqCst));
    assert!(anna == 4 && ben >= 3, "{anna} tries for Anna, {ben} for Ben");
    stop.cancel();
    runtime.block_on(carrier).unwrap();
}

#[test]
fn a_warning_that_the_carrier_dies_of_is_tried_again_as_one_that_failed() {
    let rule = "[[warnings.rule]]\nwhen = \"storage=100%\"\nwebhook = \"http://127.0.0.1:1/\"\n";
    let site = both_full(rule);
    let (tried, stop, runtime) = (Arc::new(Tried::default()), CancellationToken::new(), Runtime::new().unwrap());
    let carrier = runtime.spawn(warnings::run(site.accounting.clone(), tried.clone(), 1, stop.clone()));
    let tries = || (tried.anna.load(Ordering::SeqCst), tried.ben.load(Ordering::SeqCst));
    until("both are carried out", || tries() == (3, 3) && site.metrics.warnings_waiting.get() == 0);
    stop.cancel();
    runtime.block_on(carrier).unwrap();
}
