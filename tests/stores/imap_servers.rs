//! The IMAP store against servers that are no good, or are out to harm. Each says its lines, one piece for each
//! command of the client's, and then nothing more, or hangs up.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use mailquotad::mailstore::imap::{ImapOptions, ImapStore, Login, Tls};
use mailquotad::mailstore::{MailStore, Measurement};
use mailquotad::wire::content_type::TypeTable;

use super::contract::{ANNA, MASTER, mailbox};
use super::imap::options;

/// What a server says to a command; `%` is its tag.
type Script = Vec<(&'static str, String)>;

const GREETING: &str = "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready\r\n";
const FAST: &str = "% OK [CAPABILITY IMAP4rev1 LIST-STATUS STATUS=SIZE] in\r\n";
const SLOW: &str = "% OK [CAPABILITY IMAP4rev1 LIST-STATUS] in\r\n";
const PLAIN: &str = "% OK [CAPABILITY IMAP4rev1] in\r\n";

struct Server {
    port: u16,
    /// The commands that came.
    heard: Receiver<String>,
    thread: JoinHandle<()>,
}

/// Answers each command whose beginning is that of the next line of the script. A script that is at its end hangs
/// up, one that ends with `hang` does not.
fn server(greeting: &str, script: Script) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, heard) = channel();
    let greeting = greeting.to_owned();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        if reader.get_mut().write_all(greeting.as_bytes()).is_err() {
            return;
        }
        for (expected, answer) in script {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let (tag, command) = line.trim_end().split_once(' ').unwrap_or(("", line.trim_end()));
            tell.send(command.to_owned()).unwrap();
            assert!(command.starts_with(expected) || expected == "*", "{command} in the place of {expected}");
            match &*answer {
                "endless" => return endless(reader.get_mut()),
                "hang" => return drop(reader.read_line(&mut line)),
                answer => drop(reader.get_mut().write_all(answer.replace('%', tag).as_bytes())),
            }
        }
    });
    Server { port, heard, thread }
}

/// Says things without an end until the other one has had enough.
fn endless(stream: &mut TcpStream) {
    let piece = vec![b'x'; 1 << 16];
    let mut said = 0u64;
    while stream.write_all(&piece).is_ok() {
        said += piece.len() as u64;
        assert!(said < 64 << 20, "64 MiB of one line were read");
    }
}

fn small(port: u16) -> ImapOptions {
    let mut options = options(port);
    options.server.timeout = Duration::from_secs(20);
    options
}

fn found(
    greeting: &str,
    script: Script,
    change: impl FnOnce(&mut ImapOptions),
) -> (Result<Measurement, String>, Vec<String>) {
    let server = server(greeting, script);
    let mut options = small(server.port);
    change(&mut options);
    let found = ImapStore::new(options).measure(&mailbox(ANNA), &[]).map_err(|error| error.to_string());
    server.thread.join().unwrap();
    (found, server.heard.iter().collect())
}

