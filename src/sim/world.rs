//! The server's memory: accounts, connections, messages, faults. Every operation is
//! synchronous under one lock; connections are reached through their queues.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use wacore_binary::builder::NodeBuilder;
use wacore_binary::node::Node;
use wacore_binary::{Jid, Server};

use super::account::{self, Device, User};
use super::faults::{Action, Fault, When};
use super::groups::Group;
use super::handshake::Client;
use super::identity::ServerIdentity;
use super::media::Files;
use super::pairing::Registration;
use super::ratchet::Ratchets;
use super::report::{Counters, Event, Received, Sent, What};
use super::stanza;

/// Most users that the simulator makes up on demand.
const MAX_USERS: usize = 20_000;
/// Events that are kept for those who poll.
const MAX_EVENTS: usize = 10_000;

/// What a connection's task is told to do.
pub enum Out {
    /// Write a stanza.
    Stanza(Node),
    /// Close the WebSocket, then the TCP connection.
    Close,
    /// End the TCP connection without a word.
    Drop,
    /// Reset the TCP connection.
    Reset,
    /// Stop reading and writing.
    Silence,
    /// Read and drop all, write nothing.
    Swallow,
    /// Hold each stanza back for this long.
    Slow(Duration),
    /// Go on after silence, at full speed.
    Resume,
}

/// Names a connection for the life of the server.
pub type ConnectionId = u64;

/// Where a connection stands.
pub enum Phase {
    /// Before the handshake is over.
    Fresh,
    /// A client without an account.
    Registering(Box<Registration>),
    /// Logged in.
    Open {
        /// Number of the account.
        number: String,
        /// Its device.
        device: u16,
    },
    /// Told to close; what still arrives is ignored.
    Ended,
}

pub(super) struct Connection {
    pub(super) out: mpsc::UnboundedSender<Out>,
    pub(super) phase: Phase,
}

/// Shared by the listener, the connections, the control API and the handle.
pub struct Shared {
    world: Mutex<World>,
    /// Bumped after each operation, for those who wait for a condition.
    changed: watch::Sender<u64>,
}

impl Shared {
    /// Takes over a world.
    pub fn new(world: World) -> Arc<Self> {
        Arc::new(Self { world: Mutex::new(world), changed: watch::Sender::new(0) })
    }

    /// Runs one operation and wakes all who wait.
    pub fn with<T>(&self, operation: impl FnOnce(&mut World) -> T) -> T {
        let result = operation(&mut self.lock());
        self.changed.send_modify(|n| *n += 1);
        result
    }

    /// Reads without waking anyone.
    pub fn read<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.lock())
    }

    /// A receiver that changes after each operation.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        // A panic under the lock is a bug that its own connection reports; the rest goes on.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
pub struct World {
    pub(super) identity: Arc<ServerIdentity>,
    pub(super) users: BTreeMap<String, User>,
    pub(super) lids: HashMap<String, String>,
    pub(super) connections: HashMap<ConnectionId, Connection>,
    pub(super) counters: Counters,
    pub(super) faults: Vec<Fault>,
    pub(super) sent: Vec<Sent>,
    /// Place in `sent` by message id, account and device.
    pub(super) sent_places: HashMap<(String, String, u16), usize>,
    pub(super) received: Vec<Received>,
    /// Message id, account, device and recipient of all in `received`.
    pub(super) received_keys: HashSet<(String, String, u16, String)>,
    /// Times that a phone asked for the message again.
    pub(super) asked_again: HashMap<(String, String, u16, String), u32>,
    pub(super) ratchets: Ratchets,
    pub(super) groups: Vec<Group>,
    /// Numbers that are not on WhatsApp.
    pub(super) absent: BTreeSet<String>,
    pub(super) events: VecDeque<Event>,
    /// What the media server has.
    pub(super) files: Files,
    next_event: u64,
    next_connection: ConnectionId,
    next_request: u64,
}

impl World {
    /// An empty server.
    pub fn new(identity: Arc<ServerIdentity>) -> Self {
        Self {
            identity,
            users: BTreeMap::new(),
            lids: HashMap::new(),
            connections: HashMap::new(),
            counters: Counters::default(),
            faults: Vec::new(),
            sent: Vec::new(),
            sent_places: HashMap::new(),
            received: Vec::new(),
            received_keys: HashSet::new(),
            asked_again: HashMap::new(),
            ratchets: Ratchets::default(),
            groups: Vec::new(),
            absent: BTreeSet::new(),
            events: VecDeque::new(),
            files: Files::default(),
            next_event: 1,
            next_connection: 1,
            next_request: 1,
        }
    }

