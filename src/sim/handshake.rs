//! The responder of the Noise handshake, for the three patterns that clients use:
//! XX (first contact), IK (the client remembers the server's key), and XXfallback (an IK
//! hello that could not be read, answered as XX). Pure: frames in, frames out.

use std::sync::Arc;

use wacore_binary::consts::{NOISE_PATTERN_IK, NOISE_PATTERN_XX, NOISE_PATTERN_XXFALLBACK, WA_CONN_HEADER};
use wacore_libsignal::protocol::KeyPair;
use wacore_noise::{HandshakeError, NoiseCipher, NoiseHandshake};
use waproto::buffa::{DecodeError, Message, MessageField};
use waproto::whatsapp::handshake_message::{ClientHello, ServerHello};
use waproto::whatsapp::{ClientPayload, HandshakeMessage};

use super::identity::ServerIdentity;

/// Why a handshake ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a `HandshakeMessage`, or not the part that is due.
    #[error("the handshake message lacks {0}")]
    Missing(&'static str),
    /// Not protobuf.
    #[error("the handshake message does not decode: {0}")]
    Decode(#[from] DecodeError),
    /// A key of a wrong length or a ciphertext that does not open.
    #[error("the handshake does not add up: {0}")]
    Noise(#[from] HandshakeError),
    /// A key that is not 32 bytes.
    #[error("the client's {0} key is not 32 bytes")]
    KeyLength(&'static str),
    /// A frame after the handshake was over.
    #[error("the handshake is already over")]
    Over,
}

/// What the client proved and said.
pub struct Client {
    /// Its static Noise key; names the device.
    pub static_key: [u8; 32],
    /// Registration or login data.
    pub payload: ClientPayload,
    /// The pattern that was used: "XX", "IK" or "XXfallback".
    pub pattern: &'static str,
}

/// The keys of the transport phase, from the server's side.
pub struct Ciphers {
    /// Client to server.
    pub read: NoiseCipher,
    /// Server to client.
    pub write: NoiseCipher,
}

/// The outcome of one frame.
pub enum Step {
    /// Send this and wait for the next frame.
    Reply(Vec<u8>),
    /// Send `reply`, if any; the transport phase begins.
    Done { reply: Option<Vec<u8>>, client: Box<Client>, ciphers: Ciphers },
}

enum Stage {
    Hello,
    Finish { noise: NoiseHandshake, ephemeral: Box<KeyPair>, pattern: &'static str },
    Over,
}

/// One handshake.
pub struct Handshake {
    identity: Arc<ServerIdentity>,
    stage: Stage,
}

impl Handshake {
    /// Waits for a ClientHello.
    pub fn new(identity: Arc<ServerIdentity>) -> Self {
        Self { identity, stage: Stage::Hello }
    }

    /// Takes the next frame of the client.
    pub fn frame(&mut self, frame: &[u8]) -> Result<Step, Error> {
        let message = HandshakeMessage::decode_from_slice(frame)?;
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Hello => {
                let hello = message.client_hello.into_option().ok_or(Error::Missing("a ClientHello"))?;
                self.hello(hello)
            }
            Stage::Finish { mut noise, ephemeral, pattern } => {
                let finish = message.client_finish.into_option().ok_or(Error::Missing("a ClientFinish"))?;
                let sealed_static = finish.r#static.ok_or(Error::Missing("a static key"))?;
                let sealed_payload = finish.payload.ok_or(Error::Missing("a payload"))?;
                let static_key = key(&noise.decrypt(&sealed_static)?, "static")?;
                noise.mix_shared_secret(ephemeral.private_key.serialize(), &static_key)?;
                let payload = ClientPayload::decode_from_slice(&noise.decrypt(&sealed_payload)?)?;
                let client = Box::new(Client { static_key, payload, pattern });
                Ok(Step::Done { reply: None, client, ciphers: ciphers(noise)? })
            }
            Stage::Over => Err(Error::Over),
        }
    }

    fn hello(&mut self, hello: ClientHello) -> Result<Step, Error> {
        let client_ephemeral =
            key(hello.ephemeral.as_deref().ok_or(Error::Missing("an ephemeral key"))?, "ephemeral")?;
        match (hello.r#static, hello.payload) {
            (Some(sealed_static), Some(sealed_payload)) => {
                match self.accept_ik(&client_ephemeral, &sealed_static, &sealed_payload) {
                    Ok(step) => Ok(step),
                    // Another server's key, or a changed one: the client can still go on as XX.
                    Err(Error::Noise(_)) => {
                        self.answer_xx(&client_ephemeral, NOISE_PATTERN_XXFALLBACK, "XXfallback")
                    }
                    Err(other) => Err(other),
                }
            }
            _ => self.answer_xx(&client_ephemeral, NOISE_PATTERN_XX, "XX"),
        }
    }

    /// `<- e, ee, s, es, payload`
    fn answer_xx(
        &mut self,
        client_ephemeral: &[u8; 32],
        name: &str,
        pattern: &'static str,
    ) -> Result<Step, Error> {
        let mut noise = NoiseHandshake::new(name, &WA_CONN_HEADER)?;
        noise.authenticate(client_ephemeral);
        let ephemeral = KeyPair::generate(&mut rand::rng());
        let ephemeral_public = ephemeral.public_key.public_key_bytes();
        noise.authenticate(ephemeral_public);
        noise.mix_shared_secret(ephemeral.private_key.serialize(), client_ephemeral)?;
        let static_key = self.identity.static_key();
        let sealed_static = noise.encrypt(static_key.public_key.public_key_bytes())?;
        noise.mix_shared_secret(static_key.private_key.serialize(), client_ephemeral)?;
        let sealed_chain = noise.encrypt(self.identity.chain())?;
        let reply = server_hello(ephemeral_public, Some(sealed_static), sealed_chain);
        self.stage = Stage::Finish { noise, ephemeral: Box::new(ephemeral), pattern };
        Ok(Step::Reply(reply))
    }

    /// `-> e, es, s, ss, payload` then `<- e, ee, se, payload`
    fn accept_ik(
        &mut self,
        client_ephemeral: &[u8; 32],
        sealed_static: &[u8],
        sealed_payload: &[u8],
    ) -> Result<Step, Error> {
        let static_pair = self.identity.static_key();
        let static_private = static_pair.private_key.serialize();
        let mut noise = NoiseHandshake::new(NOISE_PATTERN_IK, &WA_CONN_HEADER)?;
        noise.authenticate(static_pair.public_key.public_key_bytes());
        noise.authenticate(client_ephemeral);
        noise.mix_shared_secret(static_private, client_ephemeral)?;
        let static_key = key(&noise.decrypt(sealed_static)?, "static")?;
        noise.mix_shared_secret(static_private, &static_key)?;
        let payload = ClientPayload::decode_from_slice(&noise.decrypt(sealed_payload)?)?;
        let ephemeral = KeyPair::generate(&mut rand::rng());
        let ephemeral_public = ephemeral.public_key.public_key_bytes();
        noise.authenticate(ephemeral_public);
        noise.mix_shared_secret(ephemeral.private_key.serialize(), client_ephemeral)?;
        noise.mix_shared_secret(ephemeral.private_key.serialize(), &static_key)?;
        let sealed_chain = noise.encrypt(self.identity.chain())?;
        let reply = server_hello(ephemeral_public, None, sealed_chain);
        let client = Box::new(Client { static_key, payload, pattern: "IK" });
        Ok(Step::Done { reply: Some(reply), client, ciphers: ciphers(noise)? })
    }
}

fn key(bytes: &[u8], what: &'static str) -> Result<[u8; 32], Error> {
    bytes.try_into().map_err(|_| Error::KeyLength(what))
}

fn ciphers(noise: NoiseHandshake) -> Result<Ciphers, Error> {
    // `finish` names the keys from the client's side.
    let (read, write) = noise.finish()?;
    Ok(Ciphers { read, write })
}

fn server_hello(ephemeral: &[u8], sealed_static: Option<Vec<u8>>, payload: Vec<u8>) -> Vec<u8> {
    HandshakeMessage {
        server_hello: MessageField::some(ServerHello {
            ephemeral: Some(ephemeral.to_vec()),
            r#static: sealed_static,
            payload: Some(payload),
            ..Default::default()
        }),
        ..Default::default()
    }
    .encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wacore_noise::{IkHandshakeState, IkServerHelloOutcome, XxFallbackHandshakeState, XxHandshakeState};

    fn identity() -> Arc<ServerIdentity> {
        Arc::new(ServerIdentity::generate(1_800_000_000).unwrap())
    }

    fn login() -> Vec<u8> {
        ClientPayload { username: Some(15_550_001), device: Some(3), ..Default::default() }.encode_to_vec()
    }

    /// What one side seals the other opens, both ways.
    fn assert_agree(server: &Ciphers, client_write: &NoiseCipher, client_read: &NoiseCipher) {
        let mut up = client_write.encrypt_with_counter(0, b"up").unwrap();
        server.read.decrypt_in_place_with_counter(0, &mut up).unwrap();
        let mut down = server.write.encrypt_with_counter(0, b"down").unwrap();
        client_read.decrypt_in_place_with_counter(0, &mut down).unwrap();
        assert_eq!((&up[..], &down[..]), (&b"up"[..], &b"down"[..]));
    }

    #[test]
    fn xx_with_the_published_initiator() {
        let client_static = KeyPair::generate(&mut rand::rng());
        let mut client = XxHandshakeState::new(client_static.clone(), login(), &WA_CONN_HEADER).unwrap();
        let mut server = Handshake::new(identity());
        let hello = client.build_client_hello().unwrap();
        let Step::Reply(reply) = server.frame(&hello).unwrap() else { panic!("XX needs a finish") };
        let finish = client.read_server_hello_and_build_client_finish(&reply).unwrap();
        let outcome = client.finish().unwrap();
        let Step::Done { reply: None, client, ciphers } = server.frame(&finish).unwrap() else {
            panic!("XX is over after the finish")
        };
        assert_eq!(client.static_key[..], *client_static.public_key.public_key_bytes());
        assert_eq!((client.payload.device, client.pattern), (Some(3), "XX"));
        assert_agree(&ciphers, &outcome.write_cipher, &outcome.read_cipher);
        assert!(matches!(server.frame(&finish), Err(Error::Over)));
    }

    #[test]
    fn ik_with_the_published_initiator() {
        let identity = identity();
        let remembered = identity.static_key().public_key.public_key_bytes().try_into().unwrap();
        let client_static = KeyPair::generate(&mut rand::rng());
        let mut client = IkHandshakeState::new(client_static, remembered, login(), &WA_CONN_HEADER).unwrap();
        let hello = client.build_client_hello().unwrap();
        let Step::Done { reply: Some(reply), client: seen, ciphers } =
            Handshake::new(identity).frame(&hello).unwrap()
        else {
            panic!("IK is over after one round")
        };
        assert_eq!(seen.pattern, "IK");
        let IkServerHelloOutcome::Continue(outcome) = client.read_server_hello(&reply).unwrap() else {
            panic!("the client takes it for a refusal")
        };
        assert_agree(&ciphers, &outcome.write_cipher, &outcome.read_cipher);
    }

    #[test]
    fn ik_for_another_servers_key_falls_back_to_xx() {
        let client_static = KeyPair::generate(&mut rand::rng());
        let mut client = IkHandshakeState::new(client_static, [9; 32], login(), &WA_CONN_HEADER).unwrap();
        let mut server = Handshake::new(identity());
        let hello = client.build_client_hello().unwrap();
        let Step::Reply(reply) = server.frame(&hello).unwrap() else { panic!("IK was accepted") };
        let IkServerHelloOutcome::Fallback(inputs) = client.read_server_hello(&reply).unwrap() else {
            panic!("the client does not see the refusal")
        };
        let mut client = XxFallbackHandshakeState::from_ik_failure(*inputs, &WA_CONN_HEADER).unwrap();
        let finish = client.build_client_finish().unwrap();
        let outcome = client.finish().unwrap();
        let Step::Done { client: seen, ciphers, .. } = server.frame(&finish).unwrap() else {
            panic!("not over")
        };
        assert_eq!(seen.pattern, "XXfallback");
        assert_agree(&ciphers, &outcome.write_cipher, &outcome.read_cipher);
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_at_either_stage(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut server = Handshake::new(identity());
            let over = matches!(server.frame(&bytes), Ok(Step::Done { .. }));
            prop_assert!(!over);
            let client_static = KeyPair::generate(&mut rand::rng());
            let client = XxHandshakeState::new(client_static, login(), &WA_CONN_HEADER).unwrap();
            let mut server = Handshake::new(identity());
            server.frame(&client.build_client_hello().unwrap()).unwrap();
            prop_assert!(server.frame(&bytes).is_err());
        }
    }
}
