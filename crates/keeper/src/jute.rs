//! Jute, ZooKeeper's wire and file encoding: big-endian integers, one-byte booleans, length-prefixed buffers,
//! UTF-8 strings and vectors, where length -1 means null.
//!
//! [`Reader`] borrows from the frame that it reads and never trusts a length: each is checked against what is left of the
//! frame before anything is allocated.

use std::borrow::Cow;

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JuteError {
    /// The frame ends inside of a field.
    #[error("the record ends after {at} bytes, inside of a field of {wanted} bytes")]
    Truncated {
        /// Offset of the field in the frame.
        at: usize,
        /// Bytes that the field needs.
        wanted: usize,
    },
    /// A length is negative (other than -1) or longer than the frame.
    #[error("unreasonable length {length} at offset {at}")]
    Length {
        /// Offset of the length in the frame.
        at: usize,
        /// The length as read.
        length: i32,
    },
    /// A field that must have a value is null.
    #[error("a required field is null at offset {at}")]
    Null {
        /// Offset of the field in the frame.
        at: usize,
    },
    /// A value that no field of this type has.
    #[error("unexpected {what} {value} at offset {at}")]
    Value {
        /// What was read.
        what: &'static str,
        /// The value.
        value: i64,
        /// Offset behind the field.
        at: usize,
    },
}

/// Result of reading a record.
pub type Result<T> = std::result::Result<T, JuteError>;

/// Reads fields off a frame, in order.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0 }
    }

    /// Offset of the next field.
    pub fn position(&self) -> usize {
        self.at
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Whether all has been read.
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The next `wanted` bytes.
    pub fn take(&mut self, wanted: usize) -> Result<&'a [u8]> {
        let rest = self.rest();
        if rest.len() < wanted {
            return Err(JuteError::Truncated { at: self.at, wanted });
        }
        self.at += wanted;
        Ok(&rest[..wanted])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// A signed byte.
    pub fn byte(&mut self) -> Result<i8> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    /// A boolean: any byte but zero is true.
    pub fn boolean(&mut self) -> Result<bool> {
        Ok(self.byte()? != 0)
    }

    /// A 32-bit integer.
    pub fn int(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// A 64-bit integer.
    pub fn long(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A buffer, or null.
    pub fn buffer(&mut self) -> Result<Option<&'a [u8]>> {
        let at = self.at;
        match self.int()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| JuteError::Length { at, length })?;
                self.take(length).map(Some)
            }
        }
    }

    /// A string, or null. Bytes that are not UTF-8 become U+FFFD, as in Java.
    pub fn string_or_null(&mut self) -> Result<Option<Cow<'a, str>>> {
        Ok(self.buffer()?.map(String::from_utf8_lossy))
    }

    /// A string that must not be null.
    pub fn string(&mut self) -> Result<Cow<'a, str>> {
        let at = self.at;
        self.string_or_null()?.ok_or(JuteError::Null { at })
    }

    /// The number of elements of a vector, or null; a negative number counts as none, as in Java. Each element takes at least one byte,
    /// which bounds the number.
    pub fn vector(&mut self) -> Result<Option<usize>> {
        let at = self.at;
        match self.int()? {
            -1 => Ok(None),
            ..-1 => Ok(Some(0)),
            length => match usize::try_from(length) {
                Ok(count) if count <= self.rest().len() => Ok(Some(count)),
                _ => Err(JuteError::Length { at, length }),
            },
        }
    }

    /// A vector of strings; null counts as empty.
    pub fn strings(&mut self) -> Result<Vec<Cow<'a, str>>> {
        let count = self.vector()?.unwrap_or(0);
        (0..count).map(|_| self.string()).collect()
    }
}

/// Appends fields to a buffer.
pub trait Write {
    /// A signed byte.
    fn byte(&mut self, value: i8);
    /// A boolean.
    fn boolean(&mut self, value: bool);
    /// A 32-bit integer.
    fn int(&mut self, value: i32);
    /// A 64-bit integer.
    fn long(&mut self, value: i64);
    /// A buffer, or null.
    fn buffer(&mut self, value: Option<&[u8]>);
    /// A string.
    fn string(&mut self, value: &str);
}

impl Write for Vec<u8> {
    fn byte(&mut self, value: i8) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn boolean(&mut self, value: bool) {
        self.push(value.into());
    }

    fn int(&mut self, value: i32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn long(&mut self, value: i64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn buffer(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.int(-1),
            Some(bytes) => {
                self.int(length_as_int(bytes.len()));
                self.extend_from_slice(bytes);
            }
        }
    }

    fn string(&mut self, value: &str) {
        self.buffer(Some(value.as_bytes()));
    }
}

/// A length as jute writes it. Frames are bounded far below 2 GiB; a longer one would be a defect of the caller.
pub fn length_as_int(length: usize) -> i32 {
    i32::try_from(length).expect("records are bounded far below 2 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_written() {
        let mut bytes = Vec::new();
        bytes.boolean(true);
        bytes.int(-7);
        bytes.long(i64::MIN);
        bytes.buffer(None);
        bytes.buffer(Some(b"xy"));
        bytes.string("ä");
        let mut reader = Reader::new(&bytes);
        assert!(reader.boolean().unwrap());
        assert_eq!(reader.int().unwrap(), -7);
        assert_eq!(reader.long().unwrap(), i64::MIN);
        assert_eq!(reader.buffer().unwrap(), None);
        assert_eq!(reader.buffer().unwrap(), Some(&b"xy"[..]));
        assert_eq!(reader.string().unwrap(), "ä");
        assert!(reader.is_empty());
    }

    #[test]
    fn lengths_are_checked_before_anything_is_taken() {
        assert_eq!(Reader::new(&[0, 0]).int(), Err(JuteError::Truncated { at: 0, wanted: 4 }));
        assert_eq!(
            Reader::new(&(-2i32).to_be_bytes()).buffer(),
            Err(JuteError::Length { at: 0, length: -2 })
        );
        assert_eq!(
            Reader::new(&i32::MAX.to_be_bytes()).buffer(),
            Err(JuteError::Truncated { at: 4, wanted: 0x7fff_ffff })
        );
        assert_eq!(
            Reader::new(&1000i32.to_be_bytes()).vector(),
            Err(JuteError::Length { at: 0, length: 1000 })
        );
        assert_eq!(Reader::new(&(-1i32).to_be_bytes()).string(), Err(JuteError::Null { at: 0 }));
    }
}
