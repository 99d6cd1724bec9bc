//! Linking by an eight-character code that a person types into the phone.
//!
//! The client sends its ephemeral key encrypted under the code; the phone answers with its
//! own; the client then proves the exchange with a bundle of both identities. From there on
//! it is the same as after a scan. The server routes by number and never sees the code.

use wacore::crypto::hkdf_sha256_into;
use wacore::pair_code::PairCodeUtils;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::node::Node;
use wacore_libsignal::crypto::aes_256_gcm_decrypt;
use wacore_libsignal::protocol::{KeyPair, PublicKey};

use super::pairing::Error;
use super::peer::raw;
use super::report::What;
use super::stanza::{self, attr, child_bytes, child_key, result};
use super::world::{ConnectionId, Phase, World, now_seconds};

const REG: &str = "link_code_companion_reg";

/// A client that shows a code.
pub(super) struct CodeRequest {
    number: String,
    wrapped: Vec<u8>,
    reference: [u8; 16],
    /// The phone's ephemeral key and the client's, once a code was typed.
    exchange: Option<(KeyPair, [u8; 32])>,
}

/// What the phone computes from a typed code; slow on purpose, so not under the lock.
pub struct Typed {
    ephemeral: KeyPair,
    client_ephemeral: [u8; 32],
    wrapped: Vec<u8>,
}

impl Typed {
    /// Opens the client's key with `code` and wraps a new one of the phone. A wrong code is
    /// not noticed here: it yields a wrong key, and the client's proof then fails.
    pub fn new(code: &str, client_wrapped: &[u8]) -> Result<Self, Error> {
        let code: String =
            code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
        if !PairCodeUtils::validate_code(&code) {
            return Err(Error::Code);
        }
        let client_ephemeral = PairCodeUtils::decrypt_primary_ephemeral_pub(client_wrapped, &code)
            .map_err(|error| Error::Keys(error.to_string()))?;
        let ephemeral = KeyPair::generate(&mut rand::rng());
        let wrapped = PairCodeUtils::encrypt_ephemeral_pub(&raw(&ephemeral.public_key), &code).to_vec();
        Ok(Self { ephemeral, client_ephemeral, wrapped })
    }
}

impl World {
    /// The wrapped key of the client that shows a code for `number`.
    pub fn code_request(&self, number: &str) -> Result<Vec<u8>, Error> {
        self.waiting_for_code(number).map(|(_, request)| request.wrapped.clone()).ok_or(Error::NoCode)
    }

    fn waiting_for_code(&self, number: &str) -> Option<(ConnectionId, &CodeRequest)> {
        self.connections.iter().find_map(|(id, connection)| match &connection.phase {
            Phase::Registering(registration) => registration
                .code
                .as_ref()
                .filter(|request| request.number == number)
                .map(|request| (*id, request)),
            _ => None,
        })
    }

    /// The phone of `number` was given a code.
    pub fn type_code(&mut self, number: &str, typed: Typed) -> Result<(), Error> {
        let (connection, request) = self.waiting_for_code(number).ok_or(Error::NoCode)?;
        let reference = request.reference;
        let identity = raw(&self.user(number).ok_or(Error::Number)?.phone.identity().public_key);
        let id = self.request_id();
        let hello = NodeBuilder::new(REG)
            .attr("stage", "primary_hello")
            .children([
                stanza::leaf("link_code_pairing_wrapped_primary_ephemeral_pub", typed.wrapped),
                stanza::leaf("primary_identity_pub", identity),
                stanza::leaf("link_code_pairing_ref", reference),
            ])
            .build();
        let notification = NodeBuilder::new("notification")
            .attr("from", stanza::SERVER)
            .attr("type", REG)
            .attr("id", id)
            .attr("t", now_seconds())
            .children([hello])
            .build();
        if let Some(Phase::Registering(registration)) =
            self.connections.get_mut(&connection).map(|c| &mut c.phase)
            && let Some(request) = &mut registration.code
        {
            request.exchange = Some((typed.ephemeral, typed.client_ephemeral));
        }
        self.send(connection, notification);
        Ok(())
    }

