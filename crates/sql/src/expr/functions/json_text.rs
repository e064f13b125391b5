//! Reading and writing JSON, and paths into it.
//!
//! Invariant: numbers stay the text they were; a document is at most [`DEPTH`] deep, so that reading cannot overflow the
//! stack.

/// How deep a document may nest.
const DEPTH: usize = 512;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The value at the start of a text; what comes after it does not count. `None` when there is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Reader { text, at: 0 }.value(0)
    }

    /// Appends the value without blanks, the keys of objects in order.
    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(digits) => out.push_str(digits),
            Self::Text(text) => write_text(text, out),
            Self::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(fields) => {
                let mut fields: Vec<_> = fields.iter().collect();
                fields.sort_by(|x, y| x.0.cmp(&y.0));
                out.push('{');
                for (i, (name, value)) in fields.into_iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_text(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// Appends a text in quotes.
pub(crate) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.as_bytes().get(self.at) {
            self.at += 1;
        }
        self.text.as_bytes().get(self.at).copied()
    }

    fn takes(&mut self, byte: u8) -> bool {
        let takes = self.peek() == Some(byte);
        self.at += usize::from(takes);
        takes
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        let rest = self.text[self.at..].strip_prefix(word)?;
        self.at += word.len();
        rest.chars().next().is_none_or(|c| !c.is_alphanumeric()).then_some(value)
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        if depth > DEPTH {
            return None;
        }
        match self.peek()? {
            b'n' => self.word("null", Json::Null),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'"' => self.string().map(Json::Text),
            b'[' => {
                self.at += 1;
                let mut items = Vec::new();
                if self.takes(b']') {
                    return Some(Json::Array(items));
                }
                loop {
                    items.push(self.value(depth + 1)?);
                    if self.takes(b']') {
                        return Some(Json::Array(items));
                    }
                    if !self.takes(b',') {
                        return None;
                    }
                }
            }
            b'{' => {
                self.at += 1;
                let mut fields: Vec<(String, Json)> = Vec::new();
                if self.takes(b'}') {
                    return Some(Json::Object(fields));
                }
                loop {
                    self.peek().filter(|b| *b == b'"')?;
                    let name = self.string()?;
                    if !self.takes(b':') {
                        return None;
                    }
                    fields.push((name, self.value(depth + 1)?));
                    if self.takes(b'}') {
                        return Some(Json::Object(fields));
                    }
                    if !self.takes(b',') {
                        return None;
                    }
                }
            }
            _ => self.number(),
        }
    }

    fn number(&mut self) -> Option<Json> {
        let rest = &self.text[self.at..];
        let end =
            rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        let digits = &rest[..end];
        let number: serde_json::Result<serde_json::Number> = serde_json::from_str(digits);
        let huge = || number.as_ref().is_err_and(|e| e.to_string().starts_with("number out of range"));
        if number.is_err() && !huge() {
            return None;
        }
        self.at += end;
        Some(Json::Number(digits.to_owned()))
    }

    fn string(&mut self) -> Option<String> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.text.as_bytes().get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        serde_json::from_str(self.text.get(start..self.at)?).ok()
    }
}

enum Step {
    Field(String),
    Element(i64),
    All,
}

/// A parsed path such as `lax $.a[0]`; without a mode it is strict.
pub(crate) struct Path {
    pub(crate) lax: bool,
    steps: Vec<Step>,
}

impl Path {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (mode, path) = text.split_once('$')?;
        let lax = match mode.trim().to_ascii_lowercase().as_str() {
            "" | "strict" => false,
            "lax" => true,
            _ => return None,
        };
        let (mut rest, mut steps) = (path, Vec::new());
        while !rest.is_empty() {
            let dotted = rest.strip_prefix('.');
            rest = dotted.unwrap_or(rest);
            if let Some(inside) = rest.strip_prefix('[') {
                let quote = inside.trim_start().chars().next().filter(|c| matches!(c, '\'' | '"'));
                if let Some(quote) = quote {
                    let inside = &inside.trim_start()[1..];
                    let (name, after) = inside.split_once(quote)?;
                    steps.push(Step::Field(name.to_owned()));
                    rest = after.trim_start().strip_prefix(']')?;
                } else {
                    let (index, after) = inside.split_once(']')?;
                    steps.push(match index.trim() {
                        "*" => Step::All,
                        index => Step::Element(index.parse().ok()?),
                    });
                    rest = after;
                }
                continue;
            }
            dotted?;
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            match &rest[..end] {
                "" => return None,
                "*" => steps.push(Step::All),
                name => steps.push(Step::Field(name.to_owned())),
            }
            rest = &rest[end..];
        }
        Some(Self { lax, steps })
    }

    /// What it leads to; all of them as an array when the path has a `*`.
    pub(crate) fn find(&self, json: &Json) -> Option<Json> {
        let mut found = vec![json];
        let mut many = false;
        for step in &self.steps {
            let mut next = Vec::new();
            for value in found {
                match (step, value) {
                    (Step::Field(name), Json::Object(fields)) => {
                        next.extend(fields.iter().rfind(|(known, _)| known == name).map(|(_, value)| value));
                    }
                    (Step::Element(index), Json::Array(items)) => {
                        let at = if *index < 0 { items.len() as i64 + index } else { *index };
                        next.extend(usize::try_from(at).ok().and_then(|at| items.get(at)));
                    }
                    (Step::All, Json::Array(items)) => next.extend(items),
                    (Step::All, Json::Object(fields)) => next.extend(fields.iter().map(|(_, value)| value)),
                    _ => {}
                }
            }
            many |= matches!(step, Step::All);
            found = next;
        }
        if many {
            Some(Json::Array(found.into_iter().cloned().collect()))
        } else {
            found.first().copied().cloned()
        }
    }
}
