//! The spec directory: everything read for the first time, and looked at again.

use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use chanop::specs::SpecTree;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{millis, write_files};
use crate::table::{Row, Unit};
use crate::{Bench, Outcome};

/// Files younger than two seconds are read again rather than believed: see `specs`' cache.
const SETTLED_AFTER: Duration = Duration::from_secs(4);
/// Looks after the first one, in each round.
const LOOKS: usize = 5;

/// See the module.
pub(super) fn measure(bench: &Bench) -> Outcome<Vec<Row>> {
    let count = bench.arguments.most;
    let directory = tempfile::Builder::new().prefix("chanop-bench-").tempdir_in("/var/tmp")?;
    write_files(directory.path(), count)?;
    sleep(SETTLED_AFTER);
    let (mut cold, mut again) = (Vec::new(), Vec::new());
    for _ in 0..bench.arguments.pairs {
        let clock = bench.clock;
        let tree = SpecTree::new(directory.path().to_owned(), Arc::new(move || clock.now()));
        let (mailbox, mut scans) = mpsc::channel(1);
        let (ask, asked) = mpsc::channel(1);
        let cancel = CancellationToken::new();
        let task = bench.runtime.spawn(tree.run(mailbox, asked, cancel.clone()));
        bench.runtime.block_on(async {
            for look in 0..=LOOKS {
                let scan = scans.recv().await.ok_or("no scan came")?;
                let expected = if look == 0 { count } else { 0 };
                if (scan.files.len(), scan.parsed) != (count, expected) {
                    return Err(
                        format!("{} files, {} parsed", scan.files.len(), scan.parsed).into()
                    );
                }
                if look == 0 { &mut cold } else { &mut again }.push(millis(scan.took));
                ask.send(()).await?;
            }
            cancel.cancel();
            task.await?;
            Outcome::Ok(())
        })?;
    }
    Ok(vec![
        Row::median(format!("cold read of {count} files"), Unit::Millis, &cold, Some(1_000.0)),
        Row::median(format!("rescan of {count} unchanged files"), Unit::Millis, &again, Some(60.0)),
    ])
}
