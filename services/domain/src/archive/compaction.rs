//! Which files are put together, and when. Pure: the caller brings time and files.
//!
//! An hour's files become one once the hour is over and nothing came to it for a while; the
//! files of a day become one likewise. A file that came late is put together with the rest
//! of its hour or day the same way.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_schemas::{Digest, Timestamp};

use super::files::Files;
use super::manifest::FileEntry;

/// When files are put together, and how large the result may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionLimits {
    /// How long an hour or a day must be over, and without a new file: an archiver that
    /// catches up writes many files of one hour, and merging them meanwhile is work done
    /// twice.
    pub quiet: Duration,
    /// Rows of one file: what a merge writes at once when a late file comes to it.
    pub rows: u64,
    /// Bytes of one file, for the same reason.
    pub bytes: u64,
}

/// What has been seen of each place, to know how long it has been quiet.
#[derive(Debug, Clone)]
pub struct Compaction {
    limits: CompactionLimits,
    seen: BTreeMap<String, Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    files: Digest,
    since: Timestamp,
}

/// The files of one hour or day.
#[derive(Debug)]
struct Place<'a> {
    ends: Timestamp,
    files: Vec<&'a FileEntry>,
}

impl Compaction {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(limits: CompactionLimits) -> Self {
        Self {
            limits,
            seen: BTreeMap::new(),
        }
    }

    /// The files to put together next, in the order of their rows; `None` if nothing is due.
    /// A day goes before its hours, and an older one before a younger.
    pub fn due(&mut self, files: &Files, now: Timestamp) -> Option<Vec<FileEntry>> {
        let (days, hours) = places(files);
        self.seen
            .retain(|name, _| days.contains_key(name) || hours.contains_key(name));
        let (mut day, mut hour) = (Vec::new(), Vec::new());
        // Every place is looked at, so that each one's time runs.
        for (name, place) in &days {
            let quiet = self.is_quiet(name, place, now);
            let whole = self.limits.first_that_fit(&place.files, 1);
            if quiet && day.is_empty() && whole.len() == place.files.len() && whole.len() > 1 {
                day = whole;
            }
        }
        for (name, place) in &hours {
            let quiet = self.is_quiet(name, place, now);
            let part = self.limits.first_that_fit(&place.files, 2);
            if quiet && hour.is_empty() && part.len() > 1 {
                hour = part;
            }
        }
        let chosen = if day.is_empty() { hour } else { day };
        let chosen: Vec<FileEntry> = chosen.into_iter().cloned().collect();
        (!chosen.is_empty()).then_some(chosen)
    }

    /// Whether the place is over and has had these very files for long enough.
    fn is_quiet(&mut self, name: &str, place: &Place<'_>, now: Timestamp) -> bool {
        let paths: Vec<&str> = place.files.iter().map(|file| file.path.as_str()).collect();
        let files = Digest::of_bytes(paths.join("\n").as_bytes());
        let fresh = Seen { files, since: now };
        let seen = self.seen.entry(name.to_owned()).or_insert(fresh);
        if seen.files != files {
            *seen = fresh;
        }
        let since = seen.since.max(place.ends);
        since.plus(self.limits.quiet) <= now
    }
}

impl CompactionLimits {
    /// As many files as fit into one, from the first row on, in the order of their rows.
    /// What is larger than a `share`th of the limits stays as it is, so that a place with
    /// more than one file's worth of rows comes to rest.
    fn first_that_fit<'a>(&self, files: &[&'a FileEntry], share: u64) -> Vec<&'a FileEntry> {
        let mut small: Vec<&FileEntry> = files
            .iter()
            .copied()
            .filter(|file| {
                file.rows.saturating_mul(share) <= self.rows
                    && file.bytes.saturating_mul(share) <= self.bytes
            })
            .collect();
        small.sort_by_key(|file| file.leaves.first().map_or(0, |leaves| leaves.first));
        let (mut rows, mut bytes) = (0_u64, 0_u64);
        small
            .into_iter()
            .take_while(|file| {
                rows = rows.saturating_add(file.rows);
                bytes = bytes.saturating_add(file.bytes);
                rows <= self.rows && bytes <= self.bytes
            })
            .collect()
    }
}

/// Places by name.
type Places<'a> = BTreeMap<String, Place<'a>>;

/// The files by day, and by hour. A file of several hours counts for its day alone.
fn places(files: &Files) -> (Places<'_>, Places<'_>) {
    let (mut days, mut hours) = (Places::new(), Places::new());
    for file in files.iter() {
        let hour = |at: Timestamp| at.seconds().div_euclid(HOUR);
        if hour(file.min_time) == hour(file.max_time) {
            put(&mut hours, "%Y-%m-%d/%H", HOUR, file);
        }
        put(&mut days, "%Y-%m-%d", DAY, file);
    }
    (days, hours)
}

