//! Which results are kept: the newest. Only the leader writes any, so it knows them all once it has read them.

use std::collections::BTreeSet;

/// So many results are kept.
pub const MAX_RESULTS: usize = 1000;

/// One transaction removes no more than these; the next go on.
const MAX_REMOVED: usize = 20;

/// The results that are kept, by the time at which their jobs ended; `None` before they were read.
pub(crate) type ResultCache = Option<BTreeSet<(u64, String)>>;

/// Those that go when there is one more: the oldest.
pub(super) fn to_remove(kept: &BTreeSet<(u64, String)>, limit: usize) -> Vec<(u64, String)> {
    let over = (kept.len() + 1).saturating_sub(limit);
    kept.iter().take(over.min(MAX_REMOVED)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_when_there_is_one_too_many() {
        let kept: BTreeSet<_> = [(30, "a"), (10, "b"), (20, "c")].map(|(t, j)| (t, j.to_owned())).into();
        assert_eq!(to_remove(&kept, 4), []);
        assert_eq!(to_remove(&kept, 3), [(10, "b".to_owned())]);
        let many: BTreeSet<_> = (0..100).map(|n| (n, n.to_string())).collect();
        assert_eq!(to_remove(&many, 3).len(), MAX_REMOVED, "bounded");
    }
}
