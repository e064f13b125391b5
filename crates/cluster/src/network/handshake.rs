//! What two processes say before the first frame: protocol, version, who speaks, and to whom.
//!
//! Both say the same: `"SKEX", version u16, speaker, addressee`, each address with a length of u16 before it, little endian. The
//! process that has connected speaks first. Invariant: a process that is not whom the other one means is never taken for it.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const MAGIC: [u8; 4] = *b"SKEX";
const VERSION: u16 = 1;

/// No address is longer, in bytes.
pub(super) const MAX_ADDRESS: usize = 255;

/// What a process says of itself and of the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) from: String,
    pub(super) to: String,
}

pub(super) async fn say(stream: &mut (impl AsyncWrite + Unpin), from: &str, to: &str) -> io::Result<()> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    for address in [from, to] {
        bytes.extend((address.len() as u16).to_le_bytes());
        bytes.extend(address.as_bytes());
    }
    stream.write_all(&bytes).await?;
    stream.flush().await
}

pub(super) async fn hear(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Hello> {
    let mut magic = [0; 4];
    stream.read_exact(&mut magic).await?;
    if magic != MAGIC {
        return Err(wrong("it is no TaskManager, or one with other settings of TLS"));
    }
    let version = stream.read_u16_le().await?;
    if version != VERSION {
        return Err(wrong(format!("it speaks version {version} of the protocol, this process {VERSION}")));
    }
    Ok(Hello { from: address(stream).await?, to: address(stream).await? })
}

async fn address(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let length = usize::from(stream.read_u16_le().await?);
    if length > MAX_ADDRESS {
        return Err(wrong(format!("an address of {length} bytes; the limit is {MAX_ADDRESS}")));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    String::from_utf8(bytes).map_err(|_| wrong("an address that is no text"))
}

pub(super) fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}
