//! Java properties files, the syntax of `zoo.cfg`: as `java.util.Properties.load` documents it.

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key, trimmed.
    pub key: String,
    /// The value, trimmed.
    pub value: String,
    /// The line on which the entry begins, from 1.
    pub line: usize,
}

/// A `\u` without four hexadecimal digits, in the entry that begins on this line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadEscape(pub usize);

/// The entries of a file, in its order.
///
/// Java reads Latin-1; here a file that is UTF-8 counts as UTF-8.
pub fn parse(bytes: &[u8]) -> Result<Vec<Entry>, BadEscape> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.trim_start_matches('\u{feff}').to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    };
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut entries = Vec::new();
    let mut lines = text.split('\n').enumerate();
    while let Some((at, line)) = lines.next() {
        let mut logical = line.trim_start_matches(is_blank).to_owned();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while is_continued(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start_matches(is_blank)),
                None => break,
            }
        }
        let (key, value) = split(&logical);
        let unescaped = |text| unescape(text).ok_or(BadEscape(at + 1));
        entries.push(Entry {
            key: unescaped(key)?.trim().to_owned(),
            value: unescaped(value)?.trim().to_owned(),
            line: at + 1,
        });
    }
    Ok(entries)
}

fn is_blank(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\x0c')
}

fn is_continued(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// The key ends at the first `=`, `:` or blank that is not escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, char) in line.char_indices() {
        if escaped {
            escaped = false;
        } else if char == '\\' {
            escaped = true;
        } else if is_blank(char) || char == '=' || char == ':' {
            let rest = line[at..].trim_start_matches(is_blank);
            let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
            return (&line[..at], rest.trim_start_matches(is_blank));
        }
    }
    (line, "")
}

fn unescape(text: &str) -> Option<String> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    let mut push = |char: char| units.extend_from_slice(char.encode_utf16(&mut [0; 2]));
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('t') => push('\t'),
                Some('n') => push('\n'),
                Some('r') => push('\r'),
                Some('f') => push('\x0c'),
                Some('u') => {
                    let digits = chars.as_str().get(..4)?;
                    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                        return None;
                    }
                    chars = chars.as_str()[4..].chars();
                    let unit = u16::from_str_radix(digits, 16).ok()?;
                    match char::from_u32(unit.into()) {
                        Some(char) => push(char),
                        None => push('\u{fffd}'),
                    }
                }
                Some(other) => push(other),
                None => {}
            },
            char => push(char),
        }
    }
    Some(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_java_reads_them() {
        type Wanted<'a> = &'a [(&'a str, &'a str, usize)];
        let cases: &[(&str, Wanted)] = &[
            ("dataDir=/var/zk\nclientPort = 2181\n", &[("dataDir", "/var/zk", 1), ("clientPort", "2181", 2)]),
            ("# no\n! no\n\n \t# no\n a:b", &[("a", "b", 5)]),
            ("key value with blanks", &[("key", "value with blanks", 1)]),
            ("key", &[("key", "", 1)]),
            ("a=b=c:d", &[("a", "b=c:d", 1)]),
            ("a = = b", &[("a", "= b", 1)]),
            ("a\\ b\\=c=d", &[("a b=c", "d", 1)]),
            ("a=1\\\n   2\\\n#3\nb=4", &[("a", "12#3", 1), ("b", "4", 4)]),
            ("a=x\\\\\nb=y", &[("a", "x\\", 1), ("b", "y", 2)]),
            ("a=\\u0041\\tb\\q", &[("a", "A\tbq", 1)]),
            ("a=1\r\nb=2\rc=3", &[("a", "1", 1), ("b", "2", 2), ("c", "3", 3)]),
            ("a=b\\", &[("a", "b", 1)]),
            ("# comment \\\na=b", &[("a", "b", 2)]),
        ];
        for (text, wanted) in cases {
            let entries = parse(text.as_bytes()).unwrap();
            let got: Vec<_> = entries.iter().map(|entry| (&*entry.key, &*entry.value, entry.line)).collect();
            assert_eq!(got, *wanted, "{text:?}");
        }
        assert_eq!(parse(b"a=1\nb=\\u12"), Err(BadEscape(2)));
        assert_eq!(parse(b"a=\\u00g0"), Err(BadEscape(1)));
        assert_eq!(parse(b"a=\xe9").unwrap()[0].value, "é");
        assert_eq!(parse("a=é".as_bytes()).unwrap()[0].value, "é");
    }
}
