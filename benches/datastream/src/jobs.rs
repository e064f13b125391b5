//! What the jobs have in common: their input, made of a running number, so that every engine has the same and none waits
//! for a disk.

use serde::{Deserialize, Serialize};

/// A Nexmark bid, its numbers only: the less a record costs by itself, the more an engine's overhead shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bid {
    pub auction: u64,
    pub bidder: u64,
    pub price: u64,
    pub date_time: i64,
}

/// SplitMix64 (Steele, Lea, Flood 2014).
#[inline]
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Bid `n`: every second one goes to the hot auction of its time, the others to one of about a hundred open ones.
#[inline]
pub fn bid(n: u64) -> Bid {
    let random = mix(n);
    let newest = 1000 + n * 3 / 46;
    let auction = if random & 1 == 0 { newest / 100 * 100 } else { newest + (random >> 8) % 100 };
    Bid { auction, bidder: 1000 + (random >> 16) % 1000, price: random >> 40, date_time: n as i64 / 10 }
}

/// Lines of eight words, from a vocabulary of 10,000 in which word r comes with a frequency of about 1/r.
pub fn lines() -> Vec<String> {
    let word = |n: u64| {
        let random = mix(n);
        let rank = (10_000f64.powf((random >> 11) as f64 / (1u64 << 53) as f64)) as u64;
        let length = 3 + mix(rank) % 7;
        (0..length).map(|i| (b'a' + (mix(rank * 31 + i) % 26) as u8) as char).collect::<String>()
    };
    (0..20_000).map(|line| (0..8).map(|i| word(line * 8 + i)).collect::<Vec<_>>().join(" ")).collect()
}

/// The records that enter the last operator of `job` for `records` numbers at its source.
pub fn records_counted(job: &str, records: u64) -> u64 {
    if job == "word-count" { records * 8 } else { records }
}
