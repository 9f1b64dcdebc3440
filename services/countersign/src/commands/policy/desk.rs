//! The checker's desk for bundles, as an operator meets it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use countersign_domain::policy::protocol::{PushReply, PushRequest, Refused};
use countersign_domain::policy::{Bundle, unpack};
use countersign_runtime::config::Config;
use countersign_runtime::policy::shelf::{PART_BYTES_MAX, PARTS_MAX};
use countersign_schemas::subjects::service;
use countersign_schemas::{Digest, PersonId, headers};

use crate::client::{Client, Place};
use crate::exit::CliError;

/// How long the checker may take: it runs every test of a bundle before it answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// Which deployment, as which operator.
#[derive(Debug, clap::Args)]
pub(crate) struct Operator {
    /// Act as this operator; may be left out where only one operator's credential is there
    #[arg(long = "as", value_name = "PERSON", env = "COUNTERSIGN_AS")]
    person: Option<PersonId>,
    #[command(flatten)]
    pub(crate) place: Place,
}

impl Operator {
    /// A connection with the operator's credential, and who that is.
    pub(crate) async fn connect(&self) -> Result<(Client, PersonId), CliError> {
        let config = self.place.config()?;
        let operator = match &self.person {
            Some(person) => person.clone(),
            None => only_operator(&config)?,
        };
        let client = Client::connect(&config, "operator", operator.as_str()).await?;
        Ok((client, operator))
    }
}

/// Why something was not done.
pub(super) enum Denied {
    /// The bundle is at fault, in these places.
    Bundle(Refused),
    /// Anything else.
    Other(CliError),
}

impl From<CliError> for Denied {
    fn from(error: CliError) -> Self {
        Self::Other(error)
    }
}

impl From<Denied> for CliError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Bundle(refused) => Self::Refused(refused.message),
            Denied::Other(error) => error,
        }
    }
}

/// A connection to the desk.
pub(super) struct Desk {
    client: Client,
    operator: PersonId,
}

impl Desk {
    /// Connects with the operator's credential.
    pub(super) async fn connect(who: &Operator) -> Result<Self, CliError> {
        let (client, operator) = who.connect().await?;
        Ok(Self { client, operator })
    }

    /// Asks one question.
    pub(super) async fn ask(&self, question: &PushRequest) -> Result<PushReply, Denied> {
        let silent = |reason: String| {
            CliError::Unreachable(format!(
                "the policy checker does not answer ({reason}); is it running?"
            ))
        };
        let body = serde_json::to_vec(question).map_err(CliError::unexpected)?;
        let subject = service::policy_push(&self.operator).to_string();
        let mut request = async_nats::Request::new().payload(Bytes::from(body));
        request = request.timeout(Some(ANSWER_TIMEOUT));
        let asked = self
            .client
            .bus
            .client()
            .send_request(subject, request)
            .await;
        let reply = asked.map_err(|error| silent(error.to_string()))?;
        let header = |name: &str| {
            let all = reply.headers.as_ref()?;
            all.get(name).map(async_nats::HeaderValue::as_str)
        };
        let Some(text) = header(headers::SERVICE_ERROR) else {
            let unreadable = |_| CliError::unexpected("the checker's answer cannot be read");
            return Ok(serde_json::from_slice(&reply.payload).map_err(unreadable)?);
        };
        if let Ok(refused) = serde_json::from_slice(&reply.payload) {
            return Err(Denied::Bundle(refused));
        }
        Err(match header(headers::SERVICE_ERROR_CODE) {
            Some(code) if code.starts_with('5') => CliError::unreachable(text),
            _ => CliError::Refused(text.to_owned()),
        }
        .into())
    }

    /// Uploads a packed bundle; the digests of its parts.
    pub(super) async fn upload(&self, packed: &[u8]) -> Result<Vec<Digest>, Denied> {
        let mut parts = Vec::new();
        for part in packed.chunks(PART_BYTES_MAX) {
            let data = STANDARD.encode(part);
            match self.ask(&PushRequest::Part { data }).await? {
                PushReply::Part { digest } => parts.push(digest),
                other => return Err(surprise(&other).into()),
            }
        }
        Ok(parts)
    }

    /// The files of a kept bundle, or of the one in force. They must have that digest: what
    /// a service says is not taken on trust.
    pub(super) async fn bundle(&self, digest: Option<Digest>) -> Result<Bundle, CliError> {
        let mut packed = Vec::new();
        let mut named = digest;
        let mut number = 0;
        loop {
            let question = PushRequest::Read {
                digest: named,
                number,
            };
            let reply = self.ask(&question).await.map_err(CliError::from)?;
            let PushReply::Read {
                digest,
                parts,
                data,
            } = reply
            else {
                return Err(surprise(&reply));
            };
            // From the first part on it is that bundle, even if another is published now.
            named = Some(digest);
            let part = STANDARD.decode(data).map_err(CliError::unexpected)?;
            packed.extend_from_slice(&part);
            number += 1;
            if number >= parts.min(PARTS_MAX) {
                break;
            }
        }
        let files = unpack(&packed).map_err(CliError::unexpected)?;
        let bundle = Bundle::from_files(&files).map_err(CliError::configured)?;
        match Some(bundle.digest()) == named {
            true => Ok(bundle),
            false => Err(CliError::unexpected(
                "the checker sent another bundle than it named",
            )),
        }
    }
}

/// An answer to another question.
pub(super) fn surprise(_reply: &PushReply) -> CliError {
    CliError::unexpected("the checker answered something else than was asked")
}

/// The only operator whose credential is here.
fn only_operator(config: &Config) -> Result<PersonId, CliError> {
    let mut found = Vec::new();
    let dir = std::fs::read_dir(&config.nats.creds_dir).map_err(CliError::configured)?;
    for entry in dir {
        let name = entry?.file_name();
        let person = name.to_str().and_then(|name| {
            let name = name.strip_prefix("operator-")?.strip_suffix(".creds")?;
            name.parse::<PersonId>().ok()
        });
        found.extend(person);
    }
    match (found.pop(), found.is_empty()) {
        (Some(person), true) => Ok(person),
        (Some(_), false) => Err(CliError::usage(
            "there are several operators: name one with --as",
        )),
        (None, _) => Err(CliError::configured(
            "no operator's credential is in the credentials' folder; \
             `countersign identity add operator NAME` makes one",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_operator_need_not_be_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.nats.creds_dir = dir.path().to_owned();
        assert!(only_operator(&config).is_err());
        for file in ["operator-kim.creds", "approver-lee.creds", "notes.txt"] {
            std::fs::write(dir.path().join(file), "SU").unwrap();
        }
        assert_eq!(only_operator(&config).unwrap().as_str(), "kim");
        std::fs::write(dir.path().join("operator-lee.creds"), "SU").unwrap();
        assert!(
            only_operator(&config)
                .unwrap_err()
                .to_string()
                .contains("--as")
        );
    }
}
