//! Names a job: Flink's 32 hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Names a job, for ever: an id is not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub [u8; 16]);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl JobId {
    /// An id that no other job has.
    pub fn random() -> Self {
        // As unlikely to come twice as a lineage.
        streamkeeper_dataflow::job::new_lineage().parse().unwrap_or(Self([0; 16]))
    }
}

impl FromStr for JobId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.as_bytes();
        if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(format!("`{text}` is no job id: 32 hexadecimal digits"));
        }
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            let value = |digit: u8| (digit as char).to_digit(16).unwrap_or(0) as u8;
            *byte = value(pair[0]) << 4 | value(pair[1]);
        }
        Ok(Self(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_from_their_text() {
        let id = JobId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("0123456789abcdefABCDEF0011223344".parse::<JobId>().map(|id| id.0[4]), Ok(0x89));
        for bad in ["", "0123", "0123456789abcdefABCDEF001122334g", "+123456789abcdefABCDEF0011223344"] {
            assert!(bad.parse::<JobId>().is_err(), "{bad}");
        }
    }
}
