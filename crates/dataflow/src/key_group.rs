//! Key groups: the unit in which keyed state is assigned to subtasks.
//!
//! Invariant: the key group of a key depends on the key's value and the job's max parallelism alone, never on the
//! process, the build or the parallelism, since checkpoints are written by key group.
//!
//! The hash of one column's value is XXH3-64 with seed 0 over its canonical bytes (below); NULL hashes to 0.
//! A key of several columns folds them from left to right: `h = h * 0x9E3779B97F4A7C15 + hash(column)` (wrapping),
//! from `h = 0`. The key group is `(h >> 32) % max_parallelism`.
//!
//! | value | canonical bytes |
//! |---|---|
//! | integers, dates, times, timestamps | the value widened to `i64`, little endian (timestamps in the column's unit) |
//! | decimals | the unscaled `i128`, little endian |
//! | booleans | as the integer 0 or 1 |
//! | floats | `f64` bits, little endian; -0.0 as 0.0, every NaN as the same NaN |
//! | text, bytes | the bytes themselves |

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

/// Default number of key groups of a job.
pub const DEFAULT_MAX_PARALLELISM: u16 = 128;

/// Largest number of key groups (Flink's bound).
pub const MAX_MAX_PARALLELISM: u16 = 1 << 15;

const FOLD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Hash of one integer-like value.
#[inline]
pub fn hash_i64(value: i64) -> u64 {
    xxh3_64(&value.to_le_bytes())
}

/// Hash of a decimal's unscaled value.
#[inline]
pub fn hash_i128(value: i128) -> u64 {
    xxh3_64(&value.to_le_bytes())
}

/// Hash of one floating-point value.
#[inline]
pub fn hash_f64(value: f64) -> u64 {
    let canonical = if value.is_nan() {
        f64::NAN
    } else if value == 0.0 {
        0.0
    } else {
        value
    };
    xxh3_64(&canonical.to_bits().to_le_bytes())
}

/// Hash of text or bytes.
#[inline]
pub fn hash_bytes(value: &[u8]) -> u64 {
    xxh3_64(value)
}

/// Adds the hash of the next column to that of the columns before it.
#[inline]
pub fn fold(so_far: u64, column: u64) -> u64 {
    so_far.wrapping_mul(FOLD).wrapping_add(column)
}

/// The key group of a key with this hash.
#[inline]
pub fn key_group(hash: u64, max_parallelism: u16) -> u16 {
    ((hash >> 32) as u32 % u32::from(max_parallelism)) as u16
}

/// The subtask that owns a key group.
#[inline]
pub fn subtask_of(key_group: u16, parallelism: usize, max_parallelism: u16) -> usize {
    usize::from(key_group) * parallelism / usize::from(max_parallelism)
}

/// The key groups that a subtask owns: the inverse of [`subtask_of`].
pub fn range_of(subtask: usize, parallelism: usize, max_parallelism: u16) -> Range<u16> {
    let max = usize::from(max_parallelism);
    let start = (subtask * max).div_ceil(parallelism);
    let end = ((subtask + 1) * max).div_ceil(parallelism);
    start as u16..end as u16
}

/// Gives each record of a batch its key group.
pub trait KeySelector<B>: Send + Sync {
    /// Replaces `hashes` by one hash per row of `batch`.
    ///
    /// # Errors
    /// When a key column is missing or of a type that cannot be a key.
    fn hash(&self, batch: &B, hashes: &mut Vec<u64>) -> Result<(), crate::OperatorError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_vectors_never_change() {
        assert_eq!(hash_i64(0), 0xc77b_3abb_6f87_acd9);
        assert_eq!(hash_i64(1001), xxh3_64(&[0xe9, 3, 0, 0, 0, 0, 0, 0]));
        assert_eq!(hash_f64(-0.0), hash_f64(0.0));
        assert_eq!(hash_bytes(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(hash_f64(1.5), xxh3_64(&[0, 0, 0, 0, 0, 0, 0xf8, 0x3f]));
        assert_eq!(hash_i128(-2), xxh3_64(&[[0xfe].as_slice(), &[0xff; 15]].concat()));
        assert_eq!(fold(fold(0, 0), 7), 7);
        assert_eq!(fold(1, 2), 0x9e37_79b9_7f4a_7c17);
        assert_eq!(key_group(0x0000_0085_ffff_ffff, 128), 5);
    }

    #[test]
    fn ranges_partition_the_key_groups_and_agree_with_subtask_of() {
        for max in [1u16, 2, 7, 128, 1000] {
            for parallelism in 1..=usize::from(max).min(40) {
                let mut next = 0;
                for subtask in 0..parallelism {
                    let range = range_of(subtask, parallelism, max);
                    assert_eq!(range.start, next);
                    next = range.end;
                    assert!(range.clone().all(|g| subtask_of(g, parallelism, max) == subtask));
                }
                assert_eq!(next, max);
            }
        }
    }
}
