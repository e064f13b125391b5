//! Access control lists as data: who ([`Id`]) may do what ([`perms`]).

use std::sync::{Arc, LazyLock};

use crate::jute::{Reader, Result, Write, length_as_int};

/// Permission bits, as in ZooKeeper's `ZooDefs.Perms`.
pub mod perms {
    /// Read data and list children.
    pub const READ: i32 = 1;
    /// Set data.
    pub const WRITE: i32 = 1 << 1;
    /// Create children.
    pub const CREATE: i32 = 1 << 2;
    /// Delete children.
    pub const DELETE: i32 = 1 << 3;
    /// Set the access control list.
    pub const ADMIN: i32 = 1 << 4;
    /// All of them.
    pub const ALL: i32 = READ | WRITE | CREATE | DELETE | ADMIN;
}

/// An identity: a scheme and what the scheme identifies by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    /// `world`, `auth`, `ip`, `digest`, `x509`, `sasl`, `super`.
    pub scheme: Box<str>,
    /// The identity within the scheme.
    pub id: Box<str>,
}

impl Id {
    /// The identity `scheme:id`.
    pub fn new(scheme: &str, id: &str) -> Self {
        Id { scheme: scheme.into(), id: id.into() }
    }

    /// Reads an identity; a null part counts as empty.
    pub fn read(reader: &mut Reader) -> Result<Self> {
        let scheme = reader.string_or_null()?.unwrap_or_default().into();
        Ok(Id { scheme, id: reader.string_or_null()?.unwrap_or_default().into() })
    }

    /// Writes an identity.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.string(&self.scheme);
        out.string(&self.id);
    }
}

/// Permissions of one identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Acl {
    /// Bits of [`perms`].
    pub perms: i32,
    /// To whom they are given.
    pub id: Id,
}

/// A list of permissions, shared by the znodes that have it.
pub type Acls = Arc<[Acl]>;

/// `world:anyone` may do everything: ZooKeeper's `OPEN_ACL_UNSAFE`.
pub static OPEN_ACL_UNSAFE: LazyLock<Acls> =
    LazyLock::new(|| Arc::new([Acl { perms: perms::ALL, id: Id::new("world", "anyone") }]));

/// `world:anyone` may read: ZooKeeper's `READ_ACL_UNSAFE`.
pub static READ_ACL_UNSAFE: LazyLock<Acls> =
    LazyLock::new(|| Arc::new([Acl { perms: perms::READ, id: Id::new("world", "anyone") }]));

/// The encoding of [`OPEN_ACL_UNSAFE`]: nearly every create carries it, so it is recognised without decoding it.
const OPEN_ACL_BYTES: &[u8] = b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone";

/// Reads a list of permissions; a null list counts as empty.
pub fn read_acls(reader: &mut Reader) -> Result<Acls> {
    if reader.rest().starts_with(OPEN_ACL_BYTES) {
        reader.take(OPEN_ACL_BYTES.len())?;
        return Ok(OPEN_ACL_UNSAFE.clone());
    }
    let count = reader.vector()?.unwrap_or(0);
    (0..count).map(|_| Ok(Acl { perms: reader.int()?, id: Id::read(reader)? })).collect()
}

/// Writes a list of permissions.
pub fn write_acls(acls: &[Acl], out: &mut Vec<u8>) {
    out.int(length_as_int(acls.len()));
    for acl in acls {
        out.int(acl.perms);
        acl.id.write(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_list_is_recognised_by_its_bytes() {
        let mut bytes = Vec::new();
        write_acls(&OPEN_ACL_UNSAFE, &mut bytes);
        assert_eq!(bytes, OPEN_ACL_BYTES);
        let mut reader = Reader::new(&bytes);
        assert!(Arc::ptr_eq(&read_acls(&mut reader).unwrap(), &OPEN_ACL_UNSAFE));
        assert!(reader.is_empty());
    }
}
