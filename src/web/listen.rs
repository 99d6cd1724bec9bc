//! Binds the page's port: the first thing a process does.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

use crate::config::Config;

/// Connections that the system keeps until they are accepted, where it allows so many. Beyond them it lets a client
/// wait for a second.
const QUEUE: u32 = 4096;

/// The port could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program listens there.
    #[error(
        "port {} on {} is in use by another program; stop that program, or choose another port with \
         `web.port` in blacksky.toml or the variable PORT (0 takes a free one)",
        .0.port(), .0.ip()
    )]
    InUse(SocketAddr),
    /// The system refuses this port.
    #[error(
        "no permission to listen on port {} of {}; choose a port above 1023 with `web.port` in \
         blacksky.toml or the variable PORT",
        .0.port(), .0.ip()
    )]
    Forbidden(SocketAddr),
    /// The bound socket itself does not work.
    #[error("the web port's socket cannot be used: {0}")]
    Socket(#[from] io::Error),
    /// Anything else.
    #[error(
        "cannot listen on {address}; choose another port with `web.port` in blacksky.toml or the variable PORT"
    )]
    Other {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Binds `web.port`: on every interface when a platform gave the port (DYNO or PORT is set), else on
/// 127.0.0.1 only.
///
/// # Errors
/// The port is in use, forbidden, or the system has no socket left.
pub fn bind(config: &Config) -> Result<TcpListener, BindError> {
    let on_platform = config.platform.dyno.is_some() || config.platform.port_from_env;
    let ip = if on_platform { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
    bind_to(SocketAddr::from((ip, config.web.port)))
}

fn bind_to(address: SocketAddr) -> Result<TcpListener, BindError> {
    listen(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(address),
        io::ErrorKind::PermissionDenied => BindError::Forbidden(address),
        _ => BindError::Other { address, source },
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections of the process before may still be going.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_a_way_out() {
        let first = bind_to(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = first.local_addr().unwrap();
        let error = bind_to(address).unwrap_err();
        assert!(matches!(error, BindError::InUse(at) if at == address));
        let message = error.to_string();
        assert!(message.contains(&address.port().to_string()), "{message}");
        assert!(message.contains("web.port") && message.contains("PORT"), "{message}");
    }
}
