//! What `countersign status` tells.

use std::collections::BTreeMap;

use countersign_domain::freeze::FreezeView;
use countersign_runtime::bus::FULL_PERCENT;
use countersign_runtime::health::{Health, ServiceHealth};
use countersign_schemas::{Stream, Timestamp};
use serde::Serialize;

use crate::commands::freeze;
use crate::exit::Exit;
use crate::output::Output;

/// A service that may run.
pub(super) struct Service {
    pub(super) name: &'static str,
    /// Whether agents' actions need it; what is looked up later needs only the archive.
    needed: bool,
}

const fn service(name: &'static str, needed: bool) -> Service {
    Service { name, needed }
}

/// Every service, along the path of an intent.
pub(super) const SERVICES: [Service; 5] = [
    service(countersign_policy_checker::NAME, true),
    service(countersign_approval_coordinator::NAME, true),
    service(countersign_tool_executor::NAME, true),
    service(countersign_audit_archiver::NAME, true),
    service(countersign_audit_query::NAME, false),
];

/// What is frozen, as the coordinator says.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Frozen {
    pub(super) freezes: Vec<FreezeView>,
    pub(super) freezes_more: usize,
}

/// One running service, or one that does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Row {
    service: String,
    /// `ready`, `not_ready` or `no_answer`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    /// What is not ready, and why.
    why: Vec<String>,
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct StreamRow {
    stream: &'static str,
    /// How much of its size it holds.
    full_percent: Option<u64>,
    /// How many of its messages the archive has not read.
    behind: Option<u64>,
}

/// The whole answer.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    /// Whether all that is needed is there.
    ok: bool,
    #[serde(flatten)]
    frozen: Option<Frozen>,
    /// Why it is not known what is frozen.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<String>,
    /// How many approvals wait for people.
    pending: Option<usize>,
    /// Only operators are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<Vec<Row>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    streams: Option<Vec<StreamRow>>,
}

impl Report {
    pub(super) fn new(
        frozen: Result<Frozen, String>,
        pending: Option<usize>,
        told: Option<Vec<ServiceHealth>>,
    ) -> Self {
        let (frozen, unknown) = match frozen {
            Ok(frozen) => (Some(frozen), None),
            Err(why) => (None, Some(why)),
        };
        let services = told.as_deref().map(rows);
        let streams = told.as_deref().map(streams);
        let broken = services.iter().flatten().any(Row::is_broken);
        let full = streams.iter().flatten().any(StreamRow::is_full);
        Self {
            ok: frozen.is_some() && !broken && !full,
            frozen,
            unknown,
            pending,
            services,
            streams,
        }
    }

    /// How the process ends.
    pub(super) fn exit(&self) -> Exit {
        match self.ok {
            true => Exit::Done,
            false => Exit::Unreachable,
        }
    }

    pub(super) fn to_text(&self, output: &Output) -> String {
        let mut parts = Vec::new();
        if let Some(services) = &self.services {
            let rows: Vec<_> = services.iter().map(Row::cells).collect();
            parts.push(output.table(&["SERVICE", "VERSION", "SINCE", "STATE", "WHY"], &rows));
        }
        if let Some(streams) = &self.streams {
            let rows: Vec<_> = streams.iter().map(StreamRow::cells).collect();
            parts.push(output.table(&["STREAM", "FULL", "ARCHIVE BEHIND"], &rows));
        }
        parts.push(match self.pending {
            Some(1) => "1 approval waits for people".to_owned(),
            Some(many) => format!("{many} approvals wait for people"),
            None => "it is not known what waits for people".to_owned(),
        });
        parts.push(match (&self.frozen, &self.unknown) {
            (Some(frozen), _) => freeze::told::status(&frozen.freezes, frozen.freezes_more, output),
            (None, why) => {
                let why = why.as_deref().unwrap_or_default();
                format!("it is not known what is frozen: {why}")
            }
        });
        let parts = parts.iter().map(|part| part.trim_end());
        parts.collect::<Vec<_>>().join("\n\n")
    }
}

impl Row {
    fn is_broken(&self) -> bool {
        let needed = |service: &Service| service.name == self.service && service.needed;
        match self.state {
            "ready" => false,
            "no_answer" => SERVICES.iter().any(needed),
            _ => true,
        }
    }

    fn of(told: &ServiceHealth) -> Self {
        let why = told.parts.iter().filter_map(|(part, health)| match health {
            Health::Ready => None,
            Health::Starting => Some(format!("{part} is starting")),
            Health::Failing { reason } => Some(format!("{part}: {reason}")),
        });
        Self {
            service: told.service.clone(),
            state: if told.ready { "ready" } else { "not_ready" },
            version: Some(told.version.clone()),
            since: Some(told.since),
            why: why.collect(),
        }
    }

    fn silent(service: &Service) -> Self {
        let why = match service.needed {
            true => "is it running? `countersign doctor` says more",
            false => "nothing that agents do needs it",
        };
        Self {
            service: service.name.to_owned(),
            state: "no_answer",
            version: None,
            since: None,
            why: vec![why.to_owned()],
        }
    }

    fn cells(&self) -> Vec<String> {
        let since = self.since.map(|since| since.to_string());
        vec![
            self.service.clone(),
            self.version.clone().unwrap_or_default(),
            since.unwrap_or_default(),
            self.state.replace('_', " "),
            self.why.join("; "),
        ]
    }
}

