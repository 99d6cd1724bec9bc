//! Fetching a file from an address that somebody else chose: only from the public internet.
//!
//! The name is resolved once, every address that it has must be a public one, and the connection goes to those
//! addresses and no others; redirects are not followed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use super::LARGEST;
use crate::link::tls;
use crate::post::USER_AGENT;

/// For the whole of it: whoever asked waits for the answer, and Heroku's router for 30 s.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// Longest address, in bytes.
const LONGEST: usize = 2048;

/// Looks a name up.
type Resolve = fn(String, u16) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>>;

/// Fetches files; cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Fetcher {
    resolve: Resolve,
    /// Whether an address may be connected to.
    admit: fn(IpAddr) -> bool,
    /// Besides https.
    plain: bool,
}

/// Why a file was not fetched; for whoever chose the address, which it does not repeat.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFetched {
    #[error("the URL is not an https address")]
    Address,
    #[error("the URL must be without a user name and a password")]
    Credentials,
    #[error("the name in the URL leads nowhere")]
    Unresolved,
    #[error(
        "the URL leads to an address that is not on the public internet (this machine, a private or a reserved \
         network); upload the file instead"
    )]
    NotPublic,
    #[error("the server was not reached, or its certificate is wrong")]
    Unreached,
    #[error("the server answered {0}, and redirects are not followed; give the address that it leads to")]
    Redirect(u16),
    #[error("the server answered {0}")]
    Status(u16),
    #[error("the file has more than {LARGEST} bytes")]
    TooLarge,
    #[error("the file did not arrive within {} s", DEADLINE.as_secs())]
    Slow,
    #[error("the connection broke before the whole file had arrived")]
    Broken,
}

/// A file on its way.
#[derive(Debug)]
pub struct Fetching {
    response: reqwest::Response,
    until: Instant,
    read: u64,
}

/// What was said of a file before it came.
#[derive(Debug)]
pub struct Fetched {
    /// Its `Content-Type`.
    pub declared: Option<String>,
    /// Its `Content-Length`.
    pub size: Option<u64>,
}

impl Default for Fetcher {
    fn default() -> Self {
        Self { resolve: |name, port| Box::pin(look_up(name, port)), admit: is_public, plain: false }
    }
}

async fn look_up(name: String, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((name.as_str(), port)).await?.collect())
}

impl Fetcher {
    /// Begins to fetch. [`Fetching::piece`] gives the rest.
    pub async fn begin(&self, address: &str) -> Result<(Fetched, Fetching), NotFetched> {
        let until = Instant::now() + DEADLINE;
        let url = self.checked(address)?;
        let connecting = async {
            let pinned = self.pinned(&url).await?;
            let mut builder = reqwest::Client::builder()
                .tls_backend_preconfigured(tls::config().as_ref().clone())
                .redirect(reqwest::redirect::Policy::none())
                // A proxy would look the name up again.
                .no_proxy()
                .timeout(DEADLINE)
                .user_agent(USER_AGENT);
            if let Some(Host::Domain(name)) = url.host() {
                builder = builder.resolve_to_addrs(name, &pinned);
            }
            let client = builder.build().map_err(|_| NotFetched::Unreached)?;
            client.get(url.clone()).send().await.map_err(|_| NotFetched::Unreached)
        };
        let response = timeout_at(until, connecting).await.map_err(|_| NotFetched::Slow)??;
        match response.status().as_u16() {
            200 => {}
            status @ 300..=399 => return Err(NotFetched::Redirect(status)),
            status => return Err(NotFetched::Status(status)),
        }
        let size = response.content_length();
        if size.is_some_and(|size| size > LARGEST) {
            return Err(NotFetched::TooLarge);
        }
        let declared = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        let fetched = Fetched { declared: declared.map(str::to_owned), size };
        Ok((fetched, Fetching { response, until, read: 0 }))
    }

    fn checked(&self, address: &str) -> Result<Url, NotFetched> {
        let url = Url::parse(address).map_err(|_| NotFetched::Address)?;
        let known = url.scheme() == "https" || self.plain && url.scheme() == "http";
        if address.len() > LONGEST || !known || url.host().is_none() {
            return Err(NotFetched::Address);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(NotFetched::Credentials);
        }
        Ok(url)
    }

    /// The addresses that may be connected to, which are all that the name has.
    async fn pinned(&self, url: &Url) -> Result<Vec<SocketAddr>, NotFetched> {
        let port = url.port_or_known_default().ok_or(NotFetched::Address)?;
        let found = match url.host().ok_or(NotFetched::Address)? {
            Host::Ipv4(ip) => vec![SocketAddr::new(ip.into(), port)],
            Host::Ipv6(ip) => vec![SocketAddr::new(ip.into(), port)],
            Host::Domain(name) => {
                (self.resolve)(name.to_owned(), port).await.map_err(|_| NotFetched::Unresolved)?
            }
        };
        if found.is_empty() {
            return Err(NotFetched::Unresolved);
        }
        if !found.iter().all(|at| (self.admit)(at.ip())) {
            return Err(NotFetched::NotPublic);
        }
        Ok(found)
    }
}

impl Fetching {
    /// The next bytes; `None` at the end.
    pub async fn piece(&mut self) -> Result<Option<bytes::Bytes>, NotFetched> {
        let piece = timeout_at(self.until, self.response.chunk()).await.map_err(|_| NotFetched::Slow)?;
        let Some(piece) = piece.map_err(|_| NotFetched::Broken)? else { return Ok(None) };
        self.read += piece.len() as u64;
        if self.read > LARGEST {
            return Err(NotFetched::TooLarge);
        }
        Ok(Some(piece))
    }
}

