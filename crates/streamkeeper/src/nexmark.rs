//! Nexmark bids as CSV files, from a seed: the same numbers give the same bytes.
//!
//! After the Nexmark generator (Apache Beam's, as `nexmark/nexmark` runs it on Flink): of 50 events 1 is a person, 3 are
//! auctions and 46 bids; one bid in two goes to the hot auction, three in four come from the hot bidder, half of the
//! channels are one of four. Only bids are written.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Event time of the first event: 2015-07-15 00:00:00 UTC, epoch milliseconds.
const BASE_TIME_MS: u64 = 1_436_918_400_000;
const FIRST_ID: u64 = 1000;
const PERSONS: u64 = 1;
const AUCTIONS: u64 = 3;
const EVENTS: u64 = 50;
const ACTIVE_PEOPLE: u64 = 1000;
const IN_FLIGHT_AUCTIONS: u64 = 100;
const ROWS_PER_FILE: u64 = 1_000_000;
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

/// xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled" (2016).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    fn letters(&mut self, count: u64, into: &mut Vec<u8>) {
        for _ in 0..count {
            into.push(b'a' + self.below(26) as u8);
        }
    }
}

/// Writes `bids` bids to CSV files in `directory`; returns their size in bytes.
pub(crate) fn write_bids(
    directory: &Path,
    bids: u64,
    events_per_second: u64,
    seed: u64,
) -> std::io::Result<u64> {
    std::fs::create_dir_all(directory)?;
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut bytes = 0;
    let mut row = Vec::with_capacity(256);
    let mut event = 0;
    let mut written = 0;
    while written < bids {
        let path = directory.join(format!("bid-{:04}.csv", written / ROWS_PER_FILE));
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        let end = bids.min(written + ROWS_PER_FILE);
        while written < end {
            if event % EVENTS >= PERSONS + AUCTIONS {
                row.clear();
                bid(event, events_per_second, &mut random, &mut row)?;
                file.write_all(&row)?;
                bytes += row.len() as u64;
                written += 1;
            }
            event += 1;
        }
        file.flush()?;
    }
    Ok(bytes)
}

fn bid(event: u64, events_per_second: u64, random: &mut Random, row: &mut Vec<u8>) -> std::io::Result<()> {
    let epoch = event / EVENTS;
    let last_auction = epoch * AUCTIONS + AUCTIONS - 1;
    let auction = if random.below(2) > 0 {
        last_auction / 100 * 100
    } else {
        let oldest = last_auction.saturating_sub(IN_FLIGHT_AUCTIONS);
        oldest + random.below(last_auction - oldest + 1)
    };
    let bidder = if random.below(4) > 0 {
        epoch / 100 * 100 + 1
    } else {
        let active = (epoch + 1).min(ACTIVE_PEOPLE);
        epoch + 1 - active + random.below(active)
    };
    // Log-uniform between 1 and 10^8 cents.
    let price = 10f64.powf(random.below(1_000_000) as f64 / 1_000_000.0 * 6.0) * 100.0;
    write!(row, "{},{},{},", FIRST_ID + auction, FIRST_ID + bidder, price as u64)?;
    let channel = if random.below(2) > 0 {
        let hot = random.below(4);
        row.extend_from_slice(HOT_CHANNELS[hot as usize].as_bytes());
        hot
    } else {
        let channel = random.below(10_000);
        write!(row, "channel-{channel}")?;
        channel
    };
    row.extend_from_slice(b",https://www.nexmark.com/");
    let mut path = Random(channel * 77 + 12345);
    for _ in 0..3 {
        path.letters(5, row);
        row.push(b'/');
    }
    write!(row, "item.htm?query=1&channel_id={},", path.below(1 << 30))?;
    let ms = BASE_TIME_MS + event * 1000 / events_per_second;
    let time = chrono::DateTime::from_timestamp_millis(ms as i64).unwrap_or_default();
    write!(row, "{},", time.format("%Y-%m-%d %H:%M:%S%.3f"))?;
    let length = 4 + random.below(12);
    random.letters(length, row);
    row.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bids_in_order_of_time() {
        let directory = tempfile::tempdir().expect("temp dir");
        for name in ["a", "b"] {
            write_bids(&directory.path().join(name), 5000, 10_000, 42).expect("writable");
        }
        let read = |name: &str| {
            std::fs::read_to_string(directory.path().join(name).join("bid-0000.csv")).expect("text")
        };
        let text = read("a");
        assert_eq!(text, read("b"));
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!(rows.len(), 5000);
        assert!(rows.iter().all(|row| row.len() == 7));
        assert!(rows.is_sorted_by_key(|row| row[5]));
        assert_eq!(rows[4999][5], "2015-07-15 00:00:00.543");
        let hot = rows.iter().filter(|row| row[1].ends_with("01")).count();
        assert!((3600..3900).contains(&hot), "three bids in four come from a hot bidder: {hot}");
    }
}
