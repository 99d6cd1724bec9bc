//! Watches how large the database is.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::status::{Board, DatabaseSize};
use crate::config::DatabasePlan;
use crate::store::Store;

/// A start has the database for itself that long.
const FIRST: Duration = Duration::from_secs(2);
/// Between two looks: the server has to look at every file of the database.
const LOOK: Duration = Duration::from_secs(300);
/// After a look that failed.
const RETRY: Duration = Duration::from_secs(30);

/// Looks until `stop`. `plan` is that of the database, where it is known.
pub(super) async fn watch(store: Store, plan: Option<DatabasePlan>, board: Board, stop: CancellationToken) {
    let mut wait = FIRST;
    let mut was_tight = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        let looked = tokio::select! {
            () = stop.cancelled() => return,
            looked = store.size() => looked,
        };
        let bytes = match looked {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::debug!(%error, "the size of the database is asked for again");
                wait = RETRY;
                continue;
            }
        };
        wait = LOOK;
        let size = of(bytes, plan.as_ref());
        if size.tight && !was_tight {
            let (used_mb, plan) = (bytes >> 20, size.plan.as_deref().unwrap_or_default());
            tracing::warn!(
                used_mb,
                plan,
                "the database is nearly full: Heroku takes the right to write away above the plan's size; \
                 shorten what [retention] and [backup] keep, or take a larger plan"
            );
        }
        was_tight = size.tight;
        board.update_if(|snapshot| {
            let changed = snapshot.database_size.as_ref() != Some(&size);
            snapshot.database_size = Some(size);
            changed
        });
    }
}

/// Tight from nine tenths on.
fn of(bytes: u64, plan: Option<&DatabasePlan>) -> DatabaseSize {
    let limit_bytes = plan.map(|plan| plan.size.get());
    DatabaseSize {
        bytes,
        limit_bytes,
        plan: plan.map(|plan| plan.name.clone()),
        tight: limit_bytes.is_some_and(|limit| bytes >= limit / 10 * 9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Size;

    #[test]
    fn nine_tenths_of_the_plan_are_tight() {
        let plan = DatabasePlan { name: "essential-0".into(), size: Size::megabytes(1024), connections: 20 };
        let tight = |megabytes: u64| of(megabytes << 20, Some(&plan)).tight;
        assert_eq!((tight(921), tight(922), tight(5000)), (false, true, true));
        assert!(!of(u64::MAX, None).tight);
    }
}
