//! A status that another dyno published.

use std::time::Duration;

use super::holder_of;
use crate::runtime::status::Holder;
use crate::store::{Owner, Published};

/// The holder that the board would show for it.
pub fn holder(status: &str) -> Option<Holder> {
    let owner = Owner("web.1 of app/0123".to_owned());
    let news = Published {
        session: "main".to_owned(),
        owner,
        age: Duration::ZERO,
        status: status.to_owned(),
        qr: None,
    };
    holder_of(&news, true)
}
