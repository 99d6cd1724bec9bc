//! The requests (`<iq>`) that clients send after login.

use wacore::prekeys::compute_key_bundle_digest;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::node::Node;

use super::account::{Device, bundle_node};
use super::blob::Blob;
use super::report::What;
use super::stanza::{self, attr, child_bytes, child_key, child_number, result};
use super::world::{ConnectionId, World, now_seconds};

/// Most one-time pre-keys the server keeps of a device.
const MAX_PRE_KEYS: usize = 5_000;

impl World {
    pub(super) fn request(&mut self, connection: ConnectionId, number: &str, device: u16, iq: &Node) {
        let Some(id) = attr(iq, "id") else { return };
        let kind = attr(iq, "type").unwrap_or_default();
        if kind == "result" || kind == "error" {
            return;
        }
        let namespace = attr(iq, "xmlns").unwrap_or_default();
        let child = iq.children().and_then(<[Node]>::first);
        let child_tag = child.map(|c| c.tag.to_string()).unwrap_or_default();
        let answer = match (namespace.as_str(), kind.as_str(), child_tag.as_str()) {
            ("w:p", _, _) => {
                self.counters.pings += 1;
                vec![]
            }
            ("encrypt", "get", "count") => {
                let count = self.device(number, device).map_or(0, |d| d.one_time.len());
                vec![NodeBuilder::new("count").attr("value", count).build()]
            }
            ("encrypt", "get", "digest") => {
                self.device(number, device).map(|d| digest(d)).into_iter().collect()
            }
            ("encrypt", "get", "key") => vec![self.bundles(child)],
            ("encrypt", "set", "rotate") => {
                let key = child.and_then(|c| c.get_optional_child("skey")).and_then(signed_key);
                if let (Some(key), Some(device)) = (key, self.device(number, device)) {
                    device.signed = key;
                }
                vec![]
            }
            ("encrypt", "set", _) => {
                self.upload(number, device, iq);
                vec![]
            }
            ("usync", _, "usync") => child.map(|usync| self.usync(usync)).into_iter().collect(),
            ("w:sync:app:state", _, "sync") => child.map(app_state).into_iter().collect(),
            ("w:g2", "get", "participating") => vec![self.participating(number)],
            ("w:m", _, "media_conn") => vec![self.media_conn()],
            ("privacy", "get", _) => vec![privacy()],
            ("blocklist", "get", _) => vec![stanza::empty("list")],
            ("abt", _, _) => {
                vec![NodeBuilder::new("props").attr("protocol", 1).attr("refresh", 86_400).build()]
            }
            ("md", "set", "remove-companion-device") => {
                self.send(connection, result(&id, []));
                self.remove_device(number, device);
                return;
            }
            // Known, and an empty result is the answer.
            (
                "passive" | "urn:xmpp:whatsapp:dirty" | "urn:xmpp:whatsapp:push" | "privacy" | "blocklist",
                _,
                _,
            )
            | ("status" | "w:stats" | "tos" | "w:profile:picture" | "w:biz" | "w:mex" | "w:g2", _, _) => {
                vec![]
            }
            _ => {
                self.counters.unknown_requests += 1;
                tracing::info!(
                    namespace,
                    kind,
                    child = child_tag,
                    "simulator: unknown request, empty result"
                );
                self.event(What::UnknownRequest { namespace, kind, child: child_tag });
                vec![]
            }
        };
        self.send(connection, result(&id, answer));
    }

    /// A device uploads its keys; the first upload is when the phone shares its app-state key.
    fn upload(&mut self, number: &str, id: u16, iq: &Node) {
        let Some(device) = self.device(number, id) else { return };
        if let Some(registration) = child_number(iq, "registration") {
            device.registration_id = registration;
        }
        if let Some(key) = iq.get_optional_child("skey").and_then(signed_key) {
            device.signed = key;
        }
        for key in
            iq.get_optional_child("list").map(|list| list.get_children_by_tag("key")).into_iter().flatten()
        {
            if let (Some(id), Some(public)) = (child_number(key, "id"), child_key(key, "value"))
                && device.one_time.len() < MAX_PRE_KEYS
            {
                device.one_time.insert(id, public);
            }
        }
        if !std::mem::replace(&mut device.key_shared, true) {
            self.share_app_state_key(number, id);
        }
    }

    /// `<list>` of bundles for the devices in `<key>`.
    fn bundles(&mut self, key: Option<&Node>) -> Node {
        let wanted: Vec<_> = key
            .map(|key| key.get_children_by_tag("user"))
            .into_iter()
            .flatten()
            .filter_map(|user| stanza::jid(user, "jid"))
            .collect();
        let users = wanted.into_iter().map(|jid| {
            let bundle = self.number_of(&jid).and_then(|number| {
                let user = self.user(&number)?;
                if jid.device == 0 {
                    return Some((user.phone.bundle(), None));
                }
                let device = user.devices.get_mut(&jid.device)?;
                Some((device.bundle(), Some(device.adv.0.clone())))
            });
            match bundle {
                Some((bundle, adv)) => bundle_node(jid, bundle, adv),
                None => NodeBuilder::new("user")
                    .attr("jid", jid)
                    .children([NodeBuilder::new("error")
                        .attr("code", 404)
                        .attr("text", "item-not-found")
                        .build()])
                    .build(),
            }
        });
        let users: Vec<Node> = users.collect();
        NodeBuilder::new("list").children(users).build()
    }

