//! How fast a source may go: at most so many rows a second, in at least ten portions a second.

use streamkeeper_dataflow::time::Timestamp;

/// Portions a second, when there are that many rows.
const PORTIONS: f64 = 20.0;
/// What was missed while nobody asked is caught up for no longer than this.
const CATCH_UP_MS: f64 = 200.0;

/// Says how many rows may be emitted now. Pure: the time is handed in.
pub(crate) struct Pace {
    rows_per_second: f64,
    /// When the next portion is due; `None` before the first.
    due_ms: Option<f64>,
}

impl Pace {
    pub(crate) fn new(rows_per_second: f64) -> Self {
        Self { rows_per_second, due_ms: None }
    }

    /// The rows that may be emitted now, at least one, or when to ask again.
    pub(crate) fn rows(&mut self, now_ms: Timestamp) -> Result<usize, Timestamp> {
        let due = *self.due_ms.get_or_insert(now_ms as f64);
        if due > now_ms as f64 {
            return Err(due.ceil() as Timestamp);
        }
        Ok((self.rows_per_second / PORTIONS).max(1.0) as usize)
    }

    /// So many rows were emitted.
    pub(crate) fn took(&mut self, rows: usize, now_ms: Timestamp) {
        let due = self.due_ms.unwrap_or(now_ms as f64).max(now_ms as f64 - CATCH_UP_MS);
        self.due_ms = Some(due + rows as f64 * 1000.0 / self.rows_per_second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holds_the_rows_asked_for_in_many_portions() {
        for rate in [3.0, 100.0, 12_345.0, 1_000_000.0] {
            let mut pace = Pace::new(rate);
            let (mut now, mut rows, mut portions) = (5_000, 0, 0);
            while now < 15_000 {
                match pace.rows(now) {
                    Ok(n) => {
                        let n = n.min(8192);
                        pace.took(n, now);
                        rows += n;
                        portions += 1;
                    }
                    Err(until) => {
                        assert!(until > now);
                        now = until;
                    }
                }
            }
            let expected = rate * 10.0;
            assert!((rows as f64 - expected).abs() <= expected * 0.02 + 1.0, "{rate}: {rows}");
            assert!(f64::from(portions) >= expected.min(100.0), "{rate}: {portions}");
        }
    }
}
