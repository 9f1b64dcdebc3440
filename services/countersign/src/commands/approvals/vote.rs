//! One vote and its answer.

use std::time::Duration;

use countersign_domain::approvals::Shown;
use countersign_runtime::bus::Bus;
use countersign_schemas::events::{
    ApprovalState, ApprovalVote, ApprovalVoted, VoteChoice, WindowLimits,
};
use countersign_schemas::{Address, ApprovalId, Digest, IntentId, PersonId};
use serde::Serialize;

use super::Person;
use crate::client::{Awaited, Received, last_by_subject, listen, until};
use crate::exit::{CliError, Exit};

/// How long the answer to a vote may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// What became of a vote.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::commands) struct Cast {
    pub(super) approval_id: ApprovalId,
    pub(super) vote: VoteChoice,
    pub(super) counted: bool,
    /// As in `approval.voted`, or `stored` where no answer came in time.
    pub(super) code: String,
    pub(super) message: String,
    /// `None` where the approval could not be looked at.
    pub(super) state: Option<ApprovalState>,
    /// How the process ends where nobody could be asked.
    #[serde(skip)]
    pub(super) failed: Option<Exit>,
}

impl Cast {
    /// A vote that came to an error: a row like the others, so that what became of those
    /// is told all the same.
    pub(super) fn failed(shown: &Shown, vote: VoteChoice, error: &CliError) -> Self {
        Self {
            state: Some(shown.listed.state),
            ..Self::unseen(shown.listed.asked.approval_id.clone(), vote, error)
        }
    }

    /// A vote on what could not even be looked at.
    pub(super) fn unseen(approval_id: ApprovalId, vote: VoteChoice, error: &CliError) -> Self {
        let code = match error {
            CliError::NotKnown(_) => "not_known",
            CliError::Usage(_)
            | CliError::Refused(_)
            | CliError::Configured(_)
            | CliError::Unreachable(_)
            | CliError::Unexpected(_) => "not_sent",
        };
        Self {
            approval_id,
            vote,
            counted: false,
            code: code.to_owned(),
            message: error.to_string(),
            state: None,
            failed: Some(error.exit()),
        }
    }

    /// How the process ends on it. The same decision twice is a success; that it was decided
    /// otherwise meanwhile is not, whatever this person said before.
    pub(super) fn exit(&self) -> Exit {
        if let Some(failed) = self.failed {
            return failed;
        }
        let decided = match (self.vote, self.state) {
            (VoteChoice::Approve, Some(ApprovalState::Approved | ApprovalState::Partial)) => true,
            (VoteChoice::Deny, Some(ApprovalState::Denied)) => true,
            (_, Some(ApprovalState::Pending)) => self.counted,
            _ => false,
        };
        match (self.code.as_str(), self.state) {
            _ if decided => Exit::Done,
            ("stored", _) => Exit::Pending,
            (_, Some(ApprovalState::Expired)) => Exit::Expired,
            _ => Exit::Denied,
        }
    }
}

/// The exit of several votes: that of the worst.
pub(super) fn worst(cast: &[Cast]) -> Exit {
    let rank = |exit: &Exit| match exit {
        Exit::Done => 0,
        Exit::Pending => 1,
        Exit::Expired => 2,
        Exit::Denied => 3,
        Exit::Unreachable => 4,
        Exit::ToolFailed
        | Exit::OutcomeUnknown
        | Exit::Usage
        | Exit::Configuration
        | Exit::Unexpected => 5,
    };
    cast.iter()
        .map(Cast::exit)
        .max_by_key(rank)
        .unwrap_or(Exit::Done)
}

/// What a person says to all that was shown.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Said {
    pub(in crate::commands) choice: VoteChoice,
    /// Their own words.
    pub(in crate::commands) reason: Option<String>,
    /// Items of a bundle that are struck out of a yes.
    pub(in crate::commands) without: Vec<IntentId>,
    /// The window to open with a yes.
    pub(in crate::commands) window: Option<WindowLimits>,
}

