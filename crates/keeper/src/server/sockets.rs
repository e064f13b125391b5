//! A client's socket: how bytes go over it, and what it has sent that is not yet a packet.

use mio::net::TcpStream;

pub(super) use super::framing::{Input, Item};
use super::tls_session::TlsSession;
use crate::watch::ConnectionId;

/// A client's socket.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) stream: TcpStream,
    pub(super) id: ConnectionId,
    pub(super) transport: Transport,
    /// Whether it came in by the port that is for TLS only.
    pub(super) of_secure_port: bool,
    pub(super) input: Input,
    /// Whether it is not read from until what it waits for has gone out.
    pub(super) waits: bool,
    /// Whether it is read in the next turn in any case.
    pub(super) read_again: bool,
    /// Whether it has a deadline for what is on its way to it, as it is closing.
    pub(super) closing: bool,
}

/// How bytes go over a socket.
#[derive(Debug)]
pub(super) enum Transport {
    Plain,
    Tls(Box<TlsSession>),
    /// The first bytes, which are here, will tell.
    Undecided(Vec<u8>),
}

impl Socket {
    pub(super) fn new(
        stream: TcpStream,
        id: ConnectionId,
        transport: Transport,
        of_secure_port: bool,
    ) -> Self {
        Socket {
            stream,
            id,
            transport,
            of_secure_port,
            input: Input::default(),
            waits: false,
            read_again: false,
            closing: false,
        }
    }
}
