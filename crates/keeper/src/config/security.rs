//! Security as it is configured: permissions, proofs of identity, keys and certificates.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::settings::Settings;
use super::{ConfigError, Result, Secret, jaas, read_file};
use crate::authentication::DigestAlgorithm;

/// Who may do what, and how clients prove who they are.
#[derive(Debug, Clone)]
pub struct Security {
    /// Nothing is checked (`skipACL`).
    pub skip_acl: bool,
    /// `DigestAuthenticationProvider.superDigest`.
    pub super_digest: Option<String>,
    /// `DigestAuthenticationProvider.enabled`.
    pub digest: bool,
    /// `DigestAuthenticationProvider.digestAlg`.
    pub digest_algorithm: DigestAlgorithm,
    /// `X509AuthenticationProvider.superUser`.
    pub x509_super_user: Option<String>,
    /// Whether lists of permissions may name certificates: with TLS, or `authProvider.x509`.
    pub x509: bool,
    /// Whether lists of permissions may name SASL's users: with users, or `authProvider.…=…SASLAuthenticationProvider`.
    pub sasl_acls: bool,
    /// The users of SASL DIGEST-MD5; `None`: it is off.
    pub sasl_users: Option<BTreeMap<String, Secret>>,
    /// `superUser`, `superUser.…`.
    pub sasl_super_users: Vec<String>,
    /// What every SASL user may do (`letAnySaslUserDoX`).
    pub any_sasl_user: Option<String>,
    /// `allowSaslFailedClients`.
    pub allow_sasl_failed_clients: bool,
    /// `enforce.auth.schemes` when `enforce.auth.enabled`, or `sasl` when `sessionRequireClientSASLAuth`; empty: nobody must.
    pub enforced_schemes: Vec<String>,
    /// `ensembleAuthName`.
    pub ensemble_names: Option<Vec<String>>,
}

/// Keys and certificates.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// The server's key and certificates (`ssl.keyStore.*`).
    pub key_store: Option<Store>,
    /// The certificates by which clients' are judged (`ssl.trustStore.*`).
    pub trust_store: Option<Store>,
    /// `ssl.ciphersuites`; empty: all that are safe.
    pub cipher_suites: Vec<String>,
    /// `ssl.enabledProtocols`; empty: TLS 1.2 and 1.3.
    pub protocols: Vec<String>,
    /// `ssl.clientAuth`.
    pub client_auth: ClientAuth,
}

/// A file of keys or certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// `ssl.….location`.
    pub location: PathBuf,
    /// `ssl.….type`; `None`: told from its bytes.
    pub kind: Option<StoreKind>,
    /// `ssl.….password`.
    pub password: Option<Secret>,
    /// `ssl.….passwordPath`, which wins over the password.
    pub password_path: Option<PathBuf>,
}

/// The format of a file of keys or certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum StoreKind {
    Pem,
    Jks,
    Pkcs12,
}

/// Whether clients show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// They may.
    Want,
    /// They must.
    Need,
}

impl Security {
    /// `secure`: there is TLS.
    pub(super) fn take(s: &mut Settings, secure: bool) -> Result<Security> {
        let (mut x509, mut sasl_acls, mut ensemble) = (secure, false, false);
        for (name, setting) in s.take_all("authProvider.") {
            match setting.value.rsplit('.').next().unwrap_or_default() {
                "SASLAuthenticationProvider" => sasl_acls = true,
                "X509AuthenticationProvider" => x509 = true,
                "EnsembleAuthenticationProvider" => ensemble = true,
                "DigestAuthenticationProvider" | "IPAuthenticationProvider" => {}
                _ => s.warn(
                    &setting,
                    format!("the provider `{name}` is a Java class, which this server cannot load"),
                ),
            }
        }
        let sasl_users = sasl_users(s)?;
        sasl_acls |= sasl_users.is_some();
        let ensemble_names = s.list("ensembleAuthName");
        if let Some(setting) = s.take("requireClientAuthScheme") {
            s.warn(
                &setting,
                "has no effect, in Apache's either: set enforce.auth.enabled=true and enforce.auth.schemes",
            );
        }
        let digest = s.flag("DigestAuthenticationProvider.enabled", true)?;
        let available = |scheme: &str| match scheme {
            "digest" => digest,
            "x509" => x509,
            "sasl" => sasl_acls,
            "ip" => true,
            _ => false,
        };
        let mut super_users: Vec<String> =
            s.take_all("superUser.").into_iter().map(|(_, user)| user.value).collect();
        super_users.extend(s.text("superUser"));
        super_users.retain(|user| !user.is_empty());
        Ok(Security {
            skip_acl: skip_acl(s),
            super_digest: s.text("DigestAuthenticationProvider.superDigest"),
            digest,
            digest_algorithm: digest_algorithm(s)?,
            x509_super_user: s.text("X509AuthenticationProvider.superUser"),
            x509,
            sasl_acls,
            sasl_users,
            sasl_super_users: super_users,
            any_sasl_user: s.text("letAnySaslUserDoX"),
            allow_sasl_failed_clients: s.flag("allowSaslFailedClients", false)?,
            enforced_schemes: enforced_schemes(s, available)?,
            ensemble_names: ensemble_names.or_else(|| ensemble.then(Vec::new)),
        })
    }
}

/// Only `yes` switches checks off, as in Apache.
fn skip_acl(s: &mut Settings) -> bool {
    let Some(setting) = s.take("skipACL") else { return false };
    match setting.value.as_str() {
        "yes" => {
            s.warn(&setting, "everybody may do everything");
            true
        }
        "no" => false,
        _ => {
            s.warn(&setting, "only `yes` switches the checks off: they are on");
            false
        }
    }
}

