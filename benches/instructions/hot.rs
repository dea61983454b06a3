//! The functions, and what they are called with.

use std::hint::black_box;
use std::sync::Arc;

use mailquotad::account::EntryId;
use mailquotad::directory::entry::{EntryReader, Preset};
use mailquotad::quota::bucket::Zero;
use mailquotad::quota::queue::message::{Addressed, Message, Session, VARIABLES};
use mailquotad::quota::spec::Measure;
use mailquotad::quota::{CellKey, Cells, Limits, Spec, Units, Usage};
use mailquotad::service::admission::Admission;
use mailquotad::service::policy::Answer;
use mailquotad::service::socket::Peer;
use mailquotad::wire::cel::Expression;
use mailquotad::wire::ldif::Records;
use mailquotad::wire::policy::{Parser, Reply};

use crate::site::{Site, account, domain};

pub struct Function {
    pub name: &'static str,
    pub prepare: fn() -> Work,
}

/// Something that can be done over and over.
pub struct Work(Box<dyn FnMut()>);

impl Work {
    fn new(work: impl FnMut() + 'static) -> Work {
        Work(Box::new(work))
    }

    pub fn repeat(mut self, times: u64) {
        (0..times).for_each(|_| (self.0)());
    }
}

pub fn all() -> Vec<Function> {
    let function = |name, prepare| Function { name, prepare };
    vec![
        function("policy-parse", parse),
        function("verdict-room", || verdict("RCPT", "roomy@example.org", 100)),
        function("verdict-extension", || verdict("RCPT", "Roomy+Lists@Example.ORG", 100)),
        function("verdict-over", || verdict("RCPT", "full@example.org", 100)),
        function("verdict-too-large", || verdict("RCPT", "roomy@example.org", 1 << 40)),
        function("verdict-unknown", || verdict("RCPT", "nobody@example.org", 100)),
        function("verdict-end-of-message", || verdict("END-OF-MESSAGE", "full@example.org", 100)),
        function("verdict-queue-quotas", || {
            answer(site(QUEUE_QUOTAS).admission_with_queues(), "RCPT", "roomy@example.org", 100)
        }),
        function("condition-domain", || condition("sender_domain == 'example.org'")),
        function("condition-network", || condition("login != '' && !cidr('192.0.2.0/24').containsIP(client)")),
        function("spec-parse", spec),
        function("bucket-sums", sums),
        function("ldif-entry", ldif),
    ]
}

const REST: &str = "protocol_name=ESMTP\nclient_address=192.0.2.7\nclient_name=mx.example.net\nclient_port=51234\n\
    reverse_client_name=mx.example.net\nserver_address=192.0.2.1\nserver_port=25\nhelo_name=mx.example.net\n\
    sender=carol@example.net\nrecipient_count=0\nqueue_id=\ninstance=14c7.27765.0\netrn_domain=\nstress=\n\
    sasl_method=\nsasl_username=\nsasl_sender=\nccert_subject=\nccert_issuer=\nccert_fingerprint=\n\
    ccert_pubkey_fingerprint=\nencryption_protocol=TLSv1.3\nencryption_cipher=TLS_AES_256_GCM_SHA384\n\
    encryption_keysize=256\npolicy_context=\n\n";

fn request(state: &str, recipient: &str, size: u64) -> Vec<u8> {
    format!("request=smtpd_access_policy\nprotocol_state={state}\nrecipient={recipient}\nsize={size}\n{REST}").into()
}

fn parse() -> Work {
    let request = request("RCPT", "anna@example.org", 12345);
    Work::new(move || {
        let mut parser = Parser::default();
        black_box(parser.parse(black_box(&request)).is_ok());
    })
}

fn verdict(state: &str, recipient: &str, size: u64) -> Work {
    answer(site("").admission(), state, recipient, size)
}

/// The four of `docs/queue-quotas.md`.
const QUEUE_QUOTAS: &str = "
[[queue.quota]]
name = \"pairs\"
key = [\"sender_domain\", \"rcpt_domain\"]
size = \"5M\"
[[queue.quota]]
name = \"example.net\"
match = \"sender_domain == 'example.net'\"
key = [\"rcpt\"]
messages = 900
size = \"7M\"
[[queue.quota]]
name = \"everything\"
messages = 100000
size = \"10G\"
[[queue.quota]]
name = \"users\"
match = \"login != '' && !cidr('192.0.2.0/24').containsIP(client)\"
key = [\"sender\"]
messages = 200
";

fn site(more: &str) -> Site {
    let mut site = Site::new(&format!("[enforcement]\nallowance = \"none\"\n{more}"));
    site.load([
        domain(1, "example.org", "1T"),
        account(2, "roomy@example.org", "1G;Archive%1M"),
        account(3, "full@example.org", "1K"),
    ]);
    site.holds("full@example.org", 2000, 2);
    site
}

/// From the bytes of a request to those of the reply.
fn answer(admission: Arc<Admission>, state: &str, recipient: &str, size: u64) -> Work {
    let request = request(state, recipient, size);
    let mut out = Vec::with_capacity(1024);
    Work::new(move || {
        out.clear();
        let mut parser = Parser::default();
        if let Ok(Some((request, _))) = parser.parse(&request) {
            let mut reply = Reply::new(&mut out);
            admission.answer(&request, &Peer::Unix(None), &mut reply);
            reply.finish();
        }
        black_box(&out);
    })
}

/// One evaluation.
fn condition(text: &str) -> Work {
    let expression = Expression::condition(text, &VARIABLES).expect("a condition");
    Work::new(move || {
        let session = Session { client: "198.51.100.7", login: "anna", ..Session::default() };
        let message = Message { sender: "carol@example.org", size: 12345, session };
        black_box(expression.holds(black_box(&Addressed { message: &message, rcpt: "anna@example.org" })).is_ok());
    })
}

fn spec() -> Work {
    Work::new(|| {
        let spec = Spec::parse(black_box("20M;#text%10M;#voice%10M;Archive%100M"), Measure::Bytes(Units::Binary));
        black_box(spec.is_ok());
    })
}

fn sums() -> Work {
    let parse = |text| Spec::parse(text, Measure::Bytes(Units::Binary)).unwrap_or(Spec::ABSENT);
    let spec = parse("20M;#text%10M;#voice%10M;Archive%100M");
    let limits = Limits::new(&spec, &Spec::ABSENT, &Limits::default(), Zero::NoMail);
    let folders = ["INBOX", "Archive", "Archive/2025", "Drafts", "Sent", "Trash"];
    let cell = |folder| (CellKey::new(folder, None), Usage::new(1000, 10));
    let cells: Cells = folders.into_iter().map(cell).collect();
    Work::new(move || {
        black_box(black_box(&limits).sums(&cells));
    })
}

/// One entry of a directory, from text to what the service is told.
fn ldif() -> Work {
    let text = "dn: uid=anna,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nobjectClass: inetMailUser\n\
        uid: anna\ncn: Anna\nsn: Anna\nmail: anna@example.org\nmailAlternateAddress: anne@example.org\n\
        mailQuota: 2G;Archive%100M\nmailUserStatus: active\n\n";
    let reader = EntryReader::new(Preset::Sun);
    Work::new(move || {
        for record in Records::new(black_box(text.as_bytes())).flatten() {
            black_box(reader.read(&record.dn, Some(EntryId(1)), &record.lines).is_ok());
        }
    })
}
