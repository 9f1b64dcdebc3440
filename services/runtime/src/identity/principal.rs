//! Who may connect: every identity is one NATS user in exactly one account.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use countersign_schemas::ids::{AgentId, PersonId, ServiceId, Token, ToolName};
use serde::{Deserialize, Serialize};

/// Most tools and guardrails one worker may serve: each is a line of the server's configuration.
pub(super) const TOOLS_PER_WORKER_MAX: usize = 1_000;
/// Most people one bridge may speak for: each is a line of the server's configuration.
pub(super) const PEOPLE_PER_BRIDGE_MAX: usize = 10_000;

/// What stands in place of a bridge's name where a person used no bridge.
pub const OWN_KEY: &str = "self";

/// An account of the server. Nothing crosses from one to another except what the
/// configuration exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// Our services; nobody else connects here.
    Core,
    /// Agents.
    Agents,
    /// Approvers, operators, the inbox and bridges.
    People,
    /// Workers.
    Tools,
    /// The server's own account; only `identity` connects here.
    Sys,
}

impl Account {
    /// Every account.
    pub const ALL: [Self; 5] = [
        Self::Core,
        Self::Agents,
        Self::People,
        Self::Tools,
        Self::Sys,
    ];

    /// The name in the server's configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Core => "CORE",
            Self::Agents => "AGENTS",
            Self::People => "PEOPLE",
            Self::Tools => "TOOLS",
            Self::Sys => "SYS",
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Our own identities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Creates streams, buckets and consumers.
    Setup,
    /// Judges intents.
    PolicyChecker,
    /// Carries approvals and decisions.
    ApprovalCoordinator,
    /// Runs tools.
    ToolExecutor,
    /// Writes the archive.
    AuditArchiver,
    /// Answers questions about the archive.
    AuditQuery,
    /// Reloads the servers after a change of identities; the only user of `SYS`.
    Identity,
}

impl Service {
    /// Every service identity.
    pub const ALL: [Self; 7] = [
        Self::Setup,
        Self::PolicyChecker,
        Self::ApprovalCoordinator,
        Self::ToolExecutor,
        Self::AuditArchiver,
        Self::AuditQuery,
        Self::Identity,
    ];

    /// The name: of the user, its credential and its durable consumers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::PolicyChecker => "policy-checker",
            Self::ApprovalCoordinator => "approval-coordinator",
            Self::ToolExecutor => "tool-executor",
            Self::AuditArchiver => "audit-archiver",
            Self::AuditQuery => "audit-query",
            Self::Identity => "identity",
        }
    }
}

/// What kind of identity; the first word of a credential's file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// One of our services.
    Service,
    /// An agent.
    Agent,
    /// A person who decides.
    Approver,
    /// A person who runs the system.
    Operator,
    /// A process that runs tools.
    Worker,
    /// A chat bridge or the inbox.
    Bridge,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] = [
        Self::Service,
        Self::Agent,
        Self::Approver,
        Self::Operator,
        Self::Worker,
        Self::Bridge,
    ];

    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Agent => "agent",
            Self::Approver => "approver",
            Self::Operator => "operator",
            Self::Worker => "worker",
            Self::Bridge => "bridge",
        }
    }

    /// The word with its article, for a sentence.
    fn with_article(self) -> String {
        let article = match self {
            Self::Agent | Self::Approver | Self::Operator => "an",
            Self::Service | Self::Worker | Self::Bridge => "a",
        };
        format!("{article} {self}")
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = PrincipalError;

    fn from_str(text: &str) -> Result<Self, PrincipalError> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| PrincipalError::Role(shown(text)))
    }
}

