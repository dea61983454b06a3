//! Batches that wait for the writer. Handing one in never blocks: a caller may be on an async runtime,
//! and a disk that hangs must not take its threads. What bounds the queue is its size in memory; beyond it
//! batches are refused at once, and callers that wait for their receipts never get there.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::rows::LONGEST;
use crate::ledger::{Batch, LedgerError, Op, Outcome, Receipt};

/// Rows that are written together. Up to here a larger group costs less per row; past a thousand the
/// engine's memory grows by hundreds of megabytes.
const GROUP: usize = 500;

/// The most bytes that may wait.
const ROOM: usize = 64 << 20;

#[derive(Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    closed: bool,
}

pub struct Job {
    pub batch: Batch,
    answer: oneshot::Sender<Result<Outcome, LedgerError>>,
    rows: usize,
    bytes: usize,
}

impl Job {
    pub fn answer(self, answer: Result<Outcome, LedgerError>) {
        // A caller that does not wait for its receipt has dropped the other end.
        let _ = self.answer.send(answer);
    }
}

impl Queue {
    pub fn submit(&self, batch: Batch) -> Receipt {
        let (answer, receiver) = oneshot::channel();
        let rows = batch.iter().map(|op| 1 + value_len(op) / LONGEST).sum();
        let bytes = batch.iter().map(weight).sum();
        let job = Job { batch, answer, rows, bytes };
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            job.answer(Err(LedgerError::Write("the ledger was closed".into())));
        } else if waiting.bytes.saturating_add(bytes) > ROOM {
            let behind = waiting.jobs.len();
            job.answer(Err(LedgerError::Write(format!("{behind} batches are waiting already; is the disk stuck?"))));
        } else {
            waiting.bytes += bytes;
            waiting.jobs.push_back(job);
            self.filled.notify_one();
        }
        Receipt::waiting(receiver)
    }

    /// The next batches to write together, in the order in which they came. Waits for the first; `None`
    /// when the queue is closed and empty.
    pub fn next_group(&self) -> Option<Vec<Job>> {
        let mut waiting = self.waiting.lock();
        while waiting.jobs.is_empty() && !waiting.closed {
            self.filled.wait(&mut waiting);
        }
        let mut group = Vec::new();
        let mut rows = 0;
        while let Some(job) = waiting.jobs.front() {
            rows += job.rows;
            if rows > GROUP && !group.is_empty() {
                break;
            }
            group.extend(waiting.jobs.pop_front());
        }
        let bytes: usize = group.iter().map(|job| job.bytes).sum();
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        (!group.is_empty()).then_some(group)
    }

    pub fn close(&self) {
        self.waiting.lock().closed = true;
        self.filled.notify_one();
    }
}

fn value_len(op: &Op) -> usize {
    if let Op::Put { value, .. } = op { value.len() } else { 0 }
}

/// About how many bytes an operation takes up in memory.
fn weight(op: &Op) -> usize {
    const CELL: usize = 96;
    size_of::<Op>()
        + match op {
            Op::Deltas { account, deltas, .. } => account.len() + deltas.len() * CELL,
            Op::Measured { account, cells, .. } => account.len() + cells.len() * CELL,
            Op::Standings { account, standings } => account.len() + standings.len() * CELL,
            Op::Restore { account, record } => account.len() + (record.cells.len() + record.standings.len()) * CELL,
            Op::Forget { account } => account.len(),
            Op::Put { key, value, .. } => key.len() + value.len(),
            Op::Remove { key, .. } => key.len(),
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Shelf;

    fn put(bytes: usize) -> Batch {
        vec![Op::Put { shelf: Shelf::Jobs, key: b"k"[..].into(), value: vec![0; bytes] }]
    }

    #[test]
    fn groups_are_bounded_and_keep_the_order() {
        let queue = Queue::default();
        for ops in [200, 300, 1, 900, 3] {
            drop(queue.submit(vec![put(1).remove(0); ops]));
        }
        queue.close();
        let sizes = |group: Vec<Job>| group.iter().map(|job| job.batch.len()).collect::<Vec<_>>();
        let groups: Vec<Vec<usize>> = std::iter::from_fn(|| queue.next_group().map(sizes)).collect();
        assert_eq!(groups, [vec![200, 300], vec![1], vec![900], vec![3]]);
    }

    #[test]
    fn a_full_queue_refuses_and_has_room_again_when_it_is_drained() {
        let queue = Queue::default();
        let receipts: Vec<Receipt> = (0..40).map(|_| queue.submit(put(4 << 20))).collect();
        let accepted = std::iter::from_fn(|| {
            let waiting = !queue.waiting.lock().jobs.is_empty();
            waiting.then(|| queue.next_group()).flatten()
        });
        let accepted: usize =
            accepted.map(|group| group.into_iter().map(|job| job.answer(Ok(Outcome::Applied))).count()).sum();
        assert_eq!(accepted, 15);
        let refused = receipts.into_iter().filter_map(|receipt| receipt.wait().err());
        let refused: Vec<String> = refused.map(|error| error.to_string()).collect();
        assert_eq!(refused.len(), 25);
        assert!(refused[0].contains("15 batches are waiting"), "{}", refused[0]);
        assert_eq!(queue.waiting.lock().bytes, 0);
    }
}