/// Every service in the order of the path, each process that runs it; then any other.
fn rows(told: &[ServiceHealth]) -> Vec<Row> {
    let mut rows = Vec::new();
    for service in &SERVICES {
        let before = rows.len();
        let its = told.iter().filter(|one| one.service == service.name);
        rows.extend(its.map(Row::of));
        if rows.len() == before {
            rows.push(Row::silent(service));
        }
    }
    let known = |one: &&ServiceHealth| SERVICES.iter().any(|it| it.name == one.service);
    rows.extend(told.iter().filter(|one| !known(one)).map(Row::of));
    rows
}

impl StreamRow {
    fn is_full(&self) -> bool {
        self.full_percent
            .is_some_and(|percent| percent >= FULL_PERCENT)
    }

    fn cells(&self) -> Vec<String> {
        let number = |number: Option<u64>, unit: &str| match number {
            Some(number) => format!("{number}{unit}"),
            None => "?".to_owned(),
        };
        let full = match self.is_full() {
            true => format!(
                "{}: nothing more is taken in",
                number(self.full_percent, " %")
            ),
            false => number(self.full_percent, " %"),
        };
        let behind = match Stream::ARCHIVED
            .iter()
            .any(|stream| stream.name() == self.stream)
        {
            true => number(self.behind, ""),
            false => "-".to_owned(),
        };
        vec![self.stream.to_owned(), full, behind]
    }
}

fn streams(told: &[ServiceHealth]) -> Vec<StreamRow> {
    let mut numbers: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, value) in told.iter().flat_map(|one| &one.numbers) {
        let most = numbers.entry(name).or_default();
        *most = (*most).max(*value);
    }
    let row = |stream: Stream| {
        let number = |what: &str| numbers.get(format!("{what}.{stream}").as_str()).copied();
        StreamRow {
            stream: stream.name(),
            full_percent: number("full_percent"),
            behind: number("behind"),
        }
    };
    Stream::ALL.map(row).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(service: &str, failing: Option<&str>, numbers: &[(&str, u64)]) -> ServiceHealth {
        let connection = match failing {
            None => Health::Ready,
            Some(reason) => Health::Failing {
                reason: reason.to_owned(),
            },
        };
        ServiceHealth {
            service: service.to_owned(),
            version: "0.1.0".to_owned(),
            since: "2026-11-22T10:00:00Z".parse().unwrap(),
            ready: failing.is_none(),
            parts: [("connection".to_owned(), connection)].into(),
            numbers: numbers
                .iter()
                .map(|(name, n)| ((*name).to_owned(), *n))
                .collect(),
        }
    }

    fn all(numbers: &[(&str, u64)]) -> Vec<ServiceHealth> {
        SERVICES
            .iter()
            .map(|one| told(one.name, None, numbers))
            .collect()
    }

    fn none_frozen() -> Result<Frozen, String> {
        Ok(Frozen {
            freezes: Vec::new(),
            freezes_more: 0,
        })
    }

    #[test]
    fn what_is_there_and_what_is_not_is_told_whole() {
        let numbers = [("full_percent.CS_EVENTS", 81), ("behind.CS_EVENTS", 7)];
        let mut some = all(&numbers);
        some.truncate(3);
        some[1] = told(SERVICES[1].name, Some("disconnected\u{1b}[2J"), &[]);
        some.push(told("archiver-of-others", None, &[]));
        let report = Report::new(none_frozen(), Some(4), Some(some));
        let text = report.to_text(&Output::framed(140));
        assert!(!text.contains('\u{1b}'), "{text:?}");
        insta::assert_snapshot!(text);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["services"][3]["state"], "no_answer");
        assert_eq!(json["freezes"], serde_json::json!([]));
        assert_eq!(json["streams"][3]["behind"], 7);
        assert_eq!((&json["ok"], &json["pending"]), (&false.into(), &4.into()));
    }

    #[test]
    fn each_state_has_its_exit() {
        let calm = [("full_percent.CS_EVENTS", 79)];
        let with = |change: fn(&mut Vec<ServiceHealth>)| {
            let mut told = all(&calm);
            change(&mut told);
            Report::new(none_frozen(), Some(0), Some(told)).exit()
        };
        assert_eq!(with(|_| {}), Exit::Done);
        assert_eq!(with(|all| drop(all.pop())), Exit::Done, "nobody needs it");
        assert_eq!(with(|all| drop(all.remove(2))), Exit::Unreachable);
        let failing = |all: &mut Vec<ServiceHealth>| all.push(told("x", Some("no"), &[]));
        assert_eq!(with(failing), Exit::Unreachable);
        let full = Report::new(
            none_frozen(),
            None,
            Some(all(&[("full_percent.CS_EVENTS", 80)])),
        );
        assert_eq!(full.exit(), Exit::Unreachable);
        let blind = Report::new(Err("no answer".to_owned()), None, Some(all(&calm)));
        assert_eq!(blind.exit(), Exit::Unreachable);
        assert!(
            blind
                .to_text(&Output::new(false))
                .contains("not known what is frozen: no answer")
        );
        let approver = Report::new(none_frozen(), Some(1), None);
        assert_eq!(approver.exit(), Exit::Done);
        let text = approver.to_text(&Output::new(false));
        assert_eq!(text, "1 approval waits for people\n\nnothing is frozen");
    }
}
