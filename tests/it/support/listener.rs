//! A program that takes webhooks and can be killed: all of its connections are cut, and it may come back on
//! the same port. What it noted outlives it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::time::Instant;

/// One post, whatever it was answered.
#[derive(Debug, Clone)]
pub struct Post {
    pub at: Instant,
    pub headers: HeaderMap,
    pub raw: Bytes,
    pub body: Value,
}

impl Post {
    pub fn text(&self) -> &str {
        self.body["message"]["text"].as_str().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// What a post gets.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// 204.
    Take,
    /// This status, and perhaps a `Retry-After`.
    Refuse(u16, Option<u64>),
}

type Decide = dyn Fn(&Post) -> Answer + Send + Sync;

struct Shared {
    decide: Mutex<Arc<Decide>>,
    posts: Mutex<Vec<(Post, bool)>>,
    /// Between keeping a post and answering it.
    pause: Mutex<Duration>,
}

/// The program.
pub struct Listener {
    shared: Arc<Shared>,
    address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Listener {
    /// Starts it on a free port.
    pub fn start(decide: impl Fn(&Post) -> Answer + Send + Sync + 'static) -> Self {
        let decide: Arc<Decide> = Arc::new(decide);
        let shared =
            Arc::new(Shared { decide: Mutex::new(decide), posts: Mutex::default(), pause: Mutex::default() });
        let mut listener = Self { shared, address: (Ipv4Addr::LOCALHOST, 0).into(), runtime: None };
        listener.revive();
        listener
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook/a-token-that-nobody-may-see", self.address)
    }

    /// Answers differently from now on.
    pub fn decide(&self, decide: impl Fn(&Post) -> Answer + Send + Sync + 'static) {
        *self.shared.decide.lock().expect("not poisoned") = Arc::new(decide);
    }

    /// Works on each post for so long after it has kept it, so that kills fall between the two.
    pub fn work_for(&self, pause: Duration) {
        *self.shared.pause.lock().expect("not poisoned") = pause;
    }

    /// All that came, in order.
    pub fn posts(&self) -> Vec<Post> {
        self.shared.posts.lock().expect("not poisoned").iter().map(|(post, _)| post.clone()).collect()
    }

    /// Those that it kept, in order: it answered, or was about to answer, that it has them.
    pub fn kept(&self) -> Vec<Post> {
        let posts = self.shared.posts.lock().expect("not poisoned");
        posts.iter().filter(|(_, kept)| *kept).map(|(post, _)| post.clone()).collect()
    }

    /// How many it kept.
    pub fn count(&self) -> usize {
        self.shared.posts.lock().expect("not poisoned").iter().filter(|(_, kept)| *kept).count()
    }

    /// Cuts everything.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Comes back on the same port.
    pub fn revive(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (address, shared) = (self.address, self.shared.clone());
        let (bound, port) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            let begun = Instant::now();
            let listener = loop {
                match tokio::net::TcpListener::bind(address).await {
                    Ok(listener) => break listener,
                    // The one before is still going.
                    Err(_) if begun.elapsed() < Duration::from_secs(5) => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    Err(error) => panic!("the port cannot be bound: {error}"),
                }
            };
            let _ = bound.send(listener.local_addr().expect("bound"));
            let _ = axum::serve(listener, Router::new().fallback(take).with_state(shared)).await;
        });
        self.address = port.recv().expect("it is bound");
        self.runtime = Some(runtime);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, raw: Bytes) -> Response {
    let body = serde_json::from_slice(&raw).unwrap_or_default();
    let post = Post { at: Instant::now(), headers, raw, body };
    let decide = shared.decide.lock().expect("not poisoned").clone();
    let answer = decide(&post);
    let kept = matches!(answer, Answer::Take);
    shared.posts.lock().expect("not poisoned").push((post, kept));
    let pause = *shared.pause.lock().expect("not poisoned");
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    match answer {
        Answer::Take => StatusCode::NO_CONTENT.into_response(),
        Answer::Refuse(status, retry_after) => {
            let mut response = StatusCode::from_u16(status).expect("a status").into_response();
            if let Some(seconds) = retry_after {
                response
                    .headers_mut()
                    .insert(HeaderName::from_static("retry-after"), HeaderValue::from(seconds));
            }
            response
        }
    }
}
