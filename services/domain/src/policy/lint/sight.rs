//! Approvers can judge an ask only by what they see: a field that the rule is about must
//! be shown to them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Findings, LintLevel};
use crate::policy::annotations::Rule;
use crate::policy::bundle::Bundle;
use crate::policy::fields::Shown;
use crate::policy::index::Scope;
use crate::policy::pointer::Pointer;
use crate::policy::rules::{ToolKeys, Written};
use crate::policy::tool::Tool;

const MEND: &str = "let the catalog show it (`shown`), or ask about something that approvers see";

pub(super) fn check(bundle: &Bundle, findings: &mut Findings) {
    for one in &bundle.rules.written {
        let rule = bundle.rules.said.get(one.id());
        if let Some(rule) = rule.filter(|rule| rule.ask.is_some()) {
            let named = Named::of(one, rule);
            let scope = Scope::of(&one.policy);
            let tools = bundle.catalog.tools();
            for tool in tools.filter(|tool| applies(bundle, &scope, tool)) {
                of_rule(one, &named, tool, findings);
            }
        }
    }
    for tool in bundle.catalog.tools() {
        of_guardrails(bundle, tool, findings);
    }
}

fn of_rule(one: &Written, named: &Named, tool: &Tool, findings: &mut Findings) {
    for pointer in named.unseen(tool) {
        let what = format!(
            "people are asked about `{pointer}` of `{}` by `{}` and cannot see it",
            tool.name,
            one.id()
        );
        findings.add(LintLevel::PointedOut, "unseen", &one.place(), what, MEND);
    }
}

fn of_guardrails(bundle: &Bundle, tool: &Tool, findings: &mut Findings) {
    for guard in tool
        .guardrails
        .iter()
        .filter(|guard| !guard.asks().is_empty())
    {
        for pointer in guard.recipients().iter().filter(|at| is_hidden(tool, at)) {
            let what = format!(
                "people are asked about `{pointer}` of `{}` by guardrail `{}` and cannot see it",
                tool.name,
                guard.name()
            );
            let place = bundle.catalog.place(&tool.name);
            findings.add(LintLevel::PointedOut, "unseen", &place, what, MEND);
        }
    }
}

fn applies(bundle: &Bundle, scope: &Scope, tool: &Tool) -> bool {
    let Some(ToolKeys {
        action, resource, ..
    }) = bundle.rules.tools.get(&tool.name)
    else {
        return false;
    };
    let operation = tool.operation.as_str();
    let action = scope.actions.as_ref().is_none_or(|all| {
        let mut named = all.iter();
        named.any(|uid| uid == action || uid.id().unescaped() == operation)
    });
    let resource = scope.resource.as_ref().is_none_or(|uid| {
        let name = uid.id().unescaped();
        uid == resource || name == operation || tool.in_group(name)
    });
    action && resource
}

/// What a rule's conditions and sentences name.
#[derive(Debug, Default)]
struct Named {
    /// Attributes below `context`, such as `input`, `customer`, `email`.
    attributes: BTreeSet<Vec<String>>,
    /// Text in the conditions, such as names of updated fields.
    texts: BTreeSet<String>,
    /// Words of its sentences that look like the name of a field.
    words: BTreeSet<String>,
}

impl Named {
    fn of(one: &Written, rule: &Rule) -> Self {
        let mut named = Self::default();
        if let Ok(json) = one.policy.to_json() {
            named.expression(json.get("conditions").unwrap_or(&Value::Null));
        }
        for sentence in [Some(&rule.because), rule.need.as_ref()]
            .into_iter()
            .flatten()
        {
            named.words.extend(field_words(sentence));
        }
        named
    }

    fn expression(&mut self, node: &Value) {
        if let Some(path) = attribute(node) {
            self.attributes.insert(path);
            return;
        }
        match node {
            Value::Array(items) => items.iter().for_each(|item| self.expression(item)),
            Value::Object(members) => {
                if let Some(Value::String(text)) = members.get("Value") {
                    self.texts.insert(text.clone());
                }
                members.values().for_each(|member| self.expression(member));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// The fields of `tool` that it names and that approvers do not see.
    fn unseen(&self, tool: &Tool) -> BTreeSet<String> {
        let updates = self.attributes.iter().any(|path| path == &["fields"]);
        let named = |pointer: &Pointer| {
            let path = pointer.segments();
            let read = self.attributes.iter().any(|one| {
                matches!(one.split_first(), Some((first, rest)) if first == "input" && rest == path)
            });
            let updated = updates && self.texts.contains(pointer.name());
            read || updated || self.words.contains(pointer.name())
        };
        let mut fields: BTreeSet<&Pointer> = tool.field_pointers.iter().collect();
        fields.extend(&tool.updatable);
        let mut unseen: BTreeSet<String> = fields
            .into_iter()
            .filter(|pointer| named(pointer) && is_hidden(tool, pointer))
            .map(ToString::to_string)
            .collect();
        let amount = tool.amount.iter().map(|amount| &amount.pointer);
        let amount = amount.filter(|_| self.reads("amount"));
        let recipients = tool
            .recipients
            .iter()
            .filter(|_| self.reads("recipient_domains"));
        let others = amount
            .chain(recipients)
            .filter(|pointer| is_hidden(tool, pointer));
        unseen.extend(others.map(ToString::to_string));
        unseen
    }

    fn reads(&self, attribute: &str) -> bool {
        let mut paths = self.attributes.iter();
        paths.any(|path| path.first().is_some_and(|first| first == attribute))
    }
}

fn is_hidden(tool: &Tool, pointer: &Pointer) -> bool {
    let field = tool.fields.at(pointer);
    field.is_none_or(|field| field.shown == Shown::Redacted)
}

/// The attributes that a node reads from `context`, outermost first.
fn attribute(node: &Value) -> Option<Vec<String>> {
    let step = node.get(".").or_else(|| node.get("has"))?;
    let left = step.get("left")?;
    let name = step.get("attr")?.as_str()?;
    let mut path = match left.get("Var").and_then(Value::as_str) {
        Some("context") => Vec::new(),
        Some(_) => return None,
        None => attribute(left)?,
    };
    path.push(name.to_owned());
    Some(path)
}

/// Words in backticks, and words with an underscore: others are plain English.
fn field_words(sentence: &str) -> Vec<String> {
    let quoted = sentence.split('`').skip(1).step_by(2);
    let joined = sentence
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| word.contains('_'));
    quoted.chain(joined).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_name_fields_in_backticks_or_with_underscores() {
        let words = field_words("The `note` and portal_pin change to a new value.");
        assert_eq!(words, ["note", "portal_pin"]);
    }
}
