//! Checkpoints that a user has asked for and that have not begun: pure.
//!
//! Invariants: no more than [`MAX_REQUESTS`] wait; each request is answered once, with its checkpoint or with the reason why there
//! is none.

use std::collections::VecDeque;

use crate::checkpoint::coordinator::Effect;
use crate::element::BarrierKind;

/// So many wait at most; more are refused.
pub const MAX_REQUESTS: usize = 16;

/// Names a request to whoever made it.
pub type RequestId = u64;

/// What a user asks for: a checkpoint, a savepoint, or the job's end with one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Comes back with the answer.
    pub id: RequestId,
    /// What kind of checkpoint.
    pub kind: BarrierKind,
    /// The directory of a savepoint.
    pub savepoint: Option<String>,
}

/// Those that wait, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Requests(VecDeque<Request>);

impl Requests {
    /// Takes a request; the effect refuses it.
    pub(super) fn add(&mut self, request: Request) -> Option<Effect> {
        if self.0.len() >= MAX_REQUESTS {
            let reason = format!("{MAX_REQUESTS} savepoints and checkpoints wait already; ask again later");
            return Some(Effect::Answered(request.id, Err(reason)));
        }
        self.0.push_back(request);
        None
    }

    /// The next one.
    pub(super) fn next(&mut self) -> Option<Request> {
        self.0.pop_front()
    }

    /// Refuses all.
    pub(super) fn refuse(&mut self, reason: &str, effects: &mut Vec<Effect>) {
        effects.extend(self.0.drain(..).map(|request| Effect::Answered(request.id, Err(reason.into()))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_wait_in_order_and_are_bounded() {
        let request = |id| Request { id, kind: BarrierKind::Savepoint, savepoint: Some("d".into()) };
        let mut requests = Requests::default();
        let most = MAX_REQUESTS as u64;
        assert!((0..most).all(|id| requests.add(request(id)).is_none()));
        assert!(matches!(requests.add(request(most)), Some(Effect::Answered(id, Err(_))) if id == most));
        assert_eq!(requests.next(), Some(request(0)));
        let mut effects = Vec::new();
        requests.refuse("no", &mut effects);
        assert_eq!(effects.len(), MAX_REQUESTS - 1);
        assert_eq!((effects.first(), requests.next()), (Some(&Effect::Answered(1, Err("no".into()))), None));
    }
}
