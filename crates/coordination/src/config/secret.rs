//! Secrets in documents: never plain, only a reference or ciphertext.
//!
//! `{"$secret": {"env": "NAME"}}` is the value of an environment variable of the process that reads it, `{"$secret": {"file":
//! "/path"}}` the text of a file without its last line end, `{"$secret": {"sealed": "…"}}` ciphertext: hex digits of a
//! 12-byte nonce and of AES-256-GCM's output (NIST SP 800-38D). Invariant: a resolved secret ([`Plain`]) has no `Debug`,
//! `Display` or serialised form that shows it, and no error does.

use std::fmt;
use std::path::PathBuf;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};

/// Environment variable with the key's 64 hex digits.
pub const KEY_ENV: &str = "STREAMKEEPER_SECRET_KEY";

/// Environment variable with the name of a file that holds them.
pub const KEY_FILE_ENV: &str = "STREAMKEEPER_SECRET_KEY_FILE";

/// The only key of an object that stands for a secret.
const MARK: &str = "$secret";

/// Larger secrets are refused, bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Binds ciphertext to its purpose.
const PURPOSE: &[u8] = b"streamkeeper secret v1";

/// Where a secret is, or its ciphertext. In a typed configuration, the type of a field that holds one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    #[serde(rename = "$secret")]
    form: Form,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    Env(String),
    File(PathBuf),
    Sealed(String),
}

/// A resolved secret. It shows itself only to [`Plain::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Plain(String);

impl Plain {
    /// Takes a secret from somewhere else.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself: for the call that needs it, not for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl Secret {
    /// The ciphertext of `plain`.
    ///
    /// # Errors
    /// When it is too long, or the system has no random numbers.
    pub fn seal(plain: &Plain, key: &Key) -> Result<Self> {
        if plain.0.len() as u64 > MAX_BYTES {
            return Err(too_long());
        }
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| Error::Secret("the system gives no random numbers".into()))?;
        let mut bytes = plain.0.clone().into_bytes();
        key.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(PURPOSE), &mut bytes)
            .map_err(|_| Error::Secret("it cannot be sealed".into()))?;
        Ok(Self { form: Form::Sealed(to_hex(&nonce) + &to_hex(&bytes)) })
    }

    /// Looks the secret up, or opens its ciphertext with `key`.
    ///
    /// # Errors
    /// When the variable, file or key is missing, or does not fit.
    pub fn resolve(&self, key: Option<&Key>) -> Result<Plain> {
        match &self.form {
            Form::Env(name) => std::env::var(name)
                .map(Plain)
                .map_err(|_| Error::Secret(format!("environment variable {name} is not set, or not UTF-8"))),
            Form::File(path) => read_file(path).map(Plain),
            Form::Sealed(text) => {
                let key = key.ok_or_else(|| {
                    Error::Secret(format!(
                        "it is sealed, and no key is given; set {KEY_ENV} or {KEY_FILE_ENV}"
                    ))
                })?;
                let fail = || {
                    Error::Secret("it cannot be opened: it was sealed with another key, or is damaged".into())
                };
                let mut bytes = from_hex(text).ok_or_else(fail)?;
                let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN).ok_or_else(fail)?;
                let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| fail())?;
                let plain = key.0.open_in_place(nonce, Aad::from(PURPOSE), sealed).map_err(|_| fail())?;
                String::from_utf8(plain.to_vec()).map(Plain).map_err(|_| fail())
            }
        }
    }

    /// As it stands in a document.
    pub fn to_json(&self) -> Value {
        let (form, text) = match &self.form {
            Form::Env(name) => ("env", name.clone()),
            Form::File(path) => ("file", path.display().to_string()),
            Form::Sealed(text) => ("sealed", text.clone()),
        };
        serde_json::json!({ MARK: { form: text } })
    }
}

/// What seals and opens ciphertext.
pub struct Key(LessSafeKey);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// A key of 64 hex digits, with white space around them.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn from_hex_digits(text: &str) -> Result<Self> {
        let fail = || Error::Secret("a key is 64 hex digits; make one with `openssl rand -hex 32`".into());
        let bytes = from_hex(text.trim()).ok_or_else(fail)?;
        UnboundKey::new(&AES_256_GCM, &bytes).map(|key| Self(LessSafeKey::new(key))).map_err(|_| fail())
    }

    /// The key of this process: [`KEY_ENV`], else the file that [`KEY_FILE_ENV`] names; none if neither is set.
    ///
    /// # Errors
    /// When there is one that cannot be used.
    pub fn of_process() -> Result<Option<Self>> {
        if let Ok(text) = std::env::var(KEY_ENV) {
            return Self::from_hex_digits(&text).map(Some);
        }
        match std::env::var_os(KEY_FILE_ENV) {
            Some(path) => Self::from_hex_digits(&read_file(path.as_ref())?).map(Some),
            None => Ok(None),
        }
    }
}

