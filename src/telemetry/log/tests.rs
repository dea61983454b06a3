use std::io::Write;
use std::sync::Arc;

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
struct Slow(Kept, std::sync::mpsc::Receiver<()>);

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
    let (kept, (let_go, held)) = (Kept::default(), std::sync::mpsc::channel());
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
}
