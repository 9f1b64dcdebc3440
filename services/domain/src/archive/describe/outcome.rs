//! Claims and outcomes.

use countersign_schemas::events::{
    OutcomeFound, OutcomeLate, OutcomeReconciled, ToolCompleted, ToolStarted,
};

use super::Describe;
use crate::archive::draft::Draft;
use crate::archive::named::Named;
use crate::archive::row::Level;

impl Describe for ToolStarted {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.actor("service", &self.executor);
        draft.row.tool_name = Some(self.tool.to_string());
        draft.tell(&format!("Claimed until {}.", self.lease_until));
        draft.level(Level::Request);
        Named {
            agent: Some(self.agent),
            intent: Some(self.intent_id),
            ..Named::default()
        }
    }
}

/// A result says the same things whether it came in time or not.
macro_rules! ended {
    ($event:ident) => {
        impl Describe for $event {
            fn describe(self, draft: &mut Draft) -> Named {
                draft.tell(&self.output_summary);
                if let Some(error) = self.error {
                    draft.tell(&error.message);
                    draft.row.error_code = Some(error.code);
                }
                draft.changed(self.changes);
                draft.millis(self.duration_ms);
                draft.output = self.output;
                draft.row.tool_name = Some(self.tool.to_string());
                draft.row.outcome = Some(self.outcome.to_string());
                draft.level(Level::RequestResponse);
                Named {
                    agent: Some(self.agent),
                    intent: Some(self.intent_id),
                    ..Named::default()
                }
            }
        }
    };
}

ended!(ToolCompleted);
ended!(OutcomeLate);

impl Describe for OutcomeFound {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.purpose(Some(&self.reason));
        draft.row.outcome = Some(self.outcome.to_string());
        draft.level(Level::Request);
        Named {
            agent: Some(self.agent),
            intent: Some(self.intent_id),
            ..Named::default()
        }
    }
}

impl Describe for OutcomeReconciled {
    fn describe(self, draft: &mut Draft) -> Named {
        draft.actor("person", &self.operator);
        draft.purpose(Some(&self.reason));
        draft.row.outcome = Some(self.outcome.to_string());
        draft.level(Level::Request);
        Named {
            agent: Some(self.agent),
            intent: Some(self.intent_id),
            ..Named::default()
        }
    }
}
