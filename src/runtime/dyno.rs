//! What serves all bots of this dyno: its leases, its registration, the notices of the others.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::status::Board;
use super::tasks::Tasks;
use crate::config::{Config, DatabaseLocation};
use crate::link::{LinkAddress, dial};
use crate::store::{Dyno, Keeper, Store};

/// Wait before the way to WhatsApp is tried again.
const WARM_AGAIN: Duration = Duration::from_secs(2);

/// How long an open link waits for a successor. Nobody starts one on a machine that is no dyno, nor can one
/// reach a SQLite file of this one.
pub(super) fn handover_wait(config: &Config) -> Duration {
    let shared = matches!(config.database.location, DatabaseLocation::Postgres(_));
    if shared && config.platform.dyno.is_some() { config.lease.handover_wait.get() } else { Duration::ZERO }
}

/// Starts it. Ends when stopped, which is after the bots.
pub(super) fn serve(
    config: &Config,
    link: &LinkAddress,
    board: &Board,
    store: &Store,
    keeper: &Keeper,
) -> Tasks {
    let mut tasks = Tasks::new(CancellationToken::new());
    let (listening, stop) = (store.clone(), tasks.stop_token());
    tasks.spawn("notices", async move { listening.listen(stop).await });
    let (keeping, stop) = (keeper.clone(), tasks.stop_token());
    tasks.spawn("keeper", async move { keeping.run(stop).await });

    let dyno = Dyno {
        owner: keeper.owner().clone(),
        name: config.platform.dyno.clone().unwrap_or_else(|| "local".to_owned()),
        booted_at: board.subscribe().borrow().started_at,
        sessions: super::enabled_sessions(config),
        ready: true,
    };
    let (link, keeper, stop) = (link.clone(), keeper.clone(), tasks.stop_token());
    tasks.spawn("standby", async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = stand_by(&link, &keeper, dyno) => {}
        }
    });
    tasks
}

/// Registers the dyno once it could open a link at once.
async fn stand_by(link: &LinkAddress, keeper: &Keeper, dyno: Dyno) {
    while let Err(error) = dial::warm(link).await {
        tracing::warn!(%error, "the way to WhatsApp is not open: not ready to take a link over");
        tokio::time::sleep(WARM_AGAIN).await;
    }
    keeper.register(dyno).await;
}
