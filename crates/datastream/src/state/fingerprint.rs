//! What a checkpoint says of a type, so that state is never read as another.

/// Describes `T`: its name without the path of its module.
pub fn fingerprint<T>() -> String {
    let name = std::any::type_name::<T>();
    let mut short = String::with_capacity(name.len());
    let mut start = 0;
    for (i, c) in name.char_indices() {
        if !(c.is_alphanumeric() || c == '_' || c == ':') {
            short.push_str(last_segment(&name[start..i]));
            short.push(c);
            start = i + c.len_utf8();
        }
    }
    short.push_str(last_segment(&name[start..]));
    short
}

fn last_segment(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn a_type_is_named_without_its_module() {
        assert_eq!(fingerprint::<Option<(String, Vec<u8>)>>(), "Option<(String, Vec<u8>)>");
    }
}
