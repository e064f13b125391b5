//! From the bytes that a client sends to packets.
//!
//! A connection that is idle between packets holds no buffer. A packet longer than the limit is never held: its header is kept to
//! answer it, the rest is passed over. The first packet, for which nobody has vouched, is short.

/// Bytes of the header of a request: xid and type.
const HEADER_BYTES: usize = 8;
/// No packet that a client could mean has this length.
const ABSURD_BYTES: usize = 1 << 30;
/// The longest first packet. One that asks for a session has 45 bytes; until it has come, a connection holds no more than this.
pub const MAX_FIRST_PACKET_BYTES: usize = 1024;

/// What the input begins with.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A packet, without its length.
    Packet(&'a [u8]),
    /// The beginning of a packet that is too long, and how many bytes all of it has.
    Oversized(&'a [u8], usize),
    /// A four-letter command in place of a first packet, and what has come behind it.
    Command([u8; 4], &'a [u8]),
    /// A length that is negative or absurd: this is no client of ours.
    Garbage,
}

/// Cuts a stream of bytes into packets.
#[derive(Debug, Default)]
pub struct Input {
    /// The beginning of a packet whose rest has not come.
    partial: Vec<u8>,
    /// Bytes of an oversized packet that are still to come.
    skip: usize,
    /// Whether anything but the first packet is next.
    begun: bool,
}

impl Input {
    /// Takes `bytes` and hands out what they complete. `limit_bytes` is the longest packet; `is_command` knows four-letter commands.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        limit_bytes: usize,
        is_command: impl Fn(&[u8; 4]) -> bool,
        mut each: impl FnMut(Item),
    ) {
        if self.partial.is_empty() {
            let used = self.cut(bytes, limit_bytes, &is_command, &mut each);
            self.partial.extend_from_slice(&bytes[used..]);
            return;
        }
        let mut held = std::mem::take(&mut self.partial);
        held.extend_from_slice(bytes);
        let used = self.cut(&held, limit_bytes, &is_command, &mut each);
        self.partial = match used {
            0 => held,
            // Nothing of a long packet's buffer stays.
            used => held[used..].to_vec(),
        };
    }

    /// Bytes that are held.
    pub fn held_bytes(&self) -> usize {
        self.partial.len()
    }

    /// Hands out the packets in `bytes`, and returns how many bytes they took.
    fn cut(
        &mut self,
        bytes: &[u8],
        limit_bytes: usize,
        is_command: &impl Fn(&[u8; 4]) -> bool,
        each: &mut impl FnMut(Item),
    ) -> usize {
        let mut at = 0;
        loop {
            let skipped = self.skip.min(bytes.len() - at);
            self.skip -= skipped;
            at += skipped;
            let Some(prefix) = bytes[at..].first_chunk::<4>() else { return at };
            if !self.begun && is_command(prefix) {
                let rest = &bytes[at + 4..];
                // `stmk` is followed by its mask; no other command by anything.
                if prefix == b"stmk" && rest.len() < 8 {
                    return at;
                }
                self.begun = true;
                each(Item::Command(*prefix, rest));
                return bytes.len();
            }
            let length = usize::try_from(i32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
            if length > ABSURD_BYTES {
                each(Item::Garbage);
                return bytes.len();
            }
            let rest = &bytes[at + 4..];
            let limit_bytes = if self.begun { limit_bytes } else { limit_bytes.min(MAX_FIRST_PACKET_BYTES) };
            if length > limit_bytes {
                let header = HEADER_BYTES.min(length);
                if rest.len() < header {
                    return at;
                }
                each(Item::Oversized(&rest[..header], length));
                at += 4 + header;
                self.skip = length - header;
            } else {
                if rest.len() < length {
                    return at;
                }
                each(Item::Packet(&rest[..length]));
                at += 4 + length;
            }
            self.begun = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in pieces of `step`, and writes what comes out.
    fn cut(bytes: &[u8], step: usize) -> Vec<String> {
        let mut input = Input::default();
        let mut seen = Vec::new();
        for piece in bytes.chunks(step) {
            input.feed(
                piece,
                10,
                |command| command == b"ruok",
                |item| {
                    seen.push(match item {
                        Item::Packet(packet) => format!("packet {packet:?}"),
                        Item::Oversized(header, length) => format!("oversized {header:?} of {length}"),
                        Item::Command(command, _) => String::from_utf8_lossy(&command).into_owned(),
                        Item::Garbage => "garbage".into(),
                    });
                },
            );
        }
        seen
    }

    #[test]
    fn packets_come_out_whole_however_they_come_in() {
        let mut bytes = Vec::new();
        for packet in [&[1, 2, 3][..], &[], &[9; 12], &[4; 10]] {
            bytes.extend_from_slice(&(packet.len() as u32).to_be_bytes());
            bytes.extend_from_slice(packet);
        }
        let expected = [
            "packet [1, 2, 3]",
            "packet []",
            "oversized [9, 9, 9, 9, 9, 9, 9, 9] of 12",
            "packet [4, 4, 4, 4, 4, 4, 4, 4, 4, 4]",
        ];
        for step in 1..=bytes.len() {
            assert_eq!(cut(&bytes, step), expected, "in pieces of {step}");
        }
    }

    #[test]
    fn commands_come_first_only() {
        assert_eq!(cut(b"ruok", 4), ["ruok"]);
        // Behind a packet the same bytes are a length that nobody means.
        assert_eq!(cut(b"\0\0\0\x01xruok12345678", 32), ["packet [120]", "garbage"]);
        assert_eq!(cut(&[0xff, 0xff, 0xff, 0xff], 4), ["garbage"]);
    }

    #[test]
    fn a_first_packet_is_short() {
        let mut input = Input::default();
        let mut seen = Vec::new();
        let mut bytes = 1_000_000u32.to_be_bytes().to_vec();
        bytes.resize(1_000_004, 0);
        for piece in bytes.chunks(1000) {
            input.feed(
                piece,
                0xf_ffff,
                |_| false,
                |item| seen.push(matches!(item, Item::Oversized(&[0, 0, 0, 0, 0, 0, 0, 0], 1_000_000))),
            );
            assert!(input.held_bytes() <= MAX_FIRST_PACKET_BYTES);
        }
        assert_eq!(seen, [true]);
        input.feed(&bytes, 0xf_ffff, |_| false, |item| seen.push(matches!(item, Item::Packet(_))));
        assert_eq!(seen, [true, true]);
    }
}
