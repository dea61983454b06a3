//! Writing wishes back: a new file beside the old one, synced, then put in its place in one step.
//!
//! The admin has the file open too. A rewrite starts only from a file that stands still; after the two
//! names were exchanged, the old file is looked at once more, and if anyone changed it since it was read,
//! the names are changed back and the work starts over from the admin's text.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::load::read;
use super::stamp::Stamp;
use super::{DirectoryError, LdifOptions, Wish, Written};
use crate::account::Writable;
use crate::directory::entry::{EntryReader, same_value};
use crate::wire::dn;
use crate::wire::ldif::{Edit, Record, Records, set_value, splice};

/// How often somebody else may get in between before the wishes are put off.
const ATTEMPTS: u32 = 10;

type Outcome = Result<Written, DirectoryError>;

/// One outcome a wish, in order. `rest` is the stamp of the file when it was last known to be at rest.
pub fn carry_out(options: &LdifOptions, wishes: &[Wish], rest: &mut Option<Stamp>) -> Vec<Outcome> {
    // A link stays a link: the file that it leads to is replaced.
    let replaced = fs::canonicalize(&options.file).and_then(|file| {
        for _ in 0..ATTEMPTS {
            wait_for_rest(&file, options, rest)?;
            let Some((text, stamp)) = read(&file)? else { continue };
            let decided = match decide(&text, &options.reader, wishes) {
                Ok(decided) => decided,
                Err(fault) => return Ok(Err(fault)),
            };
            if decided.edits.is_empty() {
                return Ok(Ok(decided.outcomes));
            }
            if let Some(stamp) = replace(&file, stamp, &splice(&text, decided.edits))? {
                *rest = Some(stamp);
                return Ok(Ok(decided.outcomes));
            }
        }
        Ok(Err("it keeps changing under the write; put off".to_owned()))
    });
    let name = options.file.display();
    let (why, refused) = match replaced {
        Ok(Ok(outcomes)) => return outcomes,
        Ok(Err(fault)) => (format!("{name}:{fault}"), false),
        Err(error) => (format!("{name}: not written: {error}"), error.kind() == io::ErrorKind::PermissionDenied),
    };
    let fail = |_: &Wish| match refused {
        true => Err(DirectoryError::Refused(why.clone())),
        false => Err(DirectoryError::Away(why.clone())),
    };
    wishes.iter().map(fail).collect()
}

/// Two looks that see the same, one poll apart: who writes in place is done by then.
fn wait_for_rest(file: &Path, options: &LdifOptions, rest: &mut Option<Stamp>) -> io::Result<()> {
    let mut seen = Stamp::of(file)?;
    while *rest != Some(seen) {
        thread::sleep(options.poll);
        *rest = Some(seen);
        seen = Stamp::of(file)?;
    }
    Ok(())
}

struct Decided {
    outcomes: Vec<Outcome>,
    edits: Vec<Edit>,
}

/// What becomes of each wish on this text. A file with an error in it is left to its admin, who is most
/// likely at work on it.
fn decide(text: &[u8], reader: &EntryReader, wishes: &[Wish]) -> Result<Decided, String> {
    let mut by_dn: HashMap<String, Vec<usize>> = HashMap::new();
    for (number, wish) in wishes.iter().enumerate() {
        by_dn.entry(dn::normal(&wish.dn)).or_default().push(number);
    }
    let mut outcomes: Vec<Outcome> = wishes.iter().map(|_| Ok(Written::NoEntry)).collect();
    let mut edits = Vec::new();
    for record in Records::new(text) {
        let record = record.map_err(|error| format!("{error}; not written until that is mended"))?;
        let Some(numbers) = by_dn.remove(&dn::normal(&record.dn)) else { continue };
        let mut values = Vec::new();
        for number in numbers {
            outcomes[number] = follow_wish(&wishes[number], &record, reader, &mut values);
        }
        for value in values {
            let edit = set_value(text, &record, value.attribute, value.was, value.is.as_deref().map(str::as_bytes));
            edits.extend(edit.map_err(|refusal| format!("{}: {refusal}", record.line))?);
        }
    }
    Ok(Decided { outcomes, edits })
}

/// One attribute of a record while the wishes of a batch pass over it in turn.
struct Value<'a> {
    what: Writable,
    attribute: &'a str,
    was: Option<&'a [u8]>,
    is: Option<Box<str>>,
}

fn follow_wish<'a>(
    wish: &Wish,
    record: &'a Record<'_>,
    reader: &'a EntryReader,
    values: &mut Vec<Value<'a>>,
) -> Outcome {
    let at = match values.iter().position(|value| value.what == wish.attribute) {
        Some(at) => at,
        None => {
            values.push(current(wish.attribute, record, reader).map_err(DirectoryError::Refused)?);
            values.len() - 1
        }
    };
    let value = &mut values[at];
    let (from, to, is) = (wish.from.as_deref(), wish.to.as_deref(), value.is.as_deref());
    if same_value(wish.attribute, is, to) {
        return Ok(Written::Done);
    }
    if !same_value(wish.attribute, is, from) {
        return Ok(Written::Overruled { found: value.is.clone() });
    }
    value.is = wish.to.clone();
    Ok(Written::Done)
}