impl Said {
    /// The items that a yes is about; `None` where it is about all of them.
    fn items(&self, shown: &Shown) -> Result<Option<Vec<IntentId>>, CliError> {
        if self.without.is_empty() {
            return Ok(None);
        }
        let items = shown.view.iter().flat_map(|view| &view.items);
        let all: Vec<IntentId> = items.map(|item| item.intent_id).collect();
        if let Some(other) = self.without.iter().find(|one| !all.contains(one)) {
            let id = &shown.listed.asked.approval_id;
            return Err(CliError::Usage(format!(
                "nothing was sent: {other} is not among what `{id}` asks for"
            )));
        }
        let kept = all.into_iter().filter(|one| !self.without.contains(one));
        let kept: Vec<IntentId> = kept.collect();
        match kept.is_empty() {
            true => Err(CliError::usage(
                "nothing was sent: everything is struck out; say no with `approvals deny`",
            )),
            false => Ok(Some(kept)),
        }
    }
}

/// Votes on exactly what was shown and waits for the answer.
pub(super) async fn cast(person: &Person, shown: &Shown, said: &Said) -> Result<Cast, CliError> {
    let choice = said.choice;
    if let Some(known) = already(&person.name, shown, choice) {
        return Ok(known);
    }
    let id = shown.listed.asked.approval_id.clone();
    let vote = ApprovalVote {
        schema_version: 1,
        approval_id: id.clone(),
        digest: digest(shown)?,
        vote: choice,
        items: said.items(shown)?,
        window: said.window.clone(),
        reason: said.reason.clone(),
    };
    let bus = &person.client.bus;
    let mut live = listen(bus, [format!("approval.voted.{id}.>")]).await?;
    let approver = person.name.clone();
    let sequence = person
        .client
        .send(&Address::Vote { approver }, &vote)
        .await?;
    let mut own = Own {
        bus,
        id: &id,
        sequence,
    };
    let answer = until(&mut live, &mut own, ANSWER_TIMEOUT).await;
    Ok(read(id, choice, shown.listed.state, answer))
}

/// The digest of what was shown, computed from it: a vote on anything else must fail here.
fn digest(shown: &Shown) -> Result<Digest, CliError> {
    let Some(view) = &shown.view else {
        return Err(CliError::Refused(format!(
            "nothing was sent: only members of the teams asked see and decide `{}`",
            shown.listed.asked.approval_id
        )));
    };
    let digest = view.digest().map_err(CliError::unexpected)?;
    if digest == shown.digest {
        return Ok(digest);
    }
    Err(CliError::unexpected(
        "nothing was sent: what the coordinator shows is not what it asks to decide; \
         is this program older than the services?",
    ))
}

/// A vote that need not be sent: the person said the same before, or it is over.
pub(super) fn already(person: &PersonId, shown: &Shown, choice: VoteChoice) -> Option<Cast> {
    let listed = &shown.listed;
    let mine = listed.votes.iter().find(|vote| vote.approver == *person);
    let mine = mine.filter(|vote| vote.vote == choice);
    let (code, message) = match (listed.state, mine, &listed.resolution) {
        (ApprovalState::Pending, None, _) => return None,
        (ApprovalState::Pending, Some(mine), _) => {
            ("already_voted", format!("you voted so at {}", mine.at))
        }
        (state, _, Some(end)) => {
            let how = format!("it was already {state} at {}: {}", end.at, end.message);
            ("already_resolved", how)
        }
        (state, _, None) => ("already_resolved", format!("it is {state} already")),
    };
    Some(Cast {
        approval_id: listed.asked.approval_id.clone(),
        vote: choice,
        counted: mine.is_some(),
        code: code.to_owned(),
        message,
        state: Some(listed.state),
        failed: None,
    })
}

/// The answer to the vote at `sequence`.
struct Own<'a> {
    bus: &'a Bus,
    id: &'a ApprovalId,
    sequence: u64,
}

