//! Files for messages: uploaded here before, or fetched from an address when the message is accepted.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::intake::{Intake, NotTaken};
use super::types::Uploaded;
use super::{Shared, away, problem, target, within};
use crate::bot::outgoing::{Content, Medium, Source, What};
use crate::media::{Fetcher, LARGEST, NotFetched};
use crate::runtime::clock;
use crate::store::{Accepted, KeptFile, Store};
use crate::web::seats::Seat;

/// For the whole of an upload; slow ones would keep their room for ever.
pub const UPLOAD_DEADLINE: Duration = Duration::from_secs(120);

/// `POST /bots/{bot}/media`: the body is the file.
pub async fn upload(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    seat: Option<Extension<Arc<Seat>>>,
    body: Body,
) -> Response {
    if let Some(Extension(seat)) = seat {
        // It has a deadline of its own.
        seat.stays();
    }
    let mut body = body.into_data_stream();
    let taken = async {
        let (session, store) = target(&shared, &name)?;
        let size = headers.get(header::CONTENT_LENGTH).and_then(|size| size.to_str().ok()?.parse().ok());
        let until = Instant::now() + UPLOAD_DEADLINE;
        let mut intake = Intake::begin(&store, &session, size, clock::now()).await?;
        loop {
            match timeout_at(until, body.next()).await {
                Ok(None) => break,
                Ok(Some(Ok(piece))) => {
                    if let Err(error) = intake.feed(&piece).await {
                        intake.abandon().await;
                        return Err(error.into());
                    }
                }
                Ok(Some(Err(_))) => {
                    intake.abandon().await;
                    return Err(Box::new(problem(StatusCode::BAD_REQUEST, "the body broke off")));
                }
                Err(_) => {
                    intake.abandon().await;
                    let detail = format!("the file did not arrive within {} s", UPLOAD_DEADLINE.as_secs());
                    return Err(Box::new(problem(StatusCode::REQUEST_TIMEOUT, &detail)));
                }
            }
        }
        let declared = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let (id, file, sha256) = intake.finish(declared).await?;
        Ok(Uploaded { id, mimetype: file.mimetype, size: file.size, sha256 })
    };
    match taken.await {
        Ok(uploaded) => (StatusCode::CREATED, Json(uploaded)).into_response(),
        Err(answer) => *answer,
    }
}

/// What a message needs before it can be accepted.
pub enum Ready {
    /// It was accepted before, or its key was used for another one.
    Before(Accepted),
    /// Its file, if it has one, is there.
    Now { file: Option<String> },
}

/// Sees to it that the file of a message is in the database and fits.
pub async fn ready(
    store: &Store,
    session: &str,
    content: &Content,
    stored: &str,
    key: Option<&str>,
) -> Result<Ready, Box<Response>> {
    let What::Media(medium) = &content.what else { return Ok(Ready::Now { file: None }) };
    // Its file may be gone by now, and was sent all the same.
    if let Some(key) = key
        && let Some(before) = within(store.known_outgoing(session, key, stored))
            .await
            .map_err(|error| Box::new(away(&error)))?
    {
        return Ok(Ready::Before(before));
    }
    let (id, file) = match &medium.source {
        Source::Upload(id) => {
            let found = within(store.file(session, id)).await.map_err(|error| Box::new(away(&error)))?;
            (id.clone(), found.ok_or_else(|| Box::new(no_file()))?)
        }
        Source::Url(url) => fetch(store, session, url).await?,
    };
    let Medium { kind, voice, .. } = medium;
    if let Err(unfit) = kind.take(&file.mimetype, file.size, *voice) {
        forget(store, session, content, Some(&id)).await;
        let detail = format!("media: {unfit}");
        return Err(Box::new(problem(StatusCode::UNPROCESSABLE_ENTITY, &detail)));
    }
    Ok(Ready::Now { file: Some(id) })
}

/// The file of a message that was not accepted: one that was fetched for it alone goes.
pub async fn forget(store: &Store, session: &str, content: &Content, file: Option<&str>) {
    if let (What::Media(Medium { source: Source::Url(_), .. }), Some(id)) = (&content.what, file) {
        // If not now, a day later.
        let _ = within(store.drop_file(session, id)).await;
    }
}

/// The answer to a message whose file is not there.
pub fn no_file() -> Response {
    let detail =
        "media.id: there is no such file of this bot; one stays for a day after its upload or last use";
    problem(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

async fn fetch(store: &Store, session: &str, url: &str) -> Result<(String, KeptFile), Box<Response>> {
    let wrong = |error: NotFetched| {
        let detail = format!("media.url: {error}");
        Box::new(problem(StatusCode::UNPROCESSABLE_ENTITY, &detail))
    };
    let (fetched, mut fetching) = Fetcher::default().begin(url).await.map_err(wrong)?;
    let mut intake = Intake::begin(store, session, fetched.size, clock::now()).await?;
    loop {
        match fetching.piece().await {
            Ok(None) => break,
            Ok(Some(piece)) => {
                if let Err(error) = intake.feed(&piece).await {
                    intake.abandon().await;
                    return Err(error.into());
                }
            }
            Err(error) => {
                intake.abandon().await;
                return Err(wrong(error));
            }
        }
    }
    let (id, file, _) = intake.finish(fetched.declared.as_deref()).await?;
    Ok((id, file))
}

impl From<NotTaken> for Box<Response> {
    fn from(error: NotTaken) -> Self {
        let detail = error.to_string();
        Self::new(match error {
            NotTaken::Empty => problem(StatusCode::UNPROCESSABLE_ENTITY, &detail),
            NotTaken::TooLarge => problem(StatusCode::PAYLOAD_TOO_LARGE, &detail),
            NotTaken::NoRoom => {
                let mut answer = problem(StatusCode::TOO_MANY_REQUESTS, &detail);
                answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
                answer
            }
            NotTaken::Store(error) => away(&error),
        })
    }
}

/// Documented with the limit.
pub fn limit() -> String {
    format!("{} MB", LARGEST >> 20)
}
