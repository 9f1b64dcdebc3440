//! `cs.approval.view.<person>`: what waits, and what exactly would be approved. Who asks is
//! the last token of the subject, which NATS permissions bind to the key.

use std::sync::Arc;

use async_nats::service::{Request, ServiceExt as _, error::Error};
use bytes::Bytes;
use countersign_domain::approvals::{Approval, Listed, ViewReply, ViewRequest};
use countersign_runtime::bus::{BusError, Failure};
use countersign_schemas::{ApprovalId, PersonId, TeamId};
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
        ViewRequest::Windows => "there are no windows",
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
            ViewRequest::List { .. } => self.list(&person, &asked).await,
            ViewRequest::Show { approval_id } => self.show(&person, approval_id).await,
            ViewRequest::Outcome { intent_id } => self.outcome_of(*intent_id).await,
            ViewRequest::Freezes {} => self.freezes_shown().map(Some),
            ViewRequest::Windows => self.windows().await,
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
        let shown =
            held.approval
                .shown_to(person, self.people().as_ref(), self.clock.now(), &redact);
        Ok(Some(ViewReply::Shown {
            approval: Box::new(shown),
        }))
    }

    async fn windows(&self) -> Result<Option<ViewReply>, Failure> {
        let (windows, more) = self.list_windows().await?;
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
        asked: &ViewRequest,
    ) -> Result<Option<ViewReply>, Failure> {
        let ids = match asked {
            ViewRequest::List { mine: true, .. } => self.ids_that_may_concern(person),
            ViewRequest::List { .. }
            | ViewRequest::Show { .. }
            | ViewRequest::Outcome { .. }
            | ViewRequest::Windows
            | ViewRequest::Freezes {} => self.pending.ids(),
        };
        let all = ids.len();
        let mut list = List::default();
        let read = |id: ApprovalId| async move { self.list_one(person, &id).await };
        let reads = stream::iter(ids).map(read).buffered(READS_MAX);
        let mut reads = std::pin::pin!(reads.enumerate());
        while let Some((seen, found)) = reads.next().await {
            let listed = match found? {
                Found::Listed(listed) => listed,
                Found::Unreadable => {
                    list.more += 1;
                    continue;
                }
                Found::Gone => continue,
            };
            if !asked.wants(&listed) {
                continue;
            }
            if !list.take(*listed)? {
                list.more += all.saturating_sub(seen);
                break;
            }
        }
        Ok(Some(ViewReply::Listed {
            approvals: list.approvals,
            more: list.more,
        }))
    }

    /// What waits for teams of `person`, or of those in whose place they vote: whoever has
    /// little to decide does not wait until all that others have is read.
    fn ids_that_may_concern(&self, person: &PersonId) -> Vec<ApprovalId> {
        let people = self.people();
        let lent = people.delegations_to(person);
        let speaks_for = |team: &TeamId| {
            people.members(team).contains(person) || lent.iter().any(|one| one.teams.contains(team))
        };
        self.pending
            .ids_asking(|teams| teams.iter().any(speaks_for))
    }

    async fn list_one(&self, person: &PersonId, id: &ApprovalId) -> Result<Found, Failure> {
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
        if !approval.is_pending() {
            return Ok(Found::Gone);
        }
        let redact = |text: &str| self.redact(text);
        let (people, now) = (self.people(), self.clock.now());
        let listed = approval.listed_for(person, people.as_ref(), now, &redact);
        Ok(Found::Listed(Box::new(listed)))
    }
}

/// What one place of a list has become.
enum Found {
    Listed(Box<Listed>),
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
    more: usize,
}

impl List {
    /// Takes one in; `false` if the answer would become too large.
    fn take(&mut self, listed: Listed) -> Result<bool, Failure> {
        let text = serde_json::to_vec(&listed)
            .map_err(|error| Failure::poison(format!("cannot list an approval: {error}")))?;
        let bytes = self.bytes + text.len() + 1;
        if self.approvals.len() >= LIST_MAX || bytes > LIST_BYTES_MAX {
            return Ok(false);
        }
        self.bytes = bytes;
        self.approvals.push(listed);
        Ok(true)
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
            struck: Vec::new(),
        }
    }

    #[test]
    fn a_list_never_outgrows_its_answer() {
        let mut list = List::default();
        let large = "x".repeat(LIST_BYTES_MAX / 2);
        assert!(list.take(listed(&large)).unwrap());
        assert!(
            !list.take(listed(&large)).unwrap(),
            "measured before it is taken"
        );
        assert!(list.take(listed("short")).unwrap());
        let whole = serde_json::to_vec(&ViewReply::Listed {
            approvals: list.approvals,
            more: 1,
        });
        assert!(whole.unwrap().len() <= LIST_BYTES_MAX + 64);
        let mut many = List::default();
        let taken = (0..LIST_MAX + 1).filter(|_| many.take(listed("short")).unwrap());
        assert_eq!(taken.count(), LIST_MAX);
    }
}
