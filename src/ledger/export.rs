//! A plain copy of a ledger, from which an empty ledger of any engine is filled again. JSON, one object a line:
//!
//! ```text
//! {"begin":{"form":1}}
//! {"account":{"name":"ada@example.org","record":{…}}}
//! {"value":{"shelf":"Outbox","key":"<base64>","value":"<base64>"}}
//! {"end":{"accounts":1,"values":1}}
//! ```
//!
//! The last line tells a whole file from a torn one, and nothing is imported from the latter. An export
//! taken while the ledger is written to holds every account as it was at some moment during the export.
//! Idempotency keys are not in it: they matter for minutes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::atomic::write_whole;
use super::{Batch, Ledger, LedgerError, Op, Receipt, Record, Shelf};

/// The form that this release writes, and the only one that it reads.
const FORM: u32 = 1;

/// Operations of a batch of the import, and of all batches that are under way.
const BATCH: usize = 100;
const UNDER_WAY: usize = 3200;

/// The same as bytes of the file: an engine refuses what is too much at once.
const BATCH_BYTES: usize = 1 << 20;
const BYTES_UNDER_WAY: usize = 16 << 20;

/// How much an export holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extent {
    pub accounts: u64,
    pub values: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    /// Not an export, or not a whole one. Nothing was imported.
    #[error("{}:{line}: {why}", path.display())]
    Unusable { path: PathBuf, line: usize, why: String },
    #[error("the ledger holds something already; an export is only read into an empty one")]
    NotEmpty,
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    Begin { form: u32 },
    Account { name: Box<str>, record: Record },
    Value { shelf: Shelf, key: String, value: String },
    End(Extent),
}

/// What may go wrong while writing, before the path comes to it.
enum Broken {
    Ledger(LedgerError),
    File(io::Error),
}

impl Broken {
    fn at(self, path: &Path) -> ExportError {
        match self {
            Broken::Ledger(error) => ExportError::Ledger(error),
            Broken::File(error) => ExportError::File { path: path.into(), error },
        }
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        Broken::File(error)
    }
}

impl From<LedgerError> for Broken {
    fn from(error: LedgerError) -> Broken {
        Broken::Ledger(error)
    }
}

/// Writes everything in `ledger` to `path`, whose former content stays until the new one is whole and on disk.
pub fn export(ledger: &dyn Ledger, path: &Path) -> Result<Extent, ExportError> {
    let mut extent = Extent::default();
    let written = write_whole(path, |file| -> Result<(), Broken> {
        extent = write_lines(ledger, file)?;
        Ok(())
    });
    written.map_err(|broken| broken.at(path))?;
    Ok(extent)
}

/// The same to whatever can be written to, which errors call `name`.
pub fn export_to(ledger: &dyn Ledger, out: impl Write, name: &Path) -> Result<Extent, ExportError> {
    write_lines(ledger, out).map_err(|broken| broken.at(name))
}

fn write_lines(ledger: &dyn Ledger, out: impl Write) -> Result<Extent, Broken> {
    let out = &mut BufWriter::with_capacity(1 << 16, out);
    let mut extent = Extent::default();
    // The ledger goes on calling after a failure; only the first counts.
    let mut written = write_line(out, &Line::Begin { form: FORM });
    ledger.read_all(&mut |name, record| {
        extent.accounts += 1;
        if written.is_ok() {
            written = write_line(out, &Line::Account { name: name.into(), record });
        }
    })?;
    for shelf in Shelf::ALL {
        ledger.shelf_all(shelf, &mut |key, value| {
            extent.values += 1;
            if written.is_ok() {
                let line = Line::Value { shelf, key: STANDARD.encode(key), value: STANDARD.encode(value) };
                written = write_line(out, &line);
            }
        })?;
    }
    written?;
    write_line(out, &Line::End(extent))?;
    out.flush()?;
    Ok(extent)
}

