//! The simulator in process, and the published Rust client as an unmodified user of it.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::eventually::eventually;
use blacksky::sim::{Handle, Options, Server};
use tokio::sync::mpsc;
use wacore::download::MediaType;
use wacore::pair_code::PairCodeOptions;
use waproto::buffa::MessageField;
use waproto::whatsapp as wa;
use whatsapp_rust::bot::{Bot, BotHandle, MessageContext};
use whatsapp_rust::types::events::Event;
use whatsapp_rust::upload::UploadOptions;
use whatsapp_rust_sqlite_storage::SqliteStore;
use whatsapp_rust_tokio_transport::TokioWebSocketTransportFactory;

/// Long enough for a loaded machine, short enough to fail a hung test.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A simulator on a free port.
pub fn simulator() -> Server {
    start(None)
}

/// A simulator that keeps its state in `folder`.
pub fn simulator_in(folder: &Path) -> Server {
    start(Some(folder))
}

fn start(folder: Option<&Path>) -> Server {
    // With RUST_LOG set, a failed test shows what both sides did.
    let _ = tracing_subscriber::fmt()
        .with_test_writer()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .try_init();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    Server::start(Options { listener, state_dir: folder.map(Path::to_owned) }).expect("the simulator starts")
}

/// An unmodified whatsapp-rust client that echoes every text as `echo: TEXT`, and every image.
pub struct RustClient {
    handle: BotHandle,
    qr: mpsc::UnboundedReceiver<String>,
    codes: mpsc::UnboundedReceiver<String>,
    seen: Arc<Mutex<Vec<String>>>,
    texts: Arc<Mutex<Vec<String>>>,
}

impl RustClient {
    /// Connects to `url` with its session in the SQLite file `file`.
    pub async fn start(url: &str, file: &Path) -> Self {
        Self::build(url, file, None).await
    }

    /// The same, and it asks for a pairing code for `number` in place of a QR.
    pub async fn linking(url: &str, file: &Path, number: &str) -> Self {
        let options = PairCodeOptions { phone_number: number.to_owned(), ..PairCodeOptions::default() };
        Self::build(url, file, Some(options)).await
    }

    async fn build(url: &str, file: &Path, linking: Option<PairCodeOptions>) -> Self {
        let (to_test, qr) = mpsc::unbounded_channel();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let events = Arc::clone(&seen);
        let texts = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&texts);
        let store = SqliteStore::new(file.to_str().expect("a UTF-8 path")).await.expect("a store");
        let (to_test_too, codes) = mpsc::unbounded_channel();
        let builder = Bot::builder()
            .with_backend(store)
            .with_transport_factory(TokioWebSocketTransportFactory::new().with_url(url))
            // Reaches this machine only.
            .with_http_client(blacksky::link::http::Http::new())
            .with_runtime(whatsapp_rust::TokioRuntime)
            .with_version((2, 3000, 1_030_000_000))
            .skip_history_sync()
            .on_qr_code(move |code, _| {
                let _ = to_test.send(code);
                async {}
            })
            .on_pair_code(move |code, _| {
                let _ = to_test_too.send(code);
                async {}
            })
            .on_message(move |context| {
                let heard = Arc::clone(&heard);
                async move {
                    if let Some(image) = context.message.image_message.as_option() {
                        return echo_image(&context, image).await;
                    }
                    let extended = context.message.extended_text_message.as_option();
                    let text = context
                        .message
                        .conversation
                        .clone()
                        .or_else(|| extended.and_then(|e| e.text.clone()));
                    let Some(text) = text.filter(|_| !context.info.source.is_from_me) else { return };
                    heard.lock().expect("not poisoned").push(text.clone());
                    if !text.starts_with("echo: ") {
                        context.reply(format!("echo: {text}")).await.expect("the echo is sent");
                    }
                }
            })
            .on_event(move |event, _| {
                let name = format!("{event:?}");
                let keep = !matches!(*event, Event::RawNode(_));
                if keep {
                    events.lock().expect("not poisoned").push(name);
                }
                async {}
            });
        let builder = match linking {
            Some(options) => builder.with_pair_code(options),
            None => builder,
        };
        let bot = builder.build().await.expect("a bot");
        Self { handle: bot.spawn(), qr, codes, seen, texts }
    }

    /// The next QR it shows.
    pub async fn qr(&mut self) -> String {
        tokio::time::timeout(PATIENCE, self.qr.recv()).await.expect("a QR in time").expect("the client lives")
    }

    /// The next pairing code it shows.
    pub async fn code(&mut self) -> String {
        tokio::time::timeout(PATIENCE, self.codes.recv())
            .await
            .expect("a code in time")
            .expect("the client lives")
    }

    /// Whether it has shown a QR since the last one that was taken.
    pub fn asks_to_be_scanned(&mut self) -> bool {
        self.qr.try_recv().is_ok()
    }

    /// Sends a text to a number.
    pub async fn send(&self, number: &str, text: &str) {
        let message =
            waproto::whatsapp::Message { conversation: Some(text.to_owned()), ..Default::default() };
        let to = format!("{number}@s.whatsapp.net").parse::<whatsapp_rust::Jid>().expect("an address");
        self.handle.client().send_message(to, message).await.expect("the text is sent");
    }

    /// Waits until it got this text.
    pub async fn until_text(&self, text: &str) {
        eventually(text, PATIENCE, async || {
            self.texts.lock().expect("not poisoned").iter().any(|t| t == text)
        })
        .await;
    }

    /// Waits for an event whose debug form begins with `name`.
    pub async fn until_event(&self, name: &str) {
        eventually(name, PATIENCE, async || {
            self.seen.lock().expect("not poisoned").iter().any(|event| event.starts_with(name))
        })
        .await;
    }

    /// Stops it as a well-behaved program does.
    pub async fn stop(self) {
        self.handle.shutdown().await;
    }
}

