//! Digests, and strings as bytes: encodings, hexadecimal, Base64, URLs.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryBuilder};
use arrow::datatypes::{DataType as ArrowType, Int32Type, Int64Type};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use streamkeeper_connectors::schema::TypeKind;

use super::signature::Nulls::{Always, OfArguments};
use super::signature::{Function, bytes, function, string};
use super::string::texts;
use crate::expr::EvalError;
use crate::expr::eval::Args;

pub(crate) const TABLE: &[Function] = &[
    function("DECODE", "XS", string, OfArguments, decode),
    function("ENCODE", "SS", bytes, OfArguments, encode),
    function("FROM_BASE64", "S", string, OfArguments, from_base64),
    function("HEX", "A", string, OfArguments, hex),
    function("MD5", "S", |_| TypeKind::Char(32), OfArguments, digest::<Md5>),
    function("PARSE_URL", "SS[S", string, Always, parse_url),
    function("SHA1", "S", |_| TypeKind::Char(40), OfArguments, digest::<Sha1>),
    function("SHA2", "SI", |_| TypeKind::Varchar(128), OfArguments, sha2),
    function("SHA224", "S", |_| TypeKind::Char(56), OfArguments, digest::<Sha224>),
    function("SHA256", "S", |_| TypeKind::Char(64), OfArguments, digest::<Sha256>),
    function("SHA384", "S", |_| TypeKind::Char(96), OfArguments, digest::<Sha384>),
    function("SHA512", "S", |_| TypeKind::Char(128), OfArguments, digest::<Sha512>),
    function("TO_BASE64", "S", string, OfArguments, |a| {
        let text = a.str(0);
        texts(a, |i, out| {
            to_base64(text.get(i)?.as_bytes(), out);
            Some(())
        })
    }),
    function("UNHEX", "S", bytes, Always, unhex),
    function("URL_DECODE", "S", string, Always, |a| {
        let text = a.str(0);
        texts(a, |i, out| {
            out.push_str(&url_decode(text.get(i)?)?);
            Some(())
        })
    }),
    function("URL_ENCODE", "S", string, Always, |a| {
        let text = a.str(0);
        texts(a, |i, out| {
            url_encode(text.get(i)?, out);
            Some(())
        })
    }),
];

fn hex_digits(bytes: &[u8], upper: bool, out: &mut String) {
    let digits = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    for byte in bytes {
        out.push(char::from(digits[usize::from(byte >> 4)]));
        out.push(char::from(digits[usize::from(byte & 15)]));
    }
}

fn digest<D: Digest>(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let text = a.str(0);
    texts(a, |i, out| {
        hex_digits(&D::digest(text.get(i)?.as_bytes()), false, out);
        Some(())
    })
}

fn sha2(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (text, length) = (a.str(0), a.prim::<Int32Type>(1));
    let mut unknown = None;
    let result = texts(a, |i, out| {
        let (text, length) = (text.get(i)?.as_bytes(), length.get(i)?);
        match length {
            224 => hex_digits(&Sha224::digest(text), false, out),
            256 => hex_digits(&Sha256::digest(text), false, out),
            384 => hex_digits(&Sha384::digest(text), false, out),
            512 => hex_digits(&Sha512::digest(text), false, out),
            other => unknown = Some(other),
        }
        Some(())
    });
    match unknown {
        Some(length) => {
            Err(EvalError(format!("the length has to be 224, 256, 384 or 512 bits, but was {length}")))
        }
        None => result,
    }
}

/// Of a number its 64 bits without leading zeros, of a text its UTF-8 bytes.
fn hex(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let array = a.values[0].array();
    let place = a.any(0);
    if *array.data_type() == ArrowType::Utf8 {
        let text = a.str(0);
        return texts(a, |i, out| {
            hex_digits(text.get(i)?.as_bytes(), true, out);
            Some(())
        });
    }
    let numbers = match array.data_type() {
        ArrowType::Int8 | ArrowType::Int16 | ArrowType::Int32 | ArrowType::Int64 => {
            arrow::compute::cast(array, &ArrowType::Int64)?
        }
        ArrowType::Null => return Ok(arrow::array::new_null_array(&ArrowType::Utf8, a.rows)),
        other => return Err(EvalError(format!("takes an integer or a string, not {other}"))),
    };
    let numbers = arrow::array::AsArray::as_primitive::<Int64Type>(&numbers);
    texts(a, |i, out| {
        let number = numbers.value(place.index(i)?);
        write!(out, "{number:X}").ok()
    })
}

