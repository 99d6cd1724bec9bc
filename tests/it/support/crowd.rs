//! Many clients of a port that do not mean well, each a raw socket with an address of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::blacksky::Process;

/// Each client needs a file. What is started afterwards inherits the limit.
fn more_files() {
    static RAISED: Once = Once::new();
    RAISED.call_once(|| {
        let limit = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    });
}

/// Connects from one of the addresses of this machine, so that the ports of one do not run out.
pub async fn connect(port: u16, number: usize) -> std::io::Result<TcpStream> {
    more_files();
    let [high, low] = u16::try_from(number % 60_000).expect("fits").to_be_bytes();
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 1, high, low.max(1)), 0)))?;
    socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
}

/// What the clients do, again and again: each comes back when it was cut.
#[derive(Clone)]
pub struct Manner {
    /// Sent at once.
    pub first: Vec<u8>,
    /// Sent one after the other.
    pub then: Vec<u8>,
    /// Between two of these bytes.
    pub pause: Duration,
}

/// The clients; they end when dropped.
pub struct Crowd {
    tasks: JoinSet<()>,
    open: Arc<AtomicUsize>,
    cut: Arc<AtomicUsize>,
}

impl Crowd {
    /// So many clients of one kind.
    pub fn gather(port: u16, number: usize, manner: &Manner) -> Self {
        let mut crowd = Self { tasks: JoinSet::new(), open: Arc::default(), cut: Arc::default() };
        for client in 0..number {
            let (manner, open, cut) = (manner.clone(), Arc::clone(&crowd.open), Arc::clone(&crowd.cut));
            crowd.tasks.spawn(async move {
                loop {
                    if let Ok(socket) = connect(port, client).await {
                        open.fetch_add(1, Ordering::Relaxed);
                        drip(socket, &manner).await;
                        open.fetch_sub(1, Ordering::Relaxed);
                        cut.fetch_add(1, Ordering::Relaxed);
                    }
                    sleep(Duration::from_millis(100)).await;
                }
            });
        }
        crowd
    }

    /// Connected now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How often one was cut.
    pub fn cut(&self) -> usize {
        self.cut.load(Ordering::Relaxed)
    }

    /// Ends all of them.
    pub async fn disperse(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn drip(socket: TcpStream, manner: &Manner) {
    let (mut reader, mut writer) = socket.into_split();
    let sending = async {
        if writer.write_all(&manner.first).await.is_err() {
            return;
        }
        for byte in &manner.then {
            sleep(manner.pause).await;
            if writer.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
        std::future::pending().await
    };
    let cut = async {
        let mut sink = [0; 1024];
        while reader.read(&mut sink).await.is_ok_and(|read| read > 0) {}
    };
    tokio::select! {
        () = sending => {}
        () = cut => {}
    }
}

/// Asks for the page again and again, each time as a new visitor; the longest that one waited for all of it.
pub async fn slowest_page(process: &Process, time: Duration) -> Duration {
    let (mut slowest, begun) = (Duration::ZERO, Instant::now());
    let mut visits = 0;
    while begun.elapsed() < time || visits < 3 {
        let asked = Instant::now();
        let answer = timeout(Duration::from_secs(10), visit(process.port)).await;
        let answer = answer.unwrap_or_else(|_| panic!("no page; log:\n{}", process.log()));
        assert!(answer.as_ref().is_ok_and(|page| page.starts_with("HTTP/1.1 200 ")), "{answer:?}");
        slowest = slowest.max(asked.elapsed());
        visits += 1;
        sleep(Duration::from_millis(20)).await;
    }
    slowest
}

async fn visit(port: u16) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    socket.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut page = String::new();
    socket.read_to_string(&mut page).await?;
    Ok(page)
}

/// A number in a variable of the tests.
pub fn setting(name: &str, default: usize) -> usize {
    let asked = std::env::var_os(name).and_then(|value| value.into_string().ok());
    asked.map_or(default, |value| value.parse().expect("a number"))
}
