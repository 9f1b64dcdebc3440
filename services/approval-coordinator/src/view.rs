//! `cs.approval.view.<person>`: what waits, and what exactly would be approved. Who asks is
//! the last token of the subject, which NATS permissions bind to the key.

use std::sync::Arc;

use async_nats::service::{Request, ServiceExt as _, error::Error};
use bytes::Bytes;
use countersign_domain::approvals::{Approval, Listed, ViewReply, ViewRequest, Wanted};
use countersign_runtime::bus::{BusError, Failure};
use countersign_schemas::{AgentId, ApprovalId, PersonId, TeamId};
use futures::{StreamExt as _, stream};

use crate::kept::unreadable_value;
use crate::office::Office;

/// What the service answers.
const SUBJECT: &str = "cs.approval.view.*";
/// Questions answered at once: people ask, not machines.
const RUNNING_MAX: usize = 32;
/// Approvals of a list that are read at once: a read is a way to the server and back, and
/// a person with a thousand of them waits for all.
const READS_MAX: usize = 32;
/// Bytes of a list: well under what the server lets a message be.
const LIST_BYTES_MAX: usize = 1024 * 1024;
/// Approvals of a list: more than a person works through at once.
const LIST_MAX: usize = 500;
/// Bytes of a question.
const QUESTION_BYTES_MAX: usize = 4 * 1024;

/// Answers until shutdown.
pub(crate) async fn serve(office: Arc<Office>) -> Result<(), BusError> {
    let failed = |error: async_nats::Error| BusError::Request {
        what: format!("cannot answer on `{SUBJECT}`"),
        reason: error.to_string(),
    };
    let service = office
        .bus
        .client()
        .service_builder()
        .description("Lists and shows approvals")
        .start(crate::NAME, env!("CARGO_PKG_VERSION"))
        .await
        .map_err(failed)?;
    let requests = service
        .endpoint_builder()
        .name("view")
        .add(SUBJECT)
        .await
        .map_err(failed)?;
    requests
        .take_until(office.shutdown.cancelled())
        .for_each_concurrent(RUNNING_MAX, |request| answer(&office, request))
        .await;
    service.stop().await.map_err(failed)
}

async fn answer(office: &Office, request: Request) {
    let reply = office.reply(&request).await;
    if let Err(error) = request.respond(reply).await {
        tracing::warn!(%error, "cannot answer a question about approvals");
    }
}

/// The status codes of HTTP, which NATS micro services use.
fn refusal(code: usize, status: impl Into<String>) -> Error {
    Error {
        code,
        status: status.into(),
    }
}

fn missing(asked: &ViewRequest) -> &'static str {
    match asked {
        ViewRequest::List { .. } | ViewRequest::Show { .. } => "there is no such approval",
        ViewRequest::Windows { .. } => "there are no windows",
        ViewRequest::Outcome { .. } => "there is no such intent",
        ViewRequest::Freezes {} => "there is no such freeze",
    }
}

impl Office {
    async fn reply(&self, request: &Request) -> Result<Bytes, Error> {
        let subject = request.message.subject.as_str();
        let person: PersonId = subject
            .rsplit('.')
            .next()
            .and_then(|token| token.parse().ok())
            .ok_or_else(|| refusal(400, "the subject names no person"))?;
        let body = &request.message.payload;
        if body.len() > QUESTION_BYTES_MAX {
            return Err(refusal(413, "the question is too large"));
        }
        let asked: ViewRequest = serde_json::from_slice(body).map_err(|_| {
            let forms = r#"ask {"op":"list"}, {"op":"show","approval_id":"a-…"}, {"op":"windows"}, {"op":"outcome","intent_id":"…"} or {"op":"freezes"}"#;
            refusal(400, forms)
        })?;
        let reply = match &asked {
            ViewRequest::List { mine, team, agent } => {
                let (mine, team, agent) = (*mine, team.as_ref(), agent.as_ref());
                self.list(&person, Wanted { mine, team, agent }).await
            }
            ViewRequest::Show { approval_id } => self.show(&person, approval_id).await,
            ViewRequest::Outcome { intent_id } => self.outcome_of(*intent_id).await,
            ViewRequest::Freezes {} => self.freezes_shown().map(Some),
            ViewRequest::Windows { agent } => self.windows(agent.as_ref()).await,
        };
        let reply = reply.map_err(|failure| {
            tracing::warn!(%failure, "a question about approvals is not answered");
            refusal(503, "the approvals cannot be read now; try again")
        })?;
        let reply = reply.ok_or_else(|| refusal(404, missing(&asked)))?;
        serde_json::to_vec(&reply)
            .map(Bytes::from)
            .map_err(|_| refusal(500, "the answer cannot be written"))
    }

