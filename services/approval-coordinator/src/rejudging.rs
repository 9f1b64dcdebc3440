//! The rules may change while people decide: what they grant is judged again by the bundle
//! in force before their approval is stored, and so before anything is emitted. Whatever
//! comes of it is stored with the vote in one compare-and-set: of two coordinators that
//! hear different answers one stores its own, and the other goes on from that.

use std::time::Duration;

use countersign_domain::approvals::{Answer, Approval, Ballot, People, Stop};
use countersign_domain::policy::Bundle;
use countersign_domain::policy::protocol::{RecheckReply, RecheckRequest};
use countersign_runtime::bus::Failure;
use countersign_runtime::recheck::{self, Unanswered};
use countersign_schemas::{Digest, Timestamp};
use futures::future::join_all;

use crate::office::Office;

/// How long a vote waits for a policy checker. As long as a deadline waits for votes, so
/// that neither outlasts the other.
const WAIT_FOR_CHECKER: Duration = Duration::from_secs(30);
/// How soon the checker is asked again.
const ASK_AGAIN_IN: Duration = Duration::from_secs(1);

impl Office {
    /// What becomes of `before` by a vote, with the answer. Nothing is stored yet.
    ///
    /// # Errors
    /// While nobody can say whether what the vote grants may still run.
    pub(crate) async fn voted(
        &self,
        before: &Approval,
        ballot: &Ballot<'_>,
        people: &(dyn People + Send + Sync),
    ) -> Result<(Approval, Answer), Failure> {
        let mut after = before.clone();
        let answer = after.vote(ballot, people);
        if !answer.changed {
            return Ok((after, answer));
        }
        let Some(stop) = self.stop_of(&after, ballot.stored_at).await? else {
            return Ok((after, answer));
        };
        tracing::info!(approval = %before.id(), code = %stop.code, "granted by people, stopped by the rules in force");
        let mut after = before.clone();
        let answer = after.vote_in_vain(ballot, people, stop);
        Ok((after, answer))
    }

    /// What stops something that people have just granted by a vote of `since`.
    async fn stop_of(&self, granted: &Approval, since: Timestamp) -> Result<Option<Stop>, Failure> {
        let Some(policy) = self.policy.as_ref().filter(|_| granted.has_been_granted()) else {
            return Ok(None);
        };
        // Asked after the approval was read, so it is not older than what judged it.
        let by = policy.refresh().await;
        let in_force = by.bundle().ok().map(Bundle::digest);
        let again = granted.to_judge_again(in_force);
        let approval = granted.for_recheck().map(Box::new);
        let questions: Vec<RecheckRequest> = again
            .into_iter()
            .map(|intent_id| RecheckRequest {
                agent: granted.agent().clone(),
                intent_id,
                approval: approval.clone(),
            })
            .collect();
        let asked = questions.iter().map(|one| recheck::ask(&self.bus, one));
        let mut unanswered = None;
        for answer in join_all(asked).await {
            match by_the_same(answer, in_force) {
                Ok(reply) => {
                    if let Some(stop) = Stop::of(&reply) {
                        return Ok(Some(stop));
                    }
                }
                Err(why) => unanswered = Some(why),
            }
        }
        match unanswered {
            None => Ok(None),
            Some(_) if self.has_waited(since) => Ok(Some(Stop::unjudged())),
            Some(why) => {
                let what = format!("what people granted is not judged again yet: {why}");
                Err(Failure::transient_in(what, ASK_AGAIN_IN))
            }
        }
    }

    /// After an outage the wait counts from our start.
    fn has_waited(&self, since: Timestamp) -> bool {
        let until = since.max(self.started_at).plus(WAIT_FOR_CHECKER);
        self.clock_trust.is_trusted() && self.clock.now() >= until
    }
}

/// An answer by another bundle than the one in force is none: either the checker or we are
/// behind, and asking again finds both at one.
fn by_the_same(
    answer: Result<RecheckReply, Unanswered>,
    in_force: Option<Digest>,
) -> Result<RecheckReply, String> {
    let reply = answer.map_err(|why| why.to_string())?;
    match in_force {
        Some(digest) if digest != reply.policy_digest => {
            Err("the policy checker judges by another bundle".to_owned())
        }
        Some(_) | None => Ok(reply),
    }
}
