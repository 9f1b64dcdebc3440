//! What is wrong with a call, told without the secrets that stood in it: what is typed ends in
//! the logs of whatever runs the command.

use countersign_domain::redact::{FieldClasses, FingerprintKey, Redactor};

/// Addresses stay: an operator must read where a connection failed.
const TOLD: &str = "ip";

/// `text` with every secret and personal value covered.
pub(crate) fn covered(text: &str) -> String {
    match FingerprintKey::new("run", rand::random()) {
        Ok(key) => {
            let redactor = Redactor::new(key);
            let lines = text.split('\n').map(|line| line_of(&redactor, line));
            lines.collect::<Vec<_>>().join("\n")
        }
        Err(error) => error.to_string(),
    }
}

fn line_of(redactor: &Redactor, line: &str) -> String {
    let mut out = String::new();
    let mut rest = line.chars().enumerate().peekable();
    for found in redactor.line(line, &FieldClasses::none()).findings {
        if found.kind == TOLD {
            continue;
        }
        while let Some((_, c)) = rest.next_if(|(at, _)| *at < found.start) {
            out.push(c);
        }
        while rest.next_if(|(at, _)| *at < found.end).is_some() {}
        out.push_str(&format!("[{}]", found.kind));
    }
    out.extend(rest.map(|(_, c)| c));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_covered_and_places_are_told() {
        let text = "cannot reach nats://127.0.0.1:4222 for kim@x.example\n\
                    card 4111 1111 1111 1111 is no \u{fc}bung, nor is `a-1`";
        assert_eq!(
            covered(text),
            "cannot reach nats://127.0.0.1:4222 for [email]\n\
             card [card] is no \u{fc}bung, nor is `a-1`"
        );
    }
}