    async fn show(&self, person: &PersonId, id: &ApprovalId) -> Result<Option<ViewReply>, Failure> {
        let Some(held) = self.held(id).await? else {
            return Ok(None);
        };
        let redact = |text: &str| self.redact(text);
        let approval = &held.value;
        let mut shown =
            approval.shown_to(person, self.people().as_ref(), self.clock.now(), &redact);
        shown.listed.frozen = self.frozen_now(approval);
        Ok(Some(ViewReply::Shown {
            approval: Box::new(shown),
        }))
    }

    async fn windows(&self, agent: Option<&AgentId>) -> Result<Option<ViewReply>, Failure> {
        let (windows, more) = self.list_windows(agent).await?;
        Ok(Some(ViewReply::Windows { windows, more }))
    }

    fn freezes_shown(&self) -> Result<ViewReply, Failure> {
        let mut reply = Vec::new();
        let mut bytes = 0;
        let mut more = 0;
        for view in self.frozen_views()? {
            bytes += serde_json::to_vec(&view).map_or(LIST_BYTES_MAX, |text| text.len() + 1);
            match bytes <= LIST_BYTES_MAX {
                true => reply.push(view),
                false => more += 1,
            }
        }
        Ok(ViewReply::Frozen {
            freezes: reply,
            freezes_more: more,
        })
    }

    async fn list(
        &self,
        person: &PersonId,
        wanted: Wanted<'_>,
    ) -> Result<Option<ViewReply>, Failure> {
        let ids = self.ids_that_may_be_wanted(person, wanted);
        let all = ids.len();
        // The index knows agents; whom an approval asks by now only the approval does.
        let index_knows = !wanted.mine && wanted.team.is_none();
        let (people, now) = (self.people(), self.clock.now());
        let mut list = List::default();
        let read = |id: ApprovalId| async move { self.pending_one(&id).await };
        let reads = stream::iter(ids).map(read).buffered(READS_MAX);
        let mut reads = std::pin::pin!(reads.enumerate());
        while let Some((seen, found)) = reads.next().await {
            let approval = match found? {
                Found::Pending(approval) => approval,
                Found::Unreadable => {
                    list.more += 1;
                    continue;
                }
                Found::Gone => continue,
            };
            if list.full && index_knows {
                list.more += all.saturating_sub(seen);
                break;
            }
            if !wanted.holds(&approval, person, people.as_ref(), now) {
                continue;
            }
            if list.full {
                list.more += 1;
                continue;
            }
            let redact = |text: &str| self.redact(text);
            let mut listed = approval.listed_for(person, people.as_ref(), now, &redact);
            listed.frozen = self.frozen_now(&approval);
            list.take(listed)?;
        }
        Ok(Some(ViewReply::Listed {
            approvals: list.approvals,
            more: list.more,
        }))
    }

    /// Why nobody's vote on a pending approval is counted now.
    fn frozen_now(&self, approval: &Approval) -> Option<String> {
        if !approval.is_pending() {
            return None;
        }
        let unknown = |_| Some("It is not known yet what is frozen; votes wait.".to_owned());
        self.frozen_votes(approval).unwrap_or_else(unknown)
    }

