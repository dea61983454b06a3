//! A start from what the ledger keeps of the directory knows what was known before it.

#[path = "support/site.rs"]
mod site;

use std::collections::BTreeMap;
use std::sync::Arc;

use mailquotad::account::{Entry, EntryId};
use mailquotad::directory::Change;
use mailquotad::ledger::{Ledger, MemoryLedger, Op, Shelf};
use mailquotad::quota::Usage;
use proptest::prelude::*;
use site::{Site, account, domain};

/// A site whose directory has been read to its end; what comes from now on is kept as it comes.
fn kept(ledger: Arc<dyn Ledger>) -> Site {
    let mut site = Site::on(ledger, "");
    site.sync = site.sync.keeping();
    apply(&mut site, vec![Change::Begin, Change::Complete, reached()]);
    site
}

fn reached() -> Change {
    Change::Reached { token: b"here".to_vec() }
}

fn apply(site: &mut Site, changes: Vec<Change>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        site.sync.apply_all(changes).await;
        site.sync.settle().await;
    });
}

/// A daemon that starts with what the ledger holds, and whether it may go on from there.
fn restarted(ledger: Arc<dyn Ledger>) -> (Site, bool) {
    let mut site = Site::on(ledger, "");
    site.sync = site.sync.keeping();
    let token = site.sync.restore().unwrap();
    (site, token.is_some())
}

type View = BTreeMap<String, (String, Usage, Option<u64>)>;

/// Every account: its name in the directory, what it holds and its limit; every domain that has an entry.
fn view(site: &Site) -> View {
    let mut view = View::new();
    site.accounting.book.for_each_account(|account| {
        let seat = account.lock();
        let limit = seat.limits.buckets()[0].limit.bytes;
        view.insert(account.address.to_string(), (seat.dn.to_string(), seat.total(), limit));
    });
    for domain in site.accounting.book.domains() {
        let state = domain.lock();
        if let Some((_, dn)) = &state.entry {
            view.insert(domain.name.to_string(), (dn.to_string(), state.held.usage(), state.limit.bytes));
        }
    }
    view
}

#[derive(Clone, Debug)]
enum Step {
    Account { id: u8, address: usize, quota: u8 },
    Domain { id: u8, name: usize, quota: u8 },
    Gone { id: u8 },
    Holds { address: usize, bytes: u64 },
}

/// One is the beginning of another, and some sort otherwise than they look.
const ADDRESSES: [&str; 6] =
    ["a@example.org", "a@example.org.uk", "a-b@example.org", "a.b@example.net", "z@example.net", "ä@example.org"];
const DOMAINS: [&str; 2] = ["example.org", "example.net"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..8_u8, 0..ADDRESSES.len(), 1..5_u8).prop_map(|(id, address, quota)| Step::Account { id, address, quota }),
        1 => (0..8_u8, 0..DOMAINS.len(), 1..5_u8).prop_map(|(id, name, quota)| Step::Domain { id, name, quota }),
        2 => (0..8_u8).prop_map(|id| Step::Gone { id }),
        3 => (0..ADDRESSES.len(), 1..1000_u64).prop_map(|(address, bytes)| Step::Holds { address, bytes }),
    ]
}

fn entry(step: &Step) -> Option<Entry> {
    match step {
        Step::Account { id, address, quota } => Some(account((*id).into(), ADDRESSES[*address], &format!("{quota}M"))),
        Step::Domain { id, name, quota } => Some(domain((*id).into(), DOMAINS[*name], &format!("{quota}G"))),
        Step::Gone { .. } | Step::Holds { .. } => None,
    }
}

proptest! {
    #[test]
    fn a_restart_changes_nothing(steps in prop::collection::vec(step(), 0..40)) {
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new());
        let mut site = kept(ledger.clone());
        // Which of two entries an address belongs to is another question.
        let mut names: BTreeMap<u8, &str> = BTreeMap::new();
        for step in &steps {
            let change = match step {
                Step::Account { id, address, .. } => Some((*id, ADDRESSES[*address])),
                Step::Domain { id, name, .. } => Some((*id, DOMAINS[*name])),
                Step::Gone { id } => {
                    names.remove(id);
                    apply(&mut site, vec![Change::Gone(EntryId((*id).into())), reached()]);
                    None
                }
                Step::Holds { address, bytes } => {
                    if site.accounting.book.account(ADDRESSES[*address]).is_some() {
                        site.holds(ADDRESSES[*address], *bytes, 1);
                    }
                    None
                }
            };
            let Some((id, name)) = change else { continue };
            if names.iter().all(|(other, taken)| *other == id || *taken != name) {
                names.insert(id, name);
                apply(&mut site, entry(step).map(Change::Entry).into_iter().chain([reached()]).collect());
            }
        }
        let (after, whole) = restarted(ledger);
        prop_assert!(whole);
        prop_assert_eq!(view(&after), view(&site));
    }
}

#[test]
fn what_cannot_be_read_is_dropped_and_the_directory_read_anew() {
    let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new());
    let mut site = kept(ledger.clone());
    let accounts = [account(1, "ann@example.org", "1M"), account(2, "bob@example.org", "2M")];
    apply(&mut site, accounts.clone().into_iter().map(Change::Entry).chain([reached()]).collect());
    site.holds("ann@example.org", 77, 1);
    let keys = || {
        let mut keys = Vec::new();
        ledger.shelf_all(Shelf::Directory, &mut |key, _| keys.push(key.to_vec())).unwrap();
        keys
    };
    let before = keys();
    // Something another release kept, and an account in a place where this one keeps none.
    let misplaced = ledger.shelf_get(Shelf::Directory, before.iter().find(|key| key[0] == b'f').unwrap()).unwrap();
    let put = |key: &[u8], value| Op::Put { shelf: Shelf::Directory, key: key.into(), value };
    let strange = vec![put(b"x1", vec![9, 9]), put(&[&b"e"[..], &[0; 16]].concat(), misplaced.unwrap())];
    ledger.submit(strange).wait().unwrap();

    let (mut after, whole) = restarted(ledger.clone());
    assert!(!whole, "there is no place to go on from");
    assert_eq!(view(&after), view(&site), "what can be read answers until then");
    let load = [Change::Begin].into_iter().chain(accounts.into_iter().map(Change::Entry));
    apply(&mut after, load.chain([Change::Complete, reached()]).collect());
    assert_eq!(view(&after), view(&site));
    assert_eq!(keys().len(), before.len() - 1, "all but the place, which comes when the accounts have been written");
    assert!(keys().iter().all(|key| before.contains(key)));
}

#[test]
fn nobody_finds_it_loaded_and_takes_the_directory_for_reached() {
    const ACCOUNTS: u64 = 2000;
    let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new());
    let mut site = kept(ledger.clone());
    let entries = (0..ACCOUNTS).map(|n| Change::Entry(account(n.into(), &format!("u{n}@example.org"), "1M")));
    apply(&mut site, entries.chain([reached()]).collect());

    let mut after = Site::on(ledger, "");
    after.sync = after.sync.keeping();
    let (accounting, directory) = (after.accounting.clone(), after.directory.clone());
    let looked = std::thread::spawn(move || {
        while !accounting.loaded() {
            std::hint::spin_loop();
        }
        directory.state().lost
    });
    assert!(after.sync.restore().unwrap().is_some());
    assert_eq!(looked.join().unwrap().as_deref(), Some("it has not been reached since the start"));
}
