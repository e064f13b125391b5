//! Session passwords, as Apache ZooKeeper makes them, so that a session outlives the move of a data directory between both servers.
//!
//! A password is 16 bytes of `java.util.Random` seeded with the session's id and a constant. It keeps clients apart by accident, not an
//! attacker out: that is what access control lists are for.

const SUPER_SECRET: i64 = 0xB341_5C00;
const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const MASK: u64 = (1 << 48) - 1;

/// The password of a session.
pub(super) fn of_session(session_id: i64) -> [u8; 16] {
    let mut seed = ((session_id ^ SUPER_SECRET) as u64 ^ MULTIPLIER) & MASK;
    let mut passwd = [0; 16];
    for chunk in passwd.chunks_mut(4) {
        seed = seed.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        chunk.copy_from_slice(&((seed >> 16) as u32).to_le_bytes());
    }
    passwd
}

#[cfg(test)]
mod tests {
    /// `new Random(0x100000000000001L ^ 0XB3415C00L).nextBytes(new byte[16])` in Java 17.
    #[test]
    fn passwords_are_javas() {
        let hex: String =
            super::of_session(0x0100_0000_0000_0001).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "054cc74a37327db215e702e20c73f005");
    }
}
