//! The value of a bundle while its items come.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_schemas::events::{BlockedCode, BundleRef, PolicyChecked, Verdict};
use countersign_schemas::{AgentId, ApprovalId, BundleId, Digest, IntentId, Timestamp};
use serde::{Deserialize, Serialize};

use super::super::approval::Approval;
use super::super::format::Form;
use super::super::open::OpenError;
use super::super::rejudge::Stop;
use super::left_out::LeftOut;
use super::words;

/// Bytes of the verdicts of one bundle. It is kept in one entry of a bucket, again as an
/// approval, and a server takes 2 MiB in one message.
pub const GATHERED_BYTES_MAX: usize = 1024 * 1024;

/// What stands at one place of a bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// An item that may run if the bundle does.
    Waits {
        /// Its verdict.
        checked: Box<PolicyChecked>,
        /// When that was stored.
        stored_at: Timestamp,
        /// What the rules in force say against it since.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stop: Option<Box<Stop>>,
    },
    /// An item that will not run.
    LeftOut {
        /// What is shown of it.
        item: LeftOut,
        /// When its verdict was stored.
        stored_at: Timestamp,
    },
    /// Everything that follows is stored.
    Done(IntentId),
}

impl Place {
    fn intent(&self) -> IntentId {
        match self {
            Self::Waits { checked, .. } => checked.intent_id,
            Self::LeftOut { item, .. } => item.intent_id,
            Self::Done(intent) => *intent,
        }
    }

    fn stored_at(&self) -> Option<Timestamp> {
        match self {
            Self::Waits { stored_at, .. } | Self::LeftOut { stored_at, .. } => Some(*stored_at),
            Self::Done(_) => None,
        }
    }
}

/// How far a bundle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Progress {
    /// Items are missing, and may still come.
    Gathering,
    /// Every item is checked.
    Complete,
    /// The time was over before every item was checked.
    Incomplete,
}

/// What became of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// It has its place; the bundle changed and must be stored before anything else happens.
    Taken,
    /// It had its place before.
    Known,
    /// It is no part of the bundle: it is blocked by itself, and the bundle is as it was.
    Refused(BlockedCode, String),
}

