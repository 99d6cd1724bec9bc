//! Work that a connection does beside answering: talking to a bot, and carrying on as a tunnel.

use std::future::Future;
use std::pin::Pin;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Gives work to the connection that a request came on; it is done while the connection lives, and dropped with
/// it. Put into each request by the accept loop.
#[derive(Debug, Clone)]
pub struct Aside(mpsc::UnboundedSender<Given>);

enum Given {
    Exchange(Work),
    Tunnel(Work),
}

/// The side that does the work.
pub struct Works {
    given: mpsc::UnboundedReceiver<Given>,
    exchanges: FuturesUnordered<Work>,
    tunnel: Option<Work>,
}

impl Aside {
    /// Both sides.
    pub fn new() -> (Self, Works) {
        let (sender, given) = mpsc::unbounded_channel();
        (Self(sender), Works { given, exchanges: FuturesUnordered::new(), tunnel: None })
    }

    /// Work without which no answer comes.
    pub fn exchange(&self, work: impl Future<Output = ()> + Send + 'static) {
        // The connection may just have ended.
        let _ = self.0.send(Given::Exchange(Box::pin(work)));
    }

    /// What the connection does once it speaks no HTTP any more.
    pub fn tunnel(&self, work: impl Future<Output = ()> + Send + 'static) {
        let _ = self.0.send(Given::Tunnel(Box::pin(work)));
    }
}

impl Works {
    /// Works on; never ends. Safe to drop.
    pub async fn go_on(&mut self) {
        loop {
            tokio::select! {
                given = self.given.recv() => match given {
                    Some(given) => self.take(given),
                    None => self.rest().await,
                },
                Some(()) = self.exchanges.next() => {}
            }
        }
    }

    async fn rest(&mut self) {
        while self.exchanges.next().await.is_some() {}
        std::future::pending().await
    }

    fn take(&mut self, given: Given) {
        match given {
            Given::Exchange(work) => self.exchanges.push(work),
            Given::Tunnel(work) => self.tunnel = Some(work),
        }
    }

    /// The connection speaks no HTTP any more: what is left to do, if it became a tunnel.
    pub fn after(mut self) -> Option<impl Future<Output = ()>> {
        while let Ok(given) = self.given.try_recv() {
            self.take(given);
        }
        let mut tunnel = self.tunnel.take()?;
        Some(async move {
            tokio::select! {
                () = &mut tunnel => {}
                () = self.go_on() => {}
            }
        })
    }
}
