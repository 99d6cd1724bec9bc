//! A request on its way to the dyno that holds the link.

use std::time::Duration;

use tokio::time::Instant;

use crate::bot::handle::{Answer, Errand, Request};
use crate::store::{Notice, Store};

/// The holder's bot took the request.
pub(super) const TOOK: &str = "done";
/// The holder's bot was busy or ending.
pub(super) const BUSY: &str = "busy";
/// The holder's version does not know the request.
pub(super) const UNKNOWN: &str = "unknown";

/// How long the holder has for its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the answer is looked for when no notice tells of it.
const LOOK: Duration = Duration::from_millis(500);

/// Leaves the request for the holder, waits for what it says, and passes that on.
pub(super) async fn deliver(store: Store, session: String, errand: Errand) {
    let answer = ask_holder(&store, &session, errand.request).await;
    // Whoever asked may have gone.
    let _ = errand.answer.send(answer);
}

/// Leaves a request for the holder of a session, and gives what it says.
pub async fn ask_holder(store: &Store, session: &str, request: Request) -> Answer {
    let word = request.word();
    let mut notices = store.notices();
    let id = match store.ask_holder(session, word).await {
        Ok(Some(id)) => id,
        Ok(None) => return Answer::NotSent,
        Err(error) => {
            tracing::warn!(%error, "a request for the holder of the link could not be stored");
            return Answer::NotSent;
        }
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        match store.answer_to(id).await.as_ref().map(Option::as_deref) {
            Ok(Some(TOOK)) => return Answer::Took,
            Ok(Some(_)) => return Answer::Busy,
            // The database may come back in time.
            Ok(None) | Err(_) => {}
        }
        if Instant::now() >= deadline {
            return Answer::Silent;
        }
        let told = async { while !matches!(notices.next().await, Notice::Control | Notice::Missed) {} };
        // Without a notice it is time to look all the same.
        let _ = tokio::time::timeout(LOOK, told).await;
    }
}