impl Awaited for Own<'_> {
    type Answer = ApprovalVoted;

    fn hears(&mut self, message: &Received) -> Option<ApprovalVoted> {
        own(message, self.id, self.sequence)
    }

    async fn look(&mut self) -> Option<ApprovalVoted> {
        let filter = format!("approval.voted.{}.*.{}", self.id, self.sequence);
        let found = last_by_subject(self.bus, &filter).await;
        self.hears(&found.unwrap_or_default()?)
    }
}

/// The answer to this vote, if the message is it and says so itself.
fn own(message: &Received, id: &ApprovalId, sequence: u64) -> Option<ApprovalVoted> {
    match &message.address {
        Address::ApprovalVoted { approval, seq } if approval == id && seq.seq == sequence => {
            message
                .event::<ApprovalVoted>()
                .filter(|voted| voted.approval_id == *id)
        }
        _ => None,
    }
}

fn read(
    approval_id: ApprovalId,
    vote: VoteChoice,
    state: ApprovalState,
    answer: Option<ApprovalVoted>,
) -> Cast {
    match answer {
        Some(voted) => Cast {
            approval_id,
            vote,
            counted: voted.counted,
            code: voted.code,
            message: voted.message,
            state: Some(voted.state),
            failed: None,
        },
        None => Cast {
            approval_id,
            vote,
            counted: false,
            code: "stored".to_owned(),
            message: "your vote is stored, but nobody has answered it yet; look again with \
                      `approvals show`"
                .to_owned(),
            state: Some(state),
            failed: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cast_of(vote: VoteChoice, counted: bool, code: &str, state: ApprovalState) -> Exit {
        Cast {
            approval_id: "w-abc-1".parse().unwrap(),
            vote,
            counted,
            code: code.to_owned(),
            message: String::new(),
            state: Some(state),
            failed: None,
        }
        .exit()
    }

    #[test]
    fn the_same_decision_twice_is_a_success_and_another_is_not() {
        use ApprovalState::{Approved, Cancelled, Denied, Expired, Failed, Partial, Pending};
        use VoteChoice::{Approve, Deny};
        let table = [
            (Approve, true, "counted", Pending, Exit::Done),
            (Approve, true, "counted", Failed, Exit::Denied),
            (Approve, false, "already_resolved", Approved, Exit::Done),
            (Deny, false, "already_resolved", Denied, Exit::Done),
            (Approve, false, "already_resolved", Denied, Exit::Denied),
            (Deny, false, "already_resolved", Approved, Exit::Denied),
            (Approve, false, "expired", Expired, Exit::Expired),
            (Approve, false, "not_a_member", Pending, Exit::Denied),
            (Approve, false, "stored", Pending, Exit::Pending),
            (Approve, true, "counted", Partial, Exit::Done),
            (Deny, false, "already_resolved", Partial, Exit::Denied),
            (Approve, false, "already_resolved", Cancelled, Exit::Denied),
            // Somebody else ended it after this person had said so.
            (Approve, true, "already_resolved", Denied, Exit::Denied),
            (Approve, true, "already_voted", Pending, Exit::Done),
        ];
        for (vote, counted, code, state, exit) in table {
            assert_eq!(
                cast_of(vote, counted, code, state),
                exit,
                "{vote} {code} {state}"
            );
        }
    }

    #[test]
    fn the_worst_vote_is_the_exit_wherever_it_stands() {
        let cast = |code: &str, failed| Cast {
            approval_id: "w-abc-1".parse().unwrap(),
            vote: VoteChoice::Approve,
            counted: code == "counted",
            code: code.to_owned(),
            message: String::new(),
            state: Some(ApprovalState::Pending),
            failed,
        };
        let counted = cast("counted", None);
        let refused = cast("not_a_member", None);
        let waiting = cast("stored", None);
        let lost = cast("not_known", Some(Exit::Unreachable));
        let all = [counted.clone(), waiting.clone(), lost, refused.clone()];
        for turn in 0..all.len() {
            let mut turned = all.to_vec();
            turned.rotate_left(turn);
            assert_eq!(worst(&turned), Exit::Unreachable);
        }
        assert_eq!(
            worst(&[waiting.clone(), refused, counted.clone()]),
            Exit::Denied
        );
        assert_eq!(worst(&[counted.clone(), waiting]), Exit::Pending);
        assert_eq!(worst(&[counted]), Exit::Done);
    }

    #[test]
    fn what_is_struck_out_is_left_out_of_the_vote_and_nothing_else_is() {
        use super::super::show::tests::{shown, view};
        let ids = ["c0de", "c0df", "c0e0"].map(|end| -> IntentId {
            let id = format!("019aab6e-5c00-7a10-8000-00000000{end}");
            id.parse().unwrap()
        });
        let mut three = view();
        let item = three["items"][0].clone();
        let items = ids.map(|id| {
            let mut item = item.clone();
            item["intent_id"] = serde_json::json!(id);
            item
        });
        three["items"] = serde_json::json!(items);
        let three = shown(Some(three));
        let said = |without: &[IntentId]| Said {
            choice: VoteChoice::Approve,
            reason: None,
            without: without.to_vec(),
            window: None,
        };
        let [a, b, c] = ids;
        assert_eq!(said(&[]).items(&three).unwrap(), None);
        assert_eq!(said(&[b]).items(&three).unwrap(), Some(vec![a, c]));
        let elsewhere: IntentId = "019aab6e-5c00-7a10-8000-00000000ffff".parse().unwrap();
        for (without, part) in [
            (vec![b, elsewhere], "is not among"),
            (ids.to_vec(), "everything is struck out"),
        ] {
            let error = said(&without).items(&three).unwrap_err();
            assert_eq!(error.exit(), Exit::Usage);
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn what_is_over_says_who_and_when_and_is_not_sent_again() {
        use super::super::tables::tests::listed;
        let lee: PersonId = "lee".parse().unwrap();
        let mut shown = Shown {
            digest: listed().asked.digest,
            listed: listed(),
            view: None,
        };
        assert_eq!(already(&lee, &shown, VoteChoice::Approve), None);
        let resolved: countersign_schemas::events::ApprovalResolved = crate::client::golden();
        shown.listed.votes = resolved.votes;
        let same = already(&lee, &shown, VoteChoice::Approve).unwrap();
        assert_eq!(
            (same.code.as_str(), same.exit()),
            ("already_voted", Exit::Done)
        );
        assert_eq!(
            already(&lee, &shown, VoteChoice::Deny),
            None,
            "the coordinator says no"
        );
        shown.listed.state = ApprovalState::Denied;
        shown.listed.resolution = Some(countersign_domain::approvals::Resolution {
            at: "2026-11-22T10:05:00Z".parse().unwrap(),
            message: "denied by sam: not this one".to_owned(),
            by: None,
            code: None,
            stop: None,
        });
        let conflict = already(&lee, &shown, VoteChoice::Approve).unwrap();
        assert_eq!(conflict.exit(), Exit::Denied);
        let words = "it was already denied at 2026-11-22T10:05:00Z: denied by sam: not this one";
        assert_eq!(conflict.message, words);
        let same = already(&lee, &shown, VoteChoice::Deny).unwrap();
        assert_eq!(same.exit(), Exit::Done);
    }

    fn voted() -> ApprovalVoted {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../schemas/golden/approval.voted/v1.json"
        );
        countersign_schemas::codec::decode(&std::fs::read(file).unwrap()).unwrap()
    }

    #[test]
    fn only_the_answer_to_this_very_vote_counts() {
        let voted = voted();
        let named = countersign_schemas::headers::ce_type::<ApprovalVoted>();
        let at = |id: &ApprovalId, seq: u64| {
            let seq = countersign_schemas::SeqToken::new("abc".parse().unwrap(), seq);
            let approval = id.clone();
            Received::for_test(Address::ApprovalVoted { approval, seq }, &named, &voted)
        };
        let id = voted.approval_id.clone();
        let other: ApprovalId = "w-abc-1".parse().unwrap();
        assert!(own(&at(&id, 7), &id, 7).is_some());
        assert!(own(&at(&id, 8), &id, 7).is_none());
        assert!(own(&at(&other, 7), &id, 7).is_none());
        assert!(own(&at(&other, 7), &other, 7).is_none());
    }
}
