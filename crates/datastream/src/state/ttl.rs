//! Time to live: values that go away by themselves.
//!
//! Each value, element of a list or entry of a map has a stamp, the processing time of its last access; it expires when
//! that is its time to live ago. Invariant: an expired one is not shown, unless asked for; it is removed when it is looked at,
//! when the cleanup comes by, and it is in no checkpoint.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use streamkeeper_dataflow::time::Timestamp;

use crate::Data;

/// What renews a value's time to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpdateType {
    /// Writing it.
    #[default]
    OnCreateAndWrite,
    /// Reading it as well.
    OnReadAndWrite,
}

/// Whether a value is shown when it has expired but is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StateVisibility {
    /// Never.
    #[default]
    NeverReturnExpired,
    /// Until the cleanup has come by. (Flink removes a value when it has shown it once; here only the cleanup removes it.)
    ReturnExpiredIfNotCleanedUp,
}

/// How long values live, by processing time. As in Flink, a list's elements and a map's entries live each by itself.
///
/// Expired values are removed when they are looked at, and by a cleanup that looks at a few keys with each record
/// ([`StateTtlConfig::cleanup_incrementally`]). Checkpoints do not hold them. A state that was written without a time to live
/// cannot be restored with one, nor the other way round; the time itself may be changed.
///
/// ```
/// use std::time::Duration;
/// use streamkeeper_datastream::state::{StateDescriptor, StateTtlConfig, UpdateType};
///
/// let ttl = StateTtlConfig::new(Duration::from_secs(3_600)).update_type(UpdateType::OnReadAndWrite);
/// let sessions = StateDescriptor::new("sessions").enable_time_to_live(ttl);
/// // in a function's `open`: context.map_state(sessions)?
/// # let _ = sessions;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateTtlConfig {
    pub(crate) ttl: Duration,
    pub(crate) update_type: UpdateType,
    pub(crate) visibility: StateVisibility,
    pub(crate) cleanup: usize,
}

impl StateTtlConfig {
    /// Values live for `ttl`, renewed when they are written, and are never shown when they have expired.
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, update_type: UpdateType::default(), visibility: StateVisibility::default(), cleanup: 5 }
    }

    /// What renews a value's time.
    pub fn update_type(mut self, update_type: UpdateType) -> Self {
        self.update_type = update_type;
        self
    }

    /// Whether expired values are shown.
    pub fn state_visibility(mut self, visibility: StateVisibility) -> Self {
        self.visibility = visibility;
        self
    }

    /// With each record the cleanup looks at this many keys of the subtask, in turn; 5 unless set, 0 for none.
    pub fn cleanup_incrementally(mut self, keys: usize) -> Self {
        self.cleanup = keys;
        self
    }
}

/// A state's name, and how long its values live.
///
/// A name alone is one, too: `context.value_state("count")`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDescriptor {
    pub(crate) name: String,
    pub(crate) ttl: Option<StateTtlConfig>,
}

impl StateDescriptor {
    /// A state with this name, unique within its operator, whose values live until they are removed.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ttl: None }
    }

    /// Values go away by themselves.
    pub fn enable_time_to_live(mut self, config: StateTtlConfig) -> Self {
        self.ttl = Some(config);
        self
    }
}

impl From<&str> for StateDescriptor {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for StateDescriptor {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

/// The time at hand, to judge stamps by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expiry {
    pub(crate) now: Timestamp,
    pub(crate) ttl_ms: i64,
}

impl Expiry {
    pub(crate) fn new(config: &StateTtlConfig, now: Timestamp) -> Self {
        Self { now, ttl_ms: i64::try_from(config.ttl.as_millis()).unwrap_or(i64::MAX) }
    }

    pub(crate) fn has_expired(self, stamp: Timestamp) -> bool {
        stamp.saturating_add(self.ttl_ms) <= self.now
    }
}

/// What lives by itself in a value of type `V`.
pub(crate) trait Lifetimes<V>: 'static {
    /// The stamps of one value.
    type Stamps: Data + Default;

    /// The stamps of a value that was written now.
    fn stamp(value: &V, now: Timestamp) -> Self::Stamps;

    /// Removes what has expired; true when nothing is left.
    fn expire(value: &mut V, stamps: &mut Self::Stamps, expiry: Expiry) -> bool;

    /// Renews what has not expired.
    fn renew(stamps: &mut Self::Stamps, expiry: Expiry);
}

/// The value as a whole.
pub(crate) struct Whole;

impl<V> Lifetimes<V> for Whole {
    type Stamps = Timestamp;

    fn stamp(_: &V, now: Timestamp) -> Timestamp {
        now
    }

    fn expire(_: &mut V, stamp: &mut Timestamp, expiry: Expiry) -> bool {
        expiry.has_expired(*stamp)
    }

    fn renew(stamp: &mut Timestamp, expiry: Expiry) {
        if !expiry.has_expired(*stamp) {
            *stamp = expiry.now;
        }
    }
}

/// Each element of a list.
pub(crate) struct Elements;

impl<V: Data> Lifetimes<Vec<V>> for Elements {
    type Stamps = Vec<Timestamp>;

    fn stamp(list: &Vec<V>, now: Timestamp) -> Vec<Timestamp> {
        vec![now; list.len()]
    }

    fn expire(list: &mut Vec<V>, stamps: &mut Vec<Timestamp>, expiry: Expiry) -> bool {
        if stamps.iter().any(|stamp| expiry.has_expired(*stamp)) {
            let mut of = stamps.iter();
            list.retain(|_| of.next().is_some_and(|stamp| !expiry.has_expired(*stamp)));
            stamps.retain(|stamp| !expiry.has_expired(*stamp));
        }
        list.is_empty()
    }

    fn renew(stamps: &mut Vec<Timestamp>, expiry: Expiry) {
        stamps.iter_mut().for_each(|stamp| <Whole as Lifetimes<V>>::renew(stamp, expiry));
    }
}

/// Each entry of a map.
pub(crate) struct Entries;

impl<K, V, H> Lifetimes<HashMap<K, V, H>> for Entries
where
    K: Data + Eq + Hash,
    V: Data,
    H: BuildHasher + Clone + Default + Send + 'static,
{
    type Stamps = HashMap<K, Timestamp, H>;

    fn stamp(map: &HashMap<K, V, H>, now: Timestamp) -> Self::Stamps {
        map.keys().map(|key| (key.clone(), now)).collect()
    }

    fn expire(map: &mut HashMap<K, V, H>, stamps: &mut Self::Stamps, expiry: Expiry) -> bool {
        stamps.retain(|key, stamp| {
            let expired = expiry.has_expired(*stamp);
            if expired {
                map.remove(key);
            }
            !expired
        });
        map.is_empty()
    }

    fn renew(stamps: &mut Self::Stamps, expiry: Expiry) {
        stamps.values_mut().for_each(|stamp| <Whole as Lifetimes<V>>::renew(stamp, expiry));
    }
}
