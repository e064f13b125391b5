//! How long a write takes in an ensemble: pure.
//!
//! The leader sends a proposal to all followers and logs it itself meanwhile; whoever has it on disk acknowledges; the write is
//! committed with the acknowledgement that makes the quorum (Junqueira, Reed, Serafini: Zab, DSN 2011; ZooKeeper's `Leader`).

use super::sheet::Line;

/// An ensemble as it is modelled. Milliseconds all.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ensemble {
    /// What the leader's disk takes to make a write durable.
    pub(super) leader_fsync: f64,
    /// Of each follower: the round trip to it, and its disk.
    pub(super) followers: Vec<(f64, f64)>,
}

impl Ensemble {
    /// `rtt`: one for all followers, or one for each. `fsync`: one for all servers, or one for each, the leader first.
    pub(super) fn new(servers: usize, rtt: &[f64], fsync: &[f64]) -> Result<Self, String> {
        let each = |name: &str, given: &[f64], count: usize, of: &str| match given {
            [one] => Ok(vec![*one; count]),
            all if all.len() == count => Ok(all.to_vec()),
            all => Err(format!("--{name} has {} values: give one, or {count}, one for each {of}", all.len())),
        };
        let fsync = each("fsync", fsync, servers, "server, the leader first")?;
        let rtt = each("rtt", rtt, servers.saturating_sub(1), "follower")?;
        let followers = rtt.into_iter().zip(fsync.iter().skip(1).copied()).collect();
        Ok(Self { leader_fsync: fsync.first().copied().unwrap_or(0.0), followers })
    }

    pub(super) fn servers(&self) -> usize {
        self.followers.len() + 1
    }

    /// More than half of all servers.
    pub(super) fn quorum(&self) -> usize {
        self.servers() / 2 + 1
    }

    /// When a follower's acknowledgement is with the leader, the fastest first.
    fn acknowledgements(&self) -> Vec<f64> {
        let mut all: Vec<f64> = self.followers.iter().map(|(rtt, fsync)| rtt + fsync).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    /// When the quorum has a write on disk: the leader's own acknowledgement is one among the others.
    pub(super) fn commit(&self) -> f64 {
        let mut all = self.acknowledgements();
        all.push(self.leader_fsync);
        all.sort_by(f64::total_cmp);
        all[self.quorum() - 1]
    }

    /// The same if the leader sent its proposal only when it is on its own disk: its fsync, and the k-th fastest follower.
    pub(super) fn commit_in_turn(&self) -> f64 {
        let followers = self.quorum() - 1;
        let slowest_needed = followers.checked_sub(1).map_or(0.0, |at| self.acknowledgements()[at]);
        self.leader_fsync + slowest_needed
    }

    /// The k-th fastest of m followers when each takes its mean round trip and an exponentially distributed time for its disk, with the
    /// mean of all: `RTT + F·(H(m) − H(m−k))`, H the harmonic numbers. `None`: there are no followers.
    pub(super) fn expected_follower(&self) -> Option<f64> {
        let m = self.followers.len();
        if m == 0 {
            return None;
        }
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / m as f64;
        let rtt = mean(&mut self.followers.iter().map(|(rtt, _)| *rtt));
        let fsync = mean(&mut self.followers.iter().map(|(_, fsync)| *fsync));
        Some(rtt + fsync * (harmonic(m) - harmonic(m - (self.quorum() - 1))))
    }
}

fn harmonic(n: usize) -> f64 {
    (1..=n).map(|i| 1.0 / i as f64).sum()
}

/// The article's `T = 2n/(n−1)·R`; `None` for n = 1, where it divides by zero.
pub(super) fn article(servers: usize, rtt: f64) -> Option<f64> {
    (servers > 1).then(|| 2.0 * servers as f64 / (servers as f64 - 1.0) * rtt)
}

pub(super) fn article_lines(ensemble: &Ensemble, rtt: f64) -> Vec<Line> {
    let note = "falls with every server that is added, and knows no disk; divides by zero for n = 1";
    vec![Line::number("T = 2n/(n-1)*R", article(ensemble.servers(), rtt), "ms", note)]
}

pub(super) fn corrected_lines(ensemble: &Ensemble) -> Vec<Line> {
    let (servers, quorum, commit) = (ensemble.servers(), ensemble.quorum(), ensemble.commit());
    let count = |number: usize| Some(number as f64);
    let needed = quorum - 1;
    vec![
        Line::number("quorum, q = floor(n/2) + 1", count(quorum), "servers", ""),
        Line::number("failures that it survives, n - q", count(servers - quorum), "servers", ""),
        Line::number(
            "commit = q-th smallest of F_leader and RTT_i + F_i",
            Some(commit),
            "ms",
            "the leader's fsync goes on beside the followers', and counts as one of the q",
        ),
        Line::number(
            format!("bound = F_leader + k-th fastest RTT_i + F_i, k = q - 1 = {needed}"),
            Some(ensemble.commit_in_turn()),
            "ms",
            "if the leader sent its proposal only after its own fsync",
        ),
        Line::number(
            format!(
                "k-th fastest follower, expected = RTT + F*(H({}) - H({}))",
                servers - 1,
                servers - 1 - needed
            ),
            ensemble.expected_follower(),
            "ms",
            "when the time of an fsync scatters exponentially around its mean",
        ),
        Line::number(
            "writes one after the other = 1000/commit",
            (commit > 0.0).then(|| 1000.0 / commit),
            "/s",
            "of one client that waits for each, beside the leader; more under way at once share an fsync",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_article_has_no_value_for_one_server_and_falls_with_more() {
        assert_eq!(article(1, 1.0), None);
        assert_eq!((article(2, 1.0), article(3, 2.0), article(5, 1.0)), (Some(4.0), Some(6.0), Some(2.5)));
    }

    #[test]
    fn a_write_waits_for_the_quorum_and_no_longer() {
        let one = Ensemble::new(1, &[1.0], &[3.0]).unwrap();
        assert_eq!((one.quorum(), one.commit(), one.commit_in_turn()), (1, 3.0, 3.0));
        assert_eq!(one.expected_follower(), None);
        let three = Ensemble::new(3, &[1.0, 40.0], &[2.0, 2.0, 2.0]).unwrap();
        assert_eq!((three.commit(), three.commit_in_turn()), (3.0, 5.0));
        // A slow disk of the leader's does not hold up a quorum of the others.
        let slow = Ensemble::new(5, &[1.0], &[50.0, 2.0, 2.0, 2.0, 9.0]).unwrap();
        assert_eq!((slow.quorum(), slow.commit(), slow.commit_in_turn()), (3, 3.0, 53.0));
        let even = Ensemble::new(4, &[1.0, 2.0, 3.0], &[0.0]).unwrap();
        assert_eq!((even.quorum(), even.commit()), (3, 2.0));
    }

    #[test]
    fn order_statistics_of_exponential_fsyncs() {
        // Two followers, the faster is needed: the minimum of two exponentials has half the mean.
        let three = Ensemble::new(3, &[1.0], &[2.0]).unwrap();
        assert_eq!(three.expected_follower(), Some(2.0));
    }

    #[test]
    fn as_many_values_as_servers_or_one() {
        assert!(Ensemble::new(3, &[1.0, 2.0, 3.0], &[1.0]).unwrap_err().contains("--rtt"));
        assert!(Ensemble::new(3, &[1.0], &[1.0, 2.0]).unwrap_err().contains("--fsync"));
    }
}
