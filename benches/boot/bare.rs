//! A bare whatsapp-rust client: nothing but the library, its own SQLite store and its own transport.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use whatsapp_rust::TokioRuntime;
use whatsapp_rust::bot::Bot;
use whatsapp_rust::types::events::Event;
use whatsapp_rust_sqlite_storage::SqliteStore;
use whatsapp_rust_tokio_transport::TokioWebSocketTransportFactory;

const URL: &str = "BENCH_CLIENT_URL";
const STORE: &str = "BENCH_CLIENT_STORE";

/// What the environment asks this process to be.
pub struct Asked {
    url: String,
    store: String,
}

/// This very program as a client of `url` with its session in the file `store`.
pub fn command(url: &str, store: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.env_clear().env(URL, url).env(STORE, store);
    command
}

impl Asked {
    pub fn from_environment() -> Option<Self> {
        let text = |name| std::env::var_os(name).map(OsString::into_string)?.ok();
        Some(Self { url: text(URL)?, store: text(STORE)? })
    }

    /// Says what happens as the Baileys bot does, one JSON a line; ends at SIGTERM.
    pub async fn stay_linked(self) {
        let mut term = signal(SignalKind::terminate()).expect("a signal handler");
        let bot = Bot::builder()
            .with_backend(SqliteStore::new(&self.store).await.expect("a store"))
            .with_transport_factory(TokioWebSocketTransportFactory::new().with_url(&self.url))
            .with_http_client(blacksky::link::http::Http::new())
            .with_runtime(TokioRuntime)
            .with_version((2, 3000, 1_030_000_000))
            .skip_history_sync()
            .on_qr_code(|code, _| {
                println!("{}", json!({ "event": "qr", "qr": code }));
                async {}
            })
            .on_event(|event, _| {
                // Its own event for an open link follows only once the app state has been synchronised.
                if matches!(&*event, Event::RawNode(node) if node.get().tag.as_ref() == "success") {
                    println!("{}", json!({ "event": "open" }));
                }
                async {}
            })
            .build()
            .await
            .expect("a client");
        let _raw = bot.client().acquire_raw_node_forwarding();
        let running = bot.spawn();
        term.recv().await;
        running.shutdown().await;
    }
}
