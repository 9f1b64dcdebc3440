//! Tells the stream about commits: `archive.committed.<n>` is a statement about the
//! archive's end that lies outside it.

use std::time::Duration;

use countersign_runtime::bus::metrics::alarm;
use countersign_runtime::bus::{Append, Failure, Meta, Outgoing};
use countersign_runtime::service::ServiceContext;
use countersign_schemas::events::{ArchiveCommitted, StreamPosition};
use countersign_schemas::{Address, Digest, ServiceId, Stream, codec};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::commit::Head;
use crate::root::Root;

/// Every announcement.
const ANNOUNCED: &str = "archive.committed.*";

/// Pause before an announcement is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Announces every head that `heads` shows, the newest first when they come too fast: it
/// covers all before it. Ends when `heads` does. What cannot be announced is tried again
/// and never holds up the archive.
///
/// Before that it compares the archive with the last that was announced of it: a disk that
/// lost the archive's tail has mostly lost the state file's too, and the stream has not.
pub(crate) async fn run(
    context: ServiceContext,
    signer: String,
    root: Root,
    mut heads: watch::Receiver<Head>,
) {
    if let Err(error) = recall(&context, root).await {
        tracing::warn!(%error, "what was announced of the archive could not be compared with it");
    }
    loop {
        let head = heads.borrow_and_update().clone();
        let announced = announce(&context, &signer, &head).await;
        let again = announced.is_err();
        if let Err(error) = announced {
            tracing::warn!(n = head.chain.n, %error, "a commit could not be announced");
        }
        tokio::select! {
            changed = heads.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if again => {}
        }
    }
}

async fn announce(context: &ServiceContext, signer: &str, head: &Head) -> Result<(), Failure> {
    let Some(event) = event(head, signer) else {
        return Ok(());
    };
    let address = Address::ArchiveCommitted { n: head.chain.n };
    let source: ServiceId = context
        .bus
        .name()
        .parse()
        .map_err(|error| Failure::fatal(format!("cannot name the archiver: {error}")))?;
    let meta = Meta {
        source,
        encoding: context.deployment.encoding,
        claimed_at: context.clock.now(),
        traceparent: None,
    };
    match context
        .bus
        .store_once(Outgoing::event(&address, &event, &meta)?)
        .await?
    {
        Append::Stored(_) => Ok(()),
        Append::Lost(there) => {
            if let Ok(told) = codec::decode(&there.payload) {
                say(otherwise(&told, Some(event.entry_digest)));
            }
            Ok(())
        }
    }
}

async fn recall(context: &ServiceContext, root: Root) -> Result<(), Failure> {
    let last = context.bus.last_by_subject(Stream::Events, ANNOUNCED);
    let Some(last) = last.await? else {
        return Ok(());
    };
    let told: ArchiveCommitted =
        codec::decode(&last.payload).map_err(|error| Failure::fatal(error.to_string()))?;
    let n = told.n;
    // From the store, not from our own head: another archiver may be further.
    let entry = spawn_blocking(move || root.entry(n)).await;
    let entry = entry
        .map_err(|error| Failure::fatal(error.to_string()))?
        .map_err(|error| Failure::transient(error.to_string()))?;
    say(otherwise(
        &told,
        entry.map(|bytes| Digest::of_bytes(&bytes)),
    ));
    Ok(())
}

/// What is wrong if the manifest holds this entry where another was announced.
fn otherwise(told: &ArchiveCommitted, here: Option<Digest>) -> Option<String> {
    let n = told.n;
    let what = match here {
        Some(here) if here == told.entry_digest => return None,
        Some(_) => format!("manifest entry {n} is not the one that was announced"),
        None => format!("the manifest holds no entry {n}, which was announced"),
    };
    Some(format!(
        "{what} as archive.committed.{n} with {} rows: the archive lost its tail, by a power cut, \
         an older copy that was put back, or somebody's hand. What the streams still hold is \
         archived again from where the manifest ends, and what they do not has a row \
         `archive.gap`",
        told.tree_size
    ))
}

fn say(wrong: Option<String>) {
    if let Some(wrong) = wrong {
        alarm("archive_tail", &wrong);
    }
}

fn event(head: &Head, signer: &str) -> Option<ArchiveCommitted> {
    let Head {
        chain: head,
        checkpoint,
        ..
    } = head;
    Some(ArchiveCommitted {
        schema_version: 1,
        n: head.n,
        entry_digest: head.digest?,
        tree_size: head.tree.size(),
        positions: head
            .positions
            .iter()
            .map(|at| StreamPosition {
                stream: at.stream.clone(),
                incarnation: at.incarnation.clone(),
                seq: at.seq,
            })
            .collect(),
        signer: signer.to_owned(),
        checkpoint: checkpoint.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_domain::archive::ChainState;
    use countersign_domain::merkle::Tree;
    use countersign_schemas::Digest;

    fn tree(rows: u64) -> Tree {
        let mut tree = Tree::default();
        (0..rows).for_each(|_| tree.push([0; 32]));
        tree
    }

    #[test]
    fn an_announcement_that_the_archive_does_not_bear_out_is_told() {
        let head = Head {
            chain: ChainState {
                n: 3,
                digest: Some(Digest::of_bytes(b"x")),
                tree: tree(9),
                positions: Vec::new(),
            },
            ..Head::default()
        };
        let told = event(&head, "k").unwrap();
        assert_eq!(otherwise(&told, Some(Digest::of_bytes(b"x"))), None);
        for here in [None, Some(Digest::of_bytes(b"y"))] {
            let text = otherwise(&told, here).unwrap();
            for word in ["entry 3", "9 rows", "lost its tail", "archive.gap"] {
                assert!(text.contains(word), "{text}");
            }
        }
    }

    #[test]
    fn an_empty_archive_announces_nothing() {
        assert_eq!(event(&Head::default(), "k"), None);
        let head = Head {
            chain: ChainState {
                n: 3,
                digest: Some(Digest::of_bytes(b"x")),
                tree: tree(9),
                positions: Vec::new(),
            },
            checkpoint: Some("note".to_owned()),
            ..Head::default()
        };
        let event = event(&head, "k").unwrap();
        assert_eq!(
            (event.n, event.tree_size, event.signer.as_str()),
            (3, 9, "k")
        );
        assert_eq!(event.checkpoint, head.checkpoint);
    }
}
