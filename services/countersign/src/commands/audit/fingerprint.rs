//! `countersign audit fingerprint`: under which fingerprints a known value stands in the
//! archive.

use std::io::Read as _;
use std::time::Duration;

use bytes::Bytes;
use countersign_audit_archiver::{FingerprintReply, FingerprintRequest};
use countersign_domain::redact::{LookupError, Print, VALUE_BYTES_MAX};
use countersign_schemas::subjects::service;
use countersign_schemas::{PersonId, headers};
use serde_json::json;

use crate::client::Client;
use crate::commands::policy::desk::Operator;
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// How long the answer may take: the archiver records the look-up first.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Only operators may ask, at most 10 values in a minute, and each look-up is \
                  in the audit log: who, when and which fingerprint, never the value. A value \
                  on the command line stays in your shell's history and is seen by others in \
                  the list of processes: leave it out, and it is read from standard input.\n\n\
                  The value is brought to the form in which equal values agree, so a card may \
                  have spaces and an address capitals. What was marked in an epoch that was \
                  destroyed is not found.\n\n\
                  Exit codes: 0 answered; 2 no value, too long, or no such type; 20 refused; \
                  69 the archiver does not answer."
)]
pub(super) struct Args {
    /// The value; where it is left out or `-`, it is read from standard input
    #[arg(allow_hyphen_values = true)]
    value: Option<String>,
    /// Only as this type, such as email, card, iban, secret, or a catalog's personal:TYPE
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    #[command(flatten)]
    who: Operator,
}

/// Asks and tells.
pub(super) async fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let value = match args.value {
        Some(value) if value != "-" => value,
        _ => from_input(std::io::stdin().lock())?,
    };
    if value.trim().is_empty() {
        return Err(CliError::usage(LookupError::Empty));
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(CliError::usage(LookupError::TooLong));
    }
    let (client, operator) = args.who.connect().await?;
    let kind = args.kind.map(|kind| {
        // As catalogs write it.
        let word = kind.strip_prefix("personal:").unwrap_or(&kind);
        word.to_owned()
    });
    let request = FingerprintRequest { value, kind };
    let answer = ask(&client, &operator, &request).await;
    client.bus.close().await;
    let found = answer?.fingerprints;
    let sql = statement(&found);
    output.answer(&json!({ "fingerprints": found, "sql": sql }), || {
        let rows: Vec<Vec<String>> = found
            .iter()
            .map(|print| {
                vec![
                    print.kind.clone(),
                    print.epoch.clone(),
                    print.fingerprint.clone(),
                ]
            })
            .collect();
        let table = output.table(&["TYPE", "EPOCH", "FINGERPRINT"], &rows);
        format!(
            "{}\n\nwhere it stands in the archive:\n  countersign audit query \"{sql}\"",
            table.trim_end()
        )
    })?;
    Ok(Exit::Done)
}

/// One value, without the line break that ends it.
fn from_input(input: impl std::io::Read) -> Result<String, CliError> {
    let bound = u64::try_from(VALUE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    input
        .take(bound.saturating_add(3))
        .read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| CliError::usage("the value on standard input is no text in UTF-8"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

async fn ask(
    client: &Client,
    operator: &PersonId,
    request: &FingerprintRequest,
) -> Result<FingerprintReply, CliError> {
    let body = serde_json::to_vec(request).map_err(CliError::unexpected)?;
    let asked = async_nats::Request::new()
        .payload(Bytes::from(body))
        .timeout(Some(ANSWER_WITHIN));
    let subject = service::audit_fingerprint(operator).to_string();
    let reply = client.bus.client().send_request(subject, asked).await;
    let reply = reply.map_err(|error| {
        CliError::Unreachable(format!(
            "the archiver does not answer ({error}), so nothing was looked up; is it running?"
        ))
    })?;
    let header = |name: &str| {
        let headers = reply.headers.as_ref()?;
        headers.get(name).map(async_nats::HeaderValue::as_str)
    };
    match (
        header(headers::SERVICE_ERROR),
        header(headers::SERVICE_ERROR_CODE),
    ) {
        (None, _) => serde_json::from_slice(&reply.payload)
            .map_err(|_| CliError::unexpected("the archiver's answer cannot be read")),
        (Some(text), Some("400")) => Err(CliError::usage(text)),
        (Some(text), Some(code)) if code.starts_with('5') => Err(CliError::unreachable(text)),
        (Some(text), _) => Err(CliError::Refused(text.to_owned())),
    }
}

/// The question to the archive. The look-ups themselves name the fingerprints too.
fn statement(found: &[Print]) -> String {
    let quoted: Vec<String> = found
        .iter()
        .map(|print| format!("'{}'", print.fingerprint))
        .collect();
    let holds = match quoted.as_slice() {
        [only] => format!("array_has(fingerprints, {only})"),
        _ => format!("array_has_any(fingerprints, [{}])", quoted.join(", ")),
    };
    format!(
        "SELECT time, event, agent_id, intent_id, tool_name FROM events WHERE {holds} AND \
         event <> 'audit.accessed' ORDER BY time"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_from_standard_input_is_one_value_and_bounded() {
        let read = |text: &str| from_input(text.as_bytes()).unwrap();
        assert_eq!(read("pat@example.com\n"), "pat@example.com");
        assert_eq!(read("a\nb\r\n"), "a\nb");
        assert_eq!(read(" \n"), " ");
        let long = "x".repeat(VALUE_BYTES_MAX * 2);
        assert!(read(&long).len() > VALUE_BYTES_MAX, "told as too long");
        assert!(from_input(&[0xFF_u8][..]).is_err());
    }

    #[test]
    fn the_statement_asks_for_each_fingerprint() {
        let print = |epoch: &str| Print {
            kind: "email".to_owned(),
            epoch: epoch.to_owned(),
            fingerprint: format!("email:{epoch}:9f2c41d07a3b"),
        };
        let one = statement(&[print("k1")]);
        assert!(one.contains("array_has(fingerprints, 'email:k1:9f2c41d07a3b')"));
        let two = statement(&[print("k2"), print("k1")]);
        assert!(
            two.contains("array_has_any(fingerprints, ['email:k2:9f2c41d07a3b', 'email:k1:"),
            "{two}"
        );
    }
}
