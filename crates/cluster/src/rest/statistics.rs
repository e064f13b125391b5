//! Sums, means and percentiles, in Flink's forms: pure.

use serde_json::{Map, Value, json};

/// The percentile `p` of sorted values, by the method that Flink uses: position `p·(n+1)`, straight lines between ranks (Apache
/// Commons Math's "legacy" estimate). `None`: there are no values.
pub(super) fn percentile(sorted: &[i64], p: f64) -> Option<f64> {
    let (first, last) = (*sorted.first()?, *sorted.last()?);
    let position = p * (sorted.len() as f64 + 1.0);
    let rank = position.floor() as usize;
    Some(match rank {
        0 => first as f64,
        rank if rank >= sorted.len() => last as f64,
        rank => {
            let (low, high) = (sorted[rank - 1] as f64, sorted[rank] as f64);
            low + (position - position.floor()) * (high - low)
        }
    })
}

/// As in statistics of checkpoints: whole numbers, and percentiles with a fraction, which are `"NaN"` when there is nothing.
pub(super) fn summary(values: impl IntoIterator<Item = i64>) -> Value {
    let mut sorted: Vec<i64> = values.into_iter().collect();
    sorted.sort_unstable();
    let of = |p| percentile(&sorted, p).map_or_else(|| json!("NaN"), |value| json!(value));
    json!({
        "min": sorted.first().copied().unwrap_or(0),
        "max": sorted.last().copied().unwrap_or(0),
        "avg": mean(&sorted),
        "p50": of(0.5),
        "p90": of(0.9),
        "p95": of(0.95),
        "p99": of(0.99),
        "p999": of(0.999),
    })
}

/// As in aggregates over subtasks: whole numbers all.
pub(super) fn aggregate(values: impl IntoIterator<Item = i64>) -> Value {
    let mut sorted: Vec<i64> = values.into_iter().collect();
    sorted.sort_unstable();
    let of = |p| percentile(&sorted, p).unwrap_or(0.0) as i64;
    json!({
        "p25": of(0.25),
        "min": sorted.first().copied().unwrap_or(0),
        "avg": mean(&sorted),
        "median": of(0.5),
        "max": sorted.last().copied().unwrap_or(0),
        "sum": sum(&sorted),
        "p95": of(0.95),
        "p75": of(0.75),
    })
}

fn sum(values: &[i64]) -> i64 {
    values.iter().fold(0, |sum, value| sum.saturating_add(*value))
}

fn mean(values: &[i64]) -> i64 {
    sum(values) / (values.len() as i64).max(1)
}

/// What can be asked of a metric of several things: the `agg` of Flink's endpoints.
pub(super) const AGGREGATES: [&str; 4] = ["min", "max", "avg", "sum"];

/// Those of `AGGREGATES` that were asked for, of values of which there is at least one.
pub(super) fn aggregated(values: &[f64], asked: &[&str]) -> Map<String, Value> {
    let sum: f64 = values.iter().sum();
    let of = |name: &str| match name {
        "min" => values.iter().copied().fold(f64::INFINITY, f64::min),
        "max" => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        "avg" => sum / values.len() as f64,
        _ => sum,
    };
    let asked = AGGREGATES.iter().filter(|name| asked.is_empty() || asked.contains(name));
    asked.map(|name| ((*name).to_owned(), json!(of(name)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_flink() {
        assert_eq!(percentile(&[], 0.5), None);
        assert_eq!(percentile(&[7], 0.999), Some(7.0));
        assert_eq!(percentile(&[1, 2, 3, 4], 0.5), Some(2.5));
        assert_eq!(percentile(&[1, 2, 3, 4], 0.9), Some(4.0));
        assert_eq!(percentile(&[10, 20, 30], 0.1), Some(10.0));
        assert_eq!(percentile(&[0, 10, 20, 30, 40, 50, 60, 70, 80, 90], 0.25), Some(17.5));
        assert_eq!(summary([])["p50"], json!("NaN"));
        assert_eq!(summary([3, 1, 2])["avg"], json!(2));
        assert_eq!(aggregate([4, 2])["sum"], json!(6));
        assert_eq!(
            Value::Object(aggregated(&[1.0, 4.0], &["max", "avg"])),
            json!({ "max": 4.0, "avg": 2.5 })
        );
        assert_eq!(aggregated(&[1.0], &[]).len(), 4);
    }
}
