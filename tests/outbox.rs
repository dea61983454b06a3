//! What the directory does not take, and what that means for the rest.

mod support {
    pub mod site;
}

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mailquotad::account::Writable;
use mailquotad::directory::{Change, Directory, DirectoryError, Wish, Written};
use mailquotad::quota::Moment;
use mailquotad::service::outbox;
use support::site::{Site, account, domain};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A directory whose access control list leaves anna out, and which says what was asked of it.
struct Closed {
    asked: mpsc::UnboundedSender<String>,
}

#[async_trait]
impl Directory for Closed {
    async fn follow(
        &self,
        _: Option<Vec<u8>>,
        _: mpsc::Sender<Change>,
        stop: CancellationToken,
    ) -> Result<(), DirectoryError> {
        stop.cancelled().await;
        Ok(())
    }

    async fn read(&self, _: &str, _: Writable) -> Result<Option<Box<str>>, DirectoryError> {
        Ok(None)
    }

    async fn write(&self, wish: &Wish) -> Result<Written, DirectoryError> {
        self.asked.send(wish.dn.to_string()).unwrap();
        match wish.dn.contains("anna") {
            true => Err(DirectoryError::Refused("insufficient access rights".into())),
            false => Ok(Written::Done),
        }
    }
}

#[tokio::test]
async fn a_write_that_is_refused_does_not_hold_up_the_others() {
    let mut site = Site::new("[enforcement]\ngrace_period = \"0s\"\n");
    site.clock.set(Moment(1));
    let accounts = ["anna", "ben", "carla"].map(|name| format!("{name}@example.org"));
    let entries = accounts.iter().zip(2..).map(|(address, number)| account(number, address, "100"));
    site.load([domain(1, "example.org", "")].into_iter().chain(entries));
    let (asked, mut told) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let working = tokio::spawn(outbox::run(site.accounting.clone(), Arc::new(Closed { asked }), stop.clone()));
    for address in &accounts {
        site.holds(address, 200, 1);
        // Anna's is asked for again after a minute; a wish that waits for that comes too late.
        let asked = tokio::time::timeout(Duration::from_secs(120), told.recv()).await.expect("a write");
        assert_eq!(asked.unwrap(), format!("mail={address},o=site"));
    }
    stop.cancel();
    working.await.unwrap();
    let left = outbox::pending(&site.accounting).unwrap();
    assert_eq!(left, [outbox::Subject::Account("anna@example.org".into())]);
}