fn current<'a>(what: Writable, record: &'a Record<'_>, reader: &'a EntryReader) -> Result<Value<'a>, String> {
    let attribute = reader.attribute(what).ok_or_else(|| format!("no attribute is mapped for {what}"))?;
    let mut lines = record.lines.iter().filter(|line| line.name.eq_ignore_ascii_case(attribute));
    let was = lines.next().map(|line| &*line.value);
    if lines.next().is_some() {
        return Err(format!("{attribute} of {} has several values; accepted: one", record.dn));
    }
    let is = was.map(std::str::from_utf8).transpose();
    let is = is.map_err(|_| format!("the value of {attribute} of {} is not UTF-8", record.dn))?;
    Ok(Value { what, attribute, was, is: is.map(Into::into) })
}

/// Puts `text` in the place of `file`, which was read at `stamp`; `None` where somebody else changed it
/// meanwhile, and then it is as they left it.
fn replace(file: &Path, stamp: Stamp, text: &[u8]) -> io::Result<Option<Stamp>> {
    let new = beside(file);
    let written = write_synced(&new, file, text).and_then(|written| {
        // The cheap look first: most edits are noticed before anything moves.
        if Stamp::of(file)? != stamp {
            return Ok(None);
        }
        let swap = || renameat_with(CWD, &new, CWD, file, RenameFlags::EXCHANGE);
        Ok(exchange(&new, file, stamp, written, swap)?.then_some(written))
    });
    if !matches!(written, Ok(Some(_))) {
        // The error that counts is the one in `written`.
        let _ = fs::remove_file(&new);
    }
    written
}

/// The new file takes the name of the old one. Where the system can exchange names the old file is kept
/// until it is known to be the one that was read.
fn exchange(
    new: &Path,
    file: &Path,
    read: Stamp,
    written: Stamp,
    mut swap: impl FnMut() -> rustix::io::Result<()>,
) -> io::Result<bool> {
    match swap() {
        Ok(()) => {}
        // Network and older file systems know no exchange.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            fs::rename(new, file)?;
            return sync_folder(file).map(|()| true);
        }
        Err(error) => return Err(error.into()),
    }
    let (mut put, mut pulled) = (written, Stamp::of(new)?);
    if pulled == read {
        fs::remove_file(new)?;
        return sync_folder(file).map(|()| true);
    }
    // The admin's file goes back. Whatever comes out against it other than what was put in is newer still,
    // and goes back in turn, so that the admin's last word is the one that stays.
    loop {
        let expected = std::mem::replace(&mut put, pulled);
        swap()?;
        pulled = Stamp::of(new)?;
        if pulled == expected {
            return Ok(false);
        }
    }
}

/// A file that holds `text` safely, with the mode and owner of `model`.
fn write_synced(new: &Path, model: &Path, text: &[u8]) -> io::Result<Stamp> {
    match fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let model = fs::metadata(model)?;
    let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
    let own = open.metadata()?;
    if (own.uid(), own.gid()) != (model.uid(), model.gid()) {
        match fchown(&open, Some(model.uid()), Some(model.gid())) {
            // Not ours to give away. The mode below still says who may read it; if that shuts out its former
            // owner, an admin has put the daemon's file in another's hands, and `doctor` says so.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            given => given?,
        }
    }
    // After the owner: changing that takes bits of the mode away.
    open.set_permissions(model.permissions())?;
    open.write_all(text)?;
    open.sync_all()?;
    Ok(Stamp::from(&open.metadata()?))
}

fn sync_folder(file: &Path) -> io::Result<()> {
    File::open(file.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// Hidden, and the same name each time, so that a crash leaves one such file at most.
fn beside(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!(".{name}.mailquotad"))
}

/// The value that an attribute has now.
pub fn look_up(options: &LdifOptions, dn: &str, attribute: Writable) -> Result<Option<Box<str>>, DirectoryError> {
    let name = options.file.display();
    let away = |why: &dyn std::fmt::Display| DirectoryError::Away(format!("{name}: {why}"));
    let text = fs::read(&options.file).map_err(|error| away(&error))?;
    let dn = dn::normal(dn);
    for record in Records::new(&text) {
        let record = record.map_err(|error| DirectoryError::Away(format!("{name}:{error}")))?;
        if dn::normal(&record.dn) == dn {
            return current(attribute, &record, &options.reader).map(|value| value.is).map_err(DirectoryError::Refused);
        }
    }
    Err(DirectoryError::Refused(format!("{name}: there is no entry {dn}")))
}

#[cfg(test)]
mod tests;
