//! Accounts come, go and grow while time passes and the directory is there or not.

use std::collections::BTreeMap;

use mailquotad::account::EntryId;
use mailquotad::directory::Change;
use proptest::prelude::*;

use crate::support::site::account;
use crate::{HOUR, apply, away, following, known, load, look, memory, reached, restarted, used, wait};

#[derive(Clone, Debug)]
enum Step {
    Comes(usize),
    Goes(usize),
    Holds(usize, u64),
    Hours(u32),
    Look,
    Away,
    Back,
    Restart,
}

const NAMES: [&str; 4] = ["a@example.org", "ab@example.org", "b@example.net", "z@example.net"];

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    prop_oneof![
        4 => name.clone().prop_map(Step::Comes),
        4 => name.clone().prop_map(Step::Goes),
        3 => (name, 1..1000_u64).prop_map(|(name, bytes)| Step::Holds(name, bytes)),
        4 => (1..25_u32).prop_map(Step::Hours),
        4 => Just(Step::Look),
        1 => Just(Step::Away),
        1 => Just(Step::Back),
        1 => Just(Step::Restart),
    ]
}

/// What there is to know of a name.
#[derive(Clone, Copy, Default)]
struct Known {
    bytes: u64,
    /// For how many hours it has been gone, as far as they count.
    gone: Option<u32>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever is there has what he had, whoever is not has it for thirty hours that count, and not after the first
    /// look from then on.
    #[test]
    fn nobody_is_forgotten_too_early_or_too_late(steps in prop::collection::vec(step(), 0..60)) {
        let ledger = memory();
        let mut site = following(&ledger);
        apply(&mut site, load([]));
        let mut model: BTreeMap<usize, Known> = BTreeMap::new();
        let mut there = true;
        for step in steps {
            match step {
                Step::Comes(name) if there => {
                    apply(&mut site, [Change::Entry(account(name as u128, NAMES[name], "")), reached()]);
                    model.entry(name).or_default().gone = None;
                }
                Step::Goes(name) if there => {
                    apply(&mut site, [Change::Gone(EntryId(name as u128)), reached()]);
                    if let Some(known) = model.get_mut(&name) {
                        known.gone.get_or_insert(0);
                    }
                }
                Step::Holds(name, bytes) => {
                    if let Some(known) = model.get_mut(&name).filter(|known| known.gone.is_none()) {
                        let ann = site.accounting.book.account(NAMES[name]).unwrap();
                        site.holds(NAMES[name], bytes, 1);
                        // As whoever measures does where the ledger says that it is elsewhere.
                        let present = ledger.read(NAMES[name]).unwrap().unwrap().revision;
                        site.accounting.stored_anew(&ann, present).wait().unwrap();
                        known.bytes = bytes;
                    }
                }
                Step::Hours(hours) => {
                    site.clock.pass(HOUR * hours);
                    for gone in model.values_mut().filter_map(|known| known.gone.as_mut()).filter(|_| there) {
                        *gone += hours;
                    }
                }
                Step::Look => {
                    look(&mut site);
                    if there {
                        model.retain(|_, known| known.gone.is_none_or(|gone| gone < 30));
                    }
                }
                Step::Away => {
                    apply(&mut site, [away()]);
                    there = false;
                }
                Step::Back => {
                    apply(&mut site, [reached()]);
                    there = true;
                }
                Step::Restart => {
                    wait(site.sync.settle());
                    let (after, whole) = restarted(&ledger);
                    prop_assert!(whole);
                    (site, there) = (after, false);
                }
                Step::Comes(_) | Step::Goes(_) => {}
            }
            for (index, name) in NAMES.iter().enumerate() {
                let known_of = model.get(&index).copied();
                let bytes = known_of.map_or(0, |known| known.bytes);
                prop_assert_eq!(known(&*ledger, name).unwrap_or(0), bytes, "{} in the ledger", name);
                let present = known_of.is_some_and(|known| known.gone.is_none());
                prop_assert_eq!(site.accounting.book.account(name).is_some(), present);
                if present {
                    prop_assert_eq!(used(&site, name), bytes, "{} in memory", name);
                }
            }
        }
    }
}
