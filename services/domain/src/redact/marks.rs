//! What passes through unchanged: our own marks and the vault's surrogates. Their grammar is
//! narrow on purpose, so that neither can carry a number or a secret past the detectors.

use std::sync::LazyLock;

use regex::Regex;

use super::work::spend;

/// Digits a key id may hold: fewer than any number a detector looks for.
const KEY_ID_DIGITS_MAX: usize = 8;

/// A stretch of text that is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) surrogate: bool,
}

static KEPT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"\[redaction_failed\]",
        r"|\[[a-z][a-z_]{0,31}:(?<key>[a-z][a-z0-9]{0,15}):[0-9a-f]{12}\]",
        r"|\b(?<sur>tok_[a-z]{1,16}(?:_[a-z]{1,16}){0,2}_(?:[a-z2-7]{26}|[A-Z2-7]{26}))\b",
    ))
    .ok()
});

/// Whether a name may stand as key id in a mark.
pub(super) fn is_key_id(id: &str) -> bool {
    let mut bytes = id.bytes();
    id.len() <= 16
        && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && id.bytes().filter(u8::is_ascii_digit).count() <= KEY_ID_DIGITS_MAX
}

/// Every mark and surrogate in the text, in order.
pub(super) fn kept(text: &str) -> Vec<Kept> {
    // One byte at a time is the quickest way to say no, which is what nearly every text gets.
    let bytes = text.as_bytes();
    let surrogate = || bytes.contains(&b'_') && text.contains("tok_");
    if !bytes.contains(&b'[') && !surrogate() {
        return Vec::new();
    }
    spend(text.len());
    let Some(regex) = KEPT.as_ref() else {
        return Vec::new();
    };
    regex
        .captures_iter(text)
        .filter(|found| found.name("key").is_none_or(|id| is_key_id(id.as_str())))
        .filter_map(|found| {
            let whole = found.get(0)?;
            Some(Kept {
                start: whole.start(),
                end: whole.end(),
                surrogate: found.name("sur").is_some(),
            })
        })
        .collect()
}

/// Whether the text is one mark or one surrogate and nothing else.
pub(super) fn is_kept_whole(text: &str) -> bool {
    is_whole(&kept(text), text)
}

/// Whether what is kept of the text is all of it.
pub(super) fn is_whole(kept: &[Kept], text: &str) -> bool {
    matches!(kept, [only] if only.start == 0 && only.end == text.len())
}