/// Whether an address is one of the public internet.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        // "This network"; shared with carriers; protocol assignments; relays of 6to4; benchmarks; reserved.
        || a == 0
        || a == 100 && (64..128).contains(&b)
        || a == 192 && b == 0 && c == 0
        || a == 192 && b == 88 && c == 99
        || a == 198 && (18..20).contains(&b)
        || a >= 240)
}

/// Of the only range that is given out, without what carries an IPv4 address or is for documents.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    match segments {
        // Teredo and other assignments of protocols; documents; 6to4.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x2002, ..] => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn only_public_addresses_are() {
        for public in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "2a00:1450::1"] {
            assert!(is_public(public.parse().expect(public)), "{public}");
        }
        for other in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(other.parse().expect(other)), "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_mapped_address_is_what_it_maps(bits in any::<u32>()) {
            let address = Ipv4Addr::from(bits);
            prop_assert_eq!(is_public(address.to_ipv6_mapped().into()), is_public(address.into()));
        }
    }

    /// As the real one, and the name `file.test` leads to this machine, which is let in.
    fn near() -> Fetcher {
        Fetcher {
            resolve: |name, port| {
                Box::pin(async move {
                    match name.as_str() {
                        "file.test" => Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]),
                        "both.test" => Ok(vec![
                            SocketAddr::from(([1, 1, 1, 1], port)),
                            SocketAddr::from(([127, 0, 0, 1], port)),
                        ]),
                        "far.test" => Ok(vec![SocketAddr::from(([10, 0, 0, 1], port))]),
                        _ => Err(std::io::ErrorKind::NotFound.into()),
                    }
                })
            },
            admit: |ip| ip.is_loopback(),
            plain: true,
        }
    }

    /// Answers one request and gives back its port and what was asked.
    async fn server(answer: Vec<u8>) -> (u16, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let task = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("accept");
            let mut request = vec![0; 4096];
            let n = socket.read(&mut request).await.expect("read");
            // Whoever has read enough hangs up.
            let _ = socket.write_all(&answer).await;
            String::from_utf8_lossy(&request[..n]).into_owned()
        });
        (port, task)
    }

    async fn fetch(address: &str) -> Result<(Fetched, Vec<u8>), NotFetched> {
        let (fetched, mut fetching) = near().begin(address).await?;
        let mut file = Vec::new();
        while let Some(piece) = fetching.piece().await? {
            file.extend_from_slice(&piece);
        }
        Ok((fetched, file))
    }

    #[tokio::test]
    async fn a_file_is_fetched_from_the_address_that_was_checked() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 4\r\n\r\nfile".to_vec();
        let (port, asked) = server(answer).await;
        let (fetched, file) = fetch(&format!("http://file.test:{port}/a?b")).await.expect("comes");
        assert_eq!(file, b"file");
        assert_eq!((fetched.declared.as_deref(), fetched.size), (Some("image/png"), Some(4)));
        let asked = asked.await.expect("asked");
        assert!(asked.starts_with("GET /a?b HTTP/1.1\r\n") && asked.contains("host: file.test"), "{asked}");
    }

    #[tokio::test]
    async fn what_is_wrong_is_said() {
        for (head, wrong) in [
            ("302 Found\r\nlocation: http://127.0.0.1/", NotFetched::Redirect(302)),
            ("404 Not Found\r\ncontent-length: 0", NotFetched::Status(404)),
            ("206 Partial\r\ncontent-length: 0", NotFetched::Status(206)),
            ("200 OK\r\ncontent-length: 16777217", NotFetched::TooLarge),
            ("200 OK\r\ncontent-length: 10", NotFetched::Broken),
        ] {
            let (port, _task) = server(format!("HTTP/1.1 {head}\r\n\r\nabc").into_bytes()).await;
            assert_eq!(fetch(&format!("http://file.test:{port}/")).await.err(), Some(wrong), "{head}");
        }
        // One that does not say how much it sends.
        let mut endless = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
        endless.resize(endless.len() + LARGEST as usize + 1, b'x');
        let (port, _task) = server(endless).await;
        assert_eq!(fetch(&format!("http://file.test:{port}/")).await.err(), Some(NotFetched::TooLarge));
        for (address, wrong) in [
            ("ftp://file.test/", NotFetched::Address),
            ("file:///etc/passwd", NotFetched::Address),
            ("nonsense", NotFetched::Address),
            ("http://me:pw@file.test/", NotFetched::Credentials),
            ("http://nowhere.test/", NotFetched::Unresolved),
            ("http://far.test/", NotFetched::NotPublic),
            // One of its addresses is enough to refuse it.
            ("http://both.test/", NotFetched::NotPublic),
            ("http://10.0.0.1/", NotFetched::NotPublic),
            ("http://[::ffff:10.0.0.1]/", NotFetched::NotPublic),
        ] {
            assert_eq!(fetch(address).await.err(), Some(wrong), "{address}");
        }
    }

    #[tokio::test]
    async fn the_real_one_reaches_nothing_here() {
        let real = Fetcher::default();
        for address in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://localhost/",
            "https://169.254.169.254/latest/meta-data",
        ] {
            assert_eq!(real.begin(address).await.err(), Some(NotFetched::NotPublic), "{address}");
        }
        assert_eq!(real.begin("http://1.1.1.1/").await.err(), Some(NotFetched::Address));
    }
}
