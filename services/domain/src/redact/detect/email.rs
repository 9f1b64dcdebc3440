//! E-mail addresses, found from their `@` outwards.

use super::{Hit, Kind};
use crate::redact::work::spend;

/// RFC 5321: octets of a local part and of a domain.
const LOCAL_MAX: usize = 64;
const DOMAIN_MAX: usize = 253;

pub(super) fn find(text: &str, hits: &mut Vec<Hit>) {
    spend(text.len());
    for (at, _) in text.match_indices('@') {
        let start = local_start(text, at);
        let end = domain_end(text, at + 1);
        spend(end - start);
        let (Some(local), Some(domain)) = (text.get(start..at), text.get(at + 1..end)) else {
            continue;
        };
        if local.is_empty() || !is_domain(domain) || is_not_mail(text, local, domain, end) {
            continue;
        }
        hits.push(Hit {
            start,
            end,
            kind: Kind::Email,
            value: format!("{local}@{domain}").to_lowercase(),
            name: None,
        });
    }
}

fn is_local(c: char) -> bool {
    c.is_alphanumeric() || "._%+'~!#$*^-".contains(c)
}

fn local_start(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    let mut start = at;
    for (index, c) in before.char_indices().rev() {
        if !is_local(c) || at - index > LOCAL_MAX {
            break;
        }
        start = index;
    }
    let local = before.get(start..).unwrap_or_default();
    at - local
        .trim_start_matches(['.', '\'', '-', '*', '!', '#'])
        .len()
}

fn domain_end(text: &str, from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    let length = rest
        .char_indices()
        .find(|(index, c)| !(c.is_alphanumeric() || matches!(c, '.' | '-')) || *index > DOMAIN_MAX)
        .map_or(rest.len(), |(index, _)| index);
    let domain = rest.get(..length).unwrap_or_default();
    from + domain.trim_end_matches(['.', '-']).len()
}

fn is_domain(domain: &str) -> bool {
    let Some((rest, top)) = domain.rsplit_once('.') else {
        return false;
    };
    let label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    let top_level = top.chars().count() >= 2
        && (top.chars().all(char::is_alphabetic) || top.to_ascii_lowercase().starts_with("xn--"));
    top_level && rest.split('.').all(label)
}

/// `icon@2x.png` and `git@host:path` have the shape of an address and name nobody.
fn is_not_mail(text: &str, local: &str, domain: &str, end: usize) -> bool {
    let scaled = domain.split_once('.').is_some_and(|(scale, kind)| {
        matches!(scale, "1x" | "2x" | "3x" | "4x")
            && matches!(kind, "png" | "jpg" | "jpeg" | "gif" | "webp" | "svg")
    });
    let remote = local == "git" && text.get(end..).is_some_and(|rest| rest.starts_with(':'));
    scaled || remote
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_address_is_covered_and_no_more() {
        for (text, expected) in [
            ("bob@example.com", Some((0, 15))),
            ("<bob@example.com>", Some((1, 16))),
            (".bob@example.com.", Some((1, 16))),
            ("bob@example.com-", Some((0, 15))),
            ("bob@-example.com", None),
            ("bob@example..com", None),
            ("bob@example.c", None),
            ("bob@example.1a", None),
            ("@example.com", None),
            ("bob@", None),
            ("bob@xn--exmple-cua.xn--p1ai", Some((0, 27))),
        ] {
            let mut hits = Vec::new();
            find(text, &mut hits);
            let found = hits.first().map(|hit| (hit.start, hit.end));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_local_part_longer_than_the_standard_is_covered_at_its_end() {
        let text = format!("{}@example.com", "a".repeat(200));
        let mut hits = Vec::new();
        find(&text, &mut hits);
        assert_eq!(hits.first().map(|hit| hit.start), Some(200 - LOCAL_MAX));
    }
}
