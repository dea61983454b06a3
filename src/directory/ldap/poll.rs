//! Following a server that cannot tell of changes: it is asked for what was modified since, and now and
//! then read as a whole, for that is what shows an entry to be gone.

use tokio::time::{Instant, sleep_until};

use super::connection::Connection;
use super::server::connect;
use super::session::{Session, Stop};
use crate::directory::Change;

const CHANGED: &str = "modifyTimestamp";

/// Follows a server until it is lost.
pub async fn follow(session: &Session) -> Stop {
    // What a token says is no help here: the first thing is to read everything.
    session.forget_token();
    match run(session).await {
        Ok(never) => match never {},
        Err(stop) => stop,
    }
}

enum Never {}

async fn run(session: &Session) -> Result<Never, Stop> {
    let connection = connect(&session.options, &session.url).await?;
    let options = &session.options;
    let whole = options.reader.search_filter().to_string();
    let mut latest = None;
    let mut compare_at = Instant::now();
    loop {
        if compare_at <= Instant::now() {
            session.tell(Change::Begin).await?;
            read(session, &connection, &whole, &mut latest).await?;
            session.tell(Change::Complete).await?;
            compare_at = Instant::now() + options.compare_interval;
        } else if let Some(since) = latest.clone() {
            // Of any class: what has stopped being an account matches none of our filters. The second that
            // was seen last is asked for again, for it may not have been over.
            let filter = format!("({CHANGED}>={})", crate::wire::filter::escaped(since.as_bytes()));
            read(session, &connection, &filter, &mut latest).await?;
        } else {
            // The server tells no times: only reading everything shows anything.
            compare_at = Instant::now();
            sleep_until(compare_at + options.poll_interval).await;
            continue;
        }
        session.reached(None).await?;
        sleep_until(Instant::now() + options.poll_interval).await;
    }
}

/// Tells of everything that matches, and moves `latest` on.
async fn read(
    session: &Session,
    connection: &Connection,
    filter: &str,
    latest: &mut Option<String>,
) -> Result<(), Stop> {
    let options = &session.options;
    let requested = super::requested(options.reader.requested(), CHANGED);
    for base in &options.bases {
        let mut pages = connection.pages(base, filter, &requested);
        while let Some(raw) = pages.next().await? {
            if let Some(changed) = raw.text(CHANGED).filter(|changed| latest.as_deref() < Some(*changed)) {
                *latest = Some(changed.to_owned());
            }
            session.tell(raw.change(&options.reader, None)).await?;
        }
    }
    Ok(())
}
