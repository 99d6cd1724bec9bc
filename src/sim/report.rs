//! What the simulator tells a test: counters, messages, events.

use serde::Serialize;
use waproto::whatsapp::Message;

use super::media::Media;

/// Numbers since the server started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Connections that asked for the WebSocket.
    pub dials: u64,
    /// Of these, refused by a fault before the upgrade.
    pub refused: u64,
    /// Finished handshakes with a full exchange.
    pub handshakes_xx: u64,
    /// Finished handshakes of a client that remembered the server's key.
    pub handshakes_ik: u64,
    /// Finished handshakes that began as IK and went on as XX.
    pub handshakes_fallback: u64,
    /// Clients without an account: each of these showed QR codes.
    pub registrations: u64,
    /// Devices that were linked.
    pub pairings: u64,
    /// `<success>` sent.
    pub logins: u64,
    /// `<failure>` sent.
    pub login_failures: u64,
    /// Logins that pushed out an older connection of the same device.
    pub replaced: u64,
    /// Keep-alive requests.
    pub pings: u64,
    /// Requests that the simulator does not know and answered with an empty result.
    pub unknown_requests: u64,
    /// Messages that arrived from clients.
    pub messages_received: u64,
    /// Messages that simulated phones sent.
    pub messages_sent: u64,
    /// Times a stanza was sent again at a login.
    pub redeliveries: u64,
    /// Receipts that were no retry.
    pub receipts: u64,
    /// Acknowledgements with an error: the client gave a message up.
    pub nacks: u64,
    /// Requests of clients to send a message again, since it did not decrypt.
    pub retry_receipts: u64,
    /// Messages of clients that a simulated phone could not decrypt.
    pub decrypt_failures: u64,
    /// Messages of clients that arrived a second time under the same id.
    pub duplicates: u64,
    /// Files that clients put on the media server.
    pub uploads: u64,
    /// Connections closed since the client's bytes made no sense.
    pub garbage: u64,
}

/// A message that a simulated phone sent to one device.
#[derive(Clone, Debug, Serialize)]
pub struct Sent {
    /// Message id; the same for all devices of an account.
    pub id: String,
    /// Number of the sender.
    pub from: String,
    /// Number of the account.
    pub to: String,
    /// The device.
    pub device: u16,
    /// The text, or the caption of a medium.
    pub text: String,
    /// Unix milliseconds when it was handed to the server.
    pub sent_at: i64,
    /// Times its stanza was written to a connection.
    pub deliveries: u32,
    /// Unix milliseconds of the first receipt or error-free acknowledgement.
    pub acknowledged_at: Option<i64>,
    /// The error with which the client refused it; it is not sent again then.
    pub refused: Option<String>,
    /// Times the client asked to get it encrypted anew.
    pub retries: u32,
    /// Copies whose acknowledgement is due and says nothing of the newest one.
    #[serde(skip)]
    pub(super) taken_back: u32,
    /// What is encrypted anew when a device asks for that.
    #[serde(skip)]
    pub(super) content: Message,
}

/// A message that arrived from a client, as its recipient's phone sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Received {
    /// Message id.
    pub id: String,
    /// Number of the account that sent it.
    pub from: String,
    /// The device that sent it.
    pub device: u16,
    /// Number of the recipient.
    pub to: String,
    /// The text; `None` when it holds something else or did not decrypt.
    pub text: Option<String>,
    /// Id of the message that it answers or reacts to.
    pub about: Option<String>,
    /// The emoji of a reaction; empty takes one back.
    pub reaction: Option<String>,
    /// The medium.
    pub media: Option<Media>,
    /// For the copy that a device sends to its own phone: the number it was sent to.
    pub copy_for: Option<String>,
    /// `pkmsg` or `msg`.
    pub envelope: String,
    /// Why it did not decrypt.
    pub error: Option<String>,
    /// Unix milliseconds.
    pub at: i64,
}

/// Something that happened, for a test that waits for it.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Counts from 1.
    pub seq: u64,
    /// Unix milliseconds.
    pub at: i64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// The kinds of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum What {
    /// A connection asked for the WebSocket.
    Dialled { connection: u64 },
    /// A connection is gone.
    Closed { connection: u64, reason: String },
    /// A client without an account waits to be scanned.
    Registering { connection: u64 },
    /// A device was linked.
    Paired { account: String, device: u16 },
    /// A client refused the pairing.
    PairingRefused { account: String, reason: String },
    /// A device logged in.
    LoggedIn { account: String, device: u16, handshake: &'static str },
    /// A login was refused.
    LoginRefused { reason: u16 },
    /// A device confirmed a message.
    Acknowledged { account: String, device: u16, id: String },
    /// A message arrived from a client.
    Received { account: String, device: u16, id: String },
    /// A client says that messages were read.
    Read { account: String, device: u16, ids: Vec<String> },
    /// A client shows in a chat that it is typing, recording or neither.
    Typing { account: String, device: u16, to: String, state: String },
    /// A client put a file on the media server.
    Uploaded { kind: String, bytes: usize },
    /// A client asked for something the simulator does not know.
    UnknownRequest { namespace: String, kind: String, child: String },
    /// A fault was carried out.
    Fault { action: String },
}

/// One account as `status` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    /// Number.
    pub number: String,
    /// LID.
    pub lid: String,
    /// Push name.
    pub name: String,
    /// Its linked devices.
    pub devices: Vec<DeviceReport>,
}

/// One linked device.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceReport {
    /// Id within the account.
    pub id: u16,
    /// Whether it is connected and logged in.
    pub connected: bool,
    /// Logins so far.
    pub logins: u64,
    /// Stanzas it has not confirmed.
    pub queued: usize,
    /// One-time pre-keys the server has of it.
    pub pre_keys: usize,
}