    /// The server's keys.
    pub fn identity(&self) -> Arc<ServerIdentity> {
        Arc::clone(&self.identity)
    }

    // ---- connections -------------------------------------------------------------

    /// A client asked for the WebSocket; the fault to carry out instead, if any.
    pub fn dialled(&mut self, out: mpsc::UnboundedSender<Out>) -> (ConnectionId, Option<Action>) {
        let connection = self.next_connection;
        self.next_connection += 1;
        self.connections.insert(connection, Connection { out, phase: Phase::Fresh });
        self.counters.dials += 1;
        self.event(What::Dialled { connection });
        let fault = self.take_fault(When::Dial, None);
        if fault.is_some() {
            self.counters.refused += 1;
        }
        (connection, fault)
    }

    /// A ClientHello is due an answer; the fault to carry out instead, if any.
    pub fn before_hello(&mut self) -> Option<Action> {
        self.take_fault(When::Hello, None)
    }

    /// The handshake is over.
    pub fn greeted(&mut self, connection: ConnectionId, client: Client) {
        match client.pattern {
            "IK" => self.counters.handshakes_ik += 1,
            "XX" => self.counters.handshakes_xx += 1,
            _ => self.counters.handshakes_fallback += 1,
        }
        if client.payload.device_pairing_data.is_set() {
            self.register(connection, client);
        } else {
            self.login(connection, &client);
        }
    }

    /// A stanza arrived.
    pub fn stanza(&mut self, connection: ConnectionId, node: &Node) {
        match self.connections.get(&connection).map(|c| &c.phase) {
            Some(Phase::Registering(_)) => self.registering_stanza(connection, node),
            Some(Phase::Open { number, device }) => {
                let (number, device) = (number.clone(), *device);
                self.open_stanza(connection, &number, device, node);
            }
            Some(Phase::Fresh | Phase::Ended) | None => {}
        }
    }

    /// The connection is gone.
    pub fn closed(&mut self, connection: ConnectionId, reason: &str, garbage: bool) {
        if self.connections.remove(&connection).is_some() {
            self.counters.garbage += u64::from(garbage);
            self.event(What::Closed { connection, reason: reason.to_owned() });
        }
    }

    fn open_stanza(&mut self, connection: ConnectionId, number: &str, device: u16, node: &Node) {
        match node.tag.as_ref() {
            "iq" => self.request(connection, number, device, node),
            "message" => self.message(connection, number, device, node),
            "receipt" => self.receipt(connection, number, device, node),
            "ack" => self.acknowledgement(number, device, node),
            // Presence, session and offline-batch notes need no answer here.
            "presence" | "ib" | "xmlstreamend" => {}
            "chatstate" => self.typing(number, device, node),
            other => {
                tracing::debug!(tag = other, "simulator: a stanza of this kind is ignored");
            }
        }
    }

    // ---- sending -----------------------------------------------------------------

    /// Queues a stanza on a connection; a connection that is gone is ignored.
    pub(super) fn send(&self, connection: ConnectionId, node: Node) {
        self.tell(connection, Out::Stanza(node));
    }

    pub(super) fn tell(&self, connection: ConnectionId, out: Out) {
        if let Some(connection) = self.connections.get(&connection) {
            // The task may be ending; its `closed` is then on the way.
            let _ = connection.out.send(out);
        }
    }

