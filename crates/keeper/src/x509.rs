//! The scheme `x509`: a client is whom its certificate names, written as Java's `X500Principal.getName()` writes it (RFC 2253).

use std::fmt::Write;

use crate::acl::Id;

/// The identities of a client whose certificate (DER) was verified: its subject, and `super` if that is the super user.
pub fn identities(certificate: &[u8], super_user: Option<&str>) -> Vec<Id> {
    let Some(subject) = subject_name(certificate) else { return Vec::new() };
    let mut ids = Vec::new();
    if super_user == Some(&subject) {
        ids.push(Id::new("super", &subject));
    }
    ids.push(Id::new("x509", &subject));
    ids
}

/// The name of a certificate's subject.
pub fn subject_name(certificate: &[u8]) -> Option<String> {
    let (_, certificate, _) = der(certificate)?;
    let (_, mut rest, _) = der(certificate)?;
    if rest.first() == Some(&0xa0) {
        rest = der(rest)?.2; // version
    }
    for _ in 0..4 {
        rest = der(rest)?.2; // serial number, algorithm, issuer, validity
    }
    name(rest)
}

/// A DER name, written as RFC 2253 has it: the last part comes first.
fn name(encoded: &[u8]) -> Option<String> {
    let (0x30, mut parts, _) = der(encoded)? else { return None };
    let mut names = Vec::new();
    while !parts.is_empty() {
        let (_, mut attributes, rest) = der(parts)?;
        let mut text = String::new();
        while !attributes.is_empty() {
            let (_, attribute, rest) = der(attributes)?;
            let (_, oid, value) = der(attribute)?;
            if !text.is_empty() {
                text.push('+');
            }
            write_attribute(&mut text, oid, value)?;
            attributes = rest;
        }
        names.push(text);
        parts = rest;
    }
    names.reverse();
    Some(names.join(","))
}

fn write_attribute(text: &mut String, oid: &[u8], value: &[u8]) -> Option<()> {
    let (tag, content, rest) = der(value)?;
    let encoded = &value[..value.len() - rest.len()];
    match (keyword(oid), string(tag, content)) {
        (Some(keyword), Some(value)) => {
            text.push_str(keyword);
            text.push('=');
            write_escaped(text, &value);
        }
        (keyword, _) => {
            match keyword {
                Some(keyword) => text.push_str(keyword),
                None => write_oid(text, oid)?,
            }
            text.push_str("=#");
            for byte in encoded {
                write!(text, "{byte:02x}").ok()?;
            }
        }
    }
    Some(())
}

/// The text of an ASN.1 string, of the kinds that Java takes for text.
fn string(tag: u8, content: &[u8]) -> Option<String> {
    const UTF8: u8 = 12;
    const PRINTABLE: u8 = 19;
    const T61: u8 = 20;
    const IA5: u8 = 22;
    const GENERAL: u8 = 27;
    const BMP: u8 = 30;
    match tag {
        UTF8 | PRINTABLE | IA5 | GENERAL => Some(String::from_utf8_lossy(content).into_owned()),
        T61 => Some(content.iter().map(|byte| char::from(*byte)).collect()),
        BMP => {
            let units: Vec<u16> =
                content.as_chunks().0.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
            Some(String::from_utf16_lossy(&units))
        }
        _ => None,
    }
}

fn write_escaped(text: &mut String, value: &str) {
    let blank = |char: char| char == ' ' || char == '\r';
    let inner = value.trim_start_matches(blank);
    let leading = value.len() - inner.len();
    let trailing = leading + inner.trim_end_matches(blank).len();
    for (at, char) in value.char_indices() {
        if at < leading || at >= trailing || ",=+<>#;\"\\".contains(char) {
            text.push('\\');
        }
        match char {
            '\0' => text.push_str("\\00"),
            char => text.push(char),
        }
    }
}

/// The names that RFC 2253 has for types of attributes; the others are written as numbers.
fn keyword(oid: &[u8]) -> Option<&'static str> {
    Some(match oid {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 9] => "STREET",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        _ => return None,
    })
}

fn write_oid(text: &mut String, oid: &[u8]) -> Option<()> {
    let mut arc: u64 = 0;
    let mut first = true;
    for byte in oid {
        arc = arc.checked_mul(128)? | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        match first {
            true => write!(text, "{}.{}", (arc / 40).min(2), arc - 40 * (arc / 40).min(2)).ok()?,
            false => write!(text, ".{arc}").ok()?,
        }
        (arc, first) = (0, false);
    }
    Some(())
}

