use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written while `work` runs.
fn logged(format: Format, target: Target, work: impl FnOnce()) -> String {
    let kept = Kept::default();
    let writer = kept.clone();
    let options = LogOptions { level: Level::Info, format, target };
    let (_handle, subscriber) = subscriber(&options, move || writer.clone());
    tracing::subscriber::with_default(subscriber, work);
    let bytes = kept.0.lock().clone();
    String::from_utf8(bytes).unwrap()
}

fn after_time(line: &str) -> &str {
    let (time, rest) = line.split_once(' ').unwrap();
    let time = time.strip_prefix("time=").unwrap();
    assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{time}");
    rest
}

#[test]
fn text_is_key_and_value_with_the_session_first() {
    let text = logged(Format::Text, Target::Stderr, || {
        let session = tracing::info_span!("session", session = 7);
        let _in = session.enter();
        tracing::warn!(event = "refused", recipient = "bob@example.org", size = 12, why = "no room", "said no");
    });
    assert!(after_time(&text).starts_with("level=warn session=7 "), "{text}");
    for pair in ["event=refused", "recipient=bob@example.org", "size=12", "why=\"no room\"", "msg=\"said no\""] {
        assert!(text.contains(pair), "{text}");
    }
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn json_is_one_object_with_the_same_keys() {
    let text = logged(Format::Json, Target::Stderr, || tracing::info!(event = "scanned", account = "a\nb", files = 3));
    let object: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&object["level"], &object["event"], &object["account"]),
        (&"info".into(), &"scanned".into(), &"a\nb".into())
    );
    assert_eq!((object["files"].as_u64(), text.lines().count()), (Some(3), 1));
}

#[test]
fn the_journal_gets_a_priority_and_no_time() {
    let text = logged(Format::Text, Target::Journal, || tracing::error!(event = "ledger-failed"));
    assert_eq!(text, "<3>level=error event=ledger-failed\n");
}

#[test]
fn what_is_below_the_level_is_left_out_until_the_level_changes() {
    let kept = Kept::default();
    let writer = kept.clone();
    let (handle, subscriber) = subscriber(&LogOptions::default(), move || writer.clone());
    let log = Log { filter: handle, _writer: None };
    tracing::subscriber::with_default(subscriber, || {
        tracing::debug!(event = "first");
        log.set_level(Level::Debug);
        tracing::debug!(event = "second");
    });
    let text = String::from_utf8(kept.0.lock().clone()).unwrap();
    assert!(text.contains("event=second") && !text.contains("event=first"), "{text}");
}

#[test]
fn files_hold_every_line_when_the_log_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let files =
        rolling::Builder::new().filename_prefix("mailquotad").filename_suffix("log").build(folder.path()).unwrap();
    let (writer, guard) = gathered::gathered(files).unwrap();
    let (_handle, subscriber) = subscriber(&LogOptions::default(), writer);
    tracing::subscriber::with_default(subscriber, || (0..1000).for_each(|n| tracing::info!(event = "line", n)));
    drop(guard);
    let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap();
    assert_eq!(std::fs::read_to_string(file.path()).unwrap().lines().count(), 1000);
}

/// A file that is written only when the test lets it be.
struct Slow(Kept, mpsc::Receiver<()>);

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // An error means that nobody holds it up any more.
        let _ = self.1.recv();
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_file_that_cannot_keep_up_is_waited_for() {
    let (kept, (let_go, held)) = (Kept::default(), mpsc::channel());
    let (writer, guard) = gathered::gathered(Slow(kept.clone(), held)).unwrap();
    let line = [b'x'; 1 << 16];
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let writer = writer.clone();
            std::thread::spawn(move || (0..20).for_each(|_| (&writer).write_all(&line).unwrap()))
        })
        .collect();
    // One piece is in the hands of the file, another of a megabyte waits, and so do those with more.
    assert_eq!(kept.0.lock().len(), 0);
    assert!(threads.iter().any(|thread| !thread.is_finished()));
    drop(let_go);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    drop(guard);
    assert_eq!(kept.0.lock().len(), (4 * 20) << 16);
}

/// A disk that is full until the test has made room.
struct Full(Kept, Arc<AtomicBool>, mpsc::Sender<()>);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.1.load(Ordering::SeqCst) {
            // The test may have gone.
            let _ = self.2.send(());
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_costs_lines_of_the_log_and_nothing_else() {
    let (kept, full) = (Kept::default(), Arc::new(AtomicBool::new(true)));
    let (failed, failure) = mpsc::channel();
    let (writer, guard) = gathered::gathered(Full(kept.clone(), full.clone(), failed)).unwrap();
    (&writer).write_all(b"lost\n").unwrap();
    failure.recv().unwrap();
    full.store(false, Ordering::SeqCst);
    (&writer).write_all(b"kept\n").unwrap();
    drop(guard);
    assert_eq!(*kept.0.lock(), b"kept\n");
}

#[test]
fn lines_of_many_threads_are_whole_and_in_the_order_of_each() {
    let kept = Kept::default();
    let (writer, guard) = gathered::gathered(kept.clone()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let writer = &writer;
            // As an event comes: with one call.
            let log = move |n| { writer }.write_all(format!("{thread} {n}\n").as_bytes()).unwrap();
            scope.spawn(move || (0..5000).for_each(log));
        }
    });
    drop(guard);
    let text = String::from_utf8(kept.0.lock().clone()).unwrap();
    for thread in 0..4 {
        let own = text.lines().filter_map(|line| line.strip_prefix(&format!("{thread} ")));
        assert!(own.eq((0..5000).map(|n| n.to_string())), "{thread}");
    }
}

proptest! {
    #[test]
    fn no_value_breaks_out_of_its_line_or_its_quotes(value in "[\\PC\\n\\r\\t\\x00\\x7f\u{85}\u{2028}\"\\\\= ]{0,20}") {
        let text = logged(Format::Text, Target::Journal, || tracing::info!(event = "x", value = value.as_str(), last = 1));
        prop_assert_eq!(text.chars().filter(|c| c.is_control() || *c == '\u{2028}').count(), 1, "{:?}", text);
        let shown = text.strip_prefix("<6>level=info event=x value=").and_then(|rest| rest.strip_suffix(" last=1\n"));
        let shown = shown.ok_or_else(|| TestCaseError::fail(text.clone()))?;
        let read: String = if shown.starts_with('"') { serde_json::from_str(shown).unwrap() } else { shown.to_owned() };
        prop_assert_eq!(read, value);
    }

    #[test]
    fn any_value_and_number_comes_back_from_json(value in "[\\PC\n\r\t\x00\x1b\x7f\u{85}\u{2028}\"\\\\ ]{0,20}", number: f64, count: i64) {
        let work = || tracing::info!(event = "x", value = value.as_str(), shown = %value, number, count, yes = true);
        let text = logged(Format::Json, Target::Stderr, work);
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!((object["value"].as_str(), object["shown"].as_str()), (Some(&*value), Some(&*value)));
        prop_assert_eq!((object["count"].as_i64(), &object["yes"]), (Some(count), &true.into()));
        // Its text, for the reader used here is not exact to the last bit.
        let shown = if number.is_finite() { format!("\"number\":{number},") } else { format!("\"number\":\"{number}\",") };
        prop_assert!(text.contains(&shown), "{}", text);
    }
}
