//! Frames as bytes: a header of 16 bytes, and a payload.
//!
//! `kind u8, 0 0 0, length of the payload u32, handle u64`, little endian. A handle names a channel within one connection and
//! direction. Its receiver chooses it and tells it in `Open`; handles are never used again, so a frame that comes too late
//! belongs to no channel.
//!
//! Invariant: a length is within the limit of its kind before anything is taken for it.

use streamkeeper_dataflow::network::ChannelId;

/// Bytes of a header.
pub(super) const HEADER: usize = 16;

/// No batch is longer, in bytes; senders cut theirs long before.
pub(super) const MAX_DATA: usize = 256 << 20;

/// No control is longer, in bytes: a barrier may bring a job's configuration, which has a limit of 4 MiB.
pub(super) const MAX_CONTROL: usize = 8 << 20;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// A batch.
    Data = 1,
    /// A watermark, barrier, idleness or end.
    Control = 2,
    /// From the receiver: the channel of this name has this handle and this window.
    Open = 3,
    /// From the receiver: so much was consumed.
    Grant = 4,
    /// From the receiver: nothing more is wanted.
    Close = 5,
    /// The sender has left.
    Finish = 6,
}

/// What precedes a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) length: u32,
    pub(super) handle: u64,
}

/// The peer does not keep to the protocol. The connection is given up.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Violation(pub(super) String);

impl Header {
    pub(super) fn encode(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0] = self.kind as u8;
        bytes[4..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..].copy_from_slice(&self.handle.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: [u8; HEADER]) -> Result<Self, Violation> {
        let [kind, pad @ .., l0, l1, l2, l3, h0, h1, h2, h3, h4, h5, h6, h7] = bytes;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let handle = u64::from_le_bytes([h0, h1, h2, h3, h4, h5, h6, h7]);
        let (kind, lengths) = match (kind, pad) {
            (1, [0, 0, 0]) => (Kind::Data, 0..=MAX_DATA),
            (2, [0, 0, 0]) => (Kind::Control, 0..=MAX_CONTROL),
            (3, [0, 0, 0]) => (Kind::Open, OPEN..=OPEN),
            (4, [0, 0, 0]) => (Kind::Grant, GRANT..=GRANT),
            (5, [0, 0, 0]) => (Kind::Close, 0..=0),
            (6, [0, 0, 0]) => (Kind::Finish, 0..=0),
            _ => return Err(Violation(format!("{bytes:02x?} is no header of a frame"))),
        };
        if !lengths.contains(&(length as usize)) {
            return Err(Violation(format!("a frame {kind:?} of {length} bytes is not allowed")));
        }
        Ok(Self { kind, length, handle })
    }
}

const OPEN: usize = 44;
const GRANT: usize = 8;

/// The payload of `Open`.
pub(super) fn encode_open(id: &ChannelId, window: u64) -> [u8; OPEN] {
    let mut bytes = [0; OPEN];
    bytes[..16].copy_from_slice(&id.job);
    bytes[16..24].copy_from_slice(&id.generation.to_le_bytes());
    bytes[24..28].copy_from_slice(&id.edge.to_le_bytes());
    bytes[28..32].copy_from_slice(&id.producer.to_le_bytes());
    bytes[32..36].copy_from_slice(&id.consumer.to_le_bytes());
    bytes[36..].copy_from_slice(&window.to_le_bytes());
    bytes
}

/// Reads what [`encode_open`] wrote.
pub(super) fn decode_open(bytes: &[u8]) -> Result<(ChannelId, u64), Violation> {
    let wrong = || Violation("a damaged frame Open".into());
    let (job, rest) = bytes.split_first_chunk::<16>().ok_or_else(wrong)?;
    let (generation, rest) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
    let (numbers, window) = rest.split_first_chunk::<12>().ok_or_else(wrong)?;
    let [e0, e1, e2, e3, p0, p1, p2, p3, c0, c1, c2, c3] = *numbers;
    let id = ChannelId {
        job: *job,
        generation: u64::from_le_bytes(*generation),
        edge: u32::from_le_bytes([e0, e1, e2, e3]),
        producer: u32::from_le_bytes([p0, p1, p2, p3]),
        consumer: u32::from_le_bytes([c0, c1, c2, c3]),
    };
    Ok((id, decode_grant(window)?))
}

/// Reads the payload of `Grant`, bytes.
pub(super) fn decode_grant(bytes: &[u8]) -> Result<u64, Violation> {
    let bytes = bytes.try_into().map_err(|_| Violation("a damaged frame Grant".into()))?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_header_within_limits_or_none(bytes: [u8; HEADER], kind in 0u8..8) {
            let mut bytes = bytes;
            bytes[0] = kind;
            let pad = bytes[1] & 1;
            bytes[1..4].fill(pad);
            if let Ok(header) = Header::decode(bytes) {
                prop_assert!(header.length as usize <= MAX_DATA);
                prop_assert_eq!(header.encode(), bytes);
            }
        }

        #[test]
        fn an_open_comes_back(job: [u8; 16], generation: u64, edge: u32, producer: u32, consumer: u32, window: u64) {
            let id = ChannelId { job, generation, edge, producer, consumer };
            prop_assert_eq!(decode_open(&encode_open(&id, window)), Ok((id, window)));
            prop_assert!(decode_open(&encode_open(&id, window)[1..]).is_err());
        }
    }

    #[test]
    fn each_kind_comes_back_and_has_its_limit() {
        use Kind::{Close, Control, Data, Finish, Grant, Open};
        let limits =
            [(Data, MAX_DATA), (Control, MAX_CONTROL), (Open, OPEN), (Grant, GRANT), (Close, 0), (Finish, 0)];
        for (kind, limit) in limits {
            let header = Header { kind, length: limit as u32, handle: 1 << 40 };
            assert_eq!(Header::decode(header.encode()), Ok(header));
            let longer = Header { length: limit as u32 + 1, ..header };
            assert!(Header::decode(longer.encode()).is_err(), "{kind:?}");
        }
    }
}
