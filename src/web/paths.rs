//! Which paths are ours.

use axum::http::Uri;

/// Paths that `web.base` does not move: Heroku, monitors and `blacksky status` look for them there.
pub const STATUS: &str = "/status";
/// The other one.
pub const HEALTHZ: &str = "/healthz";

/// `web.base`, and the bot that has all other paths.
#[derive(Debug, Clone)]
pub struct Paths {
    /// Where the page is; begins and ends with a slash.
    pub base: String,
    /// The hosted bot that answers what is not ours.
    pub bot: Option<String>,
}

impl Paths {
    /// The page at `/`, and no other paths.
    pub fn plain() -> Self {
        Self { base: "/".to_owned(), bot: None }
    }

    /// One of our paths below the base.
    pub fn below(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The base without its last slash, when a person who leaves that out can be led to it.
    pub fn without_slash(&self) -> Option<&str> {
        let path = self.base.strip_suffix('/').filter(|path| !path.is_empty())?;
        (path != STATUS && path != HEALTHZ).then_some(path)
    }

    /// Nobody else has this path, although nothing may be there. As it is written: whoever writes one of our
    /// paths in another way does not reach us, and does not reach the bot with our cookie either.
    pub fn are_ours(&self, uri: &Uri) -> bool {
        self.base != "/" && uri.path().starts_with(&self.base)
    }
}
