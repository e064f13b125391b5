//! What `#[record(…)]` says of a struct and of a field.

use syn::{Attribute, Error, LitInt, LitStr, Path, Result};

/// Of the struct.
pub(crate) fn crate_path(attributes: &[Attribute]) -> Result<Path> {
    let mut path: Option<Path> = None;
    for attribute in attributes.iter().filter(|a| a.path().is_ident("record")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta
                    .error("a struct takes only `crate = \"path\"`; the other attributes stand at a field"));
            }
            path = Some(meta.value()?.parse::<LitStr>()?.parse()?);
            Ok(())
        })?;
    }
    match path {
        Some(path) => Ok(path),
        None => syn::parse_str("::streamkeeper::record"),
    }
}

/// Of a field.
#[derive(Default)]
pub(crate) struct FieldAttributes {
    pub(crate) rename: Option<LitStr>,
    pub(crate) rowtime: bool,
    pub(crate) key: bool,
    pub(crate) precision: Option<u8>,
}

impl FieldAttributes {
    pub(crate) fn new(attributes: &[Attribute]) -> Result<Self> {
        let mut found = Self::default();
        for attribute in attributes.iter().filter(|a| a.path().is_ident("record")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("rename") {
                    let name: LitStr = meta.value()?.parse()?;
                    if name.value().is_empty() {
                        return Err(Error::new(name.span(), "a column needs a name"));
                    }
                    found.rename = Some(name);
                } else if meta.path.is_ident("rowtime") {
                    found.rowtime = true;
                } else if meta.path.is_ident("key") {
                    found.key = true;
                } else if meta.path.is_ident("precision") {
                    let literal: LitInt = meta.value()?.parse()?;
                    let precision = literal.base10_parse::<u8>().ok().filter(|p| *p <= 9);
                    let wrong = || Error::new(literal.span(), "a timestamp's precision is 0 to 9");
                    found.precision = Some(precision.ok_or_else(wrong)?);
                } else {
                    return Err(
                        meta.error("a field takes `rename = \"…\"`, `rowtime`, `key` and `precision = …`")
                    );
                }
                Ok(())
            })?;
        }
        Ok(found)
    }
}
