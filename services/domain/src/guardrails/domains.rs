//! Domain names in one form, and lists of known ones.

use idna::AsciiDenyList;

/// A domain name, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Domain {
    /// Its lower-case ASCII (punycode) form: the only one that is compared.
    pub(crate) ascii: String,
    /// Written with other letters that fold into plain ASCII, such as full-width ones: it
    /// looks like a name that other software may not take it for.
    folded: bool,
}

impl Domain {
    /// Reads a domain as it stands in an address; `None` for one that cannot exist.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let ascii = idna::domain_to_ascii_cow(text.as_bytes(), AsciiDenyList::STD3).ok()?;
        let folded = !text.is_ascii() && !ascii.split('.').any(|label| label.starts_with("xn--"));
        let sound = ascii.contains('.') && idna::uts46::verify_dns_length(&ascii, false);
        let dashed = ascii
            .split('.')
            .any(|label| label.starts_with('-') || label.ends_with('-'));
        let numeric = ascii
            .rsplit('.')
            .next()
            .is_none_or(|last| last.bytes().all(|b| b.is_ascii_digit()));
        (sound && !dashed && !numeric).then(|| Self {
            ascii: ascii.into_owned(),
            folded: folded || mixes(text),
        })
    }
}

/// Whether some labels are foreign letters that folded to ASCII while others are punycode.
fn mixes(text: &str) -> bool {
    text.split('.').any(|label| {
        let ascii = idna::domain_to_ascii(label);
        !label.is_ascii() && ascii.is_ok_and(|ascii| !ascii.starts_with("xn--"))
    })
}

/// One entry of a list of known domains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// This domain alone.
    Exactly(String),
    /// Every domain below this one, not itself.
    Below(String),
}

impl Known {
    /// Reads `x.example` or `*.x.example`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let domain = Domain::read(name).filter(|domain| !domain.folded)?;
        Some(match below {
            true => Self::Below(format!(".{}", domain.ascii)),
            false => Self::Exactly(domain.ascii),
        })
    }

    /// Whether this entry covers `domain`. A wildcard covers plain ASCII labels only: a
    /// foreign one below a known domain is more likely a look-alike than a department.
    pub(crate) fn covers(&self, domain: &Domain) -> bool {
        if domain.folded {
            return false;
        }
        match self {
            Self::Exactly(name) => domain.ascii == *name,
            Self::Below(suffix) => {
                domain
                    .ascii
                    .strip_suffix(suffix.as_str())
                    .is_some_and(|labels| {
                        !labels.is_empty()
                            && !labels.split('.').any(|label| label.starts_with("xn--"))
                    })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(known: &str, domain: &str) -> Option<bool> {
        Known::read(known)
            .zip(Domain::read(domain))
            .map(|(known, domain)| known.covers(&domain))
    }

    #[test]
    fn hard_cases() {
        let table: &[(&str, &str, Option<bool>)] = &[
            ("known.example", "known.example", Some(true)),
            ("known.example", "KNOWN.Example", Some(true)),
            ("known.example", "sub.known.example", Some(false)),
            ("known.example", "notknown.example", Some(false)),
            ("known.example", "known.example.evil.test", Some(false)),
            ("*.known.example", "sub.known.example", Some(true)),
            ("*.known.example", "a.b.known.example", Some(true)),
            ("*.known.example", "known.example", Some(false)),
            ("*.known.example", "evilknown.example", Some(false)),
            // Cyrillic а and е in place of Latin letters.
            ("paypal.example", "p\u{430}ypal.example", Some(false)),
            ("known.example", "known.\u{435}xample", Some(false)),
            // The same look-alike below a known domain.
            ("*.known.example", "p\u{430}y.known.example", Some(false)),
            // Full-width letters and the ideographic full stop fold to plain ASCII.
            ("known.example", "\u{ff4b}nown.example", Some(false)),
            ("known.example", "known\u{3002}example", Some(false)),
            ("*.known.example", "\u{ff53}ub.known.example", Some(false)),
            // An IDN that the company listed itself, in both spellings.
            ("bücher.example", "bücher.example", Some(true)),
            ("bücher.example", "xn--bcher-kva.example", Some(true)),
            ("xn--bcher-kva.example", "BÜCHER.example", Some(true)),
            // Not domains.
            ("known.example", "known.example.", None),
            ("known.example", "known..example", None),
            ("known.example", "localhost", None),
            ("known.example", "1.2.3.4", None),
            ("known.example", "xn--a.example", None),
            ("known.example", "kno_wn.example", None),
            ("known.example", "-.example", None),
        ];
        for (known, domain, expected) in table {
            assert!(Known::read(known).is_some(), "{known}");
            assert_eq!(covers(known, domain), *expected, "{known} covers {domain}");
        }
        assert!(Domain::read(&format!("{}.example", "a".repeat(64))).is_none());
    }

    #[test]
    fn known_lists_refuse_odd_entries() {
        for bad in [
            "",
            "*",
            "*.",
            "**.x.example",
            "a.*.example",
            "localhost",
            "\u{ff4b}nown.example",
        ] {
            assert_eq!(Known::read(bad), None, "{bad}");
        }
    }
}
