//! Where the link dials to, and where it must not.

use std::net::{IpAddr, Ipv4Addr};

use url::{Host, Url};

/// WhatsApp Web's endpoint.
pub const WHATSAPP: &str = "wss://web.whatsapp.com/ws/chat";

/// An address that this build may dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkAddress {
    url: Url,
    loopback: bool,
}

/// An address that this build must not dial.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AddressError {
    /// A build that trusts the simulator's keys was pointed at the real network.
    #[error(
        "this build trusts the simulator's certificates, so it refuses {address}: give --link ws://127.0.0.1:PORT/ws/chat (`blacksky sim` prints it), or use a build without the feature `simulator`"
    )]
    SimulatorBuild { address: String },
    /// Unencrypted to another machine.
    #[error("--link {address}: ws:// is only allowed to this machine; use wss://")]
    Plain { address: String },
    /// Neither `ws` nor `wss`.
    #[error("--link {address}: the scheme must be ws:// or wss://")]
    Scheme { address: String },
}

impl LinkAddress {
    /// Checks the address for the build at hand; `None` is WhatsApp itself.
    pub fn decide(given: Option<Url>) -> Result<Self, AddressError> {
        Self::decide_for(given, cfg!(feature = "simulator"))
    }

    fn decide_for(given: Option<Url>, trusts_simulator: bool) -> Result<Self, AddressError> {
        let url = match given {
            Some(url) => url,
            None => {
                Url::parse(WHATSAPP).map_err(|_| AddressError::Scheme { address: WHATSAPP.to_owned() })?
            }
        };
        let loopback = is_loopback(&url);
        let address = || shown(&url);
        match url.scheme() {
            "ws" | "wss" => {}
            _ => return Err(AddressError::Scheme { address: address() }),
        }
        if trusts_simulator && !loopback {
            return Err(AddressError::SimulatorBuild { address: address() });
        }
        if url.scheme() == "ws" && !loopback {
            return Err(AddressError::Plain { address: address() });
        }
        Ok(Self { url, loopback })
    }

    /// The address to dial.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whether only this machine may be dialled, whatever the name resolves to.
    pub fn loopback_only(&self) -> bool {
        self.loopback
    }

    /// Whether this is WhatsApp itself, and not a simulator or a relay.
    pub fn is_whatsapp(&self) -> bool {
        self.url.as_str() == WHATSAPP
    }

    /// The address for the status page when this build trusts the simulator.
    pub fn simulator(&self) -> Option<String> {
        cfg!(feature = "simulator").then(|| shown(&self.url))
    }
}

/// The address without user name and password.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for URLs that cannot carry them.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => {
            // The parser keeps hosts of schemes it does not know as text; ws and wss it knows.
            name == "localhost"
                || name.parse::<Ipv4Addr>().is_ok_and(|address| IpAddr::V4(address).is_loopback())
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(url: &str, trusts_simulator: bool) -> Result<LinkAddress, AddressError> {
        LinkAddress::decide_for(Some(Url::parse(url).expect(url)), trusts_simulator)
    }

    #[test]
    fn a_simulator_build_dials_only_loopback() {
        for url in [
            "ws://127.0.0.1:7770/ws/chat",
            "ws://127.8.9.1:1/",
            "ws://[::1]:7770/",
            "ws://localhost:7770/",
            "wss://localhost/",
            "wss://LOCALHOST/",
        ] {
            assert!(decide(url, true).expect(url).loopback_only(), "{url}");
        }
        for url in [
            WHATSAPP,
            "ws://10.0.0.1/",
            "ws://127.0.0.1.example.com/",
            "ws://localhost.example.com/",
            "ws://[::ffff:10.0.0.1]/",
            "wss://0.0.0.0/",
        ] {
            assert!(matches!(decide(url, true), Err(AddressError::SimulatorBuild { .. })), "{url}");
        }
    }

    #[test]
    fn a_simulator_build_refuses_the_default_and_says_what_to_do() {
        let error = LinkAddress::decide_for(None, true).expect_err("must refuse WhatsApp");
        let text = error.to_string();
        assert!(text.contains(WHATSAPP) && text.contains("--link ws://127.0.0.1:"), "{text}");
    }

    #[test]
    fn a_release_build_dials_wss_anywhere_and_ws_only_loopback() {
        assert!(LinkAddress::decide_for(None, false).expect("default").is_whatsapp());
        assert!(!decide("wss://example.com/ws/chat", false).expect("wss").loopback_only());
        assert!(decide("ws://[::1]:7770/", false).is_ok());
        assert!(matches!(decide("ws://example.com/", false), Err(AddressError::Plain { .. })));
        assert!(matches!(decide("https://example.com/", false), Err(AddressError::Scheme { .. })));
    }

    #[test]
    fn a_password_in_the_address_is_not_repeated() {
        let error = decide("ws://user:hunter2@example.com/", false).expect_err("plain").to_string();
        assert!(!error.contains("hunter2") && !error.contains("user"), "{error}");
    }
}
