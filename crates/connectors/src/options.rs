//! The options of a table's `WITH` clause: every one that is given must be taken by the connector or its format.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::error::ConnectorError;

/// Options while they are read; remembers which names were asked for, so that what is left over can be refused.
pub(crate) struct Options<'a> {
    connector: &'a str,
    table: &'a str,
    given: &'a BTreeMap<String, String>,
    supported: RefCell<BTreeSet<String>>,
}

impl<'a> Options<'a> {
    pub(crate) fn new(table: &'a str, connector: &'a str, given: &'a BTreeMap<String, String>) -> Self {
        let supported = RefCell::new(BTreeSet::from(["connector".to_owned()]));
        Self { connector, table, given, supported }
    }

    /// The text of an option, if it was given.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.supported.borrow_mut().insert(name.to_owned());
        self.given.get(name).map(String::as_str)
    }

    /// An option that must be given.
    pub(crate) fn required(&self, name: &str) -> Result<&'a str, ConnectorError> {
        self.get(name).ok_or_else(|| {
            ConnectorError::invalid(format!(
                "One or more required options are missing for table `{}`.\n\nMissing required options are:\n\n{name}",
                self.table
            ))
        })
    }

    pub(crate) fn invalid(&self, name: &str, value: &str, expected: &str) -> ConnectorError {
        ConnectorError::invalid(format!(
            "Invalid value for option '{name}' of table `{}`: '{value}' is not {expected}",
            self.table
        ))
    }

    pub(crate) fn bool(&self, name: &str, default: bool) -> Result<bool, ConnectorError> {
        match self.get(name) {
            None => Ok(default),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(text) => Err(self.invalid(name, text, "true or false")),
        }
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, ConnectorError> {
        self.get(name)
            .map(|text| text.trim().parse().map_err(|_| self.invalid(name, text, "a number in range")))
            .transpose()
    }

    /// A single ASCII character; Flink's escapes such as `\t` are understood.
    pub(crate) fn character(&self, name: &str, default: Option<u8>) -> Result<Option<u8>, ConnectorError> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let unescaped = match text {
            "\\t" => "\t",
            "\\\\" => "\\",
            other => other,
        };
        match unescaped.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Ok(Some(*byte)),
            _ => Err(self.invalid(name, text, "a single ASCII character")),
        }
    }

    pub(crate) fn duration(&self, name: &str, default: Duration) -> Result<Duration, ConnectorError> {
        let Some(text) = self.get(name) else { return Ok(default) };
        parse_duration(text).ok_or_else(|| self.invalid(name, text, "a duration such as '30 min'"))
    }

    /// Bytes, in Flink's form: `128MB`, `1 kb`, `4096`.
    pub(crate) fn memory_size(&self, name: &str, default: u64) -> Result<u64, ConnectorError> {
        let Some(text) = self.get(name) else { return Ok(default) };
        parse_memory_size(text).ok_or_else(|| self.invalid(name, text, "a size such as '128MB'"))
    }

    /// Refuses an option that exists, but whose effect is not there yet.
    pub(crate) fn refuse(&self, name: &str, why: &str) -> Result<(), ConnectorError> {
        match self.get(name) {
            None => Ok(()),
            Some(value) => Err(ConnectorError::invalid(format!(
                "Option '{name}' = '{value}' of table `{}` is not supported: {why}",
                self.table
            ))),
        }
    }

    /// Refuses what nobody asked for.
    pub(crate) fn finish(&self) -> Result<(), ConnectorError> {
        let supported = self.supported.borrow();
        let unknown: Vec<&str> =
            self.given.keys().filter(|name| !supported.contains(*name)).map(String::as_str).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let supported: Vec<&str> = supported.iter().map(String::as_str).collect();
        Err(ConnectorError::invalid(format!(
            "Unsupported options found for '{}' (table `{}`).\n\nUnsupported options:\n\n{}\n\nSupported options:\n\n{}",
            self.connector,
            self.table,
            unknown.join("\n"),
            supported.join("\n")
        )))
    }
}

fn split_unit(text: &str) -> Option<(u64, String)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..digits].parse().ok()?;
    Some((number, text[digits..].trim().to_ascii_lowercase()))
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let nanos: u64 = match unit.as_str() {
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
        "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
        "m" | "min" | "minute" | "minutes" => 60_000_000_000,
        "h" | "hour" | "hours" => 3_600_000_000_000,
        "d" | "day" | "days" => 86_400_000_000_000,
        _ => return None,
    };
    Some(Duration::from_nanos(number.checked_mul(nanos)?))
}

fn parse_memory_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let bytes: u64 = match unit.as_str() {
        "" | "b" | "byte" | "bytes" => 1,
        "k" | "kb" | "kibibytes" => 1 << 10,
        "m" | "mb" | "mebibytes" => 1 << 20,
        "g" | "gb" | "gibibytes" => 1 << 30,
        "t" | "tb" | "tebibytes" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_take_flinks_units() {
        assert_eq!(parse_memory_size("128MB"), Some(128 << 20));
        assert_eq!(parse_memory_size("4096"), Some(4096));
        assert_eq!(parse_memory_size("1 gb"), Some(1 << 30));
        assert_eq!(parse_memory_size("1 furlong"), None);
        assert_eq!(parse_duration("30 min"), Some(Duration::from_secs(1800)));
        assert_eq!(parse_duration("5"), Some(Duration::from_millis(5)));
        assert_eq!(parse_duration("99999999999999999999 d"), None);
    }

    #[test]
    fn leftover_options_are_refused_with_a_list_of_what_there_is() {
        let given = BTreeMap::from([("connector".into(), "print".into()), ("prnt".into(), "x".into())]);
        let options = Options::new("t", "print", &given);
        options.get("print-identifier");
        let message = options.finish().unwrap_err().to_string();
        assert!(message.starts_with("Unsupported options found for 'print'"), "{message}");
        assert!(message.contains("\nprnt\n") && message.contains("\nprint-identifier"), "{message}");
    }
}