/// What follows from a bundle as it is.
#[derive(Debug, PartialEq)]
pub enum BundleCourse<'a> {
    /// More items may come, until this moment.
    Wait(Timestamp),
    /// It never became whole: these are blocked, with this reason.
    Incomplete(Vec<&'a PolicyChecked>, String),
    /// Nothing of it asks: these are approved together.
    Emit(Vec<&'a PolicyChecked>),
    /// People decide.
    Ask(Box<Approval>),
    /// People should decide and cannot: these are blocked.
    Unaskable(Vec<&'a PolicyChecked>, OpenError),
    /// Everything that follows is stored.
    Done,
}

/// A bundle whose items are being checked, as kept by the coordinator.
///
/// Its size is fixed by the first item. Whatever the order in which items come, and however
/// often, the same items before the deadline give the same bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gathering {
    schema_version: Form,
    agent: AgentId,
    bundle: BundleId,
    size: u32,
    patience_s: u64,
    deadline: Timestamp,
    places: BTreeMap<u32, Place>,
    progress: Progress,
    /// Whether what an earlier bundle of rules allowed was judged again when it was whole.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    judged_again: bool,
    settled: bool,
}

impl Gathering {
    /// The bundle of its first item, still without it. It waits `patience` for the others,
    /// counted from the earliest.
    ///
    /// # Errors
    /// Why the item can have no place in any bundle.
    pub fn open(
        checked: &PolicyChecked,
        place: &BundleRef,
        stored_at: Timestamp,
        patience: Duration,
    ) -> Result<Self, (BlockedCode, String)> {
        if let Some(why) = words::misplaced(place) {
            return Err((BlockedCode::InvalidInput, why));
        }
        Ok(Self {
            schema_version: Form::default(),
            agent: checked.agent.clone(),
            bundle: place.id.clone(),
            size: place.size,
            patience_s: patience.as_secs().max(1),
            deadline: stored_at.plus(patience),
            places: BTreeMap::new(),
            progress: Progress::Gathering,
            judged_again: false,
            settled: false,
        })
    }

    /// The id of the approval that it may become.
    #[must_use]
    pub fn id(&self) -> ApprovalId {
        ApprovalId::for_bundle(&self.agent, &self.bundle)
    }

    /// The name that its agent gave it.
    #[must_use]
    pub fn name(&self) -> &BundleId {
        &self.bundle
    }

    /// Whose it is.
    #[must_use]
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// Until when items may come.
    #[must_use]
    pub fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// Whether items may still come.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.progress == Progress::Gathering
    }

    /// Whether everything that follows from its end is stored.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// Takes an item in, judged by a verdict that was stored at `stored_at`. Where its
    /// chain has its end already, `ended` says so, and it is left out.
    pub fn add(
        &mut self,
        checked: &PolicyChecked,
        place: &BundleRef,
        stored_at: Timestamp,
        ended: Option<(BlockedCode, String)>,
    ) -> Added {
        let intent = checked.intent_id;
        if self.places.values().any(|other| other.intent() == intent) {
            return Added::Known;
        }
        if let Some((code, why)) = self.objection(place, stored_at) {
            return Added::Refused(code, why);
        }
        let refusal = ended.or_else(|| words::refusal(checked)).or_else(|| {
            let large = self.bytes().saturating_add(bytes(checked)) > GATHERED_BYTES_MAX;
            large.then(|| (BlockedCode::InvalidInput, words::too_large()))
        });
        let taken = match refusal {
            Some((code, why)) => Place::LeftOut {
                item: LeftOut::new(checked, place, code, why),
                stored_at,
            },
            None => Place::Waits {
                checked: Box::new(checked.clone()),
                stored_at,
                stop: None,
            },
        };
        self.deadline = self.deadline.min(self.patience_of(&taken, stored_at));
        self.places.insert(place.index, taken);
        if self.missing().is_empty() {
            self.progress = Progress::Complete;
        }
        Added::Taken
    }

    fn objection(&self, place: &BundleRef, stored_at: Timestamp) -> Option<(BlockedCode, String)> {
        let wrong = |why| Some((BlockedCode::InvalidInput, why));
        if place.size != self.size {
            return wrong(words::another_size(place, self.size));
        }
        if let Some(why) = words::misplaced(place) {
            return wrong(why);
        }
        if self.places.contains_key(&place.index) {
            return wrong(words::doubled(place));
        }
        let over = !self.is_open() || stored_at >= self.deadline;
        over.then(|| {
            let why = words::late(place, self.deadline);
            (BlockedCode::BundleIncomplete, why)
        })
    }

    /// How long this item lets the bundle wait: no ask outlives what its rule says.
    fn patience_of(&self, place: &Place, stored_at: Timestamp) -> Timestamp {
        let until = stored_at.plus(Duration::from_secs(self.patience_s));
        match place {
            Place::Waits { checked, .. } if checked.verdict == Verdict::Ask => checked
                .ask
                .as_ref()
                .map_or(until, |ask| {
                    stored_at.plus(Duration::from_secs(ask.expires_in_s))
                })
                .min(until),
            Place::Waits { .. } | Place::LeftOut { .. } | Place::Done(_) => until,
        }
    }

    /// Why an item of this bundle is left out, if it is.
    #[must_use]
    pub fn left_out(&self, intent: IntentId) -> Option<&LeftOut> {
        self.all_left_out().find(|item| item.intent_id == intent)
    }

    /// Whether this item waits for the others.
    #[must_use]
    pub fn waits(&self, intent: IntentId) -> bool {
        self.waiting()
            .any(|(_, checked, _)| checked.intent_id == intent)
    }

    /// Leaves an item out that waited while the bundle is gathered; `false` where it does
    /// not wait, or no more items are awaited.
    pub fn leave_out(&mut self, intent: IntentId, code: BlockedCode, why: &str) -> bool {
        if !self.is_open() {
            return false;
        }
        for place in self.places.values_mut() {
            let Place::Waits {
                checked, stored_at, ..
            } = place
            else {
                continue;
            };
            if let Some(at) = checked
                .bundle
                .clone()
                .filter(|_| checked.intent_id == intent)
            {
                *place = Place::LeftOut {
                    item: LeftOut::new(checked, &at, code, why.to_owned()),
                    stored_at: *stored_at,
                };
                return true;
            }
        }
        false
    }

    /// Ends the gathering because its time is over. Does nothing before that, or once it
    /// has ended.
    pub fn close(&mut self, now: Timestamp) -> bool {
        let over = self.is_open() && now >= self.deadline;
        if over {
            self.progress = Progress::Incomplete;
        }
        over
    }

    /// What follows from the bundle as it is. The same bundle always gives the same.
    #[must_use]
    pub fn course(&self) -> BundleCourse<'_> {
        let live = || -> Vec<&PolicyChecked> { self.waiting().map(|(_, one, _)| one).collect() };
        match self.progress {
            _ if self.settled => BundleCourse::Done,
            Progress::Gathering => BundleCourse::Wait(self.deadline),
            Progress::Incomplete => {
                let (id, missing) = (self.bundle.as_str(), self.missing());
                let why = words::incomplete(id, self.size, &missing, self.deadline);
                BundleCourse::Incomplete(live(), why)
            }
            Progress::Complete if self.asks() => match Approval::of_bundle(self) {
                Ok(approval) => BundleCourse::Ask(Box::new(approval)),
                Err(error) => BundleCourse::Unaskable(live(), error),
            },
            Progress::Complete => {
                let runs = |checked: &&PolicyChecked| self.stop_of(checked.intent_id).is_none();
                BundleCourse::Emit(live().into_iter().filter(runs).collect())
            }
        }
    }

    /// What must be judged again before it is emitted: where nobody is asked, whatever
    /// another bundle of rules allowed than the one in force; all of it where nobody knows
    /// which one is. What people are asked about is judged again when they have decided.
    #[must_use]
    pub fn to_judge_again(&self, in_force: Option<Digest>) -> Vec<IntentId> {
        let whole = self.progress == Progress::Complete;
        if !whole || self.settled || self.judged_again || self.asks() {
            return Vec::new();
        }
        self.waiting()
            .filter(|(_, checked, _)| Some(checked.policy_digest) != in_force)
            .map(|(_, checked, _)| checked.intent_id)
            .collect()
    }

    /// Notes what became of that. From then on nobody judges it again, so whoever stores
    /// this first has decided which of the items run.
    pub fn judge_again(&mut self, stops: Vec<(IntentId, Stop)>) {
        self.judged_again = true;
        for (intent, why) in stops {
            for place in self.places.values_mut() {
                if let Place::Waits { checked, stop, .. } = place
                    && checked.intent_id == intent
                {
                    *stop = Some(Box::new(why.clone()));
                }
            }
        }
    }

    /// The items that the rules in force stop, each with the reason.
    pub fn stopped(&self) -> impl Iterator<Item = (&PolicyChecked, &Stop)> {
        self.places.values().filter_map(|place| match place {
            Place::Waits { checked, stop, .. } => Some((checked.as_ref(), stop.as_deref()?)),
            Place::LeftOut { .. } | Place::Done(_) => None,
        })
    }

    fn stop_of(&self, intent: IntentId) -> Option<&Stop> {
        let mut stopped = self.stopped();
        let found = stopped.find(|(checked, _)| checked.intent_id == intent);
        found.map(|(_, stop)| stop)
    }

    /// Notes that everything that follows from its end is stored. It keeps the places, to
    /// answer late items, and no copy of an input. Does nothing while items may come.
    pub fn settle(&mut self) {
        if self.is_open() {
            return;
        }
        self.settled = true;
        for place in self.places.values_mut() {
            match place {
                Place::LeftOut { item, .. } => item.summary.clear(),
                Place::Waits { .. } | Place::Done(_) => *place = Place::Done(place.intent()),
            }
        }
    }

    fn asks(&self) -> bool {
        self.waiting()
            .any(|(_, checked, _)| checked.verdict == Verdict::Ask)
    }

    /// The items that may run, in their order, each with its place and the store time of
    /// its verdict.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (u32, &PolicyChecked, Timestamp)> {
        self.places.iter().filter_map(|(index, place)| match place {
            Place::Waits {
                checked, stored_at, ..
            } => Some((*index, checked.as_ref(), *stored_at)),
            Place::LeftOut { .. } | Place::Done(_) => None,
        })
    }

    /// The items that will not run, in their order.
    pub(super) fn all_left_out(&self) -> impl Iterator<Item = &LeftOut> {
        self.places.values().filter_map(|place| match place {
            Place::LeftOut { item, .. } => Some(item),
            Place::Waits { .. } | Place::Done(_) => None,
        })
    }

    /// When its last item was checked.
    #[must_use]
    pub fn complete_at(&self) -> Timestamp {
        let times = self.places.values().filter_map(Place::stored_at);
        times.max().unwrap_or(self.deadline)
    }

    fn missing(&self) -> Vec<u32> {
        (0..self.size)
            .filter(|index| !self.places.contains_key(index))
            .collect()
    }

    fn bytes(&self) -> usize {
        let waiting = self.waiting().map(|(_, checked, _)| bytes(checked));
        waiting.fold(0, usize::saturating_add)
    }
}

/// What cannot be written counts as too much.
fn bytes(checked: &PolicyChecked) -> usize {
    serde_json::to_vec(checked).map_or(usize::MAX, |text| text.len())
}
