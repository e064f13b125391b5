//! Apache's throttle of new connections (`BlueThrottle`): a bucket of tokens, of which a session takes some, and a share of sessions
//! that is refused by chance while the bucket runs empty.

/// The settings.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionThrottle {
    /// Tokens that the bucket holds (`connection_throttle_tokens`); 0: no throttle.
    pub max_tokens: u32,
    /// How long it takes to put in `fill_count` tokens, in ms (`connection_throttle_fill_time`).
    pub fill_time_ms: i64,
    /// See `fill_time_ms` (`connection_throttle_fill_count`).
    pub fill_count: u32,
    /// How often the share of the refused changes, in ms (`connection_throttle_freeze_time`); `None`: it is 0.
    pub freeze_time_ms: Option<i64>,
    /// By how much the share grows when the bucket is empty (`connection_throttle_drop_increase`).
    pub drop_increase: f64,
    /// By how much it shrinks (`connection_throttle_drop_decrease`).
    pub drop_decrease: f64,
    /// It shrinks when no more than this share of the tokens is taken (`connection_throttle_decrease_ratio`).
    pub decrease_ratio: f64,
    /// What a new session costs, and one that comes back (`connection_throttle_…_session_weight`).
    pub weights: (u32, u32),
}

impl Default for ConnectionThrottle {
    fn default() -> Self {
        ConnectionThrottle {
            max_tokens: 0,
            fill_time_ms: 1,
            fill_count: 1,
            freeze_time_ms: None,
            drop_increase: 0.02,
            drop_decrease: 0.002,
            decrease_ratio: 0.0,
            weights: (1, 1),
        }
    }
}

/// The bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    settings: ConnectionThrottle,
    tokens: u32,
    filled_ms: i64,
    changed_ms: i64,
    drop_share: f64,
    random: u64,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(settings: ConnectionThrottle, now_ms: i64, seed: u64) -> Self {
        let tokens = settings.max_tokens;
        Bucket { settings, tokens, filled_ms: now_ms, changed_ms: now_ms, drop_share: 0.0, random: seed }
    }

    /// Takes the tokens of a session; false if it is refused.
    pub(super) fn take(&mut self, new: bool, now_ms: i64) -> bool {
        let settings = &self.settings;
        if settings.max_tokens == 0 {
            return true;
        }
        let since_ms = now_ms - self.filled_ms;
        if since_ms > settings.fill_time_ms {
            let more = since_ms.saturating_mul(settings.fill_count.into()) / settings.fill_time_ms.max(1);
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            self.tokens = self.tokens.saturating_add(more).min(settings.max_tokens);
            self.filled_ms = now_ms;
        }
        let cost = if new { settings.weights.0 } else { settings.weights.1 };
        if self.settings.freeze_time_ms.is_some_and(|freeze_ms| self.is_dropped(freeze_ms, now_ms)) {
            return false;
        }
        if self.tokens < cost {
            self.changed_ms = now_ms;
            return false;
        }
        self.tokens -= cost;
        true
    }

    /// The share of sessions that is refused by chance.
    pub(super) fn drop_share(&self) -> f64 {
        self.drop_share
    }

    fn is_dropped(&mut self, freeze_ms: i64, now_ms: i64) -> bool {
        let settings = &self.settings;
        if now_ms - self.changed_ms > freeze_ms {
            let taken = f64::from(settings.max_tokens - self.tokens);
            if self.tokens == 0 {
                self.drop_share = (self.drop_share + settings.drop_increase).min(1.0);
            } else if taken <= (f64::from(settings.max_tokens) * settings.decrease_ratio).round() {
                self.drop_share = (self.drop_share - settings.drop_decrease).max(0.0);
            }
            self.changed_ms = now_ms;
        }
        // xorshift64: which ones are refused need not be a secret.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        ((self.random >> 11) as f64 / (1u64 << 53) as f64) < self.drop_share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_take_tokens_and_time_brings_them_back() {
        let settings = ConnectionThrottle {
            max_tokens: 10,
            fill_time_ms: 100,
            fill_count: 2,
            weights: (3, 2),
            ..ConnectionThrottle::default()
        };
        let mut bucket = Bucket::new(settings, 0, 1);
        assert_eq!([true, true, true, false].map(|_| bucket.take(true, 1)), [true, true, true, false]);
        assert!(!bucket.take(false, 100));
        assert!(bucket.take(false, 101));
        assert!(!bucket.take(true, 102));
        assert!((0..5).all(|_| bucket.take(false, 1_000_000)));
        assert!(!bucket.take(false, 1_000_000));
        let mut unlimited = Bucket::new(ConnectionThrottle::default(), 0, 1);
        assert!((0..1000).all(|_| unlimited.take(true, 0)));
    }

    #[test]
    fn a_share_is_refused_by_chance_while_the_bucket_is_empty() {
        let settings = ConnectionThrottle {
            max_tokens: 1,
            fill_time_ms: 1_000_000,
            freeze_time_ms: Some(0),
            drop_increase: 0.5,
            drop_decrease: 0.25,
            ..ConnectionThrottle::default()
        };
        let mut bucket = Bucket::new(settings, 0, 1);
        assert!(bucket.take(true, 0));
        bucket.take(true, 1);
        assert_eq!(bucket.drop_share(), 0.5);
        bucket.take(true, 2);
        assert_eq!(bucket.drop_share(), 1.0);
        // Full again: fewer are refused each time.
        (0..4).for_each(|at| {
            bucket.tokens = 1;
            bucket.take(true, 3 + at);
        });
        assert_eq!(bucket.drop_share(), 0.0);
    }
}
