//! The server's process: started, killed, started again on the same directory.

use std::io;
use std::process::{Child, Command, Stdio};

/// How to start the server; the same directory and port each time.
pub(crate) type Start = Box<dyn Fn() -> Command + Send + Sync>;

/// A running server. It is killed with the value.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(start: &Start) -> io::Result<Self> {
        // A server may take the end of its input as the end of whoever started it.
        start().stdin(Stdio::piped()).spawn().map(Process)
    }

    /// An error if the server ended by itself.
    pub(crate) fn check(&mut self) -> io::Result<()> {
        match self.0.try_wait()? {
            None => Ok(()),
            Some(status) => Err(io::Error::other(format!("the server ended by itself: {status}"))),
        }
    }

    /// `kill -9`. Returns once the process is no more.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.check()?;
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
