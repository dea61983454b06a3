use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::message::{Message, Room, Session, VARIABLES, lower};
use super::occupancy::{KeptSession, Occupancy, SHARDS, Seen};
use super::set::Charges;
use super::*;
use crate::quota::Usage;

fn quota(name: &str, key: &[Part], condition: &str, limit: (Option<u64>, Option<u64>)) -> QueueQuota {
    let condition = (!condition.is_empty()).then(|| Expression::condition(condition, &VARIABLES).unwrap());
    let limit = Limit { bytes: limit.0, messages: limit.1 };
    QueueQuota { name: name.into(), key: Key::of(key.iter().copied()), condition, limit, threshold: 90 }
}

/// A message as the tests write it.
#[derive(Clone, Debug, PartialEq)]
struct Mail {
    sender: String,
    rcpts: Vec<String>,
    size: u64,
    arrival: u64,
}

fn mail(sender: &str, rcpts: &[&str], size: u64) -> Mail {
    let rcpts = rcpts.iter().map(|rcpt| (*rcpt).to_owned()).collect();
    Mail { sender: sender.into(), rcpts, size, arrival: 1 }
}

struct Queue(Occupancy);

const NONE: Duration = Duration::ZERO;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Queue {
    fn new(quotas: Vec<QueueQuota>) -> Queue {
        let mut occupancy = Occupancy::new(1);
        occupancy.install(quotas);
        Queue(occupancy)
    }

    fn charges(&self, mail: &Mail, session: Session<'_>) -> Charges {
        let message = Message { sender: &mail.sender, size: mail.size, session };
        self.0.set().charges(&message, mail.rcpts.iter().map(String::as_str), |_, fault| panic!("{fault}"))
    }

    fn reserve(&mut self, id: &str, mail: &Mail, now: Duration) {
        let charges = self.charges(mail, Session::default());
        self.0.reserve(0, id, mail.size, charges, None, now);
    }

    /// A complete snapshot that shows these messages.
    fn snapshot(&mut self, now: Duration, shown: &[(&str, &Mail)]) {
        self.0.begin(0, now);
        for (id, mail) in shown {
            let set = self.0.set().clone();
            // Like the service: whatever the charges follow from.
            let mark = mark(mail, set.generation);
            let seen = Seen { id, arrival: mail.arrival, size: mail.size, mark };
            self.0.seen(0, seen, |session| {
                let message = Message { sender: &mail.sender, size: mail.size, session: *session };
                set.charges(&message, mail.rcpts.iter().map(String::as_str), |_, fault| panic!("{fault}"))
            });
        }
        (0..SHARDS).for_each(|part| self.0.sweep(0, part, Duration::ZERO));
        self.0.complete(0);
    }

    /// Each group of a quota with its messages and bytes.
    fn groups(&self, name: &str) -> BTreeMap<String, (u64, u64)> {
        let slot = self.0.set().slots().iter().find(|slot| &*slot.quota.name == name).unwrap();
        let shown = |(group, used): (&std::sync::Arc<[u8]>, Usage)| {
            (GroupName { key: slot.quota.key, group }.to_string(), (used.messages, used.bytes))
        };
        self.0.groups(slot.id).map(shown).collect()
    }

    fn all(&self) -> (u64, u64) {
        self.groups("all").get("all").copied().unwrap_or_default()
    }
}

fn mark(mail: &Mail, generation: u32) -> u64 {
    use std::hash::BuildHasher;
    foldhash::fast::FixedState::default().hash_one((&mail.sender, &mail.rcpts, generation)) | 1
}

fn global() -> QueueQuota {
    quota("all", &[], "", (None, Some(10)))
}

