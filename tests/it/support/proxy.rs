//! A TCP proxy on loopback that can lose, delay and cut what passes: the network between two real parts.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// What happens to bytes, in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    Pass,
    /// Each piece waits this long first.
    Delay(Duration),
    /// Read and acknowledged by TCP, then dropped: a peer that is there and says nothing. New
    /// connections are accepted and get the same.
    Swallow,
    /// New connections end at once with a reset; those that exist go on.
    Refuse,
    /// Nothing passes, and nothing is lost: an outage that TCP outlives. New connections wait too.
    Hold,
}

/// A running proxy; its connections end when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    traffic: Arc<watch::Sender<Traffic>>,
    cuts: Arc<watch::Sender<Cut>>,
    accepted: Arc<Mutex<Vec<Instant>>>,
    /// Held by each connection until its client has ended it.
    alive: Arc<()>,
    _accepting: AbortOnDropHandle<()>,
}

/// How many cuts there were, and whether the last one was a reset.
#[derive(Debug, Clone, Copy, Default)]
struct Cut {
    count: u64,
    reset: bool,
}

impl Proxy {
    /// A proxy on a free port in front of `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let traffic = Arc::new(watch::Sender::new(Traffic::Pass));
        let cuts = Arc::new(watch::Sender::new(Cut::default()));
        let accepted = Arc::new(Mutex::new(Vec::new()));
        let (to_traffic, to_cuts, seen) = (Arc::clone(&traffic), Arc::clone(&cuts), Arc::clone(&accepted));
        let alive = Arc::new(());
        let to_alive = Arc::downgrade(&alive);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Some(alive) = to_alive.upgrade() else { return };
                seen.lock().expect("not poisoned").push(Instant::now());
                if *to_traffic.borrow() == Traffic::Refuse {
                    let _ = socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO));
                    continue;
                }
                tokio::spawn(carry(client, alive, target, to_traffic.subscribe(), to_cuts.subscribe()));
            }
        });
        Self { address, traffic, cuts, accepted, alive, _accepting: AbortOnDropHandle::new(accepting) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Connections that their clients have not ended. Nothing is noticed while traffic is held up.
    pub fn open(&self) -> usize {
        Arc::strong_count(&self.alive) - 1
    }

    /// What happens to bytes now.
    pub fn traffic(&self) -> Traffic {
        *self.traffic.borrow()
    }

    /// When each connection came that ever did.
    pub fn accepted(&self) -> Vec<Instant> {
        self.accepted.lock().expect("not poisoned").clone()
    }

    /// From now on, for connections that exist and new ones.
    pub fn set(&self, traffic: Traffic) {
        self.traffic.send_replace(traffic);
    }

    /// Ends every connection that exists (FIN).
    pub fn cut(&self) {
        self.cuts.send_modify(|cut| *cut = Cut { count: cut.count + 1, reset: false });
    }

    /// The same with a reset (RST).
    pub fn reset(&self) {
        self.cuts.send_modify(|cut| *cut = Cut { count: cut.count + 1, reset: true });
    }
}

async fn carry(
    client: TcpStream,
    alive: Arc<()>,
    target: SocketAddr,
    mut traffic: watch::Receiver<Traffic>,
    mut cuts: watch::Receiver<Cut>,
) {
    let cut = tokio::select! {
        held = traffic.wait_for(|traffic| *traffic != Traffic::Hold) => held.is_err(),
        _ = cuts.changed() => true,
    };
    if cut {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let reset = {
        // Held beside the copying, so that a cut can still set the sockets' linger.
        let (to_client, to_server) = (tokio::sync::Mutex::new(to_client), tokio::sync::Mutex::new(to_server));
        let both = async {
            let outward = async {
                copy(from_client, &to_server, traffic.clone()).await;
                // A server that is silent may keep its end much longer.
                drop(alive);
            };
            tokio::join!(outward, copy(from_server, &to_client, traffic.clone()))
        };
        let reset = tokio::select! {
            _ = both => false,
            changed = cuts.changed() => changed.is_ok() && cuts.borrow().reset,
        };
        if reset {
            for half in [to_client.into_inner(), to_server.into_inner()] {
                let _ = socket2::SockRef::from(half.as_ref()).set_linger(Some(Duration::ZERO));
                // Dropping it would send a FIN first.
                half.forget();
            }
        }
        reset
    };
    tracing::debug!(reset, "a connection through the proxy ended");
}

async fn copy(
    mut from: OwnedReadHalf,
    to: &tokio::sync::Mutex<OwnedWriteHalf>,
    mut traffic: watch::Receiver<Traffic>,
) {
    let mut buffer = vec![0; 64 * 1024];
    let mut to = to.lock().await;
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let Ok(now) = traffic.wait_for(|traffic| *traffic != Traffic::Hold).await.map(|now| *now) else {
            return;
        };
        match now {
            Traffic::Swallow => continue,
            Traffic::Delay(wait) => tokio::time::sleep(wait).await,
            Traffic::Pass | Traffic::Refuse | Traffic::Hold => {}
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn bytes_pass_are_swallowed_and_cut() {
        let proxy = Proxy::start(echo().await).await;
        let mut client = TcpStream::connect(proxy.address()).await.expect("connects");
        let mut answer = [0; 4];
        client.write_all(b"ping").await.expect("written");
        client.read_exact(&mut answer).await.expect("answered");
        assert_eq!(&answer, b"ping");

        proxy.set(Traffic::Hold);
        client.write_all(b"late").await.expect("written");
        let silence = tokio::time::timeout(Duration::from_millis(100), client.read(&mut answer)).await;
        assert!(silence.is_err(), "nothing comes yet");
        proxy.set(Traffic::Pass);
        client.read_exact(&mut answer).await.expect("answered");
        assert_eq!((&answer, proxy.open(), proxy.accepted().len()), (b"late", 1, 1));

        proxy.set(Traffic::Swallow);
        client.write_all(b"lost").await.expect("written");
        let silence = tokio::time::timeout(Duration::from_millis(100), client.read(&mut answer)).await;
        assert!(silence.is_err(), "nothing comes back");

        proxy.reset();
        let end = client.read(&mut answer).await.expect_err("a reset is an error");
        assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);

        proxy.set(Traffic::Pass);
        let mut client = TcpStream::connect(proxy.address()).await.expect("connects");
        client.write_all(b"more").await.expect("written");
        client.read_exact(&mut answer).await.expect("answered");
        proxy.cut();
        assert_eq!(client.read(&mut answer).await.expect("a FIN"), 0);

        proxy.set(Traffic::Refuse);
        let mut client = TcpStream::connect(proxy.address()).await.expect("the kernel accepts");
        assert!(client.read(&mut answer).await.is_err(), "then a reset");
    }
}
