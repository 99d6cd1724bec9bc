//! HTTP for the tests.

use std::time::Duration;

/// A client that gives up after 5 s; one a test, since its connections belong to the test's runtime.
pub fn client() -> reqwest::Client {
    // The tests speak plain HTTP on loopback; a TLS provider is asked for all the same.
    let _already = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(Duration::from_secs(5)).build().expect("a client")
}
