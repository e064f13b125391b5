//! Which strings name a znode, as in ZooKeeper's `PathUtils.validatePath`.

/// Whether `path` names a znode: absolute, no empty, `.` or `..` component, no trailing slash, no control characters and none of the
/// code points that Java's UTF-16 keeps for surrogates (so none beyond U+FFFF), private use or specials.
pub fn is_valid(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    if rest.is_empty() {
        return true;
    }
    rest.split('/').all(|name| !matches!(name, "" | "." | "..")) && rest.chars().all(is_valid_char)
}

fn is_valid_char(c: char) -> bool {
    match u32::from(c) {
        c @ ..=0x7e => c > 0x1f,
        c => !matches!(c, 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..),
    }
}

/// The path up to its last slash (empty for children of the root) and the name behind it.
pub fn split(path: &str) -> Option<(&str, &str)> {
    path.rsplit_once('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_and_invalid_paths() {
        for path in ["/", "/a", "/a/b.c", "/...", "/a/..b", "/ä ö", "/\u{fff}"] {
            assert!(is_valid(path), "{path:?}");
        }
        let invalid = [
            "",
            "a",
            "/a/",
            "//a",
            "/a//b",
            "/.",
            "/a/./b",
            "/..",
            "/a/..",
            "/a\0",
            "/\u{1f}",
            "/\u{7f}",
            "/\u{e000}",
            "/\u{fffd}",
            "/😀",
        ];
        for path in invalid {
            assert!(!is_valid(path), "{path:?}");
        }
    }
}
