//! The simulator in process: the same operations as the control API.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::faults::{Action, Fault, When};
use super::link_code::Typed;
use super::media::Medium;
use super::messages;
use super::pairing;
use super::ratchet::RatchetReport;
use super::report::{Account, Counters, DeviceReport, Event, Received, Sent, What};
use super::world::{Phase, Shared, World};

/// What a condition did not become within its deadline.
#[derive(Debug, thiserror::Error)]
#[error("within {0:?} there was no {1}")]
pub struct TimedOut(pub Duration, pub String);

/// A cheap, clonable way to drive and watch a running simulator.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Shared>);

impl Handle {
    /// The phone with this number scans a QR of a waiting client.
    pub fn scan(&self, qr: &str, number: &str) -> Result<(), pairing::Error> {
        self.0.with(|world| world.scan(qr, number, None))
    }

    /// The same, and the phone gets a push name.
    pub fn scan_as(&self, qr: &str, number: &str, name: &str) -> Result<(), pairing::Error> {
        self.0.with(|world| world.scan(qr, number, Some(name)))
    }

    /// A person types the code that a client shows for `number` into that phone. The device
    /// is linked once the client has proved that it was the right one.
    pub async fn link(&self, code: &str, number: &str) -> Result<(), pairing::Error> {
        let wrapped = self.0.read(|world| world.code_request(number))?;
        let code = code.to_owned();
        // A key derivation that is slow on purpose.
        let typed = tokio::task::spawn_blocking(move || Typed::new(&code, &wrapped));
        let typed = typed.await.map_err(|error| pairing::Error::Keys(error.to_string()))??;
        self.0.with(|world| world.type_code(number, typed))
    }

    /// Waits until a client shows a code for `number`.
    pub async fn wait_for_code(&self, number: &str, within: Duration) -> Result<(), TimedOut> {
        self.wait(&format!("code for {number}"), within, |world| world.code_request(number).ok().map(|_| ()))
            .await
    }

    /// The phone of `from` sends a text to the account `to`; the message id.
    pub fn send_text(&self, from: &str, to: &str, text: &str) -> Result<String, messages::Error> {
        self.0.with(|world| world.send_text(from, to, text))
    }

    /// The phone of `from` sends a medium to the account `to`; the message id.
    pub fn send_media(&self, from: &str, to: &str, medium: Medium) -> Result<String, messages::Error> {
        self.0.with(|world| world.send_media(from, to, medium))
    }

    /// Messages that simulated phones sent, oldest first.
    pub fn sent(&self) -> Vec<Sent> {
        self.0.read(|world| world.sent.clone())
    }

    /// Messages that arrived from clients, oldest first, with the copies for their own phones.
    pub fn received(&self) -> Vec<Received> {
        self.0.read(|world| world.received.clone())
    }

    /// The same without the first `known` ones, for those who read on.
    pub fn received_after(&self, known: usize) -> Vec<Received> {
        self.0.read(|world| world.received.get(known..).unwrap_or_default().to_vec())
    }

    /// Waits until `to` has got this text from a client.
    pub async fn wait_for_text(&self, to: &str, text: &str, within: Duration) -> Result<Received, TimedOut> {
        self.wait(&format!("text {text:?} for {to}"), within, |world| {
            world
                .received
                .iter()
                .find(|r| r.to == to && r.copy_for.is_none() && r.text.as_deref() == Some(text))
                .cloned()
        })
        .await
    }

    /// Waits until `to` has got the message `id` from a client.
    pub async fn wait_for_message(&self, to: &str, id: &str, within: Duration) -> Result<Received, TimedOut> {
        self.wait(&format!("message {id} for {to}"), within, |world| {
            world.received.iter().find(|r| r.to == to && r.copy_for.is_none() && r.id == id).cloned()
        })
        .await
    }

    /// Waits until every device has confirmed the message `id`.
    pub async fn wait_for_acknowledgement(&self, id: &str, within: Duration) -> Result<(), TimedOut> {
        self.wait(&format!("acknowledgement of {id}"), within, |world| {
            let mut copies = world.sent.iter().filter(|s| s.id == id).peekable();
            copies.peek()?;
            copies.all(|s| s.acknowledged_at.is_some()).then_some(())
        })
        .await
    }

    /// Waits until `number` has a device that is connected and logged in; the device.
    pub async fn wait_for_login(&self, number: &str, within: Duration) -> Result<u16, TimedOut> {
        self.wait(&format!("login of {number}"), within, |world| {
            let user = world.users.get(number)?;
            user.devices.keys().copied().find(|device| world.connection_of(number, *device).is_some())
        })
        .await
    }