    /// The directory: devices, LID, and whether a number is on WhatsApp (all are that nobody said are not).
    fn usync(&mut self, usync: &Node) -> Node {
        let asked: Vec<String> = usync
            .get_optional_child("query")
            .and_then(Node::children)
            .unwrap_or_default()
            .iter()
            .map(|protocol| protocol.tag.to_string())
            .collect();
        let now = now_seconds();
        let mut users = Vec::new();
        for entry in
            usync.get_optional_child("list").map(|l| l.get_children_by_tag("user")).into_iter().flatten()
        {
            let phone = child_bytes(entry, "contact")
                .map(|text| String::from_utf8_lossy(text).trim_start_matches('+').to_owned());
            let named = stanza::jid(entry, "jid");
            let number = match &named {
                Some(jid) => self.number_of(jid),
                None => phone.clone(),
            };
            if let Some(number) = number.as_ref().filter(|number| self.absent.contains(*number)) {
                let contact = NodeBuilder::new("contact").attr("type", "out");
                let jid = named.unwrap_or_else(|| stanza::pn(number, 0)).to_non_ad();
                users.push(NodeBuilder::new("user").attr("jid", jid).children([contact.build()]).build());
                continue;
            }
            let Some(user) = number.as_deref().and_then(|number| self.user(number)) else { continue };
            let jid = named.unwrap_or_else(|| stanza::pn(&user.number, 0)).to_non_ad();
            let mut answers = Vec::new();
            for protocol in &asked {
                match protocol.as_str() {
                    "devices" => match user.device_list(now) {
                        Ok(list) => answers.push(list),
                        Err(error) => tracing::error!(%error, "simulator: a device list cannot be signed"),
                    },
                    "lid" => {
                        answers.push(NodeBuilder::new("lid").attr("val", stanza::lid(&user.lid, 0)).build())
                    }
                    "contact" => {
                        let contact = NodeBuilder::new("contact").attr("type", "in");
                        answers.push(match &phone {
                            Some(number) => contact.bytes(format!("+{number}").into_bytes()).build(),
                            None => contact.build(),
                        });
                    }
                    _ => {}
                }
            }
            users.push(NodeBuilder::new("user").attr("jid", jid).children(answers).build());
        }
        let sid = attr(usync, "sid").unwrap_or_default();
        let mode = attr(usync, "mode").unwrap_or_else(|| "query".to_owned());
        NodeBuilder::new("usync")
            .attr("sid", sid)
            .attr("mode", mode)
            .attr("index", "0")
            .attr("last", "true")
            .children([stanza::empty("result"), NodeBuilder::new("list").children(users).build()])
            .build()
    }
}

fn signed_key(skey: &Node) -> Option<(u32, [u8; 32], Blob)> {
    Some((child_number(skey, "id")?, child_key(skey, "value")?, Blob::from(child_bytes(skey, "signature")?)))
}

/// What the server has of a device, with the hash by which the device checks it:
/// SHA-1 over identity, signed key, its signature and the one-time keys.
fn digest(device: &Device) -> Node {
    let (id, public, signature) = &device.signed;
    let one_time: Vec<&[u8]> = device.one_time.values().map(|key| &key[..]).collect();
    let hash = compute_key_bundle_digest(&device.identity, public, &signature.0, &one_time);
    let ids: Vec<Node> = device.one_time.keys().map(|id| stanza::leaf("id", stanza::id3(*id))).collect();
    NodeBuilder::new("digest")
        .children([
            stanza::leaf("registration", device.registration_id.to_be_bytes()),
            stanza::leaf("type", [5]),
            stanza::leaf("identity", device.identity),
            NodeBuilder::new("skey")
                .children([
                    stanza::leaf("id", stanza::id3(*id)),
                    stanza::leaf("value", *public),
                    stanza::leaf("signature", signature.0.clone()),
                ])
                .build(),
            NodeBuilder::new("list").children(ids).build(),
            stanza::leaf("hash", hash),
        ])
        .build()
}

/// Every collection is as empty as the client has it; what it uploads counts as stored.
fn app_state(sync: &Node) -> Node {
    let collections: Vec<Node> = sync
        .get_children_by_tag("collection")
        .map(|asked| {
            let version: u64 = attr(asked, "version").and_then(|v| v.parse().ok()).unwrap_or_default();
            let uploaded = u64::from(asked.get_optional_child("patch").is_some());
            NodeBuilder::new("collection")
                .attr("name", attr(asked, "name").unwrap_or_default())
                .attr("version", version.saturating_add(uploaded))
                .attr("type", "result")
                .build()
        })
        .collect();
    NodeBuilder::new("sync").children(collections).build()
}

fn privacy() -> Node {
    let categories = ["last", "online", "profile", "status", "groupadd", "readreceipts", "calladd"];
    NodeBuilder::new("privacy")
        .children(
            categories
                .map(|name| NodeBuilder::new("category").attr("name", name).attr("value", "all").build()),
        )
        .build()
}
