//! A receiver of webhooks on loopback: notes what comes and answers as it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use tokio_util::task::AbortOnDropHandle;

use super::eventually::eventually;

/// One post.
#[derive(Debug, Clone)]
pub struct Post {
    pub headers: HeaderMap,
    pub raw: Bytes,
    pub body: Value,
}

#[derive(Default)]
struct Inner {
    posts: Vec<Post>,
    answers: VecDeque<u16>,
}

/// A running receiver; ends when dropped.
pub struct Receiver {
    port: u16,
    inner: Arc<Mutex<Inner>>,
    _serving: AbortOnDropHandle<()>,
}

impl Receiver {
    /// Answers with these statuses first, then with 204.
    pub async fn start(answers: &[u16]) -> Self {
        let inner =
            Arc::new(Mutex::new(Inner { posts: Vec::new(), answers: answers.iter().copied().collect() }));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let app = Router::new().route("/hook/{token}", post(take)).with_state(Arc::clone(&inner));
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Self { port, inner, _serving: AbortOnDropHandle::new(serving) }
    }

    /// The address, which nobody but the receiver may be shown.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook/a-token-that-nobody-may-see", self.port)
    }

    pub fn posts(&self) -> Vec<Post> {
        self.inner.lock().expect("not poisoned").posts.clone()
    }

    /// Waits for a taken or refused post of this event.
    pub async fn until(&self, event: &str, deadline: Duration) -> Post {
        let mut found = None;
        eventually(&format!("a post of {event}; there were {:?}", self.posts()), deadline, async || {
            found = self.posts().into_iter().find(|post| post.headers["x-blacksky-event"] == event);
            found.is_some()
        })
        .await;
        found.expect("just seen")
    }
}

async fn take(State(inner): State<Arc<Mutex<Inner>>>, headers: HeaderMap, raw: Bytes) -> StatusCode {
    let mut inner = inner.lock().expect("not poisoned");
    let body = serde_json::from_slice(&raw).unwrap_or_default();
    inner.posts.push(Post { headers, raw, body });
    let status = inner.answers.pop_front().unwrap_or(204);
    StatusCode::from_u16(status).expect("a status")
}