    /// Waits until the counters satisfy `wanted`.
    pub async fn wait_for_counters(
        &self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Counters) -> bool,
    ) -> Result<Counters, TimedOut> {
        self.wait(what, within, |world| wanted(&world.counters).then(|| world.counters.clone())).await
    }

    /// Waits for the first event after `seq` that satisfies `wanted`.
    pub async fn wait_for_event(
        &self,
        what: &str,
        after: u64,
        within: Duration,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Event, TimedOut> {
        self.wait(what, within, |world| world.events.iter().find(|e| e.seq > after && wanted(e)).cloned())
            .await
    }

    /// Events after `seq`, waiting up to `within` for the first.
    pub async fn events(&self, after: u64, within: Duration) -> Vec<Event> {
        let newer = |world: &World| {
            let events: Vec<Event> = world.events.iter().filter(|e| e.seq > after).cloned().collect();
            (!events.is_empty()).then_some(events)
        };
        self.wait("events", within, newer).await.unwrap_or_default()
    }

    /// All events that are kept, oldest first.
    pub fn all_events(&self) -> Vec<Event> {
        self.0.read(|world| world.events.iter().cloned().collect())
    }

    /// The number of the newest event.
    pub fn last_event(&self) -> u64 {
        self.0.read(|world| world.events.back().map_or(0, |event| event.seq))
    }

    /// Numbers since the server started.
    pub fn counters(&self) -> Counters {
        self.0.read(|world| world.counters.clone())
    }

    /// Requests that the simulator does not know, as events.
    pub fn unknown_requests(&self) -> Vec<Event> {
        self.0.read(|world| {
            let events = world.events.iter();
            events.filter(|e| matches!(e.what, What::UnknownRequest { .. })).cloned().collect()
        })
    }

    /// Whether any client used a message key twice.
    pub fn ratchets(&self) -> RatchetReport {
        self.0.read(|world| world.ratchets.report())
    }

    /// Arms or carries out a fault.
    pub fn inject(&self, fault: Fault) {
        self.0.with(|world| world.inject(fault));
    }

    /// Carries `action` out now on all connections.
    pub fn strike(&self, action: Action) {
        self.inject(Fault::new(action, When::Now));
    }

    /// Disarms all faults and ends all silence.
    pub fn clear_faults(&self) {
        self.0.with(World::clear_faults);
    }

    /// Faults that are armed.
    pub fn faults(&self) -> Vec<Fault> {
        self.0.read(|world| world.faults().to_vec())
    }

    /// The phone removes a linked device; `false` when there is none.
    pub fn remove_device(&self, number: &str, device: u16) -> bool {
        self.0.with(|world| world.remove_device(number, device))
    }

    /// Makes a group of these numbers and gives back its address.
    pub fn add_group(&self, subject: &str, members: &[&str]) -> String {
        self.0.with(|world| world.add_group(subject, members))
    }

    /// From now on this number is not on WhatsApp, as far as anybody asks.
    pub fn absent(&self, number: &str) {
        self.0.with(|world| world.absent.insert(number.to_owned()));
    }

    /// Accounts with linked devices.
    pub fn accounts(&self) -> Vec<Account> {
        self.0.read(|world| {
            let linked = world.users.values().filter(|user| user.next_device > 1);
            linked
                .map(|user| Account {
                    number: user.number.clone(),
                    lid: user.lid.clone(),
                    name: user.name.clone(),
                    devices: user
                        .devices
                        .iter()
                        .map(|(id, device)| DeviceReport {
                            id: *id,
                            connected: world.connection_of(&user.number, *id).is_some(),
                            logins: device.logins,
                            queued: device.queue.len(),
                            pre_keys: device.one_time.len(),
                        })
                        .collect(),
                })
                .collect()
        })
    }

    /// Clients that wait to be scanned.
    pub fn waiting(&self) -> usize {
        self.0.read(|world| {
            world.connections.values().filter(|c| matches!(c.phase, Phase::Registering(_))).count()
        })
    }

    /// Waits until `look` finds something; looks again after each operation of the server.
    async fn wait<T>(
        &self,
        what: &str,
        within: Duration,
        look: impl Fn(&World) -> Option<T>,
    ) -> Result<T, TimedOut> {
        let deadline = Instant::now() + within;
        let mut changes = self.0.changes();
        loop {
            changes.mark_unchanged();
            if let Some(found) = self.0.read(&look) {
                return Ok(found);
            }
            match timeout_at(deadline, changes.changed()).await {
                Ok(Ok(())) => {}
                _ => return Err(TimedOut(within, what.to_owned())),
            }
        }
    }
}
