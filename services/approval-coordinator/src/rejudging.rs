//! The rules may change while people decide, or while a bundle is gathered: what would be
//! emitted is judged again by the rules in force before its end is stored. Whatever
//! comes of it is stored with the vote, or in the bundle, in one compare-and-set: of two coordinators that
//! hear different answers one stores its own, and the other goes on from that.

use std::time::Duration;

use countersign_domain::approvals::{Answer, Approval, Ballot, Gathering, People, Stop};
use countersign_domain::policy::Bundle;
use countersign_domain::policy::protocol::{RecheckReply, RecheckRequest};
use countersign_runtime::bus::Failure;
use countersign_runtime::policy::Policy;
use countersign_runtime::recheck::{self, Unanswered};
use countersign_schemas::{Digest, IntentId, Timestamp};
use futures::future::join_all;

use crate::kept::Held;
use crate::office::{Office, TRIES};

/// How long a vote waits for a policy checker. As long as a deadline waits for votes, so
/// that neither outlasts the other.
const WAIT_FOR_CHECKER: Duration = Duration::from_secs(30);
/// How soon the checker is asked again.
const ASK_AGAIN_IN: Duration = Duration::from_secs(1);

/// What the rules in force stop, each with the reason.
type Stops = Vec<(IntentId, Stop)>;

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
        if after.window_id().is_some() {
            let stop = self
                .stop_of_window(&after, ballot.stored_at, people)
                .await?;
            return Ok(match stop {
                Some(stop) => {
                    tracing::info!(approval = %before.id(), code = %stop.code, "granted by people, stopped by the rules in force");
                    let mut after = before.clone();
                    let answer = after.vote_for_window_in_vain(ballot, people, &stop);
                    (after, answer)
                }
                None => (after, answer),
            });
        }
        let stops = self.stops_of(&after, ballot.stored_at).await?;
        let Some((_, first)) = stops.first() else {
            return Ok((after, answer));
        };
        tracing::info!(approval = %before.id(), code = %first.code, stopped = stops.len(), "granted by people, stopped by the rules in force");
        let mut after = before.clone();
        let answer = after.vote_in_vain(ballot, people, &stops);
        Ok((after, answer))
    }

    /// What is stopped of something that people have just granted by a vote of `since`.
    async fn stops_of(&self, granted: &Approval, since: Timestamp) -> Result<Stops, Failure> {
        let Some(policy) = self.policy.as_ref().filter(|_| granted.has_been_granted()) else {
            return Ok(Vec::new());
        };
        // Asked after the approval was read, so it is not older than what judged it.
        let in_force = in_force(policy).await;
        let approval = granted.for_recheck().map(Box::new);
        let question = |intent_id| RecheckRequest {
            agent: granted.agent().clone(),
            intent_id,
            approval: approval.clone(),
        };
        let again = granted.to_judge_again(in_force).into_iter();
        self.judge_again(again.map(question).collect(), in_force, since)
            .await
    }

    /// A whole bundle of which nobody is asked, with what the rules in force say of it:
    /// they may have changed while it was gathered. That is stored first, so that all who
    /// emit it emit the same.
    pub(crate) async fn up_to_date(
        &self,
        mut held: Held<Gathering>,
    ) -> Result<Held<Gathering>, Failure> {
        let Some(policy) = &self.policy else {
            return Ok(held);
        };
        let id = held.value.id();
        for _ in 0..TRIES {
            // Asked after the bundle was read, so it is not older than what judged it.
            let in_force = in_force(policy).await;
            let again = held.value.to_judge_again(in_force);
            if again.is_empty() {
                return Ok(held);
            }
            let question = |intent_id| RecheckRequest {
                agent: held.value.agent().clone(),
                intent_id,
                approval: None,
            };
            let questions = again.into_iter().map(question).collect();
            let since = held.value.complete_at();
            let stops = self.judge_again(questions, in_force, since).await?;
            tracing::info!(bundle = %id, stopped = stops.len(), "judged again before it is emitted");
            held.value.judge_again(stops);
            match self.keep_bundle(&held).await? {
                Some(revision) => held.revision = revision,
                None => {
                    let gone = || Failure::transient(format!("cannot find bundle {id}"));
                    held = self.bundle(&id).await?.ok_or_else(gone)?;
                }
            }
        }
        Err(Failure::transient(format!("bundle {id} changes too fast")))
    }

    /// What the rules in force stop of what is asked about, for something that has waited
    /// `since` for the answer.
    async fn judge_again(
        &self,
        questions: Vec<RecheckRequest>,
        in_force: Option<Digest>,
        since: Timestamp,
    ) -> Result<Stops, Failure> {
        let asked = questions.iter().map(|one| recheck::ask(&self.bus, one));
        let answers = join_all(asked).await;
        let mut stops = Stops::new();
        for (question, answer) in questions.iter().zip(answers) {
            let stop = match by_the_same(answer, in_force) {
                Ok(reply) => Stop::of(&reply),
                Err(_) if self.has_waited(since) => Some(Stop::unjudged()),
                Err(why) => {
                    let what = format!("what would be emitted is not judged again yet: {why}");
                    return Err(Failure::transient_in(what, ASK_AGAIN_IN));
                }
            };
            stops.extend(stop.map(|stop| (question.intent_id, stop)));
        }
        Ok(stops)
    }

    /// What stops a window that people have just granted by a vote of `since`: the rules
    /// about windows are judged here, by the bundle in force.
    async fn stop_of_window(
        &self,
        granted: &Approval,
        since: Timestamp,
        people: &(dyn People + Send + Sync),
    ) -> Result<Option<Stop>, Failure> {
        let Some(policy) = &self.policy else {
            return Ok(None);
        };
        // Asked after the approval was read, so it is not older than what judged it.
        let by = policy.refresh().await.ok();
        let in_force = by.as_ref().and_then(|by| by.bundle().ok());
        if !granted.window_to_judge_again(in_force.map(Bundle::digest)) {
            return Ok(None);
        }
        match in_force {
            Some(bundle) => Ok(granted.stop_of_window(bundle, people)),
            None if self.has_waited(since) => Ok(Some(Stop::unjudged())),
            None => {
                let what = "what people granted is not judged again yet: it is not known which bundle is in force";
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

/// The bundle in force; `None` where there is none, or where it cannot be told whether ours
/// still is. Then all is judged again, and no answer counts.
async fn in_force(policy: &Policy) -> Option<Digest> {
    match policy.refresh().await {
        Ok(by) => by.bundle().ok().map(Bundle::digest),
        Err(behind) => {
            tracing::warn!(%behind, "nothing that is judged again counts");
            None
        }
    }
}

/// An answer by another bundle than the one in force is none: either the checker or we are
/// behind, and asking again finds both at one. Where none is in force here, none counts.
fn by_the_same(
    answer: Result<RecheckReply, Unanswered>,
    in_force: Option<Digest>,
) -> Result<RecheckReply, String> {
    let reply = answer.map_err(|why| why.to_string())?;
    match in_force {
        Some(digest) if digest == reply.policy_digest => Ok(reply),
        Some(_) => Err("the policy checker judges by another bundle".to_owned()),
        None => Err("it is not known which policy bundle is in force".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use countersign_schemas::IntentId;
    use countersign_schemas::events::Verdict;

    use super::*;

    #[test]
    fn a_yes_counts_only_by_the_bundle_that_is_in_force_here() {
        let (ours, other) = (Digest::of_bytes(b"ours"), Digest::of_bytes(b"other"));
        let yes = RecheckReply {
            intent_id: IntentId::new_at(Timestamp::EPOCH),
            runs: true,
            verdict: Verdict::Allow,
            reasons: Vec::new(),
            needs: Vec::new(),
            policy_digest: ours,
            tool_digest: None,
        };
        assert!(by_the_same(Ok(yes.clone()), Some(ours)).is_ok());
        for in_force in [Some(other), None] {
            assert!(by_the_same(Ok(yes.clone()), in_force).is_err());
        }
    }
}