/// Whether a value of a document stands for a secret.
pub fn is_secret(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.contains_key(MARK))
}

/// Whether all secrets in `value` are written as they must be.
///
/// # Errors
/// Says which is not; without its text.
pub(crate) fn check(value: &Value) -> std::result::Result<(), String> {
    match value {
        Value::Array(items) => items.iter().try_for_each(check),
        Value::Object(_) if is_secret(value) => match serde_json::from_value::<Secret>(value.clone()) {
            Ok(Secret { form: Form::Sealed(text) }) if from_hex(&text).is_none_or(|b| b.len() < NONCE_LEN) => {
                Err("a sealed secret is no ciphertext; make it with `streamkeeper config seal`".into())
            }
            Ok(_) => Ok(()),
            Err(_) => Err(
                "a secret is written {\"$secret\": {\"env\": \"NAME\"}}, {\"$secret\": {\"file\": \"/path\"}} or {\"$secret\": {\"sealed\": \"…\"}}, with nothing beside it"
                    .into(),
            ),
        },
        Value::Object(object) => object.values().try_for_each(check),
        _ => Ok(()),
    }
}

fn read_file(path: &std::path::Path) -> Result<String> {
    use std::io::Read;
    let fail = |reason: &dyn fmt::Display| Error::Secret(format!("file {}: {reason}", path.display()));
    let file = std::fs::File::open(path).map_err(|e| fail(&e))?;
    let mut text = String::new();
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|e| fail(&e))?;
    if read as u64 > MAX_BYTES {
        return Err(too_long());
    }
    let end = text.strip_suffix('\n').map_or(text.len(), |t| t.strip_suffix('\r').unwrap_or(t).len());
    text.truncate(end);
    Ok(text)
}

fn too_long() -> Error {
    Error::Secret(format!("it is longer than {MAX_BYTES} bytes"))
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(digit: &str) -> Key {
        Key::from_hex_digits(&digit.repeat(64)).expect("64 digits")
    }

    #[test]
    fn what_is_sealed_opens_with_its_key_only() {
        let plain = Plain::new("hunter2");
        let sealed = Secret::seal(&plain, &key("a")).expect("sealed");
        assert_ne!(sealed, Secret::seal(&plain, &key("a")).expect("sealed"), "another nonce each time");
        assert!(check(&sealed.to_json()).is_ok() && !sealed.to_json().to_string().contains("hunter2"));
        let read: Secret = serde_json::from_value(sealed.to_json()).expect("a secret");
        assert_eq!(read.resolve(Some(&key("a"))).expect("the key fits"), plain);
        assert!(read.resolve(Some(&key("b"))).is_err() && read.resolve(None).is_err());
        let mut text = sealed.to_json()["$secret"]["sealed"].as_str().expect("text").to_owned();
        let last = if text.ends_with('0') { "1" } else { "0" };
        text.replace_range(text.len() - 1.., last);
        let damaged: Secret = serde_json::from_value(json!({"$secret": {"sealed": text}})).expect("a secret");
        assert!(damaged.resolve(Some(&key("a"))).is_err());
    }

    #[test]
    fn a_resolved_secret_does_not_show_itself() {
        let file = std::env::temp_dir().join(format!("streamkeeper-secret-{}", std::process::id()));
        std::fs::write(&file, "hunter2\r\n").expect("written");
        let secret: Secret = serde_json::from_value(json!({"$secret": {"file": file}})).expect("a secret");
        let plain = secret.resolve(None).expect("the file is there");
        std::fs::remove_file(&file).expect("removed");
        assert_eq!(plain.expose(), "hunter2");
        assert_eq!(format!("{plain:?} {:?}", key("a")), "<secret> Key(…)");
        assert!(secret.resolve(None).is_err());
    }

    #[test]
    fn malformed_secrets_are_refused_without_showing_them() {
        for value in [
            json!({"$secret": "hunter2"}),
            json!({"$secret": {"plain": "hunter2"}}),
            json!({"$secret": {"env": "A", "file": "hunter2"}}),
            json!({"$secret": {"env": "A"}, "hint": "hunter2"}),
            json!({"$secret": {"sealed": "hunter2"}}),
        ] {
            let error = check(&json!({"deep": [value]})).expect_err("malformed");
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(check(&json!({"a": {"$secret": {"env": "A"}}, "b": 1})).is_ok());
    }
}
