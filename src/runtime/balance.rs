//! Spreads the bots over the dynos: gives some of this one's to a dyno that has fewer.
//!
//! PostgreSQL is the only coordinator. Every dyno reads who is there and who holds what, and makes the same plan;
//! each carries out its own part of it by giving leases up. Whoever has fewest asks for them first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::status::Board;
use crate::link::LinkState;
use crate::store::{Dyno, Keeper, Move, Owner, Spread, Store, StoreError};

/// A start has the database for itself that long.
const FIRST: Duration = Duration::from_secs(1);
/// Bots that are given away at the same time.
const AT_ONCE: usize = 8;
/// For a bot to give its lease up: longer than the stop of a hosted bot's program may take.
const GIVEN_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks at what is still to be given up.
const LOOK: Duration = Duration::from_millis(20);
/// For the others to take what was given up.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);

/// What the task needs.
pub(super) struct Balance {
    pub store: Store,
    pub keeper: Keeper,
    pub board: Board,
    /// The session of each enabled bot.
    pub sessions: BTreeMap<String, String>,
    /// The dynos must have been the same for this long, and it is as often as they are looked at: during a deploy
    /// a new one comes when an old one goes, and then nothing needs to be spread.
    pub settle: Duration,
}

impl Balance {
    /// Keeps the bots spread until stopped.
    pub(super) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&self) {
        let mut notices = self.store.notices();
        let (mut known, mut since) = (BTreeSet::new(), Instant::now());
        sleep(FIRST).await;
        loop {
            match self.look(&mut known, &mut since).await {
                Ok(moves) if !moves.is_empty() => {
                    self.give(&moves).await;
                    continue;
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "how the bots are spread is not known now"),
            }
            let _ = timeout(self.settle, notices.dynos()).await;
        }
    }

    /// What this dyno should give away now.
    async fn look(&self, known: &mut BTreeSet<Owner>, since: &mut Instant) -> Result<Vec<Move>, StoreError> {
        let dynos = self.store.dynos().await?;
        let ready: BTreeSet<Owner> =
            dynos.iter().filter(|dyno| dyno.ready).map(|dyno| dyno.owner.clone()).collect();
        if ready != *known {
            (*known, *since) = (ready, Instant::now());
        }
        let sessions: Vec<String> = self.sessions.values().cloned().collect();
        let me = self.keeper.owner();
        if known.len() < 2 || !known.contains(me) {
            self.keeper.set_has_more(false);
            return Ok(Vec::new());
        }
        let holders = self.store.holders(&sessions).await?;
        let spread = Spread::of(&dynos, &holders);
        self.keeper.set_has_more(spread.has_more(me));
        // A lease on its way from one dyno to the next is nobody's for a moment.
        let settled = since.elapsed() >= self.settle && holders.len() == sessions.len();
        if !settled {
            return Ok(Vec::new());
        }
        let open = self.open();
        let may_move = |owner: &Owner, session: &str| owner != me || open.contains(session);
        let knows = |owner: &Owner, session: &str| {
            let dyno: Option<&Dyno> = dynos.iter().find(|dyno| dyno.owner == *owner);
            dyno.is_some_and(|dyno| dyno.sessions.iter().any(|one| one == session))
        };
        let mut moves = spread.moves(may_move, knows);
        moves.retain(|one| one.from == *me);
        moves.truncate(AT_ONCE);
        Ok(moves)
    }

    /// The sessions whose link is open here: one that is being paired, or that waits, stays where it is.
    fn open(&self) -> BTreeSet<String> {
        let snapshot = self.board.subscribe();
        let snapshot = snapshot.borrow();
        let open = self.sessions.iter().filter(|(name, session)| {
            let bot = snapshot.bots.get(*name);
            bot.is_some_and(|bot| bot.state == LinkState::Open) && self.keeper.keeps(session)
        });
        open.map(|(_, session)| session.clone()).collect()
    }

    /// Gives them up, and waits until others have them.
    async fn give(&self, moves: &[Move]) {
        for one in moves {
            tracing::info!(session = %one.session, to = %one.to.0, "another dyno has fewer bots: giving one to it");
            self.keeper.spare(&one.session);
        }
        let given = async {
            while moves.iter().any(|one| self.keeper.keeps(&one.session)) {
                sleep(LOOK).await;
            }
        };
        if timeout(GIVEN_WITHIN, given).await.is_err() {
            tracing::warn!("a bot was not given up in time");
        }
        let sessions: Vec<String> = moves.iter().map(|one| one.session.clone()).collect();
        let taken = async {
            while self.store.holders(&sessions).await.is_ok_and(|held| held.len() < sessions.len()) {
                sleep(LOOK).await;
            }
        };
        if timeout(TAKEN_WITHIN, taken).await.is_err() {
            tracing::warn!("a bot that was given up was taken by nobody");
        }
    }
}
