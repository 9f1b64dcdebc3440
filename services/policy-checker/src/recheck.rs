//! `cs.policy.recheck`: executor and coordinator ask whether something that an earlier
//! bundle judged still runs. Request and verdict are read from the streams, and so is what
//! people decided; only while there is no decision yet does the coordinator say what it is
//! about to store. Where a time window answered in people's place, what they agreed to is
//! read from `window.opened`. Policies see either as `context.approval`. Nothing is stored: a
//! recheck has no effects.

use countersign_domain::approvals::satisfies;
use countersign_domain::policy::protocol::{RecheckReply, RecheckRequest};
use countersign_domain::policy::{Approved, Bundle};
use countersign_domain::windows::Window;
use countersign_runtime::bus::BusError;
use countersign_runtime::policy::InForce;
use countersign_schemas::events::{
    ApprovalResolved, BasisKind, Need, PolicyChecked, Reason, ToolApproved, ToolRequested, Verdict,
    WindowOpened,
};
use countersign_schemas::headers::{CE_TYPE, ce_type};
use countersign_schemas::{Address, AgentId, ApprovalId, Event, Stream, codec, json};

use crate::checker::{Checker, Parts};
use crate::desk::Refusal;
use crate::holder::genuine;
use crate::intake;
use crate::judge::Stored;

/// Bytes of a request: two ids, and an approval of a hundred intents and as many votes.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// What the streams hold of an intent.
struct Record {
    checked: PolicyChecked,
    request: ToolRequested,
}

/// What people agreed to that covers an intent.
enum Granted {
    /// Nothing.
    Nothing,
    /// This intent, alone or with others.
    Approval(Box<ApprovalResolved>),
    /// The window that answered in their place.
    Window(Box<WindowOpened>),
}

impl Checker {
    /// Judges an intent again by the bundle in force.
    pub(crate) async fn recheck(&self, body: &[u8]) -> Result<RecheckReply, Refusal> {
        let asked = read(body)?;
        let record = self.record_of(&asked).await.map_err(silent)?;
        let record = record.ok_or_else(|| {
            Refusal::new(
                "404",
                "there is no stored verdict and request of that intent",
            )
        })?;
        // Whoever asks has seen another bundle than the one that judged: it may be newer
        // than ours, and one that may have been replaced answers nobody.
        let by = self.policy().refresh().await;
        let by = by.map_err(|behind| Refusal::unavailable(behind.to_string()))?;
        let granted = self.granted(&record.checked, asked.approval).await;
        let granted = granted.map_err(silent)?;
        let mandate = record.request.requester.mandate.as_deref();
        let issuers = self.mandates().issuers_for(mandate).await;
        let stored = Stored {
            agent: &asked.agent,
            request: record.checked.request.clone(),
            at: record.checked.requested_at,
            salt: rand::random(),
            issuers: &issuers,
            approval: match &granted {
                Granted::Nothing => None,
                Granted::Approval(resolved) => Approved::of(resolved, asked.intent_id, self.now()),
                Granted::Window(opened) => Some(Approved::of_window(opened, self.now())),
            },
        };
        let again = self.judge_by(&by, &record.request, &stored, Parts::Seen);
        let again = again.await.checked;
        let mut reply = RecheckReply {
            intent_id: asked.intent_id,
            runs: false,
            verdict: again.verdict,
            policy_digest: again.policy_digest,
            tool_digest: again.tool_digest,
            reasons: again.reasons.clone(),
            needs: again.needs.clone(),
        };
        match still_runs(&record.checked, &again, &granted, &by) {
            Ok(()) => reply.runs = true,
            Err((code, why)) => add(&mut reply, code, why),
        }
        tracing::info!(intent = %asked.intent_id, runs = reply.runs, verdict = %reply.verdict, "judged again");
        Ok(reply)
    }

    /// The verdict and the raw request, each only if it is genuine.
    async fn record_of(&self, asked: &RecheckRequest) -> Result<Option<Record>, BusError> {
        let bus = self.bus();
        let filter = Address::checked_filter(asked.intent_id);
        let head = bus.last_by_subject(Stream::Events, &filter).await?;
        let checked = head.and_then(|head| genuine(&head, asked.intent_id));
        let Some(checked) = checked.filter(|checked| checked.agent == asked.agent) else {
            return Ok(None);
        };
        let same_life = checked.request.stream == Stream::Intents.name()
            && bus.incarnation(Stream::Intents).await? == checked.request.incarnation;
        if !same_life {
            return Ok(None);
        }
        let raw = bus.by_seq(Stream::Intents, checked.request.seq).await?;
        let own = Address::ToolRequested {
            agent: asked.agent.clone(),
        };
        let request = raw
            .filter(|raw| raw.address().as_ref() == Some(&own))
            .and_then(|raw| intake::read(&raw.payload, raw.header(CE_TYPE)).ok())
            .filter(|request| request.intent_id == asked.intent_id);
        Ok(request.map(|request| Record { checked, request }))
    }

    /// What people decided on it, else the window by which it was approved.
    async fn granted(
        &self,
        checked: &PolicyChecked,
        told: Option<Box<ApprovalResolved>>,
    ) -> Result<Granted, BusError> {
        if let Some(resolved) = self.approval(checked, told).await? {
            return Ok(Granted::Approval(Box::new(resolved)));
        }
        let opened = self.window_of(checked).await?;
        Ok(opened.map_or(Granted::Nothing, |opened| Granted::Window(Box::new(opened))))
    }

