//! Who is in a team while nobody counts votes.

use anyhow::{Result, ensure};
use countersign_schemas::ApprovalId;
use countersign_schemas::events::{
    ApprovalRequested, ApprovalState, ApprovalVoted, Verdict, VoteChoice,
};
use serde_json::json;

use super::vote;
use super::world::World;

/// A vote that was cast during an outage counts by the members of the time at which it is
/// counted: whoever has left the team decides nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_vote_of_who_left_the_team_before_it_was_counted_does_not_count() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator_of_support().await?;
    let tool = world.tool_digest()?;
    let intent = world
        .judge(Verdict::Ask, json!({"tool_digest": tool}))
        .await?;
    let id = ApprovalId::for_intent(intent);
    let requested: ApprovalRequested = world.event(&format!("approval.requested.{id}")).await?;
    running.stop().await?;

    let no = vote(&id, requested.digest, VoteChoice::Deny);
    let mut seqs = Vec::new();
    for who in ["lee", "eve"] {
        let person = world.person(who).await?;
        seqs.push(world.cast(&person, who, &no).await?);
    }
    let running = world.coordinator_with_support(&["sam", "eve"]).await?;
    let answer = async |seq: u64| -> Result<ApprovalVoted> {
        world.event(&format!("approval.voted.{id}.*.{seq}")).await
    };
    let left = answer(seqs[0]).await?;
    ensure!(left.code == "not_a_member", "{left:?}");
    let joined = answer(seqs[1]).await?;
    ensure!(
        joined.counted && joined.state == ApprovalState::Denied,
        "{joined:?}"
    );
    running.stop().await
}