/// An odd text starts with a half byte; the result is NULL when there is another character.
fn unhex(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let text = a.str(0);
    let mut result = BinaryBuilder::new();
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    for row in 0..a.rows {
        let bytes = text.get(row).and_then(|text| {
            let digits = text.bytes().map(digit).collect::<Option<Vec<u8>>>()?;
            let (half, pairs) = digits.split_at(digits.len() % 2);
            Some(half.iter().copied().chain(pairs.chunks(2).map(|p| p[0] << 4 | p[1])).collect::<Vec<u8>>())
        });
        result.append_option(bytes);
    }
    Ok(Arc::new(result.finish()))
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(crate) fn to_base64(bytes: &[u8], out: &mut String) {
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let digit = BASE64[(bits >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
}

fn from_base64(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let text = a.str(0);
    let mut bad = None;
    let result = texts(a, |i, out| {
        let text = text.get(i)?;
        match base64_bytes(text) {
            Some(bytes) => out.push_str(&String::from_utf8_lossy(&bytes)),
            None => bad = Some(text),
        }
        Some(())
    });
    match bad {
        Some(text) => Err(EvalError(format!("'{text}' is not Base64"))),
        None => result,
    }
}

fn base64_bytes(text: &str) -> Option<Vec<u8>> {
    let padded = text.len() - text.trim_end_matches('=').len();
    let digits = &text.as_bytes()[..text.len() - padded];
    if padded > 2 || digits.len() % 4 == 1 || (padded > 0 && !(digits.len() + padded).is_multiple_of(4)) {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for chunk in digits.chunks(4) {
        let mut bits = 0_u32;
        for i in 0..4 {
            let value = match chunk.get(i) {
                Some(digit) => BASE64.iter().position(|d| d == digit)?,
                None => 0,
            };
            bits = bits << 6 | value as u32;
        }
        bytes.extend_from_slice(&bits.to_be_bytes()[1..chunk.len()]);
    }
    Some(bytes)
}

enum Charset {
    Ascii,
    Latin1,
    Utf8,
    Utf16 { big: bool, marked: bool },
}

fn charset(name: &str) -> Result<Charset, EvalError> {
    Ok(match name.to_ascii_uppercase().as_str() {
        "UTF-8" | "UTF8" => Charset::Utf8,
        "US-ASCII" | "ASCII" => Charset::Ascii,
        "ISO-8859-1" | "LATIN1" | "ISO8859_1" => Charset::Latin1,
        "UTF-16" => Charset::Utf16 { big: true, marked: true },
        "UTF-16BE" => Charset::Utf16 { big: true, marked: false },
        "UTF-16LE" => Charset::Utf16 { big: false, marked: false },
        _ => {
            return Err(EvalError(format!(
                "the character set '{name}' is unknown; it has to be US-ASCII, ISO-8859-1, UTF-8, UTF-16, UTF-16BE or UTF-16LE"
            )));
        }
    })
}

fn encode(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (text, name) = (a.str(0), a.str(1));
    let mut result = BinaryBuilder::new();
    for row in 0..a.rows {
        let (Some(text), Some(name)) = (text.get(row), name.get(row)) else {
            result.append_null();
            continue;
        };
        let narrow = |limit: u32| text.chars().map(move |c| if (c as u32) < limit { c as u8 } else { b'?' });
        match charset(name)? {
            Charset::Utf8 => result.append_value(text),
            Charset::Ascii => result.append_value(narrow(0x80).collect::<Vec<u8>>()),
            Charset::Latin1 => result.append_value(narrow(0x100).collect::<Vec<u8>>()),
            Charset::Utf16 { big, marked } => {
                let mark = (marked && !text.is_empty()).then_some(0xFEFF_u16);
                let units = mark.into_iter().chain(text.encode_utf16());
                let pair = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
                result.append_value(units.flat_map(pair).collect::<Vec<u8>>());
            }
        }
    }
    Ok(Arc::new(result.finish()))
}

fn decode(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (bytes, name) = (a.bin(0), a.str(1));
    let mut failed = None;
    let result = texts(a, |i, out| {
        let (bytes, name) = (bytes.get(i)?, name.get(i)?);
        match charset(name) {
            Ok(Charset::Utf8) => out.push_str(&String::from_utf8_lossy(bytes)),
            Ok(Charset::Latin1) => out.extend(bytes.iter().map(|b| char::from(*b))),
            Ok(Charset::Ascii) => {
                out.extend(bytes.iter().map(|b| if b.is_ascii() { char::from(*b) } else { '\u{FFFD}' }));
            }
            Ok(Charset::Utf16 { mut big, marked }) => {
                let mut rest = bytes;
                if marked && let Some(mark @ ([0xFE, 0xFF] | [0xFF, 0xFE])) = bytes.get(..2) {
                    big = mark[0] == 0xFE;
                    rest = &bytes[2..];
                }
                let unit = |p: &[u8]| match *p {
                    [x, y] if big => u16::from_be_bytes([x, y]),
                    [x, y] => u16::from_le_bytes([x, y]),
                    _ => 0xFFFD,
                };
                let decoded = char::decode_utf16(rest.chunks(2).map(unit));
                out.extend(decoded.map(|c| c.unwrap_or('\u{FFFD}')));
            }
            Err(error) => failed = Some(error),
        }
        Some(())
    });
    failed.map_or(result, Err)
}

fn url_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'*' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            byte => {
                out.push('%');
                hex_digits(&[byte], true, out);
            }
        }
    }
}

fn url_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
                rest = &tail[2..];
                u8::from_str_radix(digits, 16).ok()?
            }
            byte => *byte,
        });
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The parts of a URL as `java.net.URL` names them.
struct Url<'a> {
    protocol: String,
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let (protocol, rest) = text.split_once(':')?;
        let protocol = protocol.to_ascii_lowercase();
        if !["http", "https", "ftp", "file", "mailto", "jar"].contains(&protocol.as_str()) {
            return None;
        }
        let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(r, f)| (r, Some(f)));
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(r, q)| (r, Some(q)));
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => {
                let end = rest.find('/').unwrap_or(rest.len());
                (Some(&rest[..end]), &rest[end..])
            }
            None => (None, rest),
        };
        let url = Self { protocol, authority, path, query, fragment };
        let port = url.host_and_port().and_then(|(_, port)| port).unwrap_or("");
        (port.is_empty() || port.parse::<u32>().is_ok()).then_some(url)
    }

    fn host_and_port(&self) -> Option<(&'a str, Option<&'a str>)> {
        let authority = self.authority?;
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let after_brackets = host.rfind(']').unwrap_or(0);
        Some(match host[after_brackets..].find(':') {
            Some(at) => (&host[..after_brackets + at], Some(&host[after_brackets + at + 1..])),
            None => (host, None),
        })
    }

    fn part(&self, name: &str, out: &mut String) -> Option<()> {
        let part = match name {
            "HOST" => self.host_and_port()?.0,
            "PATH" | "FILE" => self.path,
            "QUERY" => self.query?,
            "REF" => self.fragment?,
            "PROTOCOL" => &self.protocol,
            "AUTHORITY" => self.authority?,
            "USERINFO" => self.authority?.rsplit_once('@')?.0,
            _ => return None,
        };
        out.push_str(part);
        if let ("FILE", Some(query)) = (name, self.query) {
            out.push('?');
            out.push_str(query);
        }
        Some(())
    }
}

/// `PARSE_URL(url, part, key)`: NULL of what is no URL, and of a part that is not there.
fn parse_url(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (text, part) = (a.str(0), a.str(1));
    let key = (a.len() > 2).then(|| a.str(2));
    texts(a, |i, out| {
        let (url, part) = (Url::parse(text.get(i)?)?, part.get(i)?);
        let Some(key) = &key else { return url.part(part, out) };
        let key = key.get(i)?;
        if part != "QUERY" {
            return None;
        }
        let pairs = url.query?.split('&');
        let value = pairs.filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == key)?.1;
        out.push_str(value);
        Some(())
    })
}