    /// The client's two requests of this exchange.
    pub(super) fn code_stanza(&mut self, connection: ConnectionId, id: &str, reg: &Node) {
        match attr(reg, "stage").as_deref() {
            Some("companion_hello") => self.companion_hello(connection, id, reg),
            Some("companion_finish") => match self.companion_finish(connection, reg) {
                Ok((number, secret)) => {
                    self.send(connection, result(id, []));
                    if let Err(error) = self.offer(connection, &number, None, &secret) {
                        tracing::warn!(%error, "simulator: a client that typed the right code was not linked");
                    }
                }
                Err(reason) => {
                    self.event(What::PairingRefused { account: String::new(), reason: reason.to_owned() });
                    self.send(connection, refusal(id));
                }
            },
            _ => self.send(connection, refusal(id)),
        }
    }

    fn companion_hello(&mut self, connection: ConnectionId, id: &str, reg: &Node) {
        let number = stanza::jid(reg, "jid").and_then(|jid| self.number_of(&jid));
        let wrapped = child_bytes(reg, "link_code_pairing_wrapped_companion_ephemeral_pub");
        let (Some(number), Some(wrapped)) = (number, wrapped) else {
            self.send(connection, refusal(id));
            return;
        };
        let reference = rand::random();
        let request = CodeRequest { number, wrapped: wrapped.to_vec(), reference, exchange: None };
        if let Some(Phase::Registering(registration)) =
            self.connections.get_mut(&connection).map(|c| &mut c.phase)
        {
            registration.code = Some(request);
        }
        let answer = NodeBuilder::new(REG)
            .attr("stage", "companion_hello")
            .children([stanza::leaf("link_code_pairing_ref", reference)])
            .build();
        self.send(connection, result(id, [answer]));
    }

    /// Opens the client's bundle: the number and the secret that both sides now share.
    fn companion_finish(
        &self,
        connection: ConnectionId,
        reg: &Node,
    ) -> Result<(String, [u8; 32]), &'static str> {
        let Some(Phase::Registering(registration)) = self.connections.get(&connection).map(|c| &c.phase)
        else {
            return Err("the client is gone");
        };
        let request = registration.code.as_ref().ok_or("no code was asked for")?;
        let (ephemeral, client_ephemeral) = request.exchange.as_ref().ok_or("no code was typed")?;
        let bundle =
            child_bytes(reg, "link_code_pairing_wrapped_key_bundle").ok_or("the key bundle is missing")?;
        if child_bytes(reg, "link_code_pairing_ref") != Some(&request.reference[..])
            || child_key(reg, "companion_identity_public") != Some(registration.identity)
        {
            return Err("the bundle is of another exchange");
        }
        let phone = self.users.get(&request.number).ok_or("the account is gone")?.phone.identity();
        let shared = agree(ephemeral, client_ephemeral)?;
        let (salt, rest) = bundle.split_at_checked(32).ok_or("the key bundle is too short")?;
        let (nonce, sealed) = rest.split_first_chunk::<12>().ok_or("the key bundle is too short")?;
        let mut key = [0; 32];
        hkdf_sha256_into(&shared, Some(salt), b"link_code_pairing_key_bundle_encryption_key", &mut key)
            .map_err(|_| "the key cannot be derived")?;
        let mut opened = Vec::new();
        aes_256_gcm_decrypt(&key, nonce, b"", sealed, &mut opened).map_err(|_| "the code was wrong")?;
        let claim = [&registration.identity[..], &raw(&phone.public_key)].concat();
        let random = opened.strip_prefix(&claim[..]).filter(|random| random.len() == 32);
        let random = random.ok_or("the bundle names other identities")?;
        let identities = agree(phone, &registration.identity)?;
        let mut secret = [0; 32];
        hkdf_sha256_into(&[&shared[..], &identities, random].concat(), None, b"adv_secret", &mut secret)
            .map_err(|_| "the secret cannot be derived")?;
        Ok((request.number.clone(), secret))
    }
}

fn agree(ours: &KeyPair, theirs: &[u8; 32]) -> Result<[u8; 32], &'static str> {
    PublicKey::from_djb_public_key_bytes(theirs)
        .and_then(|theirs| ours.calculate_agreement(&theirs))
        .map_err(|_| "a key does not work")
}

fn refusal(id: &str) -> Node {
    NodeBuilder::new("iq")
        .attr("from", stanza::SERVER)
        .attr("type", "error")
        .attr("id", id)
        .children([NodeBuilder::new("error").attr("code", 400).attr("text", "bad-request").build()])
        .build()
}
