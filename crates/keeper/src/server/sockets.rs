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
    pub(super) input: Input,
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
    pub(super) fn new(stream: TcpStream, id: ConnectionId, transport: Transport) -> Self {
        Socket { stream, id, transport, input: Input::default() }
    }
}
