//! Bounds what is read ahead of those who take the results.
//!
//! `ldap3` puts every result that arrives into a queue without an end. A [`Gate`] stands before the task that
//! reads the socket: while results wait that nobody has taken, it does not run, the socket's buffer fills, and
//! the server waits. What one turn of that task reads, about a megabyte, is the measure: while one such load is
//! worked on the next may be read, and no more. Whoever takes the results is woken once a turn; once a result
//! would cost more than the result.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use ldap3::LdapConnAsync;

/// Between the reader of the socket and who takes its results.
#[derive(Default)]
pub struct Gate {
    passage: AtomicU8,
    reader: AtomicWaker,
    taker: AtomicWaker,
}

/// What the reader may do.
mod passage {
    /// Read.
    pub const OPEN: u8 = 0;
    /// Read to the end of one turn.
    pub const ONCE: u8 = 1;
    pub const CLOSED: u8 = 2;
}

impl Gate {
    pub fn open(&self) {
        self.let_pass(passage::OPEN);
    }

    /// Lets the reader run for one more turn, while what it has brought is worked on.
    pub fn open_once(&self) {
        self.let_pass(passage::ONCE);
    }

    /// `context` is woken when a turn has ended.
    pub fn wait(&self, context: &Context<'_>) {
        self.taker.register(context.waker());
        self.open();
    }

    fn let_pass(&self, how: u8) {
        if self.passage.swap(how, Ordering::AcqRel) == passage::CLOSED {
            self.reader.wake();
        }
    }

    /// Tells the taker of a turn that has ended.
    fn turned(&self) {
        let once = (passage::ONCE, passage::CLOSED);
        // Anything else stays as it is.
        let _ = self.passage.compare_exchange(once.0, once.1, Ordering::AcqRel, Ordering::Acquire);
        self.taker.wake();
    }
}

/// The reader's side. However the reader ends, who waits for results must see it.
struct Reader(Arc<Gate>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.taker.wake();
    }
}

/// Reads the connection's socket as far as the gate lets it, until the connection ends.
pub async fn drive(connection: LdapConnAsync, gate: Arc<Gate>) {
    let Reader(gate) = &Reader(gate);
    let mut drive = Box::pin(connection.drive());
    let ended = poll_fn(|context| {
        gate.reader.register(context.waker());
        if gate.passage.load(Ordering::Acquire) == passage::CLOSED {
            return Poll::Pending;
        }
        let turn = drive.as_mut().poll(context);
        gate.turned();
        turn
    });
    // Why it ended shows in what waits for results.
    let _ = ended.await;
}
