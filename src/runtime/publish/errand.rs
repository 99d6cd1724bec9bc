//! A request on its way to the dyno that holds the link.

use std::time::Duration;

use tokio::time::Instant;

use crate::bot::call::{Call, Refusal, Reply};
use crate::bot::handle::{Answer, Ask, Errand, Request};
use crate::store::{Notice, Store, StoreError};

/// The holder's bot took the request.
pub(super) const TOOK: &str = "done";
/// The holder's bot was busy or ending.
pub(super) const BUSY: &str = "busy";
/// The holder's version does not know the request.
pub(super) const UNKNOWN: &str = "unknown";

/// What stands before a call, and before what is answered to one.
const CALL: &str = "call ";
const REPLY: &str = "reply ";

/// How long the holder has for its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the answer is looked for when no notice tells of it.
const LOOK: Duration = Duration::from_millis(500);

/// Leaves the request for the holder, waits for what it says, and passes that on.
pub(super) async fn deliver(store: Store, session: String, errand: Errand) {
    // Whoever asked may have gone.
    match errand.ask {
        Ask::Request(request, answer) => drop(answer.send(ask_holder(&store, &session, request).await)),
        Ask::Call(call, reply) => drop(reply.send(call_holder(&store, &session, &call).await)),
    }
}

/// Makes a call to the holder of a session.
async fn call_holder(store: &Store, session: &str, call: &Call) -> Reply {
    // Strings and numbers only: it cannot fail.
    let text = serde_json::to_string(call).unwrap_or_default();
    let sealed = store.seal_word(session, &text).map_err(|_| Refusal::NoWay)?;
    let outcome = leave(store, session, &format!("{CALL}{sealed}")).await.map_err(|failed| match failed {
        Answer::Silent => Refusal::Late,
        _ => Refusal::NoWay,
    })?;
    let Some(sealed) = outcome.strip_prefix(REPLY) else { return Err(Refusal::Unknown) };
    let text = store.open_word(session, sealed).ok_or(Refusal::NoWay)?;
    serde_json::from_str(&text).unwrap_or(Err(Refusal::Unknown))
}

/// The call that an action is; `None` for another action, or one that cannot be read here.
pub(super) fn call_of(store: &Store, session: &str, action: &str) -> Option<Call> {
    serde_json::from_str(&store.open_word(session, action.strip_prefix(CALL)?)?).ok()
}

/// What is answered to a call.
pub(super) fn outcome_of(store: &Store, session: &str, reply: &Reply) -> Result<String, StoreError> {
    let text = serde_json::to_string(reply).unwrap_or_default();
    Ok(format!("{REPLY}{}", store.seal_word(session, &text)?))
}

/// Leaves a request for the holder of a session, and gives what it says.
pub async fn ask_holder(store: &Store, session: &str, request: Request) -> Answer {
    match leave(store, session, request.word()).await {
        Ok(outcome) if outcome == TOOK => Answer::Took,
        Ok(_) => Answer::Busy,
        Err(failed) => failed,
    }
}

/// Leaves an action and waits for its outcome.
async fn leave(store: &Store, session: &str, word: &str) -> Result<String, Answer> {
    let mut notices = store.notices();
    let id = match store.ask_holder(session, word).await {
        Ok(Some(id)) => id,
        Ok(None) => return Err(Answer::NotSent),
        Err(error) => {
            tracing::warn!(%error, "a request for the holder of the link could not be stored");
            return Err(Answer::NotSent);
        }
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        // The database may come back in time.
        if let Ok(Some(outcome)) = store.answer_to(id).await {
            return Ok(outcome);
        }
        if Instant::now() >= deadline {
            return Err(Answer::Silent);
        }
        let told = async { while !matches!(notices.next().await, Notice::Control | Notice::Missed) {} };
        // Without a notice it is time to look all the same.
        let _ = tokio::time::timeout(LOOK, told).await;
    }
}