/// Fetches an image and sends it back.
async fn echo_image(context: &MessageContext, image: &wa::message::ImageMessage) {
    let bytes = context.client.download(image).await.expect("the image is fetched");
    let options = UploadOptions::new();
    let uploaded = context.client.upload(bytes, MediaType::Image, options).await.expect("it is uploaded");
    let image = wa::message::ImageMessage {
        url: Some(uploaded.url),
        direct_path: Some(uploaded.direct_path),
        mimetype: image.mimetype.clone(),
        caption: Some(format!("echo: {}", image.caption.as_deref().unwrap_or_default())),
        media_key: Some(uploaded.media_key.to_vec()),
        file_sha256: Some(uploaded.file_sha256.to_vec()),
        file_enc_sha256: Some(uploaded.file_enc_sha256.to_vec()),
        file_length: Some(uploaded.file_length),
        ..Default::default()
    };
    let message = wa::Message { image_message: MessageField::some(image), ..Default::default() };
    context.client.send_message(context.info.source.chat.clone(), message).await.expect("it is sent");
}

/// Pairs a fresh client with the phone of `number`.
pub async fn pair_rust(server: &Server, file: &Path, number: &str) -> RustClient {
    let mut client = RustClient::start(&server.url(), file).await;
    let qr = client.qr().await;
    server.handle().scan(&qr, number).expect("the QR is good");
    server.handle().wait_for_login(number, PATIENCE).await.expect("it logs in");
    client
}

/// A text from `contact`, and the echo that must come back.
pub async fn echo(handle: &Handle, contact: &str, account: &str, text: &str) {
    let id = handle.send_text(contact, account, text).expect("it can be sent");
    handle.wait_for_text(contact, &format!("echo: {text}"), PATIENCE).await.expect("the echo arrives");
    handle.wait_for_acknowledgement(&id, PATIENCE).await.expect("it is acknowledged");
}

/// Nothing that must never happen has happened.
pub fn assert_clean(handle: &Handle) {
    let (counters, ratchets) = (handle.counters(), handle.ratchets());
    assert_eq!(ratchets.reused, [], "a message key was used twice");
    assert_eq!(ratchets.unreadable, 0);
    assert_eq!(counters.decrypt_failures, 0, "{counters:?}");
    // No word on retry receipts: a contact answers here within a millisecond, and a loaded
    // Baileys then decrypts before its own send has stored the session, and asks again.
    assert_eq!(counters.garbage, 0, "{counters:?}");
    assert_eq!(counters.unknown_requests, 0, "{:?}", handle.unknown_requests());
}
