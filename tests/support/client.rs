//! A second client of a slapd: the admin, fast.

#![allow(dead_code, reason = "each user takes its own part")]

use std::collections::HashSet;
use std::sync::Arc;

use ldap3::{Ldap, LdapConnAsync, LdapResult, Mod};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::slapd::{ADMIN, PASSWORD, Slapd};

pub async fn admin(slapd: &Slapd) -> Ldap {
    let (connection, mut ldap) = LdapConnAsync::new(&slapd.url()).await.unwrap();
    ldap3::drive!(connection);
    ldap.simple_bind(ADMIN, PASSWORD).await.unwrap().success().unwrap();
    ldap
}

/// One modify that deletes `from`, if any, and adds `to`.
pub async fn swap(ldap: &Ldap, dn: &str, attribute: &str, from: Option<&str>, to: &str) -> LdapResult {
    let one = |value: &str| HashSet::from([value.to_owned()]);
    let delete = from.map(|from| Mod::Delete(attribute.to_owned(), one(from)));
    let changes = delete.into_iter().chain([Mod::Add(attribute.to_owned(), one(to))]).collect();
    ldap.clone().modify(dn, changes).await.unwrap()
}

pub async fn replace(ldap: &Ldap, dn: &str, attribute: &str, to: &str) {
    let changes = vec![Mod::Replace(attribute.to_owned(), HashSet::from([to.to_owned()]))];
    ldap.clone().modify(dn, changes).await.unwrap().success().unwrap();
}

/// Runs many futures, a few at a time.
pub async fn together<F: Future<Output = ()> + Send + 'static>(futures: impl IntoIterator<Item = F>) {
    let permits = Arc::new(Semaphore::new(32));
    let mut running = JoinSet::new();
    for future in futures {
        let permit = permits.clone().acquire_owned().await.unwrap();
        running.spawn(async move {
            future.await;
            drop(permit);
        });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
}

/// Numbers that look random, the same in every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % sides
    }
}