/// Why a role and a name do not make an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrincipalError {
    /// No such role.
    #[error("`{0}` is not a role: use service, agent, approver, operator, worker or bridge")]
    Role(String),
    /// The name cannot be a subject token.
    #[error("`{name}` cannot name {role}: use 1 to 64 of A-Z a-z 0-9 _ -")]
    Name {
        /// The role with its article.
        role: String,
        /// The name, cut and escaped.
        name: String,
    },
    /// Our services have fixed names.
    #[error("`{0}` is not one of Countersign's services")]
    Service(String),
    /// A worker that may run nothing, or too much.
    #[error(
        "a worker needs between 1 and {TOOLS_PER_WORKER_MAX} tools or guardrails, `{0}` has {1}"
    )]
    Tools(String, usize),
    /// A bridge whose votes would look like those that people cast themselves.
    #[error("a bridge cannot be called `{OWN_KEY}`: that stands for a person's own key")]
    OwnKey,
    /// A bridge that speaks for nobody, or for too many.
    #[error("a bridge needs between 1 and {PEOPLE_PER_BRIDGE_MAX} people, `{0}` has {1}")]
    People(String, usize),
    /// Tools or people given to a role that has none.
    #[error("{0} has no {1}")]
    Extra(String, &'static str),
}

fn shown(text: &str) -> String {
    text.chars().take(48).flat_map(char::escape_debug).collect()
}

/// Who an identity is and what its role ties it to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// One of our services.
    Service(Service),
    /// An agent.
    Agent(AgentId),
    /// A person who decides.
    Approver(PersonId),
    /// A person who runs the system.
    Operator(PersonId),
    /// A process that runs these tools, answers for these guardrails, and for no others.
    Worker {
        /// Its name.
        name: ServiceId,
        /// The tools it is asked to run.
        tools: BTreeSet<ToolName>,
        /// The `external` guardrails it answers for.
        guardrails: BTreeSet<Token>,
    },
    /// A bridge that carries the votes of these people and of nobody else.
    Bridge {
        /// Its name, the last token of the votes it carries.
        name: ServiceId,
        /// The people mapped to it.
        people: BTreeSet<PersonId>,
    },
}

impl Principal {
    /// Puts role, name and extras together.
    ///
    /// # Errors
    /// If the name is not a token, or the extras do not fit the role.
    pub fn new(
        role: Role,
        name: &str,
        tools: BTreeSet<ToolName>,
        people: BTreeSet<PersonId>,
    ) -> Result<Self, PrincipalError> {
        let bad_name = || PrincipalError::Name {
            role: role.with_article(),
            name: shown(name),
        };
        let extra = |what| PrincipalError::Extra(format!("{role} `{}`", shown(name)), what);
        if role != Role::Worker && !tools.is_empty() {
            return Err(extra("tools"));
        }
        if role != Role::Bridge && !people.is_empty() {
            return Err(extra("people"));
        }
        match role {
            Role::Service => Service::ALL
                .into_iter()
                .find(|service| service.name() == name)
                .map(Self::Service)
                .ok_or_else(|| PrincipalError::Service(shown(name))),
            Role::Agent => name.parse().map(Self::Agent).map_err(|_| bad_name()),
            Role::Approver => name.parse().map(Self::Approver).map_err(|_| bad_name()),
            Role::Operator => name.parse().map(Self::Operator).map_err(|_| bad_name()),
            Role::Worker => Self::worker(name, tools, BTreeSet::new()),
            Role::Bridge if name == OWN_KEY => Err(PrincipalError::OwnKey),
            Role::Bridge if !(1..=PEOPLE_PER_BRIDGE_MAX).contains(&people.len()) => {
                Err(PrincipalError::People(shown(name), people.len()))
            }
            Role::Bridge => Ok(Self::Bridge {
                name: name.parse().map_err(|_| bad_name())?,
                people,
            }),
        }
    }

    /// A worker that runs `tools` and answers for `guardrails`.
    ///
    /// # Errors
    /// If the name is not a token, or it would have nothing to do, or too much.
    pub fn worker(
        name: &str,
        tools: BTreeSet<ToolName>,
        guardrails: BTreeSet<Token>,
    ) -> Result<Self, PrincipalError> {
        let count = tools.len() + guardrails.len();
        if !(1..=TOOLS_PER_WORKER_MAX).contains(&count) {
            return Err(PrincipalError::Tools(shown(name), count));
        }
        let bad_name = |_| PrincipalError::Name {
            role: format!("a {}", Role::Worker),
            name: shown(name),
        };
        Ok(Self::Worker {
            name: name.parse().map_err(bad_name)?,
            tools,
            guardrails,
        })
    }

