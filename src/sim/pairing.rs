//! Linking a device: the QR codes, the simulated phone that scans one, and the exchange of
//! signatures (ADV) that binds the device to the account.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use wacore_binary::builder::NodeBuilder;
use wacore_binary::node::Node;
use wacore_libsignal::crypto::hmac_sha256;
use wacore_libsignal::protocol::PublicKey;
use waproto::buffa::Message;
use waproto::whatsapp::client_payload::DevicePairingRegistrationData;
use waproto::whatsapp::{ADVDeviceIdentity, ADVSignedDeviceIdentity, ADVSignedDeviceIdentityHMAC};

use super::account::Device;
use super::blob::Blob;
use super::handshake::Client;
use super::link_code::CodeRequest;
use super::report::What;
use super::stanza;
use super::world::{ConnectionId, Phase, World, now_seconds};

/// QR codes of one round; clients show the first for 60 s and the others for 20 s.
const REFS: usize = 6;
/// What the phone signs to accept a device.
const ACCOUNT_PREFIX: [u8; 2] = [6, 0];
/// What the device signs to accept the account.
const DEVICE_PREFIX: [u8; 2] = [6, 1];

/// Why the simulated phone could not link.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not a pairing QR.
    #[error("this is no pairing QR: {0}")]
    Qr(&'static str),
    /// No client waits with this QR.
    #[error("no client waits with this QR; it may have shown a newer one")]
    Stale,
    /// The text is not a pairing code.
    #[error("a pairing code is eight letters and digits")]
    Code,
    /// No client shows a code for this number.
    #[error("no client shows a code for this number")]
    NoCode,
    /// The number cannot be one.
    #[error("a phone number is 5 to 15 digits in international form, without + and leading zeros")]
    Number,
    /// A key that does not work.
    #[error("the keys do not work: {0}")]
    Keys(String),
}

/// A client without an account, and what it said of itself.
pub struct Registration {
    pub(super) noise: [u8; 32],
    pub(super) identity: [u8; 32],
    pub(super) registration_id: u32,
    pub(super) signed: (u32, [u8; 32], Blob),
    pub(super) refs: Vec<String>,
    pub(super) code: Option<CodeRequest>,
    pub(super) offer: Option<Offer>,
}

/// `pair-success` was sent; the client's signature is due.
pub(super) struct Offer {
    number: String,
    device: u16,
    request: String,
    details: Vec<u8>,
}

/// The fields of a pairing QR.
struct Qr<'a> {
    reference: &'a str,
    noise: [u8; 32],
    identity: [u8; 32],
    secret: [u8; 32],
}

impl<'a> Qr<'a> {
    /// `ref,noise,identity,secret[,platform]`, with or without a link in front.
    fn parse(text: &'a str) -> Result<Self, Error> {
        let body = text.trim();
        let body = body.rsplit_once('#').map_or(body, |(_, body)| body);
        let fields: Vec<&str> = body.split(',').collect();
        let [reference, noise, identity, secret, ..] = fields[..] else {
            return Err(Error::Qr("it has fewer than four fields"));
        };
        let key = |text: &str| {
            BASE64_STANDARD
                .decode(text)
                .ok()
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or(Error::Qr("a field is not 32 bytes in base64"))
        };
        Ok(Self { reference, noise: key(noise)?, identity: key(identity)?, secret: key(secret)? })
    }
}

impl Registration {
    fn new(client: &Client, data: &DevicePairingRegistrationData) -> Option<Self> {
        let number = |bytes: &Option<Vec<u8>>| {
            let bytes = bytes.as_deref()?;
            (bytes.len() <= 4).then(|| bytes.iter().fold(0u32, |n, byte| n << 8 | u32::from(*byte)))
        };
        let key = |bytes: &Option<Vec<u8>>| <[u8; 32]>::try_from(bytes.as_deref()?).ok();
        Some(Self {
            noise: client.static_key,
            identity: key(&data.e_ident)?,
            registration_id: number(&data.e_regid)?,
            signed: (number(&data.e_skey_id)?, key(&data.e_skey_val)?, Blob(data.e_skey_sig.clone()?)),
            refs: Vec::new(),
            code: None,
            offer: None,
        })
    }
}

