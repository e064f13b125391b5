//! Who leads, and how soon after a leader's death: pure.
//!
//! Two elections: that of candidates by a latch in ZooKeeper (first come), and that of ZooKeeper's servers among themselves (fast
//! leader election: the vote with the highest epoch, then zxid, then id wins once a quorum has it).

use std::str::FromStr;
use std::time::Duration;

use super::sheet::Line;
use super::zab::Ensemble;
use crate::probe::negotiated;

/// A server's vote for itself. Votes are ordered as servers order them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Vote {
    pub(super) epoch: u32,
    pub(super) zxid: u64,
    pub(super) id: u8,
}

/// `epoch:zxid:id`; the zxid may be hexadecimal, with `0x`.
impl FromStr for Vote {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let mut parts = text.split(':');
            let (epoch, zxid, id) = (parts.next()?, parts.next()?, parts.next()?);
            let zxid = match zxid.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16).ok()?,
                None => zxid.parse().ok()?,
            };
            let vote = Vote { epoch: epoch.parse().ok()?, zxid, id: id.parse().ok()? };
            (parts.next().is_none() && vote.id > 0).then_some(vote)
        };
        parse().ok_or_else(|| "a vote is epoch:zxid:id, the id from 1 to 255, as 1:0x100000007:3".to_owned())
    }
}

/// Who wins among the servers that take part; `None`: they are no quorum of all.
pub(super) fn elected(votes: &[Vote], servers: usize) -> Option<Vote> {
    (votes.len() > servers / 2).then(|| votes.iter().max().copied()).flatten()
}

/// The article's `P(k) = 1 − (1−1/n)^k`: that one of n has led at least once in k elections, were each a draw.
pub(super) fn article(servers: usize, rounds: u32) -> f64 {
    1.0 - (1.0 - 1.0 / servers as f64).powf(f64::from(rounds))
}

/// After how long a dead leader's session ends, at least and at most: a client that is idle pings every third of its timeout, and a
/// server looks at sessions once a tick.
pub(super) fn expiry(session_timeout: Duration, tick: Duration) -> (Duration, Duration) {
    (session_timeout * 2 / 3, session_timeout + tick)
}

/// After how many milliseconds a dead leader is deposed by fencing: half a round trip until its connection breaks, one until its port
/// refuses another, and one for the transaction that deposes it, with its commit.
pub(super) fn fencing(rtt: f64, commit: f64) -> f64 {
    2.5 * rtt + commit
}

pub(super) fn article_lines(servers: usize, rounds: u32) -> Vec<Line> {
    let note = "takes an election for a draw; it is none";
    vec![Line::number(
        format!("P(k) = 1 - (1 - 1/n)^k, k = {rounds}"),
        Some(article(servers, rounds)),
        "",
        note,
    )]
}

/// What the lines are made from, besides the ensemble.
pub(super) struct Given {
    pub(super) rtt: f64,
    pub(super) rounds: u32,
    pub(super) session_timeout: Duration,
    pub(super) tick: Duration,
    pub(super) votes: Vec<Vote>,
}

pub(super) fn corrected_lines(ensemble: &Ensemble, given: &Given) -> Vec<Line> {
    let servers = ensemble.servers();
    let granted = negotiated(given.session_timeout, given.tick);
    let (least, most) = expiry(granted, given.tick);
    let ms = |duration: Duration| Some(duration.as_secs_f64() * 1000.0);
    let next = match usize::try_from(given.rounds) {
        Ok(deaths) if deaths < servers => format!("candidate {}", deaths + 1),
        _ => "nobody, until one comes back behind all others".to_owned(),
    };
    let winner = match elected(&given.votes, servers) {
        Some(vote) => format!("server {} (epoch {}, zxid {:#x})", vote.id, vote.epoch, vote.zxid),
        None => format!("nobody: {} of {servers} servers are no quorum", given.votes.len()),
    };
    vec![
        Line::text(
            "latch, leads first",
            "candidate 1",
            "the lowest sequence number: first come, and with certainty",
        ),
        Line::text(
            format!("latch, leads after {} deaths", given.rounds),
            next,
            "each waits for the one before it",
        ),
        Line::number(
            "deposed by fencing = 2.5*RTT + commit",
            Some(fencing(given.rtt, ensemble.commit())),
            "ms",
            "a process that died: its port refuses connections",
        ),
        Line::number("session timeout granted = min(max(asked, 2 ticks), 20 ticks)", ms(granted), "ms", ""),
        Line::number(
            "deposed by its session, at least 2/3*timeout",
            ms(least),
            "ms",
            "a machine that is gone, or cut off",
        ),
        Line::number("deposed by its session, at most timeout + tick", ms(most), "ms", ""),
        Line::text("ensemble, max (epoch, zxid, id) of a quorum", winner, "so no committed write is lost"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_article_draws_lots() {
        assert_eq!((article(1, 1), article(2, 1), article(2, 2)), (1.0, 0.5, 0.75));
        assert_eq!(article(5, 0), 0.0);
        assert!((article(3, 3) - 19.0 / 27.0).abs() < 1e-12);
    }

    #[test]
    fn epoch_comes_before_zxid_before_id_and_a_quorum_is_needed() {
        let votes = |all: &[&str]| all.iter().map(|vote| vote.parse().unwrap()).collect::<Vec<Vote>>();
        let winner = |all: &[&str]| elected(&votes(all), 3).map(|vote| vote.id);
        assert_eq!(winner(&["1:9:3", "2:1:1"]), Some(1));
        assert_eq!(winner(&["1:0x10:1", "1:9:3"]), Some(1));
        assert_eq!(winner(&["1:9:1", "1:9:2"]), Some(2));
        assert_eq!(winner(&["9:9:3"]), None);
        for wrong in ["", "1:2", "1:2:3:4", "1:x:3", "1:2:0", "1:2:256"] {
            assert!(wrong.parse::<Vote>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn fencing_takes_milliseconds_and_sessions_their_time() {
        assert_eq!(fencing(2.0, 3.0), 8.0);
        let (least, most) = expiry(Duration::from_secs(30), Duration::from_secs(2));
        assert_eq!((least, most), (Duration::from_secs(20), Duration::from_secs(32)));
    }
}