    /// What waits and may be wanted, by all that the index knows: whoever has little to
    /// decide does not wait until all that others have is read. With `mine` what asks teams
    /// of `person`, or of those in whose place they vote.
    fn ids_that_may_be_wanted(&self, person: &PersonId, wanted: Wanted<'_>) -> Vec<ApprovalId> {
        let people = self.people();
        let lent = people.delegations_to(person);
        let speaks_for = |team: &TeamId| {
            people.members(team).contains(person) || lent.iter().any(|one| one.teams.contains(team))
        };
        self.pending.ids_asking(wanted.agent, |teams| {
            wanted.team.is_none_or(|team| teams.contains(team))
                && (!wanted.mine || teams.iter().any(speaks_for))
        })
    }

    async fn pending_one(&self, id: &ApprovalId) -> Result<Found, Failure> {
        let Some(entry) = self.approvals.get(id.as_str()).await? else {
            return Ok(Found::Gone);
        };
        // One that a newer coordinator keeps hides none of the others.
        let approval = match Approval::read(&entry.value) {
            Ok(approval) => approval,
            Err(error) => {
                unreadable_value(&format!("approval {id}"), &error);
                return Ok(Found::Unreadable);
            }
        };
        Ok(match approval.is_pending() {
            true => Found::Pending(Box::new(approval)),
            false => Found::Gone,
        })
    }
}

/// What one place of a list has become.
enum Found {
    Pending(Box<Approval>),
    /// Another version keeps it; it is counted and not shown.
    Unreadable,
    /// It has ended meanwhile.
    Gone,
}

/// A list as far as it fits into one answer.
#[derive(Default)]
struct List {
    approvals: Vec<Listed>,
    bytes: usize,
    /// From the first on that has no place in the answer.
    full: bool,
    more: usize,
}

impl List {
    /// Takes one in, or counts it if the answer would become too large.
    fn take(&mut self, listed: Listed) -> Result<(), Failure> {
        let text = serde_json::to_vec(&listed)
            .map_err(|error| Failure::poison(format!("cannot list an approval: {error}")))?;
        let bytes = self.bytes + text.len() + 1;
        if self.approvals.len() >= LIST_MAX || bytes > LIST_BYTES_MAX {
            self.full = true;
            self.more += 1;
            return Ok(());
        }
        self.bytes = bytes;
        self.approvals.push(listed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_schemas::events::{ApprovalRequested, ApprovalState};
    use serde_json::json;

    fn listed(purpose: &str) -> Listed {
        let id = "019a0000-0000-7000-8000-000000000001";
        let digest = countersign_schemas::Digest::of_bytes(b"x").to_string();
        let asked: ApprovalRequested = serde_json::from_value(json!({
            "schema_version": 1, "approval_id": format!("a-{id}"), "kind": "action",
            "items": [], "agent": "billing", "requester": {"id": "dana", "verified": false},
            "purpose": purpose, "reasons": [], "changes": [], "approvers": [],
            "chat_may_approve": false, "created_at": "2026-11-22T10:00:00Z",
            "expires_at": "2026-11-22T11:00:00Z", "digest": digest,
        }))
        .unwrap();
        Listed {
            asked,
            state: ApprovalState::Pending,
            votes: Vec::new(),
            resolution: None,
            may_vote: true,
            no_vote: None,
            frozen: None,
            struck: Vec::new(),
        }
    }

    #[test]
    fn a_list_never_outgrows_its_answer() {
        let mut list = List::default();
        let large = "x".repeat(LIST_BYTES_MAX / 2);
        list.take(listed(&large)).unwrap();
        assert!(!list.full);
        list.take(listed(&large)).unwrap();
        assert!(list.full, "measured before it is taken");
        assert_eq!((list.approvals.len(), list.more), (1, 1));
        let whole = serde_json::to_vec(&ViewReply::Listed {
            approvals: list.approvals,
            more: 1,
        });
        assert!(whole.unwrap().len() <= LIST_BYTES_MAX + 64);
        let mut many = List::default();
        for _ in 0..LIST_MAX + 2 {
            many.take(listed("short")).unwrap();
        }
        assert_eq!((many.approvals.len(), many.more), (LIST_MAX, 2));
    }
}
