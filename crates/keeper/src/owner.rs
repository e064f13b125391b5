//! What `ephemeralOwner` says of a znode, as in ZooKeeper's `EphemeralType`.
//!
//! With extended types, values whose highest byte is `ff` are no sessions: session ids begin with the server's id, which is then at most
//! 254.

/// `ephemeralOwner` of a container.
pub const CONTAINER: i64 = i64::MIN;
/// The longest time to live, in ms.
pub const MAX_TTL_MS: i64 = 0xff_ffff_ffff;

const EXTENDED_MASK: u64 = 0xff00_0000_0000_0000;
const RESERVED_MASK: u64 = 0x00ff_ff00_0000_0000;

/// Kinds of owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Nobody: a persistent znode.
    None,
    /// A container.
    Container,
    /// A time to live in ms.
    Ttl(i64),
    /// A session.
    Session(i64),
}

impl Owner {
    /// The owner of a znode whose `ephemeralOwner` is `value`.
    ///
    /// `extended`: whether TTL nodes are enabled. An extended value of a kind that ZooKeeper does not define counts as a session that no
    /// client can have.
    pub fn of(value: i64, extended: bool) -> Owner {
        let bits = value as u64;
        if extended && bits & EXTENDED_MASK == EXTENDED_MASK && bits & RESERVED_MASK == 0 {
            return Owner::Ttl((bits & !(EXTENDED_MASK | RESERVED_MASK)) as i64);
        }
        match value {
            CONTAINER => Owner::Container,
            0 => Owner::None,
            session => Owner::Session(session),
        }
    }

    /// `ephemeralOwner` of a TTL node; `None` if the time to live is not within 1 and [`MAX_TTL_MS`].
    pub fn encode_ttl(ttl_ms: i64) -> Option<i64> {
        (1..=MAX_TTL_MS).contains(&ttl_ms).then_some((EXTENDED_MASK | ttl_ms as u64) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_come_back_as_encoded() {
        assert_eq!(Owner::of(0, true), Owner::None);
        assert_eq!(Owner::of(i64::MIN, true), Owner::Container);
        assert_eq!(Owner::of(0x1234, true), Owner::Session(0x1234));
        let ttl = Owner::encode_ttl(5000).unwrap();
        assert_eq!(ttl as u64, 0xff00_0000_0000_1388);
        assert_eq!(Owner::of(ttl, true), Owner::Ttl(5000));
        assert_eq!(Owner::of(ttl, false), Owner::Session(ttl));
        assert_eq!(Owner::encode_ttl(0), None);
        assert_eq!(Owner::encode_ttl(MAX_TTL_MS + 1), None);
    }
}
