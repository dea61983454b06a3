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
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::atomic::write_whole;
use super::{Batch, Ledger, LedgerError, Op, Receipt, Record, Shelf};

/// The form that this release writes, and the only one that it reads.
const FORM: u32 = 1;

/// Operations of a batch of the import, and batches that are under way at a time.
const BATCH: usize = 100;
const UNDER_WAY: usize = 32;

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
    let written = write_whole(path, |file| {
        let mut out = BufWriter::with_capacity(1 << 16, file);
        extent = write_lines(ledger, &mut out)?;
        Ok::<(), Broken>(out.flush()?)
    });
    match written {
        Ok(()) => Ok(extent),
        Err(Broken::Ledger(error)) => Err(ExportError::Ledger(error)),
        Err(Broken::File(error)) => Err(ExportError::File { path: path.into(), error }),
    }
}

fn write_lines(ledger: &dyn Ledger, out: &mut impl Write) -> Result<Extent, Broken> {
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
    Ok(extent)
}

fn write_line(out: &mut impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// Fills an empty ledger from an export. The file is read to its end before anything is written.
pub fn import(ledger: &dyn Ledger, path: &Path) -> Result<Extent, ExportError> {
    let extent = read_ops(path, &mut |_| Ok(()))?;
    if !is_empty(ledger)? {
        return Err(ExportError::NotEmpty);
    }
    let mut batch = Batch::new();
    let mut under_way: Vec<Receipt> = Vec::new();
    read_ops(path, &mut |op| {
        batch.push(op);
        if batch.len() == BATCH {
            under_way.push(ledger.submit(std::mem::take(&mut batch)));
        }
        if under_way.len() == UNDER_WAY { settle(&mut under_way) } else { Ok(()) }
    })?;
    under_way.push(ledger.submit(batch));
    settle(&mut under_way)?;
    Ok(extent)
}

fn settle(under_way: &mut Vec<Receipt>) -> Result<(), ExportError> {
    under_way.drain(..).try_for_each(|receipt| receipt.wait().map(drop)).map_err(ExportError::Ledger)
}

fn is_empty(ledger: &dyn Ledger) -> Result<bool, LedgerError> {
    let mut empty = true;
    ledger.read_all(&mut |_, _| empty = false)?;
    for shelf in Shelf::ALL {
        ledger.shelf_all(shelf, &mut |_, _| empty = false)?;
    }
    Ok(empty)
}

/// Reads an export to its end and hands on what each line means to the ledger.
fn read_ops(path: &Path, each: &mut dyn FnMut(Op) -> Result<(), ExportError>) -> Result<Extent, ExportError> {
    let broken = |error| ExportError::File { path: path.into(), error };
    let file = BufReader::with_capacity(1 << 16, File::open(path).map_err(broken)?);
    let mut found = Extent::default();
    let mut end = None;
    let mut lines = 0;
    for (at, line) in (1..).zip(file.lines()) {
        let unusable = |why: String| ExportError::Unusable { path: path.into(), line: at, why };
        let line = line.map_err(broken)?;
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
                each(Op::Restore { account: name, record: Record { cells, ..record } })?;
            }
            Line::Value { shelf, key, value } => {
                found.values += 1;
                each(Op::Put { shelf, key: bytes(&key)?.into(), value: bytes(&value)? })?;
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
