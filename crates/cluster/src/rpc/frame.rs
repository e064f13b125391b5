//! Frames: a length of four bytes, most significant first, and as many bytes of postcard.
//!
//! Invariant: no more than [`MAX_FRAME_BYTES`] are ever taken or sent, whatever a length says.

use std::io::{self, Read};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest frame. The largest message holds a job's configuration, which is at most 4 MiB.
pub(crate) const MAX_FRAME_BYTES: usize = 16 << 20;

const LENGTH: usize = 4;

/// A message as a frame.
///
/// # Errors
/// When it is too long.
pub(crate) fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, String> {
    let mut frame = postcard::to_extend(message, vec![0; LENGTH]).map_err(|e| e.to_string())?;
    let bytes = frame.len() - LENGTH;
    match u32::try_from(bytes) {
        Ok(length) if bytes <= MAX_FRAME_BYTES => {
            frame[..LENGTH].copy_from_slice(&length.to_be_bytes());
            Ok(frame)
        }
        _ => Err(format!("a message of {bytes} bytes is longer than {MAX_FRAME_BYTES}")),
    }
}

/// The next message. `buffer` is reused from frame to frame.
///
/// # Errors
/// `UnexpectedEof` at the end of the stream; `InvalidData` when it is no frame or not such a message.
pub(crate) fn read<T: DeserializeOwned>(from: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<T> {
    let mut length = [0; LENGTH];
    from.read_exact(&mut length)?;
    let bytes = u32::from_be_bytes(length) as usize;
    if bytes > MAX_FRAME_BYTES {
        let reason = format!("a frame of {bytes} bytes is longer than {MAX_FRAME_BYTES}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    // Grows as bytes come, so that a length alone takes no memory.
    buffer.clear();
    from.by_ref().take(bytes as u64).read_to_end(buffer)?;
    if buffer.len() < bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let (message, rest) = postcard::take_from_bytes(buffer)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
    if !rest.is_empty() {
        let reason = format!("a frame has {} bytes behind its message", rest.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_in_order() {
        let mut bytes = encode(&("a", 1u64)).expect("short");
        bytes.extend(encode(&("b", 2u64)).expect("short"));
        let (mut from, mut buffer) = (bytes.as_slice(), Vec::new());
        assert_eq!(read::<(String, u64)>(&mut from, &mut buffer).expect("first"), ("a".into(), 1));
        assert_eq!(read::<(String, u64)>(&mut from, &mut buffer).expect("second"), ("b".into(), 2));
        let end = read::<(String, u64)>(&mut from, &mut buffer).expect_err("no third");
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let refused = |bytes: &[u8]| read::<u8>(&mut &*bytes, &mut Vec::new()).expect_err("refused").kind();
        assert_eq!(refused(&[0xff; 8]), io::ErrorKind::InvalidData, "too long");
        assert_eq!(refused(&[0, 0, 0, 2, 7, 7]), io::ErrorKind::InvalidData, "a byte too many");
        assert_eq!(refused(&[0, 0, 0, 0]), io::ErrorKind::InvalidData, "empty");
        assert_eq!(refused(&[0, 0, 0, 2, 7]), io::ErrorKind::UnexpectedEof, "cut off");
        assert!(encode(&vec![0u8; MAX_FRAME_BYTES]).is_err());
    }
}
