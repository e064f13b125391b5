//! `streamkeeper.yaml`: Flink's configuration keys, flat (`parallelism.default: 2`) or nested.

use std::path::{Path, PathBuf};

use yaml_rust2::{Yaml, YamlLoader};

/// Larger files are refused.
const MAX_BYTES: u64 = 256 * 1024;

/// The file to read: `$STREAMKEEPER_CONF`, or `streamkeeper.yaml` in the current directory if it is there.
pub fn path() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("STREAMKEEPER_CONF") {
        return Some(path.into());
    }
    let default = PathBuf::from("streamkeeper.yaml");
    default.exists().then_some(default)
}

/// Keys and values in the order of the file.
///
/// # Errors
/// When it cannot be read, is larger than 256 KiB, or is not a YAML document of keys and values.
pub fn read(path: &Path) -> Result<Vec<(String, String)>, String> {
    let fail = |reason: String| format!("configuration file {}: {reason}", path.display());
    let size = std::fs::metadata(path).map_err(|e| fail(e.to_string()))?.len();
    if size > MAX_BYTES {
        return Err(fail(format!("it has {size} bytes, the limit is {MAX_BYTES}")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
    parse(&text).map_err(fail)
}

fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let documents = YamlLoader::load_from_str(text).map_err(|e| e.to_string())?;
    let mut entries = Vec::new();
    for document in &documents {
        flatten("", document, &mut entries)?;
    }
    Ok(entries)
}

fn flatten(prefix: &str, value: &Yaml, into: &mut Vec<(String, String)>) -> Result<(), String> {
    let text = match value {
        Yaml::Hash(map) => {
            for (key, value) in map {
                let key = scalar(key).ok_or_else(|| format!("a key below `{prefix}` is not text"))?;
                let path = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
                flatten(&path, value, into)?;
            }
            return Ok(());
        }
        Yaml::Null if prefix.is_empty() => return Ok(()),
        Yaml::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(scalar).collect();
            items.map(|items| items.join(";"))
        }
        other => scalar(other),
    };
    match text {
        Some(text) if !prefix.is_empty() => into.push((prefix.to_owned(), text)),
        _ => return Err(format!("`{prefix}` is neither a value nor a group of keys")),
    }
    Ok(())
}

fn scalar(value: &Yaml) -> Option<String> {
    match value {
        Yaml::String(text) | Yaml::Real(text) => Some(text.clone()),
        Yaml::Integer(number) => Some(number.to_string()),
        Yaml::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn flat_and_nested_keys_are_the_same() {
        let flat = parse("parallelism.default: 2\nexecution.checkpointing.interval: 10s\n").expect("valid");
        let nested = parse("parallelism:\n  default: 2\nexecution:\n  checkpointing:\n    interval: 10s\n")
            .expect("valid");
        assert_eq!(flat, nested);
        assert_eq!(flat[0], ("parallelism.default".to_owned(), "2".to_owned()));
        assert_eq!(parse("# nothing\n"), Ok(vec![]));
        assert!(parse("- a\n- b\n").is_err());
        assert!(parse("a: [1, {b: 2}]\n").is_err());
    }
}
