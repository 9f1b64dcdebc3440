//! Tells the stream about commits: `archive.committed.<n>` is a statement about the
//! archive's end that lies outside it.

use std::time::Duration;

use countersign_runtime::bus::{Append, Failure, Meta, Outgoing};
use countersign_runtime::service::ServiceContext;
use countersign_schemas::events::{ArchiveCommitted, StreamPosition};
use countersign_schemas::{Address, ServiceId};
use tokio::sync::watch;

use crate::commit::Head;

/// Pause before an announcement is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Announces every head that `heads` shows, the newest first when they come too fast: it
/// covers all before it. Ends when `heads` does. What cannot be announced is tried again
/// and never holds up the archive.
pub(crate) async fn run(context: ServiceContext, signer: String, mut heads: watch::Receiver<Head>) {
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
        Append::Stored(_) | Append::Lost(_) => Ok(()),
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