fn put<'a>(places: &mut Places<'a>, form: &str, seconds: i64, file: &'a FileEntry) {
    let name = file.min_time.datetime().format(form).to_string();
    let over = file.min_time.seconds().div_euclid(seconds) + 1;
    let ends = Timestamp::from_micros(over.saturating_mul(seconds).saturating_mul(1_000_000));
    let place = places.entry(name).or_insert(Place {
        ends: ends.unwrap_or(file.max_time),
        files: Vec::new(),
    });
    place.files.push(file);
}

/// Seconds of an hour.
const HOUR: i64 = 3_600;
/// Seconds of a day.
const DAY: i64 = 24 * HOUR;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::manifest::{Leaves, Span};
    use crate::archive::{Entry, EntryKind};
    use crate::merkle::Tree;

    const LIMITS: CompactionLimits = CompactionLimits {
        quiet: Duration::from_secs(600),
        rows: 100,
        bytes: 10_000,
    };

    fn at(text: &str) -> Timestamp {
        format!("2026-11-22T{text}Z").parse().unwrap()
    }

    /// A file of `rows` rows from row `first` on, all of that time.
    fn file(first: u64, rows: u64, time: &str) -> FileEntry {
        let mut file = FileEntry {
            path: String::new(),
            sha256: Digest::of_bytes(&first.to_be_bytes()),
            bytes: rows * 10,
            rows,
            spans: vec![Span {
                stream: "CS_EVENTS".to_owned(),
                incarnation: "abc".parse().unwrap(),
                first_seq: first + 1,
                last_seq: first + rows,
            }],
            leaves: vec![Leaves {
                first,
                last: first + rows - 1,
            }],
            min_time: at(time),
            max_time: at(time),
        };
        file.path = file.expected_path();
        file
    }

    fn files(list: &[FileEntry]) -> Files {
        let mut files = Files::default();
        let entry = Entry {
            n: 1,
            prev: None,
            kind: EntryKind::Add,
            created: Timestamp::EPOCH,
            files: list.to_vec(),
            removes: Vec::new(),
            positions: Vec::new(),
            tree: Tree::default(),
            signer: String::new(),
        };
        files.apply(&entry).unwrap();
        files
    }

    /// What is due after it has been looked at once at `seen`.
    fn due(list: &[FileEntry], seen: &str, now: Timestamp) -> Vec<u64> {
        let mut compaction = Compaction::new(LIMITS);
        assert_eq!(compaction.due(&files(list), at(seen)), None);
        let due = compaction.due(&files(list), now).unwrap_or_default();
        due.iter().map(|file| file.leaves[0].first).collect()
    }

    #[test]
    fn an_hour_is_due_when_it_is_over_and_has_been_quiet() {
        let two = [file(0, 10, "10:01:00"), file(10, 10, "10:59:59")];
        let quiet = |seen, now| due(&two, seen, at(now));
        assert!(
            quiet("10:30:00", "11:09:59").is_empty(),
            "not over for long"
        );
        assert_eq!(quiet("10:30:00", "11:10:00"), [0, 10]);
        assert!(quiet("12:00:00", "12:09:59").is_empty(), "seen just now");
        assert_eq!(quiet("12:00:00", "12:10:00"), [0, 10]);
        let apart = [file(0, 10, "10:01:00"), file(10, 10, "11:00:00")];
        assert!(due(&apart, "12:00:00", at("13:00:00")).is_empty());
    }

    #[test]
    fn a_new_file_begins_the_quiet_anew() {
        let mut all = vec![file(0, 10, "10:01:00"), file(10, 10, "10:02:00")];
        let mut compaction = Compaction::new(LIMITS);
        assert_eq!(compaction.due(&files(&all), at("12:00:00")), None);
        all.push(file(20, 10, "10:03:00"));
        assert_eq!(compaction.due(&files(&all), at("12:09:00")), None);
        assert_eq!(compaction.due(&files(&all), at("12:10:00")), None);
        assert_eq!(
            compaction.due(&files(&all), at("12:19:00")).unwrap().len(),
            3
        );
    }

    #[test]
    fn a_day_goes_whole_or_not_at_all() {
        let next_day: Timestamp = "2026-11-23T01:00:00Z".parse().unwrap();
        let day = [file(0, 40, "10:01:00"), file(40, 60, "17:00:00")];
        assert_eq!(due(&day, "18:00:00", next_day), [0, 40]);
        let too_much = [file(0, 40, "10:01:00"), file(40, 61, "17:00:00")];
        assert!(due(&too_much, "18:00:00", next_day).is_empty());
    }

    #[test]
    fn a_place_with_more_rows_than_a_file_may_hold_comes_to_rest() {
        let mut all: Vec<FileEntry> = (0..5).map(|n| file(n * 40, 40, "10:01:00")).collect();
        assert_eq!(due(&all, "18:00:00", at("19:00:00")), [0, 40]);
        all.splice(0..2, [file(0, 80, "10:01:00")]);
        assert_eq!(due(&all, "18:00:00", at("19:00:00")), [80, 120]);
        all.splice(1..3, [file(80, 80, "10:01:00")]);
        assert!(due(&all, "18:00:00", at("19:00:00")).is_empty());
    }
}