    /// The window by which an intent was approved, if one was.
    async fn window_of(&self, checked: &PolicyChecked) -> Result<Option<WindowOpened>, BusError> {
        let agent = &checked.agent;
        let decision = Address::ToolApproved {
            agent: agent.clone(),
            intent: checked.intent_id,
        };
        let approved = self.stored::<ToolApproved>(&decision).await?;
        let window = approved
            .filter(|one| one.agent == *agent && one.intent_id == checked.intent_id)
            .filter(|one| one.basis.kind == BasisKind::Window)
            .and_then(|one| one.basis.window_id);
        let Some(window) = window else {
            return Ok(None);
        };
        let address = Address::WindowOpened {
            agent: agent.clone(),
            window: window.clone(),
        };
        let opened = self.stored::<WindowOpened>(&address).await?;
        Ok(opened.filter(|one| one.window_id == window && one.agent == *agent))
    }

    /// What people decided on it: as it is stored, else as it is about to be, for as long as
    /// the intent has no decision; `None` where nobody decided.
    async fn approval(
        &self,
        checked: &PolicyChecked,
        told: Option<Box<ApprovalResolved>>,
    ) -> Result<Option<ApprovalResolved>, BusError> {
        let (agent, intent) = (&checked.agent, checked.intent_id);
        let bundle = checked.bundle.as_ref();
        let ids = bundle.map(|bundle| ApprovalId::for_bundle(agent, &bundle.id));
        for id in ids.into_iter().chain([ApprovalId::for_intent(intent)]) {
            let stored = self.resolved(&id, agent).await?;
            if let Some(stored) = stored.filter(|stored| stored.intents.contains(&intent)) {
                return Ok(Some(stored));
            }
        }
        let told = told.filter(|told| told.agent == *agent && told.intents.contains(&intent));
        if told.is_none() {
            return Ok(None);
        }
        let chain = Address::chain_filter(agent, intent);
        let decided = self.bus().last_by_subject(Stream::Events, &chain).await?;
        Ok(told.filter(|_| decided.is_none()).map(|told| *told))
    }

    /// The stored end of an approval, if it is genuine.
    async fn resolved(
        &self,
        approval: &ApprovalId,
        agent: &AgentId,
    ) -> Result<Option<ApprovalResolved>, BusError> {
        let address = Address::ApprovalResolved {
            approval: approval.clone(),
        };
        let read = self.stored::<ApprovalResolved>(&address).await?;
        Ok(read.filter(|read| read.approval_id == *approval && read.agent == *agent))
    }

    /// The event stored at `address`, if it says that it is one.
    async fn stored<E: Event>(&self, address: &Address) -> Result<Option<E>, BusError> {
        let subject = address.subject().as_str().to_owned();
        let found = self.bus().last_by_subject(Stream::Events, &subject).await?;
        let typed = found.filter(|found| found.header(CE_TYPE) == Some(ce_type::<E>().as_str()));
        Ok(typed.and_then(|found| codec::decode::<E>(&found.payload).ok()))
    }
}

/// An allow runs, and so does an ask that the recorded approval grants, or that the window
/// which answered it still lifts; all else does not.
fn still_runs(
    before: &PolicyChecked,
    again: &PolicyChecked,
    granted: &Granted,
    by: &InForce,
) -> Result<(), (&'static str, String)> {
    if again.tool_digest.is_none() || again.tool_digest != before.tool_digest {
        let why = "the tool's definition changed after the decision";
        return Err(("tool_changed", why.to_owned()));
    }
    let denied = || {
        (
            "recheck_denied",
            "the rules in force no longer allow it".to_owned(),
        )
    };
    match (again.verdict, &again.ask) {
        (Verdict::Allow, _) => Ok(()),
        (Verdict::Ask, Some(ask)) => {
            let directory = by.bundle().map(Bundle::directory).map_err(|_| denied())?;
            let unasked = || {
                (
                    "recheck_denied",
                    "the rules in force ask for people".to_owned(),
                )
            };
            let why = match granted {
                Granted::Nothing => return Err(unasked()),
                Granted::Approval(approval) => {
                    satisfies(approval, ask, again, directory).map_err(|why| why.to_string())
                }
                // Its use was taken for exactly this, and stays taken.
                Granted::Window(opened) => {
                    Window::still_lifts(opened, again, directory).map_err(|gone| {
                        format!("window {} no longer answers this: {gone}", opened.window_id)
                    })
                }
            };
            why.map_err(|why| ("recheck_denied", why))
        }
        (Verdict::Ask, None) | (Verdict::Deny, _) => Err(denied()),
    }
}

fn add(reply: &mut RecheckReply, code: &str, why: String) {
    let reason = Reason {
        code: code.to_owned(),
        message: why,
        policy_id: None,
    };
    reply.reasons.insert(0, reason);
    reply.needs.push(Need {
        code: code.to_owned(),
        message: "ask again with a new intent; it is judged by the rules in force".to_owned(),
    });
}

fn read(body: &[u8]) -> Result<RecheckRequest, Refusal> {
    let form = r#"ask {"agent": …, "intent_id": …}"#;
    if body.len() > REQUEST_BYTES_MAX || json::check_strict(body).is_err() {
        return Err(Refusal::bad(form));
    }
    serde_json::from_slice(body).map_err(|_| Refusal::bad(form))
}

fn silent(error: BusError) -> Refusal {
    tracing::warn!(%error, "an intent cannot be judged again");
    Refusal::unavailable("the streams cannot be read now")
}
