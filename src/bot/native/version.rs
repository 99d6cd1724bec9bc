//! Which WhatsApp Web version the client claims to be. The dial never waits for the answer to that.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wacore::net::HttpClient;

use crate::config::WaVersion;

/// A look-up that takes longer is given up.
const DEADLINE: Duration = Duration::from_secs(20);

/// What is known about versions; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Versions(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    pinned: Option<WaVersion>,
    /// The one that WhatsApp Web itself has now.
    current: Option<WaVersion>,
    /// Refused with 405.
    refused: Option<WaVersion>,
}

impl Versions {
    /// `pinned` is `wa_version` of the bot: it always wins.
    pub fn new(pinned: Option<WaVersion>) -> Self {
        Self(Arc::new(Mutex::new(Known { pinned, ..Known::default() })))
    }

    /// The version for the next dial: `wa_version`, else what WhatsApp Web has now, else the last that
    /// led to an open link, else the compiled-in one. One that was just refused comes last.
    pub fn choose(&self, last_good: Option<WaVersion>) -> WaVersion {
        let known = self.known();
        if let Some(pinned) = known.pinned {
            return pinned;
        }
        let candidates = [known.current, last_good, Some(compiled_in())];
        candidates
            .into_iter()
            .flatten()
            .find(|version| Some(*version) != known.refused)
            .unwrap_or_else(compiled_in)
    }

    /// WhatsApp refused this version (405).
    pub fn refused(&self, version: WaVersion) {
        self.known().refused = Some(version);
    }

    /// Whether asking WhatsApp Web makes sense.
    pub fn wants_refresh(&self) -> bool {
        self.known().pinned.is_none()
    }

    /// Asks WhatsApp Web for its version. A failure does not matter: the dial goes on with what it has.
    pub async fn refresh(&self, http: Arc<dyn HttpClient>) {
        let asking = whatsapp_rust::version::fetch_latest_app_version(&http);
        match tokio::time::timeout(DEADLINE, asking).await {
            Ok(Ok((primary, secondary, tertiary))) => {
                self.known().current = Some(WaVersion(primary, secondary, tertiary));
            }
            Ok(Err(error)) => tracing::debug!(%error, "WhatsApp Web's version is not known"),
            Err(_) => tracing::debug!("WhatsApp Web did not tell its version in time"),
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The version that whatsapp-rust was released with.
pub fn compiled_in() -> WaVersion {
    let device = wacore::store::Device::new();
    WaVersion(device.app_version_primary, device.app_version_secondary, device.app_version_tertiary)
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use wacore::net::{HttpRequest, HttpResponse};

    use super::*;

    const OLD: WaVersion = WaVersion(2, 3000, 1);
    const NEW: WaVersion = WaVersion(2, 3000, 1_026_131_876);

    struct Web(u16, &'static str);

    #[async_trait]
    impl HttpClient for Web {
        async fn execute(&self, _: HttpRequest) -> anyhow::Result<HttpResponse> {
            Ok(HttpResponse { status_code: self.0, body: self.1.as_bytes().to_vec() })
        }
    }

    fn web(status: u16, body: &'static str) -> Arc<dyn HttpClient> {
        Arc::new(Web(status, body))
    }

    const SW_JS: &str = r#"self.__swData=JSON.parse(/*BTDS*/"{\"dynamic_data\":{\"SiteData\":{\"server_revision\":1026131876,\"client_revision\":1026131876}}}");"#;

    #[tokio::test]
    async fn the_order_is_pinned_current_last_good_compiled_in() {
        let versions = Versions::default();
        assert_eq!(versions.choose(None), compiled_in());
        assert_eq!(versions.choose(Some(OLD)), OLD);
        versions.refresh(web(200, SW_JS)).await;
        assert_eq!(versions.choose(Some(OLD)), NEW);
        let pinned = Versions::new(Some(OLD));
        pinned.refresh(web(200, SW_JS)).await;
        assert_eq!(pinned.choose(Some(NEW)), OLD);
        assert!(!pinned.wants_refresh());
    }

    #[tokio::test]
    async fn a_refused_version_is_not_chosen_while_there_is_another() {
        let versions = Versions::default();
        versions.refresh(web(200, SW_JS)).await;
        versions.refused(NEW);
        assert_eq!(versions.choose(Some(OLD)), OLD);
        versions.refused(compiled_in());
        assert_eq!(Versions::default().choose(None), compiled_in());
        assert_eq!(versions.choose(None), NEW);
    }

    #[tokio::test]
    async fn a_failing_look_up_changes_nothing() {
        let versions = Versions::default();
        for (status, body) in [(500, ""), (200, "<html>"), (302, SW_JS)] {
            versions.refresh(web(status, body)).await;
            assert_eq!(versions.choose(Some(OLD)), OLD, "{status}");
        }
    }
}
