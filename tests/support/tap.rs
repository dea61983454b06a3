//! A wire tap between the daemon and its mail server: passes every byte on as it comes, in both directions, and
//! writes down how far each handing over of a message got. When one side goes, so does the other.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A connection, and how far the message in it got.
#[derive(Clone, Debug, Default)]
pub struct Handover {
    pub message_id: String,
    /// In which life of the client it took place.
    pub life: usize,
    /// The end of the data has gone to the server: from here on the message may be the server's.
    pub ended: Option<Instant>,
    /// The server's reply to the end of the data, and how long it took.
    pub reply: Option<(String, Duration)>,
    /// The reply was handed to the client's kernel while the client was still there.
    pub handed_back: bool,
}

impl Handover {
    pub fn was_taken_over(&self) -> bool {
        self.reply.as_ref().is_some_and(|(reply, _)| reply.starts_with("250"))
    }
}

#[derive(Default)]
struct Book {
    life: AtomicUsize,
    handovers: Mutex<Vec<Handover>>,
    open: AtomicUsize,
}

pub struct Tap(Arc<Book>);

impl Tap {
    /// Listens on `port` and passes everything on to `server`. Its threads end with the test.
    pub fn start(port: u16, server: u16) -> Tap {
        let book = Arc::new(Book::default());
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let shared = book.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let book = shared.clone();
                book.open.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    // Either side may go at any moment: what was seen until then is in the book.
                    if let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", server))) {
                        pass_on(client, server, &book);
                    }
                    book.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Tap(book)
    }

    /// To be called right before the client is killed.
    pub fn next_life(&self) {
        self.0.life.fetch_add(1, Ordering::SeqCst);
    }

    pub fn open(&self) -> usize {
        self.0.open.load(Ordering::SeqCst)
    }

    pub fn handovers(&self) -> Vec<Handover> {
        self.0.handovers.lock().unwrap().clone()
    }
}

impl Book {
    fn begin(&self) -> usize {
        let mut handovers = self.handovers.lock().unwrap();
        handovers.push(Handover { life: self.life.load(Ordering::SeqCst), ..Handover::default() });
        handovers.len() - 1
    }

    fn note(&self, index: usize, note: impl FnOnce(&mut Handover)) {
        note(&mut self.handovers.lock().unwrap()[index]);
    }
}

fn pass_on(mut client: TcpStream, mut server: TcpStream, book: &Arc<Book>) {
    let index = book.begin();
    let (mut to_client, mut from_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let shared = book.clone();
    let back = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from_server.read(&mut bytes) {
            let reply = String::from_utf8_lossy(&bytes[..count]).into_owned();
            shared.note(index, |handover| {
                if let (Some(ended), None) = (handover.ended, &handover.reply) {
                    handover.reply = Some((reply, ended.elapsed()));
                }
            });
            let handed = to_client.write_all(&bytes[..count]).is_ok();
            let life = shared.life.load(Ordering::SeqCst);
            shared.note(index, |handover| {
                handover.handed_back |= handed && handover.reply.is_some() && handover.life == life;
            });
        }
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let (mut bytes, mut said) = ([0; 4096], Vec::new());
    while let Ok(count @ 1..) = client.read(&mut bytes) {
        said.extend_from_slice(&bytes[..count]);
        book.note(index, |handover| {
            if handover.ended.is_none() && said.ends_with(b"\r\n.\r\n") {
                handover.ended = Some(Instant::now());
                let text = String::from_utf8_lossy(&said);
                let id = text.lines().find_map(|line| line.strip_prefix("Message-ID: "));
                handover.message_id = id.unwrap_or_default().trim().to_owned();
            }
        });
        if server.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // The server hears that its client has gone, as it would without us; what it says yet is still read.
    let _ = server.shutdown(Shutdown::Write);
    let _ = back.join();
}
