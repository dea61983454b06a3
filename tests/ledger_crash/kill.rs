//! `kill -9` at random moments, under load from several threads.

use mailquotad::ledger::{Ledger, SledLedger};

use super::load::{Expected, acknowledged, random};
use super::writer::{Writer, child, write_on};

/// The test whose child writes until it is killed.
pub const NAME: &str = "kill::sixty_kills_lose_nothing_acknowledged";

/// Ten ledgers, each killed six times over: while it is created or opened, early, and in full run.
#[test]
fn sixty_kills_lose_nothing_acknowledged() {
    if let Some(folders) = child() {
        return write_on(folders, 16, u64::MAX);
    }
    let mut early = 0;
    for _ in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let mut expected = Expected::default();
        for most in [0, 0, 8, 60, 400, 400] {
            let before: u64 = acknowledged(folder.path()).iter().sum();
            let mut writer = Writer::start(&path, folder.path());
            if most == 0 {
                writer.wait_for_some_moment();
            } else {
                let enough = before + random(most);
                writer.wait_until(folder.path(), |now| now.iter().sum::<u64>() >= enough);
            }
            drop(writer);
            let acknowledged = acknowledged(folder.path());
            early += u32::from(acknowledged.iter().sum::<u64>() == before);
            let ledger = SledLedger::open(&path).unwrap();
            expected.check(&ledger, &acknowledged);
            ledger.close().unwrap();
        }
    }
    println!("{early} of 60 kills came before anything was acknowledged");
    assert!(early < 50, "only {} of 60 rounds had anything acknowledged to lose", 60 - early);
}
