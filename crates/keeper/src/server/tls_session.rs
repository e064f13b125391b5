//! TLS between a socket and the core: what the client sent is decrypted, what goes to it encrypted, all in memory.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};

/// A client's TLS session.
#[derive(Debug)]
pub(super) struct TlsSession {
    connection: ServerConnection,
    /// Whether the client's certificate has been looked at.
    identified: bool,
}

impl TlsSession {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(TlsSession { connection: ServerConnection::new(config)?, identified: false })
    }

    /// Takes what came from the socket, and appends what it says to `plain`.
    pub(super) fn decrypt(&mut self, mut bytes: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
        while !bytes.is_empty() {
            self.connection.read_tls(&mut bytes)?;
            self.connection.process_new_packets().map_err(io::Error::other)?;
            match self.connection.reader().read_to_end(plain) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the handshake is not done yet.
    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// The certificates of the client, once, when the handshake is done. Empty: it has none.
    pub(super) fn new_certificates(&mut self) -> Option<Vec<rustls::pki_types::CertificateDer<'static>>> {
        if self.identified || self.connection.is_handshaking() {
            return None;
        }
        self.identified = true;
        Some(self.connection.peer_certificates().unwrap_or_default().to_vec())
    }

    /// Sends what comes in `plain` behind what was `sent`. Whether that is all.
    pub(super) fn send(
        &mut self,
        plain: &[u8],
        sent: &mut usize,
        socket: &mut impl Write,
    ) -> io::Result<bool> {
        loop {
            if !self.flush(socket)? {
                return Ok(false);
            }
            if *sent == plain.len() {
                return Ok(true);
            }
            *sent += self.connection.writer().write(&plain[*sent..])?;
        }
    }

    /// Sends what is encrypted, alerts included. Whether that is all.
    pub(super) fn flush(&mut self, socket: &mut impl Write) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Tells the client that nothing more follows.
    pub(super) fn say_goodbye(&mut self, socket: &mut impl Write) {
        self.connection.send_close_notify();
        // The socket is closed next in any case.
        let _ = self.connection.write_tls(socket);
    }
}
