//! Control, vault, policy life, identity, audit and archive.

use countersign_schemas::events::{
    ArchiveCommitted, ArchivePurged, AuditAccessed, ControlApplied, ControlDone, ControlFreeze,
    ControlRefused, ControlUnfreeze, DeadLetter, FreezeScope, IdentityChanged, PolicyPublished,
    VaultErased, VaultRevealed, VaultTokenized,
};

use super::Describe;
use crate::archive::draft::Draft;
use crate::archive::named::Named;
use crate::archive::row::Level;

/// Writes what a freeze covers; the parts it leaves open stay NULL.
fn scope(scope: FreezeScope, draft: &mut Draft) -> Named {
    if let Some(requester) = &scope.requester {
        draft.claimed_requester(requester);
    }
    draft.row.tool_name = scope.tool.map(|tool| tool.to_string());
    draft.level(Level::Request);
    Named {
        agent: scope.agent,
        ..Named::default()
    }
}

macro_rules! ordered {
    ($event:ident) => {
        impl Describe for $event {
            fn describe(self, draft: &mut Draft) -> Named {
                draft.purpose(Some(&self.reason));
                scope(self.scope, draft)
            }
        }
    };
}

ordered!(ControlFreeze);
ordered!(ControlUnfreeze);

impl Describe for ControlApplied {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.actor("person", &self.operator);
        draft.code(if self.frozen { "frozen" } else { "released" });
        draft.purpose(Some(&self.reason));
        scope(self.scope, draft)
    }
}

impl Describe for ControlDone {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.tell(&format!(
            "Revoked {}; stopped after their claim {}; already running {}.",
            self.revoked,
            self.stopped,
            self.running_more.saturating_add(self.running.len() as u64)
        ));
        draft.millis(self.duration_ms);
        draft.level(Level::Request);
        Named::default()
    }
}

impl Describe for ControlRefused {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.actor("person", &self.person);
        draft.code(&self.code);
        draft.tell(&self.message);
        draft.level(Level::Request);
        Named::default()
    }
}

impl Describe for VaultTokenized {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.actor("service", &self.by);
        draft.code(&self.class);
        draft.tell(&self.surrogate);
        draft.level(Level::Request);
        Named::default()
    }
}

impl Describe for VaultRevealed {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.tell(&format!("Revealed {}.", self.pointers.join(", ")));
        draft.level(Level::Request);
        Named {
            agent: Some(self.agent),
            intent: Some(self.intent_id),
            ..Named::default()
        }
    }
}

impl Describe for VaultErased {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.actor("person", &self.operator);
        draft.tell(&format!("Erased {} values.", self.values));
        draft.row.resource = Some(self.subject);
        draft.level(Level::Request);
        Named::default()
    }
}

impl Describe for PolicyPublished {
    fn describe(self, draft: &mut Draft) -> Named {
        if let Some(operator) = &self.operator {
            draft.actor("person", operator);
        }
        draft.row.policy_digest = Some(self.policy_digest.to_string());
        draft.level(Level::Request);
        Named::default()
    }
}

impl Describe for IdentityChanged {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.actor("person", &self.operator);
        draft.code(&self.change);
        draft.row.resource = Some(format!("{}/{}", self.role, self.name));
        draft.level(Level::Request);
        Named::default()
    }
}

impl Describe for AuditAccessed {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.actor("person", &self.person);
        draft.code(&self.result);
        draft.purpose(Some(&self.query));
        draft.tell(&format!("Answered {} rows.", self.rows));
        draft.level(Level::Request);
        Named::default()
    }
}

impl Describe for ArchiveCommitted {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.row.resource = Some(format!("manifest/{}", self.n));
        draft.tell(&format!("{} rows are in the archive.", self.tree_size));
        draft.level(Level::Request);
        Named::default()
    }
}

impl Describe for ArchivePurged {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.row.resource = Some(format!("{}/{}", self.stream, self.incarnation));
        draft.tell(&format!(
            "Purged {} messages below sequence {}.",
            self.messages, self.up_to_seq
        ));
        draft.level(Level::Request);
        Named::default()
    }
}

impl Describe for DeadLetter {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.actor("service", &self.service);
        draft.row.resource = Some(format!("{}/{}.{}", self.stream, self.incarnation, self.seq));
        draft.tell(&self.error);
        draft.level(Level::Request);
        Named::default()
    }
}
