//! Why a request did not get to the bot, for a browser and for a program.

use std::time::Duration;

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use crate::web::page;
use crate::web::router::Shared;

/// Why a request is not answered by the bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The bot runs on another dyno, if it is known on which.
    Elsewhere(Option<String>),
    /// The bot is not started yet, or not any more.
    NotRunning,
    /// The bot cannot be started before the database answers.
    NoDatabase,
    /// The bot ended and is started again soon.
    Restarting,
    /// The bot ended at once again and again.
    Crashes,
    /// The bot's command cannot be started.
    CannotStart,
    /// The bot runs, and nothing listens on its port.
    NotListening(u16),
    /// The bot did not begin its answer in time.
    Silent(Duration),
    /// The bot ended the connection instead of answering.
    Ended,
    /// The body of the request came too slowly.
    Slow,
    /// The body of the request ended too early, or makes no sense.
    Broken,
    /// As many requests are with the bot as can be.
    TooMany,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Silent(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Ended => StatusCode::BAD_GATEWAY,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::Elsewhere(_)
            | Self::NotRunning
            | Self::NoDatabase
            | Self::Restarting
            | Self::Crashes
            | Self::CannotStart
            | Self::NotListening(_)
            | Self::TooMany => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Seconds until another try makes sense; `None` when a person has to do something first.
    fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Elsewhere(_) | Self::TooMany => Some(1),
            Self::NotRunning | Self::NoDatabase | Self::Restarting | Self::NotListening(_) => Some(3),
            Self::Crashes | Self::CannotStart | Self::Silent(_) | Self::Ended | Self::Slow | Self::Broken => {
                None
            }
        }
    }

    /// One or two sentences.
    fn text(&self, bot: &str, own: Option<&str>) -> String {
        match self {
            Self::Elsewhere(holder) => {
                let holder = holder.as_deref().unwrap_or("another process");
                let own = own.unwrap_or("this process");
                format!(
                    "The bot {bot} runs on {holder}, and {own} stands by for it; ask again to reach {holder}."
                )
            }
            Self::NotRunning => format!("The bot {bot} is not running at the moment."),
            Self::NoDatabase => {
                format!(
                    "The bot {bot} is not running: its session is in the database, which does not answer."
                )
            }
            Self::Restarting => format!("The bot {bot} ended and is started again in a moment."),
            Self::Crashes => {
                format!(
                    "The bot {bot} ended soon after each start and is not started any more; its page says why."
                )
            }
            Self::CannotStart => format!("The bot {bot} cannot be started; its page says why."),
            Self::NotListening(port) => format!(
                "The bot {bot} does not listen on port {port} yet. It is given this number in the variable PORT."
            ),
            Self::Silent(waited) => {
                format!("The bot {bot} did not begin to answer within {} s.", waited.as_secs())
            }
            Self::Ended => format!("The bot {bot} ended the connection without an answer."),
            Self::Slow => "The request came too slowly to be passed on.".to_owned(),
            Self::Broken => "The body of the request broke off or is malformed.".to_owned(),
            Self::TooMany => format!("Too many requests are with the bot {bot}; try again in a moment."),
        }
    }

    /// The answer; `as_page` for a person in a browser.
    pub fn response(&self, shared: &Shared, bot: &str, as_page: bool) -> Response {
        let own = shared.snapshot.borrow().dyno.clone();
        let text = self.text(bot, own.as_deref());
        let retry_after = self.retry_after();
        let mut response = if as_page {
            let page = RefusalPage {
                name: &shared.name,
                style: page::STYLE,
                script: page::RETRY,
                base: &shared.paths.base,
                text: &text,
                retry_after,
            };
            Html(page::rendered(&page)).into_response()
        } else {
            format!("{text}\n").into_response()
        };
        *response.status_mut() = self.status();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

#[derive(Template)]
#[template(path = "refusal.html")]
struct RefusalPage<'a> {
    name: &'a str,
    style: &'static str,
    script: &'static str,
    base: &'a str,
    text: &'a str,
    /// Seconds until the page looks again.
    retry_after: Option<u32>,
}
