//! Which files a `path` stands for: a file, a directory (with all below it) or a glob.
//!
//! As in Flink, files and directories whose names begin with `.` or `_` are hidden: nothing of an unfinished output
//! is ever read.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::error::ConnectorError;

/// A file to read, with its size in bytes when it was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InputFile {
    pub(crate) path: PathBuf,
    pub(crate) length: u64,
}

/// The local path that `text` names: plain, relative to `base_dir`, or a `file:` URI.
pub(crate) fn local_path(text: &str, base_dir: &Path) -> Result<PathBuf, ConnectorError> {
    if let Some(rest) = text.strip_prefix("file:") {
        // `file:/a`, `file:///a` and `file://localhost/a` are the same file.
        let path =
            rest.strip_prefix("//").map_or(rest, |rest| rest.strip_prefix("localhost").unwrap_or(rest));
        if path.starts_with('/') {
            return Ok(PathBuf::from(path));
        }
        return Ok(base_dir.join(path));
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(ConnectorError::invalid(format!(
            "Could not find a file system implementation for scheme '{scheme}' (path '{text}'). Only local files are \
             supported: use a path or a file:// URI"
        )));
    }
    Ok(base_dir.join(text))
}

/// All files below `path`, in the order of their names. At least the path itself must be there.
pub(crate) fn list(path: &Path) -> Result<Vec<InputFile>, ConnectorError> {
    let mut files = Vec::new();
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => walk(path, &mut files)?,
        Ok(meta) => files.push(InputFile { path: path.to_owned(), length: meta.len() }),
        Err(e) if e.kind() == io::ErrorKind::NotFound && is_glob(path) => {
            glob(path, &mut files)?;
            if files.is_empty() {
                return Err(ConnectorError::invalid(format!("no file matches {}", path.display())));
            }
        }
        Err(e) => return Err(failed("cannot read", path, e)),
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn failed(action: &'static str, path: &Path, reason: io::Error) -> ConnectorError {
    ConnectorError::Io { action, path: path.display().to_string(), reason }
}

fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

fn walk(directory: &Path, files: &mut Vec<InputFile>) -> Result<(), ConnectorError> {
    let entries = std::fs::read_dir(directory).map_err(|e| failed("cannot list directory", directory, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| failed("cannot list directory", directory, e))?;
        if is_hidden(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let path = entry.path();
        let meta = std::fs::metadata(&path).map_err(|e| failed("cannot read", &path, e))?;
        if meta.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(InputFile { path, length: meta.len() });
        }
    }
    Ok(())
}

fn is_glob(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?'])
}

/// Expands `*` and `?` within the components of a path; a directory that matches is read with all below it.
fn glob(pattern: &Path, files: &mut Vec<InputFile>) -> Result<(), ConnectorError> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let Component::Normal(name) = component else {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        };
        let name = name.to_string_lossy();
        if !name.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(name.as_ref()));
            found.retain(|path| path.exists());
            continue;
        }
        let mut next = Vec::new();
        for directory in found.iter().filter(|path| path.is_dir()) {
            let entries =
                std::fs::read_dir(directory).map_err(|e| failed("cannot list directory", directory, e))?;
            for entry in entries {
                let entry = entry.map_err(|e| failed("cannot list directory", directory, e))?;
                let file_name = entry.file_name();
                let file_name = file_name.to_string_lossy();
                if !is_hidden(&file_name) && matches(name.as_bytes(), file_name.as_bytes()) {
                    next.push(entry.path());
                }
            }
        }
        found = next;
    }
    for path in found {
        let meta = std::fs::metadata(&path).map_err(|e| failed("cannot read", &path, e))?;
        if meta.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(InputFile { path, length: meta.len() });
        }
    }
    Ok(())
}

/// Whether `name` is of the form `pattern`, in time linear in both per `*`.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                n = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_globs_and_files_are_listed_by_name_without_hidden_ones() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("b/c")).unwrap();
        std::fs::create_dir_all(dir.path().join("_tmp")).unwrap();
        for name in ["b/c/2.csv", "a.csv", "b/1.csv", ".hidden", "_SUCCESS", "_tmp/x.csv", "z.txt"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        let names = |path: PathBuf| -> Vec<String> {
            let files = list(&path).unwrap();
            files.iter().map(|f| f.path.strip_prefix(dir.path()).unwrap().display().to_string()).collect()
        };
        assert_eq!(names(dir.path().to_owned()), ["a.csv", "b/1.csv", "b/c/2.csv", "z.txt"]);
        assert_eq!(names(dir.path().join("*.csv")), ["a.csv"]);
        assert_eq!(names(dir.path().join("?/?.csv")), ["b/1.csv"]);
        assert_eq!(names(dir.path().join("b/1.csv")), ["b/1.csv"]);
        let missing = list(&dir.path().join("nope")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read /") && missing.contains("nope"), "{missing}");
        assert!(list(&dir.path().join("*.xml")).unwrap_err().to_string().starts_with("no file matches"));
    }

    #[test]
    fn paths_are_local() {
        let base = Path::new("/base");
        assert_eq!(local_path("file:///a/b", base).unwrap(), Path::new("/a/b"));
        assert_eq!(local_path("a/b", base).unwrap(), Path::new("/base/a/b"));
        assert_eq!(local_path("/a", base).unwrap(), Path::new("/a"));
        assert!(local_path("s3://bucket/a", base).unwrap_err().to_string().contains("'s3'"));
    }
}
