//! JSON laid out as ZooKeeper lays it out (Jackson's default pretty printer): `"name" : value`, arrays on one line.

use serde_json::Value;

/// A value as text.
pub(super) fn to_text(value: &Value) -> String {
    let mut text = String::new();
    write(value, 0, &mut text);
    text
}

fn write(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(fields) => {
            out.push('{');
            for (at, (name, value)) in fields.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                new_line(depth + 1, out);
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push_str(" : ");
                write(value, depth + 1, out);
            }
            if fields.is_empty() {
                out.push(' ');
            } else {
                new_line(depth, out);
            }
            out.push('}');
        }
        Value::Array(values) => {
            out.push('[');
            for (at, value) in values.iter().enumerate() {
                out.push_str(if at == 0 { " " } else { ", " });
                write(value, depth, out);
            }
            out.push_str(" ]");
        }
        value => out.push_str(&value.to_string()),
    }
}

fn new_line(depth: usize, out: &mut String) {
    out.push('\n');
    (0..depth).for_each(|_| out.push_str("  "));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn laid_out_as_zookeeper_does() {
        let value = json!({"a": [{"b": "\"", "c": []}, 2], "d": {}, "e": null, "f": 0.0});
        let expected = r#"{
  "a" : [ {
    "b" : "\"",
    "c" : [ ]
  }, 2 ],
  "d" : { },
  "e" : null,
  "f" : 0.0
}"#;
        assert_eq!(super::to_text(&value), expected);
    }
}
