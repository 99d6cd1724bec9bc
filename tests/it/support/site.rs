//! The real `web::serve` on a loopback port, with a board in place of bots.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use blacksky::bot::handle::{BotHandle, Request};
use blacksky::config::Secret;
use blacksky::runtime::clock;
use blacksky::runtime::status::Board;
use blacksky::web::{self, Paths, Site};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A running site with one bot, `main`; ends when dropped.
pub struct TestSite {
    pub address: SocketAddr,
    pub board: Board,
    pub asked: mpsc::Receiver<Request>,
    pub stop: CancellationToken,
    pub task: JoinHandle<()>,
}

impl TestSite {
    /// On a free port.
    pub async fn start(admin_token: Option<&str>) -> Self {
        Self::start_on(0, admin_token).await
    }

    /// On the given port.
    pub async fn start_on(port: u16, admin_token: Option<&str>) -> Self {
        Self::start_with(port, admin_token, web::HEARTBEAT).await
    }

    /// With another time between two comments of an event stream.
    pub async fn start_with(port: u16, admin_token: Option<&str>, heartbeat: Duration) -> Self {
        Self::start_at(port, admin_token, heartbeat, Paths::plain()).await
    }

    /// With other paths.
    pub async fn start_at(port: u16, admin_token: Option<&str>, heartbeat: Duration, paths: Paths) -> Self {
        let board = Board::new(clock::now(), None, ["main"].into_iter());
        let (handle, asked) = BotHandle::new();
        let site = Site {
            name: "my-bot".to_owned(),
            snapshot: board.subscribe(),
            handles: BTreeMap::from([("main".to_owned(), handle)]),
            admin_token: admin_token.map(Secret::new),
            jobs: None,
            store: None,
            targets: BTreeMap::new(),
            own: None,
            dyno: false,
            paths,
            heartbeat,
        };
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        let address = listener.local_addr().expect("bound");
        let stop = CancellationToken::new();
        let task = tokio::spawn(web::serve(listener, site, stop.clone()));
        Self { address, board, asked, stop, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for TestSite {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