    /// Its role.
    #[must_use]
    pub fn role(&self) -> Role {
        match self {
            Self::Service(_) => Role::Service,
            Self::Agent(_) => Role::Agent,
            Self::Approver(_) => Role::Approver,
            Self::Operator(_) => Role::Operator,
            Self::Worker { .. } => Role::Worker,
            Self::Bridge { .. } => Role::Bridge,
        }
    }

    /// Its name: the token that the server binds to its connection.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Service(service) => service.name(),
            Self::Agent(agent) => agent.as_str(),
            Self::Approver(person) | Self::Operator(person) => person.as_str(),
            Self::Worker { name, .. } | Self::Bridge { name, .. } => name.as_str(),
        }
    }

    /// The account its user is in.
    #[must_use]
    pub fn account(&self) -> Account {
        match self {
            Self::Service(Service::Identity) => Account::Sys,
            Self::Service(_) => Account::Core,
            Self::Agent(_) => Account::Agents,
            Self::Approver(_) | Self::Operator(_) | Self::Bridge { .. } => Account::People,
            Self::Worker { .. } => Account::Tools,
        }
    }

    /// The inbox prefix that its client must use: replies elsewhere are refused.
    #[must_use]
    pub fn inbox_prefix(&self) -> String {
        format!("_INBOX_{}", self.name())
    }

    /// The file name of its credential.
    #[must_use]
    pub fn creds_file(&self) -> String {
        format!("{}-{}.creds", self.role(), self.name())
    }

    /// The tools of a worker.
    #[must_use]
    pub fn tools(&self) -> BTreeSet<ToolName> {
        match self {
            Self::Worker { tools, .. } => tools.clone(),
            _ => BTreeSet::new(),
        }
    }

    /// The guardrails of a worker.
    #[must_use]
    pub fn guardrails(&self) -> BTreeSet<Token> {
        match self {
            Self::Worker { guardrails, .. } => guardrails.clone(),
            _ => BTreeSet::new(),
        }
    }

    /// The people of a bridge.
    #[must_use]
    pub fn people(&self) -> BTreeSet<PersonId> {
        match self {
            Self::Bridge { people, .. } => people.clone(),
            _ => BTreeSet::new(),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(role: Role, name: &str) -> Result<Principal, PrincipalError> {
        Principal::new(role, name, BTreeSet::new(), BTreeSet::new())
    }

    #[test]
    fn roles_have_one_word_each() {
        for role in Role::ALL {
            assert_eq!(role.name().parse::<Role>(), Ok(role));
        }
        assert!("Agent".parse::<Role>().is_err());
        assert!("admin".parse::<Role>().is_err());
    }

    #[test]
    fn a_name_is_one_subject_token() {
        for bad in ["", "a.b", "*", ">", "a b", "\"", "ü", &"x".repeat(65)] {
            assert!(make(Role::Agent, bad).is_err(), "{bad}");
            assert!(make(Role::Approver, bad).is_err(), "{bad}");
        }
        let lee = make(Role::Approver, "lee").unwrap();
        assert_eq!(lee.account(), Account::People);
        assert_eq!(lee.inbox_prefix(), "_INBOX_lee");
        assert_eq!(lee.creds_file(), "approver-lee.creds");
    }

    #[test]
    fn services_are_a_fixed_list_and_one_alone_is_in_sys() {
        assert!(make(Role::Service, "mine").is_err());
        let in_sys: Vec<_> = Service::ALL
            .into_iter()
            .filter(|service| Principal::Service(*service).account() == Account::Sys)
            .collect();
        assert_eq!(in_sys, [Service::Identity]);
    }

    #[test]
    fn only_workers_have_tools_and_only_bridges_people() {
        let tools: BTreeSet<ToolName> = ["crm.read".parse().unwrap()].into();
        let people: BTreeSet<PersonId> = ["lee".parse().unwrap()].into();
        assert!(Principal::new(Role::Worker, "w", tools.clone(), BTreeSet::new()).is_ok());
        assert!(Principal::new(Role::Bridge, "b", BTreeSet::new(), people.clone()).is_ok());
        let own = Principal::new(Role::Bridge, "self", BTreeSet::new(), people.clone());
        assert_eq!(own, Err(PrincipalError::OwnKey));
        assert!(Principal::new(Role::Agent, "a", tools.clone(), BTreeSet::new()).is_err());
        assert!(Principal::new(Role::Bridge, "b", tools, people.clone()).is_err());
        assert!(Principal::new(Role::Worker, "w", BTreeSet::new(), people).is_err());
        assert!(make(Role::Worker, "w").is_err());
        let guardrails: BTreeSet<Token> = ["names".parse().unwrap()].into();
        let serving = Principal::worker("w", BTreeSet::new(), guardrails.clone()).unwrap();
        assert_eq!(
            (serving.guardrails(), serving.tools().len()),
            (guardrails.clone(), 0)
        );
        assert!(Principal::worker("w.x", BTreeSet::new(), guardrails).is_err());
        assert!(Principal::worker("w", BTreeSet::new(), BTreeSet::new()).is_err());
        assert!(make(Role::Bridge, "b").is_err());
    }

    #[test]
    fn errors_escape_what_was_typed() {
        let error = make(Role::Service, "a\u{1b}[31m").unwrap_err().to_string();
        assert!(!error.contains('\u{1b}'), "{error}");
    }

    #[test]
    fn each_error_names_the_role_the_name_and_the_rule() {
        let tools = |count: usize| -> BTreeSet<ToolName> {
            let names = (0..count).map(|index| format!("crm.t{index}").parse().unwrap());
            names.collect()
        };
        let people = |count: usize| -> BTreeSet<PersonId> {
            let names = (0..count).map(|index| format!("p{index}").parse().unwrap());
            names.collect()
        };
        let table = [
            (Role::Agent, "a b", 0, 0, "`a b` cannot name an agent"),
            (Role::Worker, "a.b", 1, 0, "`a.b` cannot name a worker"),
            (Role::Bridge, "a*", 0, 1, "`a*` cannot name a bridge"),
            (
                Role::Worker,
                "w",
                0,
                0,
                "between 1 and 1000 tools or guardrails, `w` has 0",
            ),
            (Role::Worker, "w", 1_001, 0, "`w` has 1001"),
            (
                Role::Bridge,
                "b",
                0,
                0,
                "between 1 and 10000 people, `b` has 0",
            ),
            (Role::Bridge, "b", 0, 10_001, "`b` has 10001"),
            (Role::Approver, "a", 1, 0, "approver `a` has no tools"),
            (Role::Operator, "a", 0, 1, "operator `a` has no people"),
            (
                Role::Service,
                "a",
                0,
                0,
                "`a` is not one of Countersign's services",
            ),
            (Role::Service, "setup", 1, 0, "service `setup` has no tools"),
            (Role::Bridge, OWN_KEY, 0, 1, "stands for a person's own key"),
        ];
        for (role, name, with_tools, with_people, words) in table {
            let made = Principal::new(role, name, tools(with_tools), people(with_people));
            let told = made.unwrap_err().to_string();
            assert!(told.contains(words), "{told}");
        }
        for (role, name, with_tools, with_people) in [
            (Role::Worker, "w", TOOLS_PER_WORKER_MAX, 0),
            (Role::Bridge, "b", 0, PEOPLE_PER_BRIDGE_MAX),
        ] {
            let made = Principal::new(role, name, tools(with_tools), people(with_people));
            let made = made.unwrap();
            assert_eq!(
                (made.tools().len(), made.people().len()),
                (with_tools, with_people)
            );
        }
    }
}
