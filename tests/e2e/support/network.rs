//! Addresses of one's own, and a relay between two of them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU16, Ordering},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// A loopback address that nobody else has, for programs that cannot choose free ports themselves.
pub fn own_address() -> Ipv4Addr {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let [.., middle, low] = std::process::id().to_be_bytes();
    let given = GIVEN.fetch_add(1, Ordering::Relaxed);
    let [round, number] = [given / 254, given % 254].map(|part| part.to_be_bytes()[1]);
    Ipv4Addr::new(127, 64 + middle.wrapping_add(round) % 64, low, 1 + number)
}

/// Hands every connection on, until it is told otherwise.
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    orders: watch::Sender<Orders>,
    server: JoinHandle<()>,
}

/// What a relay does with its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Orders {
    /// Connections stay open, new ones are taken, and nothing is handed on.
    silent: bool,
    /// New connections are closed at once.
    closed: bool,
    /// How often all were closed.
    cuts: usize,
}

impl Relay {
    /// Listens at `from` and hands on to `to`.
    pub async fn start(from: SocketAddr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(from).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (orders, taken) = watch::channel(Orders::default());
        let server = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, to, taken.clone()));
            }
        });
        Self { address, orders, server }
    }

    /// Closes every connection. The next ones are carried as ever.
    pub fn cut(&self) {
        self.orders.send_modify(|orders| orders.cuts += 1);
    }

    /// Closes every connection, and new ones as they come, until [`Self::carry_on`].
    pub fn close(&self) {
        self.orders.send_modify(|orders| *orders = Orders { closed: true, cuts: orders.cuts + 1, ..*orders });
    }

    /// Hands nothing on any more, without closing anything, until [`Self::carry_on`]; connections that have seen it stay so.
    pub fn fall_silent(&self) {
        self.orders.send_modify(|orders| orders.silent = true);
    }

    /// New connections are carried again.
    pub fn carry_on(&self) {
        self.orders.send_modify(|orders| *orders = Orders { cuts: orders.cuts, ..Orders::default() });
    }
}

/// One connection through a relay.
async fn carry(mut near: TcpStream, to: SocketAddr, mut orders: watch::Receiver<Orders>) {
    let Orders { silent, closed, cuts } = *orders.borrow();
    if closed {
        return;
    }
    let mut far = None;
    if !silent {
        // Where nobody listens, the client sees its connection end.
        let Ok(mut stream) = TcpStream::connect(to).await else { return };
        tokio::select! {
            _ = copy_bidirectional(&mut near, &mut stream) => return,
            _ = orders.wait_for(|orders| orders.silent || orders.cuts != cuts) => {}
        }
        far = Some(stream);
    }
    // Both ends stay open in silence, and hear no more of each other.
    let _ = orders.wait_for(|orders| orders.cuts != cuts).await;
    drop((near, far));
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.server.abort();
    }
}