fn script(lines: &[(&'static str, &str)]) -> Script {
    lines.iter().map(|(command, answer)| (*command, (*answer).to_owned())).collect()
}

/// Of a server that does well, up to LIST.
fn listed(answer: &str) -> Script {
    script(&[("AUTHENTICATE", FAST), ("LIST", answer)])
}

#[test]
fn what_a_bad_server_says_is_an_error_and_never_an_empty_mailbox() {
    let capable = "% OK [CAPABILITY IMAP4rev1] in\r\n";
    let table: Vec<(&str, Script, &str)> = vec![
        // Greetings.
        ("", vec![], "hung up"),
        ("SSH-2.0-OpenSSH_9.2\r\n", vec![], "`SSH-2.0-OpenSSH_9.2` is not IMAP"),
        ("HTTP/1.1 400 Bad Request\r\n", vec![], "is not IMAP"),
        ("* BYE too many connections\r\n", vec![], "the server hung up: too many connections"),
        ("* PREAUTH hello root\r\n", vec![], "takes us for somebody before any login"),
        ("* 5 EXISTS\r\n", vec![], "does not greet as IMAP servers do"),
        ("* OK hello\r\n", script(&[("CAPABILITY", "% OK done\r\n")]), "does not say what it can do"),
        // Logins.
        (GREETING, script(&[("AUTHENTICATE", "% NO [AUTHENTICATIONFAILED] no\r\n")]), "[AUTHENTICATIONFAILED] no"),
        (GREETING, script(&[("AUTHENTICATE", "% NO [UNAVAILABLE] LDAP is down\r\n")]), "[UNAVAILABLE] LDAP is down"),
        (GREETING, script(&[("AUTHENTICATE", "% BAD what?\r\n")]), "AUTHENTICATE: what?"),
        (GREETING, script(&[("AUTHENTICATE", "* BYE [INUSE] later\r\n")]), "hung up: [INUSE] later"),
        (GREETING, script(&[("AUTHENTICATE", "+ more\r\n")]), "asks for more than there is"),
        (GREETING, script(&[("AUTHENTICATE", "x9 OK in\r\n")]), "answers what it was not asked"),
        (GREETING, script(&[("AUTHENTICATE", "hang")]), "no answer in time"),
        ("* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] x\r\n", vec![], "lets nobody log in on this connection"),
        // Lists.
        (GREETING, listed("% NO [SERVERBUG] broken\r\n"), "LIST: [SERVERBUG] broken"),
        (GREETING, listed("% BAD no\r\n"), "LIST: no"),
        (GREETING, listed("* BYE shutting down\r\n"), "hung up: shutting down"),
        (GREETING, listed("* LIST () \"/\" INBOX\r\n"), "hung up"),
        (GREETING, listed("* LIST () \"/\" {5}\r\nINB"), "hung up"),
        (GREETING, listed("* LIST () \"/\r\n% OK done\r\n"), "is not IMAP"),
        (GREETING, listed("* LIST () \"/\" {99999999999999999999}\r\n"), "more than 1048576 bytes"),
        (GREETING, listed("* LIST () \"/\" {2000000}\r\n"), "more than 1048576 bytes"),
        (GREETING, listed("endless"), "more than 1048576 bytes"),
        (GREETING, listed("hang"), "no answer in time"),
        // Sizes.
        (
            GREETING,
            listed("* LIST () \"/\" INBOX\r\n* STATUS INBOX (MESSAGES 5)\r\n% OK\r\n"),
            "does not tell the size",
        ),
        (
            GREETING,
            script(&[
                ("AUTHENTICATE", FAST),
                ("LIST", "* LIST () \"/\" INBOX\r\n% OK\r\n"),
                ("STATUS", "* STATUS other (MESSAGES 1 SIZE 1)\r\n% OK\r\n"),
            ]),
            "no answer to STATUS of INBOX",
        ),
        (
            GREETING,
            // Nothing is listed, so its INBOX is asked for, and that fails.
            script(&[("AUTHENTICATE", FAST), ("LIST", "% OK\r\n"), ("STATUS", "* BYE\r\n")]),
            "hung up",
        ),
        (
            GREETING,
            script(&[
                ("AUTHENTICATE", capable),
                ("LIST", "* LIST () \"/\" INBOX\r\n% OK\r\n"),
                ("EXAMINE", "* 4000000000000 EXISTS\r\n% OK\r\n"),
            ]),
            "speaks of 4000000000000 messages",
        ),
        (
            GREETING,
            script(&[
                ("AUTHENTICATE", capable),
                ("LIST", "* LIST () \"/\" INBOX\r\n% OK\r\n"),
                ("EXAMINE", "* 2 EXISTS\r\n% OK\r\n"),
                ("UID FETCH 1:*", "* 3999999999 FETCH (UID 1 RFC822.SIZE 1)\r\n% OK\r\n"),
            ]),
            "tells of message 3999999999 of 2",
        ),
    ];
    for (greeting, script, expected) in table {
        let shown = format!("{greeting:?} {script:?}");
        let hangs = script.iter().any(|(_, answer)| answer == "hang");
        let (found, _) = found(greeting, script, |options| {
            if hangs {
                options.server.timeout = Duration::from_millis(300);
            }
        });
        let said = found.expect_err(&shown);
        assert!(said.contains(expected), "{shown}: {said}");
        assert!(said.starts_with("127.0.0.1:"), "it is said which server: {said}");
    }
}

#[test]
fn more_folders_than_anybody_has_are_not_kept() {
    let many: String = (0..=100_000).map(|number| format!("* LIST () \"/\" f{number}\r\n")).collect();
    let (found, _) = found(GREETING, listed(&(many + "% OK\r\n")), |_| ());
    assert!(found.unwrap_err().contains("more than 100000 folders"));
}

#[test]
fn starttls_is_insisted_on_and_nothing_that_came_before_it_is_believed() {
    let tls = |options: &mut ImapOptions| options.tls = Tls::Required;
    let (refused, heard) = found("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] x\r\n", vec![], tls);
    assert!(refused.unwrap_err().contains("offers no STARTTLS"));
    assert!(heard.is_empty(), "no password went over it: {heard:?}");
    let offered = "* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] x\r\n";
    let injected = "% OK go on\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n";
    let (refused, heard) = found(offered, script(&[("STARTTLS", injected)]), tls);
    assert!(refused.unwrap_err().contains("talked on before TLS had begun"));
    assert_eq!(heard, ["STARTTLS"]);
    let (refused, heard) = found(offered, script(&[("STARTTLS", "% NO not today\r\n")]), tls);
    assert!(refused.unwrap_err().contains("STARTTLS: not today"));
    assert_eq!(heard, ["STARTTLS"]);
}

/// Folder and usage, and what is wrong.
fn told(found: Result<Measurement, String>) -> (Vec<(String, u64, u64)>, Vec<String>) {
    let found = found.unwrap();
    let row = |(key, used): (&mailquotad::quota::CellKey, mailquotad::quota::Usage)| {
        (key.folder.to_string(), used.bytes, used.messages)
    };
    (found.cells.iter().map(row).collect(), found.problems)
}

#[test]
fn what_is_said_in_any_order_and_form_is_understood() {
    let answer = "* OK [ALERT] the house is on fire {3}\r\n* STATUS inbox (SIZE 7 X (a (b)) MESSAGES 2)\r\n\
                  * LIST (\\Noselect) \"/\" Public\r\n* 3 EXISTS\r\n* LIST () NIL {5}\r\nINBOX\r\n\
                  * LIST () \".\" a.b\r\n* STATUS {3+}\r\na.b (SIZE 18446744073709551615 MESSAGES 1)\r\n\
                  * LIST () \".\" \"R&D\"\r\n* STATUS \"R&D\" (SIZE 1 MESSAGES 1)\r\n% OK done\r\n";
    let (found, heard) = found(GREETING, listed(answer), |_| ());
    let row = |folder: &str, bytes, messages| (folder.to_owned(), bytes, messages);
    let expected = [row("INBOX", 7, 2), row("R&D", 1, 1), row("a/b", u64::MAX, 1)];
    assert_eq!(told(found), (expected.to_vec(), vec![]));
    assert_eq!(heard[1], "LIST \"\" \"*\" RETURN (STATUS (MESSAGES SIZE))");
}

#[test]
fn a_folder_that_vanishes_is_gone_and_one_that_cannot_be_read_is_a_problem() {
    let folders = "* LIST () \"/\" INBOX\r\n* LIST () \"/\" gone\r\n* LIST () \"/\" locked\r\n% OK\r\n";
    let steps = [
        ("AUTHENTICATE", FAST),
        ("LIST", folders),
        ("STATUS \"INBOX\"", "* STATUS INBOX (MESSAGES 1 SIZE 5)\r\n% OK\r\n"),
        ("STATUS \"gone\"", "% NO [NONEXISTENT] no such folder\r\n"),
        ("STATUS \"locked\"", "% NO [NOPERM] not yours\r\n"),
    ];
    let (found, _) = found(GREETING, script(&steps), |_| ());
    let (cells, problems) = told(found);
    assert_eq!(cells, [("INBOX".to_owned(), 5, 1)]);
    assert_eq!(problems, ["locked: STATUS: [NOPERM] not yours"]);
}

#[test]
fn a_mailbox_that_is_not_there_yet_is_empty() {
    let steps = [("AUTHENTICATE", FAST), ("LIST", "% OK\r\n"), ("STATUS", "% NO [NONEXISTENT] no mailbox\r\n")];
    let (found, _) = found(GREETING, script(&steps), |_| ());
    assert_eq!(told(found), (vec![], vec![]));
}

#[test]
fn messages_that_come_and_go_while_they_are_counted() {
    let steps = [
        ("AUTHENTICATE", PLAIN),
        ("LIST", "* LIST () \"/\" INBOX\r\n% OK\r\n"),
        ("EXAMINE", "* 3 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n* OK [UIDNEXT 9] x\r\n% OK [READ-ONLY]\r\n"),
        // One is expunged, one comes, one is told of twice, and a flag changes.
        (
            "UID FETCH 1:* (UID RFC822.SIZE)",
            "* 1 FETCH (UID 5 RFC822.SIZE 10)\r\n* 1 FETCH (RFC822.SIZE 10 UID 5)\r\n* 2 FETCH (FLAGS (\\Seen))\r\n\
             * 2 EXPUNGE\r\n* 3 EXISTS\r\n* 2 FETCH (UID 8 RFC822.SIZE 40)\r\n% OK\r\n",
        ),
        (
            "FETCH 1:* (UID RFC822.SIZE)",
            "* 1 FETCH (UID 5 RFC822.SIZE 10)\r\n* 3 FETCH (UID 9 RFC822.SIZE 80)\r\n\
             * 2 FETCH (UID 8 RFC822.SIZE 40)\r\n% OK\r\n",
        ),
    ];
    let (found, _) = found(GREETING, script(&steps), |_| ());
    assert_eq!(told(found), (vec![("INBOX".to_owned(), 130, 3)], vec![]));
}

#[test]
fn a_server_that_leaves_messages_out_is_not_believed() {
    let mut steps = vec![("AUTHENTICATE", PLAIN), ("LIST", "* LIST () \"/\" INBOX\r\n% OK\r\n")];
    for _ in 0..4 {
        steps.push(("EXAMINE", "* 3 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n* OK [UIDNEXT 9] x\r\n% OK\r\n"));
        steps.push(("UID FETCH", "* 1 FETCH (UID 5 RFC822.SIZE 10)\r\n% OK\r\n"));
        steps.push(("FETCH", "* 1 FETCH (UID 5 RFC822.SIZE 10)\r\n% OK\r\n"));
    }
    let (found, _) = found(GREETING, script(&steps), |_| ());
    assert!(found.unwrap_err().contains("kept changing"));
}

#[test]
fn what_is_remembered_is_not_asked_for_again() {
    let status = |next: u32, messages: u32| {
        format!(
            "* LIST () \"/\" INBOX\r\n* STATUS INBOX (MESSAGES {messages} UIDNEXT {next} UIDVALIDITY 1)\r\n% OK\r\n"
        )
    };
    let examine = |next: u32, messages: u32| {
        format!("* {messages} EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n* OK [UIDNEXT {next}] x\r\n% OK\r\n")
    };
    let list = "LIST \"\" \"*\" RETURN (STATUS (MESSAGES UIDNEXT UIDVALIDITY))";
    let voice = "{27}\r\nContent-Type: audio/wav\r\n\r\n";
    let first = format!(
        "* 1 FETCH (UID 5 RFC822.SIZE 10 BODY[HEADER.FIELDS (CONTENT-TYPE)]<0> {{2}}\r\n\r\n)\r\n\
         * 2 FETCH (UID 6 BODY[HEADER.FIELDS (CONTENT-TYPE)]<0> {voice} RFC822.SIZE 20)\r\n% OK\r\n"
    );
    let third = "* 3 FETCH (UID 7 RFC822.SIZE 40 BODY[HEADER.FIELDS (CONTENT-TYPE)]<0> NIL)\r\n% OK\r\n";
    let left = "* 1 FETCH (UID 6 RFC822.SIZE 20)\r\n* 2 FETCH (UID 7 RFC822.SIZE 40)\r\n% OK\r\n";
    let stages: [(Script, [(u64, u64); 2]); 4] = [
        // What a server says, and messages and bytes: of no type, and voice.
        (
            vec![
                (list, status(7, 2)),
                ("EXAMINE", examine(7, 2)),
                ("UID FETCH 1:* (UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS (CONTENT-TYPE)]", first),
            ],
            [(1, 10), (1, 20)],
        ),
        (vec![(list, status(7, 2))], [(1, 10), (1, 20)]),
        (vec![(list, status(8, 3)), ("EXAMINE", examine(8, 3)), ("UID FETCH 7:*", third.into())], [(2, 50), (1, 20)]),
        (
            // One has gone: sizes are read again, types are not.
            vec![(list, status(8, 2)), ("EXAMINE", examine(8, 2)), ("FETCH 1:* (UID RFC822.SIZE)", left.into())],
            [(1, 40), (1, 20)],
        ),
    ];
    let mut memory = Vec::new();
    for (number, (mut steps, expected)) in stages.into_iter().enumerate() {
        steps.insert(0, ("AUTHENTICATE", SLOW.into()));
        let server = server(GREETING, steps);
        let types = TypeTable::new([("voice", ["audio/*"])]).unwrap();
        let store = ImapStore::new(ImapOptions { types, ..small(server.port) });
        let found = store.measure(&mailbox(ANNA), &memory).unwrap();
        server.thread.join().unwrap();
        let counted: Vec<(u64, u64)> = found.cells.iter().map(|(_, used)| (used.messages, used.bytes)).collect();
        assert_eq!(counted, expected, "stage {number}");
        memory = found.memory;
    }
}

#[test]
fn logins_in_every_form_that_servers_want() {
    let bare = "* OK ready\r\n";
    let credentials = "YW5uYUBleGFtcGxlLm9yZwBxdW90YQBtYXN0ZXIgImtleSIgXCDDpA==";
    let empty = [("LIST", "% OK\r\n"), ("STATUS", "% NO [NONEXISTENT] x\r\n")];
    let with = |login: &[(&'static str, &str)]| script(&[login, &empty].concat());
    // In one go, in two, and as LOGIN with a literal for what is not ASCII.
    let (_, heard) = found(GREETING, with(&[("AUTHENTICATE", FAST)]), |_| ());
    assert_eq!(heard[0], format!("AUTHENTICATE PLAIN {credentials}"));
    let offered = "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n% OK\r\n";
    let (_, heard) = found(
        bare,
        with(&[
            ("CAPABILITY", offered),
            ("AUTHENTICATE PLAIN", "+ \r\n"),
            ("*", "m2 OK in\r\n"),
            ("CAPABILITY", "* CAPABILITY IMAP4rev1 STATUS=SIZE\r\n% OK\r\n"),
        ]),
        |_| (),
    );
    assert_eq!(heard[2], credentials);
    let nothing = "* CAPABILITY IMAP4rev1\r\n% OK\r\n";
    let steps =
        [("CAPABILITY", nothing), ("LOGIN", "+ go on\r\n"), ("*", "m2 OK [CAPABILITY IMAP4rev1 STATUS=SIZE]\r\n")];
    let (_, heard) = found(bare, with(&steps), |options| options.login_name = "%m!%u".into());
    assert_eq!(heard[1], format!("LOGIN \"quota!anna@example.org\" {{{}}}", MASTER.1.len()));
    assert_eq!(heard[2], MASTER.1.split_once(' ').unwrap().1, "what stands for a command, behind the first word");
    // Asked to log in as PLAIN, it does, whatever the server says of itself.
    let (_, heard) = found(bare, with(&[("CAPABILITY", nothing), ("AUTHENTICATE PLAIN", "% NO no\r\n")]), |options| {
        options.login = Login::Plain;
    });
    assert_eq!(heard.len(), 2);
}
