//! Answers what programs ask of the link at once.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wacore::pair_code::PairCodeOptions;
use wacore_binary::Jid;
use whatsapp_rust::Client;
use whatsapp_rust::features::ChatStateType;

use super::send::variant;
use crate::bot::call::{Call, Calls, Refusal, Reply, Typing};

/// Calls that are worked on beside each other.
const AT_ONCE: usize = 8;

/// Whoever answers for one client.
pub struct Desk {
    pub client: Arc<Client>,
    pub calls: Calls,
    /// Whether the link is open.
    pub open: watch::Receiver<bool>,
}

impl Desk {
    /// Answers until the client ends.
    pub async fn work(self, rest: CancellationToken) {
        let mut queue = self.calls.queue().await;
        let mut under_way = JoinSet::new();
        loop {
            let waiting = tokio::select! {
                biased;
                () = rest.cancelled() => break,
                Some(_) = under_way.join_next() => continue,
                waiting = queue.recv(), if under_way.len() < AT_ONCE => waiting,
            };
            let Some(mut waiting) = waiting else { break };
            if waiting.reply.is_closed() {
                continue;
            }
            let (client, open) = (self.client.clone(), *self.open.borrow());
            under_way.spawn(async move {
                tokio::select! {
                    reply = answer(&client, open, waiting.call) => drop(waiting.reply.send(reply)),
                    () = waiting.reply.closed() => {}
                }
            });
        }
        // What is under way is on its own socket's time: the link closes soon.
        under_way.shutdown().await;
    }
}

async fn answer(client: &Arc<Client>, open: bool, call: Call) -> Reply {
    if !open && !matches!(call, Call::PairingCode { .. }) {
        return Err(Refusal::NotOpen);
    }
    match call {
        Call::Typing { chat, state } => {
            let state = match state {
                Typing::Composing => ChatStateType::Composing,
                Typing::Recording => ChatStateType::Recording,
                Typing::Paused => ChatStateType::Paused,
            };
            client.chatstate().send(&jid(&chat)?, state).await.map_err(|error| refused(&error))?;
            Ok(Value::Null)
        }
        Call::Read { chat, sender, ids } => {
            let sender = sender.as_deref().map(jid).transpose()?;
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let chat = jid(&chat)?;
            let reading = client.mark_as_read(&chat, sender.as_ref(), &ids);
            reading.await.map_err(|_| Refusal::Refused("the receipt was not sent".to_owned()))?;
            Ok(Value::Null)
        }
        Call::Groups => {
            let groups = client.groups().get_participating().await.map_err(|error| refused(&error))?;
            let mut groups: Vec<_> = groups.into_values().collect();
            groups.sort_by(|a, b| a.subject.cmp(&b.subject).then_with(|| a.id.user.cmp(&b.id.user)));
            let shown = groups.iter().map(|group| {
                json!({
                    "address": group.id.to_string(),
                    "subject": group.subject,
                    "description": group.description,
                    "participants": group.participants.len(),
                    "announcement": group.is_announcement,
                })
            });
            Ok(shown.collect())
        }
        Call::Contacts { addresses } => {
            let asked = addresses.iter().map(|address| jid(address)).collect::<Result<Vec<_>, _>>()?;
            let found = client.contacts().is_on_whatsapp(&asked).await.map_err(|error| refused(&error))?;
            let shown = asked.iter().zip(&addresses).map(|(jid, address)| {
                let one = found.iter().find(|one| {
                    one.jid.user == jid.user || one.pn_jid.as_ref().is_some_and(|pn| pn.user == jid.user)
                });
                let lid = one.and_then(|one| one.lid.as_ref()).map(|lid| lid.to_non_ad_string());
                json!({
                    "address": address,
                    "on_whatsapp": one.is_some_and(|one| one.is_registered),
                    "business": one.is_some_and(|one| one.is_business),
                    "lid": lid,
                })
            });
            Ok(shown.collect())
        }
        Call::PairingCode { phone } => {
            if open || client.is_logged_in() || !client.is_connected() {
                return Err(Refusal::NotPairing);
            }
            // Whoever asks again wants the new code and not the old one.
            client.cancel_pair_code().await;
            let options = PairCodeOptions { phone_number: phone, ..PairCodeOptions::default() };
            let code = client.pair_with_code(options).await.map_err(|error| refused(&error))?;
            Ok(json!({ "code": code }))
        }
    }
}

fn jid(address: &str) -> Result<Jid, Refusal> {
    address.parse().map_err(|_| Refusal::Refused("an address that is none".to_owned()))
}

/// The kind only: an error may name the chat.
fn refused(error: &impl std::fmt::Debug) -> Refusal {
    Refusal::Refused(variant(error))
}
