//! Who may do what: the schemes' rules over lists of permissions, as ZooKeeper's `checkACL` and `fixupACL`.

use std::net::IpAddr;

use crate::acl::{Acl, Acls, Id, OPEN_ACL_UNSAFE};
use crate::proto::Code;

/// The rules' settings.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Nothing is checked (`skipACL`).
    pub skip_acl: bool,
    /// The schemes that are switched off, such as `digest`.
    pub disabled_schemes: Vec<String>,
}

impl Access {
    /// Whether one of `ids` has one of the permissions `perm`.
    pub fn check(&self, acls: &Acls, perm: i32, ids: &[Id]) -> Result<(), Code> {
        if self.skip_acl || acls.is_empty() || ids.iter().any(|id| &*id.scheme == "super") {
            return Ok(());
        }
        let allows = |acl: &Acl| {
            acl.perms & perm != 0
                && (is_anyone(&acl.id)
                    || self.is_known(&acl.id.scheme)
                        && ids.iter().any(|id| id.scheme == acl.id.scheme && matches(id, &acl.id)))
        };
        acls.iter().any(allows).then_some(()).ok_or(Code::NoAuth)
    }

    /// The list that a znode gets when a client asks for `acls`: without duplicates, `auth` replaced by whom the client has proved to be.
    pub fn fixup(&self, acls: &Acls, ids: &[Id]) -> Result<Acls, Code> {
        if *acls == *OPEN_ACL_UNSAFE {
            return Ok(acls.clone());
        }
        let mut fixed: Vec<Acl> = Vec::with_capacity(acls.len());
        for (at, acl) in acls.iter().enumerate() {
            if acls[..at].contains(acl) {
                continue;
            }
            if is_anyone(&acl.id) {
                fixed.push(acl.clone());
            } else if &*acl.id.scheme == "auth" {
                let proved: Vec<&Id> =
                    ids.iter().filter(|id| self.is_known(&id.scheme) && is_proof(&id.scheme)).collect();
                if proved.is_empty() {
                    return Err(Code::InvalidAcl);
                }
                fixed.extend(proved.into_iter().map(|id| Acl { perms: acl.perms, id: id.clone() }));
            } else if self.is_known(&acl.id.scheme) && is_valid(&acl.id) {
                fixed.push(acl.clone());
            } else {
                return Err(Code::InvalidAcl);
            }
        }
        if fixed.is_empty() { Err(Code::InvalidAcl) } else { Ok(fixed.into()) }
    }

    /// Whether the server has this scheme.
    pub fn is_known(&self, scheme: &str) -> bool {
        matches!(scheme, "world" | "ip" | "digest" | "x509" | "sasl" | "super")
            && !self.disabled_schemes.iter().any(|disabled| disabled == scheme)
    }
}

/// The name that `whoAmI` and the audit log show: without a password's hash.
pub fn user_of(id: &Id) -> &str {
    match &*id.scheme {
        "digest" => id.id.split(':').next().unwrap_or_default(),
        _ => &id.id,
    }
}

fn is_anyone(id: &Id) -> bool {
    &*id.scheme == "world" && &*id.id == "anyone"
}

/// Whether being such an identity was proved, rather than observed.
fn is_proof(scheme: &str) -> bool {
    !matches!(scheme, "world" | "ip")
}

/// Whether an identity can stand in a list.
fn is_valid(id: &Id) -> bool {
    match &*id.scheme {
        "ip" => Network::parse(&id.id).is_some(),
        "digest" => id.id.split(':').count() == 2 && !id.id.ends_with(':'),
        "sasl" | "x509" => !id.id.is_empty(),
        _ => false,
    }
}

fn matches(have: &Id, wanted: &Id) -> bool {
    match &*wanted.scheme {
        "ip" => match (have.id.parse(), Network::parse(&wanted.id)) {
            (Ok(address), Some(network)) => network.contains(address),
            _ => false,
        },
        _ => have.id == wanted.id,
    }
}

/// An address, or a block of them: `10.0.0.0/8`.
#[derive(Debug, Clone, Copy)]
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Network> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(all), |bits| bits.parse().ok())?;
        (bits <= all).then_some(Network { address, bits })
    }

    fn contains(self, address: IpAddr) -> bool {
        let prefix = |address: u128, all: u32| address.checked_shr(all - self.bits).unwrap_or(0);
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                prefix(own.to_bits().into(), 32) == prefix(other.to_bits().into(), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                prefix(own.to_bits(), 128) == prefix(other.to_bits(), 128)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::perms;

    fn acls(list: &[(i32, &str, &str)]) -> Acls {
        list.iter().map(|(perms, scheme, id)| Acl { perms: *perms, id: Id::new(scheme, id) }).collect()
    }

    #[test]
    fn permissions_by_scheme() {
        let access = Access::default();
        let list = acls(&[
            (perms::READ, "ip", "10.1.0.0/16"),
            (perms::WRITE, "digest", "u:h"),
            (perms::ADMIN, "world", "anyone"),
        ]);
        let inside = [Id::new("ip", "10.1.2.3")];
        let outside = [Id::new("ip", "10.2.2.3"), Id::new("digest", "u:h")];
        assert_eq!(access.check(&list, perms::READ, &inside), Ok(()));
        assert_eq!(access.check(&list, perms::READ, &outside), Err(Code::NoAuth));
        assert_eq!(access.check(&list, perms::WRITE, &outside), Ok(()));
        assert_eq!(access.check(&list, perms::WRITE, &inside), Err(Code::NoAuth));
        assert_eq!(access.check(&list, perms::ADMIN, &inside), Ok(()));
        assert_eq!(access.check(&list, perms::CREATE, &[Id::new("super", "")]), Ok(()));
        assert_eq!(access.check(&acls(&[]), perms::CREATE, &inside), Ok(()));
    }

    #[test]
    fn lists_are_checked_and_completed() {
        let access = Access::default();
        let ids = [Id::new("ip", "::1"), Id::new("digest", "u:h"), Id::new("digest", "v:i")];
        let fixup = |list: &[(i32, &str, &str)]| access.fixup(&acls(list), &ids);
        assert_eq!(fixup(&[(31, "auth", "")]), Ok(acls(&[(31, "digest", "u:h"), (31, "digest", "v:i")])));
        assert_eq!(
            fixup(&[(1, "world", "anyone"), (1, "world", "anyone")]),
            Ok(acls(&[(1, "world", "anyone")]))
        );
        for refused in [
            ("world", "x"),
            ("ip", "10.0.0"),
            ("ip", "1.2.3.4/33"),
            ("digest", "u"),
            ("digest", "a:b:c"),
            ("foo", "x"),
            ("super", ""),
        ] {
            assert_eq!(fixup(&[(31, refused.0, refused.1)]), Err(Code::InvalidAcl), "{refused:?}");
        }
        assert_eq!(fixup(&[]), Err(Code::InvalidAcl));
        assert_eq!(access.fixup(&acls(&[(31, "auth", "")]), &ids[..1]), Err(Code::InvalidAcl));
    }
}