#[test]
fn a_message_counts_once_in_each_group_that_it_belongs_to() {
    use Part::*;
    let mut queue = Queue::new(vec![
        global(),
        quota("rcpt", &[Rcpt], "", (None, Some(10))),
        quota("domains", &[RcptDomain, SenderDomain], "", (Some(100), None)),
        quota("from", &[Sender], "rcpt_domain == 'b.example'", (None, Some(10))),
    ]);
    queue.reserve("1", &mail("s@x.example", &["1@a.example", "2@a.example", "3@b.example"], 7), NONE);
    queue.reserve("2", &mail("", &["1@a.example"], 5), NONE);
    assert_eq!(queue.all(), (2, 12));
    let shown = |name: &str| format!("{:?}", queue.groups(name));
    assert_eq!(
        shown("rcpt"),
        r#"{"rcpt=1@a.example": (2, 12), "rcpt=2@a.example": (1, 7), "rcpt=3@b.example": (1, 7)}"#
    );
    assert_eq!(
        shown("domains"),
        "{\"sender_domain=<> rcpt_domain=a.example\": (1, 5), \
          \"sender_domain=x.example rcpt_domain=a.example\": (1, 7), \
          \"sender_domain=x.example rcpt_domain=b.example\": (1, 7)}"
    );
    assert_eq!(shown("from"), r#"{"sender=s@x.example": (1, 7)}"#);
}

#[test]
fn room_is_free_again_when_two_snapshots_that_began_later_do_not_show_it() {
    let mut queue = Queue::new(vec![global()]);
    let letter = mail("s@x", &["r@y"], 5);
    queue.reserve("1", &letter, at(10));
    queue.snapshot(at(5), &[]);
    assert_eq!(queue.all().0, 1, "this one began before");
    queue.snapshot(at(11), &[]);
    assert_eq!(queue.all().0, 1, "one may have missed it");
    queue.snapshot(at(12), &[("1", &letter)]);
    queue.snapshot(at(13), &[]);
    assert_eq!(queue.all().0, 1, "it was there in between");
    queue.snapshot(at(14), &[]);
    assert_eq!(queue.all(), (0, 0));
    assert_eq!(queue.0.messages(0), 0);
}

#[test]
fn a_message_that_is_still_being_written_is_not_missed() {
    let mut queue = Queue::new(vec![global()]);
    queue.reserve("1", &mail("s@x", &["r@y"], 5), at(10));
    for second in [11, 12, 13, 14] {
        queue.0.begin(0, at(second));
        (0..SHARDS).for_each(|part| queue.0.sweep(0, part, at(3)));
        queue.0.complete(0);
        assert_eq!(queue.all().0, u64::from(second < 14), "{second}");
    }
}

#[test]
fn an_incomplete_snapshot_adds_and_takes_nothing_away() {
    let mut queue = Queue::new(vec![global()]);
    queue.snapshot(at(1), &[("1", &mail("s@x", &["r@y"], 5))]);
    for second in 2..5 {
        queue.0.begin(0, at(second));
    }
    assert_eq!(queue.all(), (1, 5));
}

#[test]
fn mail_that_nobody_asked_about_counts() {
    let mut queue = Queue::new(vec![global(), quota("rcpt", &[Part::Rcpt], "", (None, Some(1)))]);
    queue.snapshot(at(1), &[("1", &mail("", &["r@y"], 5)), ("2", &mail("root@z", &["r@y", "q@y"], 7))]);
    assert_eq!(queue.all(), (2, 12));
    assert_eq!(queue.groups("rcpt")["rcpt=r@y"], (2, 12));
}

#[test]
fn a_message_in_two_folders_counts_once() {
    let mut queue = Queue::new(vec![global()]);
    let letter = mail("s@x", &["r@y"], 5);
    queue.snapshot(at(1), &[("1", &letter), ("2", &letter), ("1", &letter)]);
    assert_eq!(queue.all(), (2, 10));
    let older = Mail { arrival: 0, size: 50, ..letter.clone() };
    queue.snapshot(at(2), &[("1", &letter), ("2", &letter), ("1", &older)]);
    assert_eq!(queue.all(), (2, 10), "of two messages under one id the later one is there");
}

#[test]
fn an_id_that_comes_back_is_another_message() {
    let mut queue = Queue::new(vec![global(), quota("from", &[Part::Sender], "", (None, Some(10)))]);
    let first = mail("one@x", &["r@y"], 5);
    let second = Mail { sender: "two@x".into(), arrival: 9, size: 8, ..first.clone() };
    queue.snapshot(at(1), &[("1", &first)]);
    queue.snapshot(at(2), &[("1", &second)]);
    assert_eq!((queue.all(), queue.groups("from").len()), ((1, 8), 1));
    // The snapshot saw the first, and the second was accepted under its id while it ran.
    let mut queue = Queue::new(vec![global(), quota("from", &[Part::Sender], "", (None, Some(10)))]);
    queue.snapshot(at(1), &[("1", &first)]);
    queue.reserve("1", &second, at(3));
    queue.snapshot(at(2), &[("1", &first)]);
    assert_eq!(queue.groups("from").keys().collect::<Vec<_>>(), ["sender=two@x"]);
    queue.snapshot(at(4), &[("1", &second)]);
    assert_eq!((queue.all(), queue.groups("from").len()), ((1, 8), 1));
}

#[test]
fn recipients_that_have_been_served_or_expanded_are_those_of_the_queue() {
    let mut queue = Queue::new(vec![quota("rcpt", &[Part::Rcpt], "", (None, Some(10)))]);
    let keys = |queue: &Queue| queue.groups("rcpt").into_keys().collect::<Vec<_>>();
    queue.reserve("1", &mail("s@x", &["all@list"], 86), at(1));
    assert_eq!(keys(&queue), ["rcpt=all@list"]);
    queue.snapshot(at(2), &[("1", &mail("s@x", &["a@list", "b@list"], 348))]);
    assert_eq!(keys(&queue), ["rcpt=a@list", "rcpt=b@list"]);
    assert_eq!(queue.groups("rcpt")["rcpt=a@list"], (1, 348), "the size in the queue counts from then on");
    queue.snapshot(at(3), &[("1", &mail("s@x", &["b@list"], 348))]);
    assert_eq!(keys(&queue), ["rcpt=b@list"]);
}

#[test]
fn what_only_the_session_knew_is_kept_with_the_message() {
    let quotas = vec![quota("login", &[], "login == 'anna' && client != ''", (None, Some(10)))];
    let mut queue = Queue::new(quotas);
    assert!(queue.0.set().asks_session());
    let letter = mail("s@x", &["r@y"], 5);
    let session = Session { login: "anna", client: "192.0.2.1", ..Session::default() };
    let charges = queue.charges(&letter, session);
    queue.0.reserve(0, "1", 5, charges, Some(KeptSession::of(&session)), at(1));
    queue.snapshot(at(2), &[("1", &mail("s@x", &["r@y"], 300)), ("2", &letter)]);
    queue.snapshot(at(3), &[("1", &mail("s@x", &["r@y", "q@y"], 300)), ("2", &letter)]);
    assert_eq!(queue.groups("login")["all"], (1, 300));
}

#[test]
fn quotas_share_nothing_and_a_new_limit_keeps_the_sums() {
    let twins = |limit| {
        vec![
            quota("one", &[Part::Sender], "size > 1", (None, Some(limit))),
            quota("two", &[Part::Sender], "size > 100", (None, Some(limit))),
        ]
    };
    let mut queue = Queue::new(twins(5));
    queue.snapshot(at(1), &[("1", &mail("s@x", &["r@y"], 5))]);
    let count = |queue: &Queue, name: &str| queue.groups(name).len();
    assert_eq!((count(&queue, "one"), count(&queue, "two")), (1, 0));
    queue.0.install(twins(50));
    assert_eq!((count(&queue, "one"), count(&queue, "two")), (1, 0));
    assert!(queue.0.set().slots().iter().all(|slot| queue.0.is_ripe(slot.id)));
    // Another condition is another quota, which knows nothing before the queue has been read.
    queue.0.install(vec![quota("one", &[Part::Sender], "size > 2", (None, Some(5)))]);
    let slot = queue.0.set().slots()[0].id;
    assert!(count(&queue, "one") == 0 && !queue.0.is_ripe(slot));
    queue.snapshot(at(2), &[("1", &mail("s@x", &["r@y"], 5))]);
    assert!(count(&queue, "one") == 1 && queue.0.is_ripe(slot));
}

#[test]
fn nothing_is_ripe_before_every_queue_has_been_read_but_a_lost_one_is_not_waited_for() {
    let mut occupancy = Occupancy::new(2);
    let slot = occupancy.install(vec![global()]).slots()[0].id;
    occupancy.begin(0, at(1));
    occupancy.complete(0);
    assert!(!occupancy.is_ripe(slot));
    occupancy.lose(1);
    assert!(occupancy.is_ripe(slot));
    occupancy.begin(1, at(2));
    assert!(occupancy.is_ripe(slot), "still lost until it has been read");
}

#[test]
fn a_group_at_its_threshold_is_told_of_once_until_it_was_below() {
    let mut queue = Queue::new(vec![global()]);
    let letters: Vec<(String, Mail)> = (0..9).map(|n| (n.to_string(), mail("s@x", &["r@y"], n))).collect();
    let shown: Vec<(&str, &Mail)> = letters.iter().map(|(id, mail)| (id.as_str(), mail)).collect();
    queue.snapshot(at(1), &shown[..8]);
    assert_eq!(queue.0.crossings(), []);
    queue.snapshot(at(2), &shown);
    assert_eq!(queue.0.crossings().len(), 1);
    let larger: Vec<Mail> = letters.iter().map(|(_, mail)| Mail { size: mail.size + 1, ..mail.clone() }).collect();
    queue.snapshot(at(3), &shown.iter().zip(&larger).map(|((id, _), mail)| (*id, mail)).collect::<Vec<_>>());
    assert_eq!(queue.0.crossings(), []);
    queue.0.gone(0, "0");
    queue.snapshot(at(4), &shown);
    assert_eq!(queue.0.crossings().len(), 1);
}

#[test]
fn a_message_asked_about_twice_is_not_in_its_own_way() {
    let mut queue = Queue::new(vec![quota("all", &[], "", (None, Some(1)))]);
    let letter = mail("s@x", &["r@y"], 5);
    queue.reserve("1", &letter, at(1));
    let charges = queue.charges(&letter, Session::default());
    assert_eq!(queue.0.fillings(&charges, Some((0, "1")))[0].used, Usage::ZERO);
    assert_eq!(queue.0.fillings(&charges, Some((0, "2")))[0].used, Usage::new(5, 1));
    queue.reserve("1", &letter, at(2));
    assert_eq!(queue.all(), (1, 5));
}

#[test]
fn reservations_of_a_queue_that_cannot_be_read_expire() {
    let mut queue = Queue::new(vec![global()]);
    queue.snapshot(at(1), &[("0", &mail("s@x", &["r@y"], 1))]);
    queue.reserve("1", &mail("s@x", &["r@y"], 5), at(10));
    queue.reserve("2", &mail("s@x", &["r@y"], 5), at(20));
    queue.0.lose(0);
    (0..SHARDS).for_each(|part| queue.0.expire(0, part, at(75), at(60)));
    assert_eq!(queue.all(), (1, 5));
}

#[test]
fn addresses_are_compared_in_lower_case() {
    let mut room = Room::new();
    assert_eq!(lower("Anna@Example.ORG", &mut room), "anna@example.org");
    assert_eq!(lower("ÄB@x", &mut room), "Äb@x");
    assert_eq!(lower("plain@x", &mut room), "plain@x");
}

/// What may happen to a queue.
#[derive(Clone, Debug)]
enum Step {
    Reserve(u8, Mail),
    /// Which messages a complete snapshot shows.
    Snapshot(Vec<(u8, Mail)>),
    Gone(u8),
    Install(bool),
    Lose,
}

fn mails() -> impl Strategy<Value = Mail> {
    (0..3u8, proptest::collection::vec(0..4u8, 1..4), 0..100u64, 0..3u64).prop_map(|(sender, rcpts, size, arrival)| {
        let rcpts = rcpts.iter().map(|n| format!("{n}@d{}", n % 2)).collect();
        Mail { sender: if sender == 0 { String::new() } else { format!("s@x{sender}") }, rcpts, size, arrival }
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..6u8, mails()).prop_map(|(id, mail)| Step::Reserve(id, mail)),
        3 => proptest::collection::vec((0..6u8, mails()), 0..6).prop_map(Step::Snapshot),
        1 => (0..6u8).prop_map(Step::Gone),
        1 => any::<bool>().prop_map(Step::Install),
        1 => Just(Step::Lose),
    ];
    proptest::collection::vec(step, 0..30)
}

proptest! {
    /// Whatever happened: once the queue has been shown as it is three times, the sums are those of a queue that
    /// was never anything else.
    #[test]
    fn sums_are_those_of_the_queue_in_the_end(steps in steps(), last in proptest::collection::btree_map(0..6u8, mails(), 0..6)) {
        use Part::*;
        let set = |more: bool| {
            let mut quotas = vec![
                quota("all", &[], "", (Some(1000), None)),
                quota("rcpt", &[Rcpt], "size > 10", (Some(1000), None)),
                quota("pair", &[SenderDomain, RcptDomain], "", (None, Some(5))),
            ];
            if !more {
                quotas.remove(1);
            }
            quotas
        };
        let mut queue = Queue::new(set(true));
        let mut now = 1;
        for step in steps {
            now += 1;
            match step {
                Step::Reserve(id, mail) => queue.reserve(&id.to_string(), &mail, at(now)),
                Step::Snapshot(shown) => {
                    let shown: Vec<_> = shown.iter().map(|(id, mail)| (id.to_string(), mail)).collect();
                    let shown: Vec<_> = shown.iter().map(|(id, mail)| (id.as_str(), *mail)).collect();
                    queue.snapshot(at(now), &shown);
                }
                Step::Gone(id) => queue.0.gone(0, &id.to_string()),
                Step::Install(more) => drop(queue.0.install(set(more))),
                Step::Lose => queue.0.lose(0),
            }
        }
        queue.0.install(set(true));
        let mut fresh = Queue::new(set(true));
        let shown: Vec<_> = last.iter().map(|(id, mail)| (id.to_string(), mail)).collect();
        let shown: Vec<_> = shown.iter().map(|(id, mail)| (id.as_str(), *mail)).collect();
        for _ in 0..3 {
            now += 1;
            queue.snapshot(at(now), &shown);
            fresh.snapshot(at(now), &shown);
        }
        for name in ["all", "rcpt", "pair"] {
            prop_assert_eq!(queue.groups(name), fresh.groups(name), "{}", name);
        }
        prop_assert_eq!(queue.0.messages(0), last.len());
    }
}
