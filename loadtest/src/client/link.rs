//! One TCP connection, as far as mio leaves it open: what waits to be sent, and what was read but is not whole yet.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream as StdStream};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// The most bytes that wait to be sent. A client sends a few hundred in its life: a server that does not take them is
/// not reading.
const MAX_OUTBOX_BYTES: usize = 1 << 20;

/// What came of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// So many bytes, and there may be more.
    Bytes(usize),
    /// Nothing more for now.
    Nothing,
}

/// A connection.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    connected: bool,
    outbox: Vec<u8>,
    /// What was read and is not whole yet.
    pub inbox: Vec<u8>,
}

impl Link {
    /// Begins to connect. With a size for the receive buffer, in bytes, the server soon notices a client that does not
    /// read.
    ///
    /// # Errors
    /// If there are no files or ports left, or the server is known not to listen.
    pub fn open(
        address: SocketAddr,
        receive_bytes: Option<usize>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let mut stream = match receive_bytes {
            None => TcpStream::connect(address)?,
            Some(bytes) => narrow(address, bytes)?,
        };
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, connected: false, outbox: Vec::new(), inbox: Vec::new() })
    }

    /// Sends, now or when it can.
    ///
    /// # Errors
    /// If the connection is broken, or the server takes nothing.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.outbox.extend_from_slice(bytes);
        if self.outbox.len() > MAX_OUTBOX_BYTES {
            return Err(io::Error::other("the server does not read"));
        }
        if self.connected { self.flush() } else { Ok(()) }
    }

    /// Something can be sent now, or the connection has failed.
    ///
    /// # Errors
    /// If it has.
    pub fn writable(&mut self) -> io::Result<()> {
        if !self.connected {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            match self.stream.peer_addr() {
                Ok(_) => self.connected = true,
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error),
            }
            self.stream.set_nodelay(true)?;
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.outbox.is_empty() {
            match self.stream.write(&self.outbox) {
                Ok(sent) => drop(self.outbox.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what fits.
    ///
    /// # Errors
    /// If the connection is broken, or the server has closed it.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Got> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "closed by the server")),
                Ok(bytes) => return Ok(Got::Bytes(bytes)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Got::Nothing),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Begins to connect with a small receive buffer, which has to be said before.
fn narrow(address: SocketAddr, bytes: usize) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(TcpStream::from_std(StdStream::from(socket))),
        Err(error) => Err(error.into()),
    }
}
