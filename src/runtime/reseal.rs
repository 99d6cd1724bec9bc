//! The task that seals stored values anew after a change of the secret key, and says when it is done.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::status::{Board, DatabaseStatus, SealingStatus};
use crate::store::{Resealer, Sealing};

/// A start has the database for itself that long.
const FIRST: Duration = Duration::from_secs(1);
/// How often it is looked which sessions are held.
const LOOK: Duration = Duration::from_secs(5);

/// Runs until `stop`. A pass that fails is no trouble of the bots: the next one goes on where it ended.
pub(super) async fn run(mut resealer: Resealer, board: Board, stop: CancellationToken) {
    if !resealer.has_key() {
        stop.cancelled().await;
        return;
    }
    let mut wait = FIRST;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = LOOK;
        let passed = tokio::select! {
            () = stop.cancelled() => return,
            passed = resealer.pass() => passed,
        };
        match passed {
            Ok(None) => {}
            Ok(Some(sealing)) => tell(&sealing, &board),
            Err(error) => tracing::debug!(%error, "sealing anew goes on later"),
        }
    }
}

fn tell(sealing: &Sealing, board: &Board) {
    let old_keys: Vec<String> = sealing.keys.iter().skip(1).map(ToString::to_string).collect();
    let lost: u64 = sealing.lost.values().sum();
    for (key, values) in &sealing.lost {
        tracing::error!(%key, values, "stored values are sealed under a secret key that BLACKSKY_SECRET_KEY does not hold; add it behind a comma: NEW,OLD");
    }
    if sealing.damaged > 0 {
        tracing::warn!(values = sealing.damaged, "damaged values stay as they are");
    }
    if !old_keys.is_empty() {
        let ids = old_keys.join(", ");
        if sealing.old_keys_unused() {
            tracing::info!(old = %ids, "no stored value needs the old secret key any more: the old key can be removed from BLACKSKY_SECRET_KEY");
            warn(
                board,
                format!(
                    "no stored value needs the old secret key ({ids}) any more: the old key can be removed from BLACKSKY_SECRET_KEY"
                ),
            );
        } else {
            for (session, values) in &sealing.elsewhere {
                tracing::warn!(%session, values, old = %ids, "a session that no bot of this app uses is still sealed under the old secret key: keep the key, or `blacksky session forget` it");
            }
            if sealing.left > 0 {
                tracing::warn!(values = sealing.left, old = %ids, "stored values are still sealed under the old secret key: keep it");
            }
        }
    }
    let status = SealingStatus {
        key: sealing.keys.first().map(ToString::to_string).unwrap_or_default(),
        old_keys,
        left: sealing.left + sealing.elsewhere.values().sum::<u64>(),
        unreadable: lost + sealing.damaged,
        old_keys_removable: sealing.old_keys_unused(),
    };
    board.update(|snapshot| snapshot.sealing = Some(status));
}

/// Shows something the operator should do with the database.
fn warn(board: &Board, text: String) {
    board.update(|snapshot| {
        if let DatabaseStatus::Ok { warning, .. } = &mut snapshot.database {
            *warning = Some(text);
        }
    });
}
