//! Fuzzed here: what programs send to the API, headers on their way to a hosted bot, and what the page shows.

pub use super::api::fuzz::body as api;
pub use super::proxy::fuzz::headers as proxy_headers;

use super::access::{Access, Denial, Proof};
use super::{Paths, page, report};
use crate::runtime::clock;
use crate::runtime::status::Snapshot;

/// An element that no page of ours has.
const FOREIGN: &str = "<x1y";

/// The page and `/status`: whatever their texts say, they have no element of others.
pub fn pages(paths: &Paths, snapshot: &Snapshot) {
    let now = clock::now();
    for access in [Access::Admin(Proof::ThisMachine), Access::Public(Denial::NoTokenSet)] {
        let html = page::page("main", paths, snapshot, access, now);
        assert!(!html.contains(FOREIGN), "{html}");
    }
    let report = serde_json::to_value(report::report(snapshot, now)).expect("JSON");
    assert!(report["bots"].is_object() || report["bots"].is_array(), "{report}");
}
