//! Fuzzed here: what other dynos write into the database for this one.

use crate::bot::call::{Call, Reply};
use crate::bot::handle::Request;
use crate::store::{Owner, fuzz};
use crate::web::{Paths, fuzz as web};

use super::clock;
use super::publish::fuzz::holder;
use super::status::Board;

/// The first byte says what it is: a notice, an action, a call, a reply, or a status. What reads is written as what
/// reads as the same; whatever a status says, the page and `/status` have none of its markup.
pub fn dyno(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match kind % 5 {
        0 => fuzz::notice(text),
        1 => {
            if let Some(request) = Request::of_word(text) {
                assert_eq!(request.word(), text);
            }
            let owner = Owner(text.to_owned());
            assert!(text.contains(owner.dyno()) && owner.same_app(&owner));
        }
        2 => {
            if let Ok(call) = serde_json::from_str::<Call>(text) {
                let text = serde_json::to_string(&call).expect("JSON");
                assert_eq!(serde_json::from_str::<Call>(&text).ok(), Some(call));
            }
        }
        // Its numbers may be any JSON's, which do not all read back to the last digit.
        3 => {
            if let Ok(reply) = serde_json::from_str::<Reply>(text) {
                let text = serde_json::to_string(&reply).expect("JSON");
                assert_eq!(
                    serde_json::from_str::<Reply>(&text).expect("what we wrote reads").is_ok(),
                    reply.is_ok()
                );
            }
        }
        _ => status(text),
    }
}

fn status(text: &str) {
    let Some(holder) = holder(text) else { return };
    let board = Board::new(clock::now(), None, ["main"].into_iter());
    board.bot("main", |bot| {
        bot.state = crate::link::LinkState::Standby;
        bot.holder = Some(holder);
    });
    web::pages(&Paths::plain(), &board.subscribe().borrow());
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_corpus_has_statuses_that_are_shown() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/dyno");
        for name in ["status_hosted", "status_parked"] {
            let seed = std::fs::read_to_string(corpus.join(name)).expect("a seed");
            assert!(holder(&seed[1..]).is_some(), "{name}");
        }
    }
}
