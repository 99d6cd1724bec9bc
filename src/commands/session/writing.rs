//! A command that changes a session holds its lease while it does.

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::failure;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::store::{Keeper, Kept, Owner, Store, StoreError};

/// A lease of this command, renewed until it is given up.
pub(super) struct Writing {
    keeper: Keeper,
    pub(super) kept: Kept,
    _renewals: AbortOnDropHandle<()>,
}

impl Writing {
    /// Wins the lease, or says who has it and what to do.
    pub(super) async fn begin(store: &Store, config: &Config, session: &str) -> Result<Self, Failure> {
        let place = config.platform.dyno.as_deref().unwrap_or("local");
        let owner = Owner(format!("{place}/session/{:016x}", rand::random::<u64>()));
        let keeper = Keeper::new(store.clone(), owner, config.lease);
        let kept = match keeper.acquire(session).await {
            Ok(kept) => kept,
            Err(StoreError::Held { owner, .. }) => {
                return Err(Failure::new(
                    Exit::Failed,
                    anyhow::anyhow!(
                        "\"{session}\" is in use by {owner}, and nothing was changed. Stop the bot first: \
                         `heroku ps:scale {}=0` (or end `blacksky run`), then run this again; after a crash \
                         the lease ends by itself within {}",
                        config.heroku.process.as_str(),
                        config.lease.ttl
                    ),
                ));
            }
            Err(error) => return Err(failure(error)),
        };
        let renewing = keeper.clone();
        // Ends with this value.
        let renewals = tokio::spawn(async move { renewing.run(CancellationToken::new()).await });
        Ok(Self { keeper, kept, _renewals: AbortOnDropHandle::new(renewals) })
    }

    /// Gives the lease up.
    pub(super) async fn end(self) {
        if let Err(error) = self.keeper.release(&self.kept.lease).await {
            tracing::warn!(%error, "the lease was not given up: it expires");
        }
    }
}
