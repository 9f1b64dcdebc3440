//! Where to go on reading a stream, and when it is not the stream that was read before.

use countersign_schemas::{Digest, Incarnation};

use super::manifest::Position;

/// What the server says about a stream now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Incarnation by the stream's created time.
    pub created: Incarnation,
    /// The sequence of its first message, also where that is gone.
    pub first_seq: u64,
    /// Its last sequence.
    pub last_seq: u64,
    /// Digest of the message at the archived position, where it still exists.
    pub at_position: Option<Digest>,
}

/// Why a stream is not the one that was archived. Each is an alarm; none is skipped over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surprise {
    /// It was deleted and created again.
    Recreated,
    /// Its last sequence lies before what is archived: restored, or writes were lost.
    WentBack,
    /// Another message stands where the last archived one stood.
    OtherMessage,
}

impl Surprise {
    /// The alarm in words.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Recreated => "the stream was created again",
            Self::WentBack => {
                "the stream ends before what is archived: it was restored or lost writes"
            }
            Self::OtherMessage => "another message stands where the last archived one stood",
        }
    }
}

/// Where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The incarnation to archive under.
    pub incarnation: Incarnation,
    /// The next sequence to archive.
    pub next: u64,
    /// Why it is not simply the next one.
    pub surprise: Option<Surprise>,
}

/// Compares the manifest's position with the stream. After a surprise everything the
/// stream holds is archived again under a new incarnation: a row too many can be
/// explained, a missing one cannot.
#[must_use]
pub fn resume(position: Option<&Position>, observed: &Observed) -> Resume {
    let Some(position) = position else {
        return first(observed, observed.created.clone(), None);
    };
    let (base, life) = split(&position.incarnation);
    if base != observed.created.as_str() {
        let life = observed.created.clone();
        return first(observed, life, Some(Surprise::Recreated));
    }
    let surprise = if observed.last_seq < position.seq {
        Surprise::WentBack
    } else if observed
        .at_position
        .is_some_and(|digest| digest != position.last_message_hmac)
    {
        Surprise::OtherMessage
    } else {
        return Resume {
            incarnation: position.incarnation.clone(),
            next: position.seq.saturating_add(1),
            surprise: None,
        };
    };
    let next_life = format!("{base}_{}", life.saturating_add(1));
    let incarnation = next_life
        .parse()
        .unwrap_or_else(|_| observed.created.clone());
    first(observed, incarnation, Some(surprise))
}

fn first(observed: &Observed, incarnation: Incarnation, surprise: Option<Surprise>) -> Resume {
    Resume {
        incarnation,
        next: observed.first_seq,
        surprise,
    }
}

/// The created part of an incarnation, and the how-manieth life under it: a restore keeps
/// the created time, so the archive counts lives itself.
fn split(incarnation: &Incarnation) -> (&str, u64) {
    incarnation
        .as_str()
        .rsplit_once('_')
        .and_then(|(base, life)| Some((base, life.parse().ok()?)))
        .unwrap_or((incarnation.as_str(), 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of_bytes(text.as_bytes())
    }

    fn position(incarnation: &str) -> Position {
        Position {
            stream: "CS_EVENTS".to_owned(),
            incarnation: incarnation.parse().unwrap(),
            seq: 10,
            last_message_hmac: digest("ten"),
        }
    }

    fn observed(created: &str, last_seq: u64, at: Option<&str>) -> Observed {
        Observed {
            created: created.parse().unwrap(),
            first_seq: 1,
            last_seq,
            at_position: at.map(digest),
        }
    }

    #[test]
    fn every_way_a_stream_can_look() {
        let cases = [
            (None, observed("abc", 5, None), "abc", 1, None),
            (
                Some("abc"),
                observed("abc", 10, Some("ten")),
                "abc",
                11,
                None,
            ),
            // Purged behind the position: nothing to compare, nothing lost.
            (Some("abc"), observed("abc", 12, None), "abc", 11, None),
            (
                Some("abc"),
                observed("xyz", 99, Some("ten")),
                "xyz",
                1,
                Some(Surprise::Recreated),
            ),
            (
                Some("abc"),
                observed("abc", 9, None),
                "abc_2",
                1,
                Some(Surprise::WentBack),
            ),
            (
                Some("abc"),
                observed("abc", 20, Some("other")),
                "abc_2",
                1,
                Some(Surprise::OtherMessage),
            ),
            (
                Some("abc_2"),
                observed("abc", 9, None),
                "abc_3",
                1,
                Some(Surprise::WentBack),
            ),
            (
                Some("abc_2"),
                observed("abc", 11, Some("ten")),
                "abc_2",
                11,
                None,
            ),
        ];
        for (known, seen, incarnation, next, surprise) in cases {
            let known = known.map(position);
            let found = resume(known.as_ref(), &seen);
            assert_eq!(found.incarnation.as_str(), incarnation, "{seen:?}");
            assert_eq!((found.next, found.surprise), (next, surprise), "{seen:?}");
        }
    }

    #[test]
    fn a_stream_that_is_numbered_from_elsewhere_has_no_gap_before_it() {
        let seen = Observed {
            first_seq: 1_001,
            ..observed("abc", 1_000, None)
        };
        assert_eq!(resume(None, &seen).next, 1_001);
    }
}
