//! `countersign identity rotate key`: what signs permits and claim tokens.

use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_runtime::config::Config;
use countersign_runtime::identity::{
    Deployment, KeyChange, KeyStep, Signing, SigningError, change_key,
};
use serde_json::{Value, json};

use super::{RotateArgs, Told, put_on_record};
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// Changes a signing key and tells what counts now.
pub(super) async fn change(
    args: &RotateArgs,
    config: &Config,
    deployment: &Deployment,
    output: &Output,
) -> Result<Exit, CliError> {
    let signing: Signing = args.name.parse().map_err(CliError::usage)?;
    let step = step(args);
    let now = SystemClock.now();
    let change = change_key(deployment, &config.keys.dir, signing, step, now)?;
    let told = Told {
        change: step.name(),
        role: "key",
        name: signing.name(),
        public_key: Some(change.next.clone().unwrap_or(change.signs.clone())),
    };
    let by = args.by.operator.clone();
    put_on_record(config, deployment, told, by, output).await;
    output.answer(&as_json(&change), || as_text(&change))?;
    Ok(Exit::Done)
}

fn step(args: &RotateArgs) -> KeyStep {
    match (args.publish, args.stolen, args.prune) {
        (true, _, _) => KeyStep::Publish,
        (_, true, _) => KeyStep::Replace,
        (_, _, true) => KeyStep::Prune,
        (false, false, false) => KeyStep::Rotate,
    }
}

fn as_json(change: &KeyChange) -> Value {
    let retired = change.retired.iter();
    let retired: Vec<Value> = retired
        .map(|(kid, until)| json!({ "kid": kid, "until": until }))
        .collect();
    json!({
        "change": change.step.name(),
        "key": change.signing.name(),
        "signs": change.signs,
        "next": change.next,
        "retired": retired,
        "jwks": change.jwks,
    })
}

fn as_text(change: &KeyChange) -> String {
    let name = change.signing.name();
    let mut lines = vec![format!("key {name} is {}", change.step.name())];
    match change.step {
        KeyStep::Publish => lines.push(format!(
            "copy {} to every other machine that verifies, then run `countersign identity rotate key {name}`",
            change.jwks.display()
        )),
        KeyStep::Rotate | KeyStep::Replace => {
            lines.push("running services sign with it within a second".to_owned());
        }
        KeyStep::Prune => {}
    }
    lines.push(format!("signs: {}", change.signs));
    lines.extend(change.next.iter().map(|kid| format!("next: {kid}")));
    lines.extend(change.retired.iter().map(|(kid, until)| match until {
        Some(until) => format!("old: {kid}, counts until {until}"),
        None => format!("old: {kid}, counts until the next rotation ends it"),
    }));
    lines.join("\n")
}

impl From<SigningError> for CliError {
    fn from(error: SigningError) -> Self {
        Self::configured(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::identity::{By, Rotated};
    use countersign_runtime::identity::Role;

    fn args(role: &str, flags: [bool; 3]) -> RotateArgs {
        let [publish, stolen, prune] = flags;
        RotateArgs {
            role: role.parse().unwrap(),
            name: "permit".to_owned(),
            publish,
            stolen,
            prune,
            by: By { operator: None },
        }
    }

    #[test]
    fn each_flag_is_a_step_of_keys_and_of_nothing_else() {
        for (flags, expected) in [
            ([false; 3], KeyStep::Rotate),
            ([true, false, false], KeyStep::Publish),
            ([false, true, false], KeyStep::Replace),
            ([false, false, true], KeyStep::Prune),
        ] {
            let key = args("key", flags);
            assert_eq!(step(&key), expected);
            assert_eq!(key.identity().unwrap(), None);
            let agent = args("agent", flags).identity();
            assert_eq!(agent.is_ok(), flags == [false; 3], "{flags:?}");
        }
        assert_eq!("agent".parse(), Ok(Rotated::Identity(Role::Agent)));
        assert!("keys".parse::<Rotated>().is_err());
    }

    #[test]
    fn a_change_says_what_signs_and_until_when_the_old_keys_count() {
        let change = |step, next: Option<&str>| KeyChange {
            signing: Signing::Permit,
            step,
            signs: "NEW".to_owned(),
            next: next.map(str::to_owned),
            retired: vec![("OLD".to_owned(), "2026-11-22T11:10:00Z".parse().ok())],
            jwks: "keys/permit.jwks.json".into(),
        };
        insta::assert_snapshot!(as_text(&change(KeyStep::Rotate, None)), @r"
        key permit is rotated
        running services sign with it within a second
        signs: NEW
        old: OLD, counts until 2026-11-22T11:10:00Z
        ");
        insta::assert_snapshot!(as_text(&change(KeyStep::Publish, Some("NEXT"))), @r"
        key permit is published
        copy keys/permit.jwks.json to every other machine that verifies, then run `countersign identity rotate key permit`
        signs: NEW
        next: NEXT
        old: OLD, counts until 2026-11-22T11:10:00Z
        ");
        let told = as_json(&change(KeyStep::Rotate, None));
        assert_eq!(told["retired"][0]["kid"], "OLD");
    }
}