fn write_line(out: &mut impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// Fills an empty ledger from an export. The file is read to its end before anything is written.
pub fn import(ledger: &dyn Ledger, path: &Path) -> Result<Extent, ExportError> {
    let file = File::open(path).map_err(|error| ExportError::File { path: path.into(), error })?;
    import_from(ledger, file, path)
}

/// The same from an open file, which errors call `name`. A pipe is put by in a file of the temporary folder,
/// because an export is read twice.
pub fn import_from(ledger: &dyn Ledger, file: File, name: &Path) -> Result<Extent, ExportError> {
    let broken = |error| ExportError::File { path: name.into(), error };
    let mut file = match file.metadata().map_err(broken)?.is_file() {
        true => file,
        false => put_by(file).map_err(broken)?,
    };
    let begin = file.stream_position().map_err(broken)?;
    let extent = read_ops(&file, name, &mut |_, _| Ok(()))?;
    if !is_empty(ledger)? {
        return Err(ExportError::NotEmpty);
    }
    file.seek(SeekFrom::Start(begin)).map_err(broken)?;
    let mut filling =
        Filling { ledger, batch: Batch::new(), bytes: 0, under_way: Vec::new(), ops_out: 0, bytes_out: 0 };
    read_ops(&file, name, &mut |op, bytes| filling.push(op, bytes))?;
    filling.submit();
    filling.settle()?;
    Ok(extent)
}

/// The file has no name, so nobody else reads it and it goes away with us.
fn put_by(mut pipe: File) -> io::Result<File> {
    let folder = std::env::temp_dir();
    let at = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
    let mut file = tempfile::tempfile_in(&folder).map_err(at)?;
    io::copy(&mut pipe, &mut file).map_err(at)?;
    file.rewind()?;
    Ok(file)
}

/// A ledger that is being filled, as fast as it stores and no faster.
struct Filling<'a> {
    ledger: &'a dyn Ledger,
    batch: Batch,
    bytes: usize,
    under_way: Vec<Receipt>,
    ops_out: usize,
    bytes_out: usize,
}

impl Filling<'_> {
    fn push(&mut self, op: Op, bytes: usize) -> Result<(), ExportError> {
        self.batch.push(op);
        self.bytes += bytes;
        if self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES {
            self.submit();
        }
        match self.ops_out >= UNDER_WAY || self.bytes_out >= BYTES_UNDER_WAY {
            true => self.settle(),
            false => Ok(()),
        }
    }

    fn submit(&mut self) {
        self.ops_out += self.batch.len();
        self.bytes_out += std::mem::take(&mut self.bytes);
        self.under_way.push(self.ledger.submit(std::mem::take(&mut self.batch)));
    }

    fn settle(&mut self) -> Result<(), ExportError> {
        (self.ops_out, self.bytes_out) = (0, 0);
        self.under_way.drain(..).try_for_each(|receipt| receipt.wait().map(drop)).map_err(ExportError::Ledger)
    }
}

fn is_empty(ledger: &dyn Ledger) -> Result<bool, LedgerError> {
    let mut empty = true;
    ledger.read_all(&mut |_, _| empty = false)?;
    for shelf in Shelf::ALL {
        ledger.shelf_all(shelf, &mut |_, _| empty = false)?;
    }
    Ok(empty)
}

/// Takes what a line means to the ledger, and how long the line is.
type Each<'a> = &'a mut dyn FnMut(Op, usize) -> Result<(), ExportError>;

/// Reads an export to its end.
fn read_ops(file: &File, path: &Path, each: Each<'_>) -> Result<Extent, ExportError> {
    let broken = |error| ExportError::File { path: path.into(), error };
    let file = BufReader::with_capacity(1 << 16, file);
    let mut found = Extent::default();
    let mut end = None;
    let mut lines = 0;
    for (at, line) in (1..).zip(file.lines()) {
        let unusable = |why: String| ExportError::Unusable { path: path.into(), line: at, why };
        let line = line.map_err(broken)?;
        let long = line.len();
        let line: Line = serde_json::from_str(&line).map_err(|error| unusable(error.to_string()))?;
        let bytes = |text: &str| STANDARD.decode(text).map_err(|error| unusable(error.to_string()));
        lines = at;
        match line {
            Line::Begin { form: FORM } if at == 1 => {}
            Line::Begin { form } if at == 1 => {
                return Err(unusable(format!("an export of form {form}; this release reads form {FORM}")));
            }
            _ if at == 1 => return Err(unusable("this is not the beginning of an export".into())),
            _ if end.is_some() => return Err(unusable("there is more behind the end".into())),
            Line::Begin { .. } => return Err(unusable("a second beginning".into())),
            Line::Account { name, record } => {
                found.accounts += 1;
                // Whoever edited the file need not have kept the cells sorted.
                let cells = record.cells.iter().map(|(key, usage)| (key.clone(), usage)).collect();
                each(Op::Restore { account: name, record: Record { cells, ..record } }, long)?;
            }
            Line::Value { shelf, key, value } => {
                found.values += 1;
                each(Op::Put { shelf, key: bytes(&key)?.into(), value: bytes(&value)? }, long)?;
            }
            Line::End(extent) => end = Some(extent),
        }
    }
    let unusable = |why: String| Err(ExportError::Unusable { path: path.into(), line: lines, why });
    match end {
        Some(extent) if extent == found => Ok(found),
        Some(extent) => unusable(format!(
            "the export should hold {} accounts and {} values, but holds {} and {}",
            extent.accounts, extent.values, found.accounts, found.values
        )),
        None => unusable("the export is not whole: its end is missing".into()),
    }
}
