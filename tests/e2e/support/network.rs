//! Addresses of one's own, and a relay between two of them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU8, Ordering},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A loopback address that nobody else has, for programs that cannot choose free ports themselves.
pub fn own_address() -> Ipv4Addr {
    static GIVEN: AtomicU8 = AtomicU8::new(1);
    let [.., middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 + middle % 64, low, GIVEN.fetch_add(1, Ordering::Relaxed))
}

/// Hands every connection on.
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    server: JoinHandle<()>,
}

impl Relay {
    /// Listens at `from` and hands on to `to`.
    pub async fn start(from: SocketAddr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(from).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                tokio::spawn(async move {
                    // Where nobody listens, the client sees its connection end.
                    if let Ok(mut far) = TcpStream::connect(to).await {
                        let _ = copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        Self { address, server }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.server.abort();
    }
}
