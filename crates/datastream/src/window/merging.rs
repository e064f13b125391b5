//! Which windows of a key become one: the core of merging windows.
//!
//! Invariant: the windows of a key are such that no two of them merge; adding one keeps it so.

/// What becomes of a new window: the window that it and those at the indices `merged` of `existing` become. None are
/// named when it stays alone, and the one when it is, or lies within, an existing one.
pub(crate) fn add_window<W: PartialEq>(
    existing: &[W],
    new: W,
    merge: impl Fn(&W, &W) -> Option<W>,
    merged: &mut Vec<usize>,
) -> W {
    merged.clear();
    let mut result = new;
    // What it becomes may reach further ones.
    loop {
        let before = merged.len();
        for (index, window) in existing.iter().enumerate() {
            if !merged.contains(&index)
                && let Some(both) = merge(&result, window)
            {
                result = both;
                merged.push(index);
            }
        }
        if merged.len() == before {
            return result;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::TimeWindow;

    fn add(existing: &[(i64, i64)], new: (i64, i64)) -> ((i64, i64), Vec<usize>) {
        let existing: Vec<_> = existing.iter().map(|(start, end)| TimeWindow::new(*start, *end)).collect();
        let mut merged = Vec::new();
        let merge = |a: &TimeWindow, b: &TimeWindow| a.intersects(b).then(|| a.cover(b));
        let window = add_window(&existing, TimeWindow::new(new.0, new.1), merge, &mut merged);
        merged.sort_unstable();
        ((window.start, window.end), merged)
    }

    #[test]
    fn a_window_merges_with_all_that_it_touches() {
        assert_eq!(add(&[], (5, 15)), ((5, 15), vec![]));
        assert_eq!(add(&[(0, 4), (20, 30)], (5, 15)), ((5, 15), vec![]));
        assert_eq!(add(&[(0, 5), (20, 30)], (5, 15)), ((0, 15), vec![0]));
        assert_eq!(add(&[(20, 30), (0, 8)], (5, 21)), ((0, 30), vec![0, 1]));
        assert_eq!(add(&[(0, 30)], (5, 15)), ((0, 30), vec![0]));
        assert_eq!(add(&[(5, 15)], (5, 15)), ((5, 15), vec![0]));
    }

    #[test]
    fn what_it_becomes_can_reach_further_windows() {
        // 100 apart at most: the new one reaches the middle one only, both together reach the first.
        let near = |a: &(i64, i64), b: &(i64, i64)| {
            (a.0 - b.1 <= 100 && b.0 - a.1 <= 100).then(|| (a.0.min(b.0), a.1.max(b.1)))
        };
        let mut merged = Vec::new();
        assert_eq!(add_window(&[(0, 1), (90, 91)], (180, 181), near, &mut merged), (0, 181));
        merged.sort_unstable();
        assert_eq!(merged, [0, 1]);
    }
}