/// A DER element's tag and content, and what follows it.
fn der(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// Whether Java's `X500Principal` takes this for a name, so that it can stand in a list of permissions.
pub fn is_name(text: &str) -> bool {
    const KEYWORDS: &[&str] = &[
        "CN",
        "C",
        "L",
        "S",
        "ST",
        "O",
        "OU",
        "T",
        "IP",
        "STREET",
        "DC",
        "DNQUALIFIER",
        "DNQ",
        "SURNAME",
        "GIVENNAME",
        "INITIALS",
        "GENERATION",
        "EMAIL",
        "EMAILADDRESS",
        "UID",
        "SERIALNUMBER",
    ];
    let is_oid = |text: &str| {
        let number = |arc: &str| !arc.is_empty() && arc.bytes().all(|byte| byte.is_ascii_digit());
        text.contains('.') && text.split('.').all(number) && text.starts_with(['0', '1', '2'])
    };
    let is_part = |part: &str| {
        let Some((key, value)) = part.split_once('=') else { return false };
        let key = key.trim().to_ascii_uppercase();
        let known = KEYWORDS.contains(&&*key) || is_oid(key.strip_prefix("OID.").unwrap_or(&key));
        known && is_value(value.trim_start())
    };
    text.is_empty() || parts(text).is_some_and(|parts| parts.into_iter().all(is_part))
}

fn is_value(value: &str) -> bool {
    if let Some(hex) = value.strip_prefix('#') {
        let digit = |at: usize| hex.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let bytes: Option<Vec<u8>> = (0..hex.trim_end().len()).step_by(2).map(digit).collect();
        return bytes.is_some_and(|bytes| der(&bytes).is_some());
    }
    let (quoted, rest) = match value.strip_prefix('"') {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mut chars = rest.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some(first) if first.is_ascii_hexdigit() => {
                    if !chars.next().is_some_and(|second| second.is_ascii_hexdigit()) {
                        return false;
                    }
                }
                Some(first) if ",=+<>#;\"\\ ".contains(first) => {}
                _ => return false,
            },
            '"' if quoted => return chars.as_str().trim().is_empty(),
            '"' | '<' | '>' if !quoted => return false,
            _ => {}
        }
    }
    !quoted
}

/// The parts of a name: what stands between `,`, `;` and `+` that are neither escaped nor quoted.
fn parts(text: &str) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ',' | ';' | '+' if !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!quoted && !escaped).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_java_writes_them() {
        // Encoded by, and written by, X500Principal of Java 17.
        for (encoded, text) in [
            (
                "3037310b3009060355040613024445310d300b060355040a1304782c2079310b3009060355040b0c02c3b6310c300a06035504031303612062",
                "CN=a b,OU=ö,O=x\\, y,C=DE",
            ),
            (
                "30343111300f060a0992268993f22c6401191601783111300f060a0992268993f22c640101130175310c300a06035504031303206120",
                "CN=\\ a\\ ,UID=u,DC=x",
            ),
            (
                "303031183008060355040b130171300c06035504030c057823793d7a3114301206092a864886f70d01090116056140622e63",
                "1.2.840.113549.1.9.1=#16056140622e63,OU=q+CN=x\\#y\\=z",
            ),
            (
                "304c310a30080603550403130168310a30080603550405130135310e300c060355040c13057469746c65310a3008060355040713016c310a30080603550408130174310a30080603550409130173",
                "STREET=s,ST=t,L=l,2.5.4.12=#13057469746c65,2.5.4.5=#130135,CN=h",
            ),
            ("30163114301206035504030c0b613c623e633b645c652266", "CN=a\\<b\\>c\\;d\\\\e\\\"f"),
            ("300f310d300b06035504031e0400610062", "CN=ab"),
            ("300e310c300a06035504031403e96162", "CN=éab"),
            ("300d310b3009060355040316026162", "CN=ab"),
            ("300d310b300906035504030c026100", "CN=a\\00"),
            ("300d310b3009060355040304026162", "CN=#04026162"),
            ("300f310d300b06035504031c0400000061", "CN=#1c0400000061"),
            ("3000", ""),
        ] {
            let bytes: Vec<u8> = (0..encoded.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&encoded[at..at + 2], 16).unwrap())
                .collect();
            assert_eq!(name(&bytes).as_deref(), Some(text));
            for cut in 0..bytes.len() {
                assert_eq!(name(&bytes[..cut]), None);
            }
        }
        assert_eq!(subject_name(b"\x30\x84\xff\xff\xff\xff"), None);
        assert_eq!(identities(b"", None), []);
    }

    #[test]
    fn names_are_taken_as_java_takes_them() {
        for (text, valid) in [
            ("", true),
            (" ", false),
            ("CN=a", true),
            ("CN = a", true),
            ("CN=", true),
            ("cn=a, O=b;C=de", true),
            ("CN=a+OU=b,1.2.3=#040161", true),
            ("CN=\"a,b\"", true),
            ("CN=\"a<b\"", true),
            ("CN=\"a\"b", false),
            ("CN=\"a", false),
            ("CN=a\\,b", true),
            ("CN=\\ a", true),
            ("CN=a\\41", true),
            ("CN=a\\4", false),
            ("CN=a\\zb", false),
            ("CN=\"a\\zb\"", false),
            ("CN=a\\", false),
            ("CN=a=b", true),
            ("CN=a#b", true),
            ("CN=a<b", false),
            ("CN=a>b", false),
            ("CN=a\"b", false),
            ("CN=#zz", false),
            ("CN=#", false),
            ("CN=#04", false),
            ("a", false),
            ("=a", false),
            ("XY=a", false),
            ("CN=a,", false),
            ("CN=a;", false),
            ("CN=a,,O=b", false),
            (" , ", false),
            ("OID.1.2.3=x", true),
            ("OID.2=x", false),
            ("9.2.3=x", false),
            ("EMAIL=x@y", true),
        ] {
            assert_eq!(is_name(text), valid, "{text}");
        }
    }
}
