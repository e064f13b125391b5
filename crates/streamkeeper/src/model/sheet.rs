//! What a model says: lines of a formula and its value, as text or JSON.

use serde_json::{Value, json};

/// A formula and what comes out of it.
#[derive(Debug, Clone)]
pub(super) struct Line {
    formula: String,
    value: Value,
    unit: &'static str,
    note: &'static str,
}

/// All that is said of a model.
#[derive(Debug)]
pub(super) struct Sheet {
    pub(super) model: &'static str,
    pub(super) given: Value,
    pub(super) article: Vec<Line>,
    pub(super) corrected: Vec<Line>,
    pub(super) measured: Option<(String, Vec<Line>)>,
}

impl Line {
    /// A number; `None`: it is not defined.
    pub(super) fn number(
        formula: impl Into<String>,
        value: Option<f64>,
        unit: &'static str,
        note: &'static str,
    ) -> Self {
        // Six places are more than any clock gives.
        let rounded = value.map(|value| (value * 1e6).round() / 1e6);
        Self { formula: formula.into(), value: json!(rounded), unit, note }
    }

    /// A text.
    pub(super) fn text(formula: impl Into<String>, value: impl Into<String>, note: &'static str) -> Self {
        Self { formula: formula.into(), value: value.into().into(), unit: "", note }
    }

    fn shown(&self) -> String {
        let value = match &self.value {
            Value::Null => "undefined".to_owned(),
            Value::String(text) => text.clone(),
            value => format!("{} {}", value.as_f64().unwrap_or_default(), self.unit).trim_end().to_owned(),
        };
        let note = if self.note.is_empty() { String::new() } else { format!("      {}\n", self.note) };
        format!("  {}: {value}\n{note}", self.formula)
    }

    fn json(&self) -> Value {
        json!({ "formula": self.formula, "value": self.value, "unit": self.unit, "note": self.note })
    }
}

impl Sheet {
    pub(super) fn text(&self) -> String {
        let part = |title: &str, lines: &[Line]| {
            format!("\n{title}\n{}", lines.iter().map(Line::shown).collect::<String>())
        };
        let given = self.given.as_object().into_iter().flatten();
        let given: Vec<String> = given.map(|(name, value)| format!("{name} {value}")).collect();
        let mut text = format!("{}: {}\n", self.model, given.join(", "));
        text.push_str(&part("The article", &self.article));
        text.push_str(&part("Corrected", &self.corrected));
        if let Some((server, lines)) = &self.measured {
            text.push_str(&part(&format!("Measured at {server}"), lines));
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        let lines = |lines: &[Line]| lines.iter().map(Line::json).collect::<Vec<_>>();
        json!({
            "model": self.model,
            "given": self.given,
            "article": lines(&self.article),
            "corrected": lines(&self.corrected),
            "measured": self.measured.as_ref().map(|(server, all)| json!({ "server": server, "lines": lines(all) })),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_defined_says_so() {
        let sheet = Sheet {
            model: "zab",
            given: json!({ "servers": 1 }),
            article: vec![Line::number("T", None, "ms", "why")],
            corrected: vec![
                Line::number("C", Some(1.25), "ms", ""),
                Line::number("q", Some(2.0), "servers", ""),
                Line::text("who", "3", ""),
            ],
            measured: None,
        };
        let expected = "zab: servers 1\n\nThe article\n  T: undefined\n      why\n\nCorrected\n  C: 1.25 ms\n  q: 2 servers\n  who: 3\n";
        assert_eq!(sheet.text(), expected);
        let json = sheet.json();
        assert_eq!((&json["article"][0]["value"], &json["measured"]), (&Value::Null, &Value::Null));
    }
}
