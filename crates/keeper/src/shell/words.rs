//! Lines into words, and words into options and arguments, as zkCli does both.

use super::Problem;

/// The words of a line. `'…'` and `"…"` are one word where a word may begin; inside of a word quotes are plain characters.
pub(super) fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let quoted = match first {
            '"' | '\'' => rest[1..].split_once(first),
            _ => None,
        };
        if let Some((word, behind)) = quoted {
            words.push(word.to_owned());
            rest = behind.trim_start();
        } else if matches!(first, '"' | '\'') {
            // A quote that nothing closes is passed over.
            rest = rest[1..].trim_start();
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            words.push(rest[..end].to_owned());
            rest = rest[end..].trim_start();
        }
    }
    words
}

/// An option of a command: its name, and whether a value follows.
pub(super) type OptionSpec = (&'static str, bool);

/// A command's words, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    options: Vec<(&'static str, String)>,
    /// The words that are no options, without the command.
    pub(super) operands: Vec<String>,
}

impl Arguments {
    /// Options stand anywhere: `-s -v 5`, `-v5`, `-v=5`, `-sv5`. `--` ends them; a negative number is none.
    pub(super) fn parse(specs: &[OptionSpec], words: &[String]) -> Result<Arguments, Problem> {
        let mut arguments = Arguments::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                arguments.operands.extend(words.by_ref().cloned());
                break;
            }
            match word.strip_prefix('-') {
                Some(name) if !name.is_empty() && word.parse::<f64>().is_err() => {
                    arguments.option(specs, word, name, &mut words)?;
                }
                _ => arguments.operands.push(word.clone()),
            }
        }
        Ok(arguments)
    }

    fn option<'a>(
        &mut self,
        specs: &[OptionSpec],
        word: &str,
        name: &str,
        words: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), Problem> {
        let unknown = || Problem::Usage(format!("Unrecognized option: {word}"));
        let missing = |name: &str| Problem::Usage(format!("Missing argument for option: {name}"));
        let name = name.strip_prefix('-').unwrap_or(name);
        let (name, mut value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (name, None),
        };
        if let Some((name, takes_value)) = specs.iter().find(|(spec, _)| *spec == name) {
            let value = match (takes_value, value.take()) {
                (false, None) => String::new(),
                (false, Some(_)) => return Err(unknown()),
                (true, Some(value)) => value.to_owned(),
                (true, None) => words.next().cloned().ok_or_else(|| missing(name))?,
            };
            self.options.push((name, value));
            return Ok(());
        }
        // Several of one letter, the last perhaps with its value.
        let letters = word.trim_start_matches('-');
        for (at, letter) in letters.char_indices() {
            let spec = specs.iter().find(|(spec, _)| spec.len() == 1 && spec.starts_with(letter));
            let (name, takes_value) = spec.ok_or_else(unknown)?;
            if !takes_value {
                self.options.push((name, String::new()));
                continue;
            }
            let value = letters[at + letter.len_utf8()..].trim_start_matches('=');
            let value = match value.is_empty() {
                true => words.next().cloned().ok_or_else(|| missing(name))?,
                false => value.to_owned(),
            };
            self.options.push((name, value));
            break;
        }
        Ok(())
    }

    /// Whether an option is given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The value of an option.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(option, _)| *option == name).map(|(_, value)| value.as_str())
    }

    /// The value of an option as a number.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        self.value(name)
            .map(|value| {
                value.parse().map_err(|_| Problem::Usage(format!("-{name} needs a number, not `{value}`")))
            })
            .transpose()
    }

    /// The operand at `index`.
    pub(super) fn operand(&self, index: usize) -> Option<&str> {
        self.operands.get(index).map(String::as_str)
    }

    /// The operand at `index`, which must be there.
    pub(super) fn required(&self, index: usize, what: &str) -> Result<&str, Problem> {
        self.operand(index).ok_or_else(|| Problem::Usage(format!("{what} is missing")))
    }

    /// The first operand, as a path.
    pub(super) fn path(&self) -> Result<&str, Problem> {
        let path = self.required(0, "path")?;
        check_path(path)?;
        Ok(path)
    }
}

/// Refuses what names no znode, before a server does.
pub(super) fn check_path(path: &str) -> Result<(), Problem> {
    if crate::path::is_valid(path) {
        return Ok(());
    }
    let reason = match path {
        "" => "it is empty",
        path if !path.starts_with('/') => "it must start with /",
        path if path.ends_with('/') => "it must not end with /",
        _ => "empty names, `.`, `..` and control characters are not allowed",
    };
    Err(Problem::Path(format!("Invalid path string \"{path}\": {reason}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &[&str]) -> Vec<String> {
        text.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn quotes_hold_words_together() {
        assert_eq!(split(r#"  set /a "x y"  'it"s' "#), words(&["set", "/a", "x y", "it\"s"]));
        assert_eq!(split(r#"set /a {"k":"v"}"#), words(&["set", "/a", r#"{"k":"v"}"#]));
        assert_eq!(split(r#"set /a ''"#), words(&["set", "/a", ""]));
        assert_eq!(split(r#"set /a "x"#), words(&["set", "/a", "x"]));
        assert_eq!(split("  "), words(&[]));
    }

    #[test]
    fn options_stand_anywhere() {
        let specs: &[OptionSpec] = &[("s", false), ("R", false), ("v", true), ("file", true)];
        let parsed = |text: &str| Arguments::parse(specs, &split(text));
        let arguments = parsed("/a -sR -v 5 x").unwrap();
        assert_eq!(arguments.operands, ["/a", "x"]);
        assert!(arguments.has("s") && arguments.has("R"));
        assert_eq!(arguments.number::<i32>("v").unwrap(), Some(5));
        for text in ["-v5", "-v=5", "-sv5", "-sv 5", "--v 5"] {
            assert_eq!(parsed(text).unwrap().value("v"), Some("5"), "{text}");
        }
        assert_eq!(parsed("-file f -5 - -- -s").unwrap().operands, ["-5", "-", "-s"]);
        for text in ["-x", "-sx", "-v", "-s=1"] {
            assert!(parsed(text).is_err(), "{text}");
        }
        assert!(parsed("-v x").unwrap().number::<i32>("v").is_err());
    }
}
