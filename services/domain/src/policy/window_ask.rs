//! What people must grant before a window may be opened ahead of time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use countersign_schemas::events::{Ask, Operation};
use countersign_schemas::{AgentId, Digest, Timestamp, ToolName};

use super::ask::AskRule;
use super::bundle::Bundle;
use super::tool::Tool;

/// What the rules in force say of a window that somebody wants to open.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowTerms {
    /// What people must grant together.
    pub ask: Ask,
    /// The tools, each with its definition.
    pub tools: BTreeMap<ToolName, Option<Digest>>,
    /// The bundle that says so.
    pub policy_digest: Digest,
}

impl Bundle {
    /// What every rule about these tools demands together that a window of `span` may lift
    /// for `agent`, as of `at`. Whoever grants all of that may open one; each use is measured
    /// again, by the ask that it lifts.
    ///
    /// Nobody stands in for a team that does not answer: whoever does speaks for one action
    /// only, so such a window would lift nothing.
    ///
    /// # Errors
    /// Why no window can be opened, in words for the person who asks.
    pub fn window_terms(
        &self,
        agent: &AgentId,
        tools: &[ToolName],
        fields: &[String],
        span: Duration,
        at: Timestamp,
    ) -> Result<WindowTerms, String> {
        let entry = self.directory().agent(agent);
        let entry = entry.ok_or_else(|| format!("there is no agent `{agent}`"))?;
        let mut defined = BTreeMap::new();
        let mut all: Option<AskRule> = None;
        for name in tools {
            let tool = self.catalog().tool(name);
            let tool = tool.ok_or_else(|| format!("there is no tool `{name}`"))?;
            check_fields(tool, fields)?;
            let rules = self.liftable(agent, tool, span);
            let by_the_clock = |rule: AskRule| rule.by_the_clock(at, self.directory());
            let rule = AskRule::merge(rules.into_iter().map(by_the_clock)).ok_or_else(|| {
                let seconds = span.as_secs();
                format!(
                    "no rule about `{name}` may be lifted by a window of {seconds} seconds; \
                     policy says so with `@window`"
                )
            })?;
            all = AskRule::merge(all.into_iter().chain([rule]));
            defined.insert(name.clone(), Some(tool.digest()));
        }
        let rule = all.ok_or("a window names at least one tool")?;
        // As with an ask: where nobody is known to stand behind the agent, one more person.
        let nobody = entry.owners.is_empty() && entry.users.is_empty();
        let more = u32::from(nobody && !rule.self_allowed);
        let ask = Ask {
            escalation: Vec::new(),
            ..rule.to_ask(more, BTreeSet::new())
        };
        Ok(WindowTerms {
            ask,
            tools: defined,
            policy_digest: self.digest(),
        })
    }

    /// The rules and guardrails that may ask about this tool and that such a window lifts.
    fn liftable(&self, agent: &AgentId, tool: &Tool, span: Duration) -> Vec<AskRule> {
        let rules = &self.rules;
        let keys = rules.agents.get(agent).zip(rules.tools.get(tool.name()));
        let shelves = keys.map_or_else(Vec::new, |(agent, tool)| {
            let (action, resource) = (&tool.action_keys, &tool.resource_keys);
            rules.index.find(&agent.keys, action, resource)
        });
        let written = shelves
            .iter()
            .flat_map(|shelf| shelf.asks.policies())
            .filter_map(|policy| rules.said.get(AsRef::<str>::as_ref(policy.id())))
            .filter_map(|rule| rule.ask.as_ref());
        let guards = tool.guardrails.iter().flat_map(|guard| guard.asks());
        written
            .chain(guards)
            .filter(|rule| rule.window.is_some_and(|max| span <= max))
            .cloned()
            .collect()
    }
}

/// A window over an update says which fields may change, and only such as there are.
fn check_fields(tool: &Tool, fields: &[String]) -> Result<(), String> {
    if tool.operation() != Operation::Update {
        return Ok(());
    }
    let known: Vec<&str> = tool.updatable.iter().map(super::Pointer::name).collect();
    let covered = fields.iter().any(|field| known.contains(&field.as_str()));
    match covered {
        true => Ok(()),
        false => Err(format!(
            "`{}` updates: name the fields that may change, of {}",
            tool.name(),
            known.join(", ")
        )),
    }
}