fn digest_algorithm(s: &mut Settings) -> Result<DigestAlgorithm> {
    let Some(setting) = s.take("DigestAuthenticationProvider.digestAlg") else {
        return Ok(DigestAlgorithm::default());
    };
    DigestAlgorithm::from_java_name(&setting.value)
        .ok_or_else(|| setting.wrong("no such algorithm here", DigestAlgorithm::NAMES))
}

fn enforced_schemes(s: &mut Settings, available: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let sasl = s.flag("sessionRequireClientSASLAuth", false)?;
    let on = s.flag("enforce.auth.enabled", false)?;
    let setting = s.take("enforce.auth.schemes");
    let schemes: Vec<String> = match (sasl, &setting) {
        (true, _) => vec!["sasl".to_owned()],
        (false, _) if !on => return Ok(Vec::new()),
        (false, None) => {
            return Err(ConfigError::Missing {
                key: "enforce.auth.schemes",
                need: "enforce.auth.enabled=true needs the schemes of which a client must prove one, such as sasl,digest",
            });
        }
        (false, Some(setting)) => setting
            .value
            .split(',')
            .map(|scheme| scheme.trim().to_owned())
            .filter(|s| !s.is_empty())
            .collect(),
    };
    let names =
        "those of ip, digest, x509 (with TLS) and sasl (with users or authProvider.1) that are switched on";
    match schemes.iter().find(|scheme| !available(scheme)) {
        None if !schemes.is_empty() => Ok(schemes),
        missing => Err(match setting {
            Some(setting) if !sasl => setting.wrong("such a scheme is not available", names),
            _ => ConfigError::Refused(format!(
                "sessionRequireClientSASLAuth=true, but the scheme {} is not available: give SASL users in a JAAS \
                 file, named by java.security.auth.login.config",
                missing.map_or("sasl", |scheme| scheme)
            )),
        }),
    }
}

fn sasl_users(s: &mut Settings) -> Result<Option<BTreeMap<String, Secret>>> {
    let section = s.take("sasl.serverconfig");
    let name = section.as_ref().map_or("Server", |section| section.value.as_str());
    let super_password = s.text("SASLAuthenticationProvider.superPassword");
    let setting = match s.take("java.security.auth.login.config") {
        Some(setting) => setting,
        None => match s.take("sasl.jaas.config") {
            Some(setting) => setting,
            None => return Ok(None),
        },
    };
    let inline = setting.value.contains(';');
    let path = PathBuf::from(if inline { "sasl.jaas.config" } else { &setting.value });
    let text = match inline {
        true => setting.value.clone(),
        false => String::from_utf8_lossy(&read_file("the JAAS configuration", &path)?).into_owned(),
    };
    let wrong = |problem: jaas::Problem| ConfigError::Jaas {
        path: path.clone(),
        line: problem.line,
        problem: problem.text,
    };
    let modules = match inline && !text.contains('{') {
        true => Some(vec![jaas::parse_module(&text).map_err(wrong)?]),
        false => jaas::parse(&text).map_err(wrong)?.remove(name),
    };
    let Some(modules) = modules else {
        if let Some(section) = section {
            let problem = format!("there is no such section in {}", path.display());
            return Err(section.wrong(&problem, "the name of a section"));
        }
        s.warn(&setting, format!("it has no section `{name}`: SASL is off"));
        return Ok(None);
    };
    if let Some(module) = modules.iter().find(|module| !module.class.ends_with("DigestLoginModule")) {
        s.warn(&setting, format!("{} is not supported; SASL speaks DIGEST-MD5 only", module.class));
        if modules.len() == 1 {
            return Ok(None);
        }
    }
    let mut users = jaas::users(&modules);
    if let (Some(password), Some(user)) = (super_password, users.get_mut("super")) {
        *user = Secret(password);
    }
    Ok(Some(users))
}

impl TlsSettings {
    pub(super) fn take(s: &mut Settings) -> Result<TlsSettings> {
        for key in ["ssl.crl", "ssl.ocsp", "ssl.clientHostnameVerification"] {
            if let Some(setting) = s.take(key)
                && setting.flag()?
            {
                return Err(setting.wrong("this server cannot check that of clients' certificates", "false"));
            }
        }
        Ok(TlsSettings {
            key_store: store(s, "ssl.keyStore")?,
            trust_store: store(s, "ssl.trustStore")?,
            cipher_suites: s.list("ssl.ciphersuites").unwrap_or_default(),
            protocols: s.list("ssl.enabledProtocols").unwrap_or_default(),
            client_auth: client_auth(s)?,
        })
    }
}

fn client_auth(s: &mut Settings) -> Result<ClientAuth> {
    let Some(setting) = s.take("ssl.clientAuth") else { return Ok(ClientAuth::Need) };
    match setting.value.to_ascii_lowercase().as_str() {
        "" | "need" => Ok(ClientAuth::Need),
        "want" => Ok(ClientAuth::Want),
        "none" => Ok(ClientAuth::None),
        _ => Err(setting.wrong("no such choice", "need, want, none")),
    }
}

fn store(s: &mut Settings, prefix: &str) -> Result<Option<Store>> {
    let kind = match s.take(&format!("{prefix}.type")) {
        None => None,
        Some(setting) => match setting.value.to_ascii_uppercase().as_str() {
            "" => None,
            "PEM" => Some(StoreKind::Pem),
            "JKS" => Some(StoreKind::Jks),
            "PKCS12" => Some(StoreKind::Pkcs12),
            _ => return Err(setting.wrong("no such format here", "PEM, JKS, PKCS12")),
        },
    };
    let password = s.text(&format!("{prefix}.password")).map(Secret);
    let password_path = s.path(&format!("{prefix}.passwordPath"));
    let location = s.path(&format!("{prefix}.location"));
    Ok(location.map(|location| Store { location, kind, password, password_path }))
}
