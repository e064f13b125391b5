//! What a run has seen.

use std::fmt;

use super::sessions::Seen;
use super::writer::Written;

/// Counts of a run.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) seconds: f64,
    pub(crate) kills: u64,
    pub(crate) kills_at_start: u64,
    pub(crate) written: Written,
    pub(crate) sessions: Seen,
    pub(crate) histories: u64,
    pub(crate) operations: u64,
    pub(crate) operations_unanswered: u64,
    pub(crate) operations_overlapping: u64,
}

impl Summary {
    pub(crate) fn add_written(&mut self, written: Written) {
        let sum = &mut self.written;
        sum.answered += written.answered;
        sum.multis += written.multis;
        sum.refused += written.refused;
        sum.unanswered += written.unanswered;
        sum.took_effect += written.took_effect;
        sum.compared += written.compared;
    }

    pub(crate) fn add_seen(&mut self, seen: Seen) {
        let sum = &mut self.sessions;
        sum.ended += seen.ended;
        sum.close_unanswered += seen.close_unanswered;
        sum.close_lost += seen.close_lost;
        sum.expired += seen.expired;
        sum.survived += seen.survived;
        sum.reattached += seen.reattached;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { seconds, kills, kills_at_start, written, sessions, .. } = self;
        write!(f, "{kills} kills ({kills_at_start} while starting) in {seconds:.0} s")?;
        if written.answered > 0 {
            let Written { answered, multis, refused, unanswered, took_effect, compared } = written;
            write!(
                f,
                "; {answered} writes answered ({multis} multis, {refused} refused), {unanswered} not ({took_effect} took effect), \
                 compared {compared} times"
            )?;
            let Seen { ended, close_unanswered, close_lost, expired, survived, reattached } = sessions;
            write!(
                f,
                "; sessions: {expired} expired, {close_unanswered} closed without an answer ({close_lost} went on), {ended} ended ones looked \
                 for after a kill, {survived} silent ones found after a kill, {reattached} re-attached"
            )?;
        }
        if self.operations > 0 {
            let Summary { histories, operations, operations_unanswered, operations_overlapping, .. } = self;
            write!(
                f,
                "; {histories} histories of {operations} operations ({operations_overlapping} overlap others, {operations_unanswered} unanswered) are linearizable"
            )?;
        }
        Ok(())
    }
}
