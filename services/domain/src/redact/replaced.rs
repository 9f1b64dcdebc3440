//! A text with marks in the place of values, and the way back from it.

use super::detect::Hit;
use super::{Failed, FingerprintKey};

/// Bytes of a usual mark, to make room for.
const MARK_BYTES: usize = 24;

/// A text after one pass.
pub(super) struct Replaced {
    pub(super) text: String,
    marks: Vec<Mark>,
}

/// Where a mark stands here, and where what it stands for stood before.
struct Mark {
    here: (usize, usize),
    before: (usize, usize),
}

impl Replaced {
    /// Puts a mark in the place of every find.
    pub(super) fn of(text: &str, hits: &[Hit], key: &FingerprintKey) -> Result<Self, Failed> {
        let mut out = String::with_capacity(text.len() + hits.len() * MARK_BYTES);
        let mut marks = Vec::with_capacity(hits.len());
        let mut from = 0;
        for hit in hits {
            out.push_str(text.get(from..hit.start).ok_or(Failed)?);
            let start = out.len();
            out.push_str(&key.mark(hit.word(), &hit.value));
            marks.push(Mark {
                here: (start, out.len()),
                before: (hit.start, hit.end),
            });
            from = hit.end;
        }
        out.push_str(text.get(from..).ok_or(Failed)?);
        Ok(Self { text: out, marks })
    }

    /// The marks, in the order of the finds.
    pub(super) fn marks(&self) -> impl Iterator<Item = String> + '_ {
        let shown = |mark: &Mark| self.text.get(mark.here.0..mark.here.1);
        let shown = move |mark| shown(mark).unwrap_or_default().to_owned();
        self.marks.iter().map(shown)
    }

    /// A find in this text, by its place in the text before.
    pub(super) fn original(&self, hit: Hit) -> Hit {
        Hit {
            start: self.before(hit.start, false),
            end: self.before(hit.end, true),
            ..hit
        }
    }

    /// Where a place of this text stood before; inside a mark, its nearer or farther edge.
    fn before(&self, at: usize, end: bool) -> usize {
        let done = self.marks.partition_point(|mark| mark.here.1 <= at);
        if let Some(mark) = self.marks.get(done).filter(|mark| at > mark.here.0) {
            return if end { mark.before.1 } else { mark.before.0 };
        }
        let last = done.checked_sub(1).and_then(|last| self.marks.get(last));
        last.map_or(at, |mark| mark.before.1 + (at - mark.here.1))
    }
}

#[cfg(test)]
mod tests {
    use super::super::detect::Kind;
    use super::*;

    fn hit(start: usize, end: usize) -> Hit {
        Hit::named(start, end, Kind::FAILED)
    }

    #[test]
    fn the_way_back_leads_to_what_was_read() {
        let key = FingerprintKey::new("k1", [7; 32]).unwrap();
        let text = "ab XXXX cd YY ef";
        let out = Replaced::of(text, &[hit(3, 7), hit(11, 13)], &key).unwrap();
        for word in ["ab", "cd", "ef"] {
            let at = out.text.find(word).unwrap();
            let back = out.original(hit(at, at + 2));
            assert_eq!(text.get(back.start..back.end), Some(word));
        }
        let whole = out.original(hit(0, out.text.len()));
        assert_eq!((whole.start, whole.end), (0, text.len()));
        let inside = out.original(hit(5, 8));
        assert_eq!(text.get(inside.start..inside.end), Some("XXXX"));
    }
}