impl World {
    /// A client without an account: it gets references for its QR codes.
    pub(super) fn register(&mut self, connection: ConnectionId, client: Client) {
        let registration =
            client.payload.device_pairing_data.as_option().and_then(|data| Registration::new(&client, data));
        let Some(mut registration) = registration else {
            self.counters.garbage += 1;
            let failure = NodeBuilder::new("failure").attr("reason", 400).build();
            self.end(connection, failure);
            return;
        };
        registration.refs = (0..REFS)
            .map(|_| format!("2@{}", BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 48]>())))
            .collect();
        let refs: Vec<Node> =
            registration.refs.iter().map(|text| stanza::leaf("ref", text.as_bytes())).collect();
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.phase = Phase::Registering(Box::new(registration));
        }
        self.counters.registrations += 1;
        self.event(What::Registering { connection });
        let id = self.request_id();
        let request = self.pairing_request(&id, NodeBuilder::new("pair-device").children(refs).build());
        self.send(connection, request);
    }

    fn pairing_request(&self, id: &str, child: Node) -> Node {
        NodeBuilder::new("iq")
            .attr("from", stanza::SERVER)
            .attr("type", "set")
            .attr("xmlns", "md")
            .attr("id", id)
            .children([child])
            .build()
    }

    /// The phone of `number` scans a QR. The device is linked once the client has answered.
    pub fn scan(&mut self, qr: &str, number: &str, name: Option<&str>) -> Result<(), Error> {
        let qr = Qr::parse(qr)?;
        let connection = self
            .connections
            .iter()
            .find_map(|(id, connection)| match &connection.phase {
                Phase::Registering(r)
                    if r.offer.is_none()
                        && r.noise == qr.noise
                        && r.identity == qr.identity
                        && r.refs.iter().any(|reference| reference == qr.reference) =>
                {
                    Some(*id)
                }
                _ => None,
            })
            .ok_or(Error::Stale)?;
        self.offer(connection, number, name, &qr.secret)
    }

    /// The phone accepts the device: `pair-success`.
    pub(super) fn offer(
        &mut self,
        connection: ConnectionId,
        number: &str,
        name: Option<&str>,
        secret: &[u8; 32],
    ) -> Result<(), Error> {
        let now = now_seconds();
        let request = self.request_id();
        let Some(Phase::Registering(registration)) = self.connections.get(&connection).map(|c| &c.phase)
        else {
            return Err(Error::Stale);
        };
        let identity = registration.identity;
        let user = self.user(number).ok_or(Error::Number)?;
        if let Some(name) = name {
            name.clone_into(&mut user.name);
        }
        let device = user.next_device;
        user.next_device += 1;
        let details = ADVDeviceIdentity {
            raw_id: Some(user.raw_id),
            timestamp: Some(now),
            key_index: Some(u32::from(device)),
            ..Default::default()
        }
        .encode_to_vec();
        let phone = user.phone.identity();
        let signature = phone
            .calculate_signature(&[&ACCOUNT_PREFIX[..], &details, &identity].concat(), &mut rand::rng())
            .map_err(|error| Error::Keys(error.to_string()))?;
        let signed = ADVSignedDeviceIdentity {
            details: Some(details.clone()),
            account_signature_key: Some(phone.public_key.public_key_bytes().to_vec()),
            account_signature: Some(signature.to_vec()),
            ..Default::default()
        }
        .encode_to_vec();
        let sealed = ADVSignedDeviceIdentityHMAC {
            hmac: Some(hmac_sha256(secret, &signed).to_vec()),
            details: Some(signed),
            ..Default::default()
        }
        .encode_to_vec();
        let success = NodeBuilder::new("pair-success")
            .children([
                stanza::leaf("device-identity", sealed),
                NodeBuilder::new("platform").attr("name", "android").build(),
                NodeBuilder::new("device")
                    .attr("jid", stanza::pn(&user.number, device))
                    .attr("lid", stanza::lid(&user.lid, device))
                    .build(),
                NodeBuilder::new("biz").attr("name", user.name.as_str()).build(),
            ])
            .build();
        let number = user.number.clone();
        let stanza = self.pairing_request(&request, success);
        if let Some(Phase::Registering(registration)) =
            self.connections.get_mut(&connection).map(|c| &mut c.phase)
        {
            registration.offer = Some(Offer { number, device, request, details });
        }
        self.send(connection, stanza);
        Ok(())
    }

    pub(super) fn registering_stanza(&mut self, connection: ConnectionId, node: &Node) {
        if node.tag != "iq" {
            return;
        }
        let id = stanza::attr(node, "id").unwrap_or_default();
        match stanza::attr(node, "type").as_deref() {
            Some("result" | "error") => self.pairing_answer(connection, &id, node),
            _ if stanza::attr(node, "xmlns").as_deref() == Some("w:p") => {
                self.counters.pings += 1;
                self.send(connection, stanza::result(&id, []));
            }
            _ => match node.get_optional_child("link_code_companion_reg") {
                Some(reg) => self.code_stanza(connection, &id, reg),
                None => self.send(connection, stanza::result(&id, [])),
            },
        }
    }

    /// The client's answer to `pair-device` or `pair-success`.
    fn pairing_answer(&mut self, connection: ConnectionId, id: &str, node: &Node) {
        let Some(Phase::Registering(registration)) =
            self.connections.get_mut(&connection).map(|c| &mut c.phase)
        else {
            return;
        };
        let Some(offer) = registration.offer.take_if(|offer| offer.request == id) else { return };
        let signed = node
            .get_optional_child_by_tag(&["pair-device-sign", "device-identity"])
            .and_then(stanza::bytes)
            .and_then(|bytes| ADVSignedDeviceIdentity::decode_from_slice(bytes).ok());
        let device = Device {
            noise: registration.noise,
            identity: registration.identity,
            registration_id: registration.registration_id,
            signed: registration.signed.clone(),
            one_time: BTreeMap::new(),
            adv: Blob::default(),
            logins: 0,
            key_shared: false,
            queue: Vec::new(),
        };
        let outcome = match signed {
            None => Err("the client answered with an error".to_owned()),
            Some(signed) => self.link(&offer, signed, device),
        };
        match outcome {
            Ok(()) => {
                self.counters.pairings += 1;
                self.event(What::Paired { account: offer.number, device: offer.device });
                // WhatsApp makes a freshly linked device log in on a new connection.
                let restart = NodeBuilder::new("stream:error").attr("code", 515).build();
                self.end(connection, restart);
            }
            Err(reason) => {
                self.event(What::PairingRefused { account: offer.number, reason });
                let failure = NodeBuilder::new("stream:error").attr("code", 500).build();
                self.end(connection, failure);
            }
        }
    }

    /// Checks the device's signature and enters it into the account.
    fn link(
        &mut self,
        offer: &Offer,
        signed: ADVSignedDeviceIdentity,
        mut device: Device,
    ) -> Result<(), String> {
        let user = self.users.get_mut(&offer.number).ok_or("the account is gone")?;
        let account = user.phone.identity().public_key.public_key_bytes();
        let claim = [&DEVICE_PREFIX[..], &offer.details, &device.identity, account].concat();
        let key = PublicKey::from_djb_public_key_bytes(&device.identity).map_err(|e| e.to_string())?;
        let signature = signed.device_signature.as_deref().unwrap_or_default();
        if signed.details.as_deref() != Some(&offer.details) || !key.verify_signature(&claim, signature) {
            return Err("the device's signature is wrong".to_owned());
        }
        device.adv = Blob(
            ADVSignedDeviceIdentity {
                // Some clients leave the account's key out of their answer.
                account_signature_key: Some(account.to_vec()),
                ..signed
            }
            .encode_to_vec(),
        );
        user.devices.insert(offer.device, device);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_qr_and_what_is_none() {
        let key = BASE64_STANDARD.encode([7u8; 32]);
        let plain = format!("2@ref,{key},{key},{key},1");
        for text in [
            &plain,
            &format!("https://wa.me/settings/linked_devices#{plain}"),
            &plain[..plain.len() - 2].to_owned(),
        ] {
            let qr = Qr::parse(text).unwrap();
            assert_eq!((qr.reference, qr.secret), ("2@ref", [7; 32]));
        }
        for text in ["", "a,b,c", "2@ref,AAAA,AAAA,AAAA", "https://example.org/"] {
            assert!(matches!(Qr::parse(text), Err(Error::Qr(_))), "{text}");
        }
    }
}