    /// Sends a last stanza and closes; what still arrives is ignored.
    pub(super) fn end(&mut self, connection: ConnectionId, last: Node) {
        self.send(connection, last);
        self.tell(connection, Out::Close);
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.phase = Phase::Ended;
        }
    }

    /// The open connection of a device.
    pub(super) fn connection_of(&self, number: &str, device: u16) -> Option<ConnectionId> {
        self.connections.iter().find_map(|(id, connection)| match &connection.phase {
            Phase::Open { number: n, device: d } if n == number && *d == device => Some(*id),
            _ => None,
        })
    }

    /// An id for a request of the server.
    pub(super) fn request_id(&mut self) -> String {
        self.next_request += 1;
        format!("sim-{}", self.next_request)
    }

    // ---- users -------------------------------------------------------------------

    /// The user with this number, made up if it is new. `None` when it cannot be a number
    /// or there are too many.
    pub(super) fn user(&mut self, number: &str) -> Option<&mut User> {
        if !self.users.contains_key(number) {
            if !account::is_number(number) || self.users.len() >= MAX_USERS {
                return None;
            }
            let user = User::new(number, None)
                .inspect_err(|error| tracing::error!(%error, "simulator: no keys for a new phone"))
                .ok()?;
            self.adopt(user);
        }
        self.users.get_mut(number)
    }

    /// Adds a user with its LID.
    pub(super) fn adopt(&mut self, user: User) {
        self.lids.insert(user.lid.clone(), user.number.clone());
        self.users.insert(user.number.clone(), user);
    }

    /// The number behind an address, be it a phone number or a LID.
    pub(super) fn number_of(&self, jid: &Jid) -> Option<String> {
        match jid.server {
            Server::Pn => Some(jid.user.to_string()),
            Server::Lid => match self.lids.get(jid.user.as_str()) {
                Some(number) => Some(number.clone()),
                // A LID is made from the number, so one that was never asked for still has a name.
                None => {
                    let number = jid.user.strip_prefix('1')?.trim_start_matches('0');
                    (account::lid_of(number) == jid.user.as_str()).then(|| number.to_owned())
                }
            },
            _ => None,
        }
    }

    pub(super) fn device(&mut self, number: &str, device: u16) -> Option<&mut Device> {
        self.users.get_mut(number)?.devices.get_mut(&device)
    }

    // ---- faults ------------------------------------------------------------------

    /// Arms a fault, or carries it out when it is for now.
    pub fn inject(&mut self, fault: Fault) {
        if fault.when != When::Now {
            self.faults.push(fault);
            return;
        }
        let hit: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, connection)| match (&fault.account, &connection.phase) {
                (Some(account), Phase::Open { number, .. }) => account == number,
                (Some(_), _) => false,
                (None, _) => true,
            })
            .map(|(id, _)| *id)
            .collect();
        for connection in hit {
            self.strike(connection, &fault.action);
        }
    }

    /// Disarms all faults and ends all silence.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
        for connection in self.connections.values() {
            let _ = connection.out.send(Out::Resume);
        }
    }

    /// The faults that are armed.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The first armed fault for this moment; a counted one is used up.
    pub(super) fn take_fault(&mut self, when: When, account: Option<&str>) -> Option<Action> {
        let index = self.faults.iter().position(|fault| {
            fault.when == when && (fault.account.is_none() || fault.account.as_deref() == account)
        })?;
        let action = self.faults[index].action.clone();
        match self.faults[index].times {
            0 => {}
            1 => {
                self.faults.remove(index);
            }
            _ => self.faults[index].times -= 1,
        }
        self.event(What::Fault { action: format!("{action:?}") });
        Some(action)
    }

    /// Carries a fault out on a connection.
    pub(super) fn strike(&mut self, connection: ConnectionId, action: &Action) {
        match action.stanza() {
            // Before the handshake is over there is no key to send a stanza with.
            Some(_) if matches!(self.connections.get(&connection).map(|c| &c.phase), Some(Phase::Fresh)) => {
                self.tell(connection, Out::Drop);
            }
            Some((stanza, true)) => self.end(connection, stanza),
            Some((stanza, false)) => self.send(connection, stanza),
            None => self.tell(
                connection,
                match action {
                    Action::Reset => Out::Reset,
                    Action::Silence => Out::Silence,
                    Action::Swallow => Out::Swallow,
                    Action::Slow { ms } => Out::Slow(Duration::from_millis(*ms)),
                    _ => Out::Drop,
                },
            ),
        }
    }

    // ---- login -------------------------------------------------------------------

    fn login(&mut self, connection: ConnectionId, client: &Client) {
        let number = client.payload.username.unwrap_or_default().to_string();
        let device = u16::try_from(client.payload.device.unwrap_or_default()).unwrap_or_default();
        let known = self.device(&number, device).is_some_and(|d| d.noise == client.static_key);
        let fault = self.take_fault(When::Login, Some(&number));
        if let Some(action) = fault {
            if let Action::Failure { reason, .. } = action {
                self.counters.login_failures += 1;
                self.event(What::LoginRefused { reason });
            }
            // Stanzas of a fault need the phase to be past the handshake.
            if let Some(connection) = self.connections.get_mut(&connection) {
                connection.phase = Phase::Open { number: String::new(), device: 0 };
            }
            self.strike(connection, &action);
            return;
        }
        if !known {
            self.counters.login_failures += 1;
            self.event(What::LoginRefused { reason: 401 });
            let failure = NodeBuilder::new("failure").attr("reason", 401).attr("location", "sim").build();
            self.end(connection, failure);
            return;
        }
        if let Some(older) = self.connection_of(&number, device) {
            self.counters.replaced += 1;
            self.strike(older, &Action::conflict("replaced", None));
        }
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.phase = Phase::Open { number: number.clone(), device };
        }
        self.counters.logins += 1;
        self.welcome(connection, &number, device);
        self.event(What::LoggedIn { account: number.clone(), device, handshake: client.pattern });
        if let Some(action) = self.take_fault(When::Open, Some(&number)) {
            self.strike(connection, &action);
        }
    }

    /// `<success>`, the routing info, and what waited for the device.
    fn welcome(&mut self, connection: ConnectionId, number: &str, device: u16) {
        let now = now_seconds();
        let Some(user) = self.users.get_mut(number) else { return };
        let (lid, name) = (user.lid.clone(), user.name.clone());
        let Some(linked) = user.devices.get_mut(&device) else { return };
        linked.logins += 1;
        let waiting: Vec<(String, Node)> = linked
            .queue
            .iter()
            .filter_map(|queued| match queued.node() {
                Ok(node) => Some((queued.id.clone(), node)),
                Err(error) => {
                    tracing::error!(%error, id = queued.id, "simulator: a queued stanza is unreadable");
                    None
                }
            })
            .collect();
        let success = NodeBuilder::new("success")
            .attr("t", now)
            .attr("props", "27")
            .attr("companion_enc_static", "")
            .attr("lid", stanza::lid(&lid, device))
            .attr("display_name", name)
            .attr("location", "sim")
            .build();
        self.send(connection, success);
        let routing =
            NodeBuilder::new("edge_routing").children([stanza::leaf("routing_info", *b"sim\x01")]).build();
        self.send(connection, NodeBuilder::new("ib").children([routing]).build());
        let count = waiting.len();
        if count > 0 {
            let preview = NodeBuilder::new("offline_preview")
                .attr("count", count)
                .attr("message", count)
                .attr("notification", 0)
                .attr("receipt", 0)
                .attr("appdata", 0)
                .build();
            self.send(connection, NodeBuilder::new("ib").children([preview]).build());
        }
        for (index, (id, mut node)) in waiting.into_iter().enumerate() {
            node.attrs.insert("offline", index);
            self.send(connection, node);
            if self.note_delivery(number, device, &id) > 1 {
                self.counters.redeliveries += 1;
            }
        }
        let offline = NodeBuilder::new("offline").attr("count", count).build();
        self.send(connection, NodeBuilder::new("ib").children([offline]).build());
    }

    /// Removes a device: it is told so and refused from now on.
    pub fn remove_device(&mut self, number: &str, device: u16) -> bool {
        let removed = self.users.get_mut(number).and_then(|user| user.devices.remove(&device)).is_some();
        if removed && let Some(connection) = self.connection_of(number, device) {
            self.strike(connection, &Action::conflict("device_removed", Some(401)));
        }
        removed
    }

    // ---- events ------------------------------------------------------------------

    pub(super) fn event(&mut self, what: What) {
        tracing::debug!(?what, "simulator");
        self.events.push_back(Event { seq: self.next_event, at: now_millis(), what });
        self.next_event += 1;
        if self.events.len() > MAX_EVENTS {
            self.events.pop_front();
        }
    }
}

/// Unix seconds.
pub(super) fn now_seconds() -> u64 {
    u64::try_from(crate::runtime::clock::now().timestamp()).unwrap_or_default()
}

/// Unix milliseconds.
pub(super) fn now_millis() -> i64 {
    crate::runtime::clock::now().timestamp_millis()
}

#[cfg(test)]
mod tests;
