//! The webhook of a bot: posts what the store owes it, at least once, in order within a chat.
//!
//! A message is written to the inbox and owed to the webhook in one transaction, before WhatsApp is told that it
//! arrived; it is owed until the receiver has answered 2xx and that is stored under the epoch of the lease. So
//! neither a kill nor another holder loses one, and each may at most come again. Chats are served beside each
//! other; in a chat nothing is posted before what stands ahead of it was taken or given up. The link need not
//! be open for it.

mod body;
mod pace;
mod post;

use std::collections::{HashSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use body::body;
use post::{NotTaken, Poster};

use crate::runtime::clock;
use crate::runtime::status::{Board, WarningKind, WebhookProblem, WebhookStatus};
use crate::store::{Backlog, Delivery, DeliveryLimits, Lease, OwedChat, SessionStore, Store, StoreError};
use crate::{config, measure};

/// Posts under way at the same time.
const PARALLEL: usize = 8;
/// After as many failures in a row only one post at a time is tried, until one is taken.
const MANY_FAILURES: u32 = 16;
/// Statements under way at the same time: the session itself needs connections too.
const STATEMENTS: usize = 2;
/// Messages of one chat posted before others have their turn.
const TURN: u32 = 16;
/// Chats looked up at once.
const LOOK: u32 = 256;
/// After trouble with the database.
const PAUSE: Duration = Duration::from_secs(2);
/// How often the limits are enforced.
const THIN: Duration = Duration::from_secs(60);
/// The counts on the page are at most this old.
const COUNT: Duration = Duration::from_secs(1);
/// Messages that wait for a webhook at most; beyond, the oldest become dead letters.
const MOST_WAITING: u32 = 50_000;

/// What wakes the webhook of a bot; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Bell {
    arrived: Arc<Notify>,
    again: Arc<Notify>,
}

impl Bell {
    /// Something new is owed.
    pub fn arrived(&self) {
        self.arrived.notify_one();
    }

    /// A person wants the dead letters to be tried again.
    pub fn try_again(&self) {
        self.again.notify_one();
    }
}

/// Posts for one bot under one lease.
pub struct Webhook {
    name: String,
    poster: Poster,
    statements: Semaphore,
    give_up: Duration,
    store: Store,
    lease: Lease,
    board: Board,
    bell: Bell,
}

/// How the turn of a chat ended.
struct Turn {
    delivered: u64,
    /// Given up.
    died: u64,
    problem: Option<NotTaken>,
}

impl Webhook {
    /// For the bot of this name; `own_port` is where the page listens.
    pub fn new(
        name: &str,
        config: &config::Webhook,
        own_port: u16,
        (store, lease): (Store, Lease),
        board: Board,
        bell: Bell,
    ) -> Option<Self> {
        let poster = Poster::new(name, config, own_port)?;
        let give_up = config.give_up.get();
        let statements = Semaphore::new(STATEMENTS);
        Some(Self { name: name.to_owned(), poster, statements, give_up, store, lease, board, bell })
    }

    /// Works until it is dropped or another epoch exists.
    pub async fn run(self) {
        let this = Arc::new(self);
        this.note(|_| {});
        loop {
            // A handle of its own: its trouble is not the client's.
            let session = this.store.session(&this.lease);
            match Self::serve(&this, &session).await {
                StoreError::Fenced => return,
                error => tracing::debug!(bot = %this.name, %error, "the webhook waits for the database"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Posts until the store fails.
    async fn serve(self: &Arc<Self>, session: &SessionStore) -> StoreError {
        // Tasks, since one that is not polled would keep its connection to the database.
        let mut turns = JoinSet::new();
        let mut busy: HashSet<Vec<u8>> = HashSet::new();
        let mut ready: VecDeque<OwedChat> = VecDeque::new();
        let mut failures = 0_u32;
        let mut look = true;
        let mut due: Option<Instant> = None;
        let mut quiet_until: Option<Instant> = None;
        let mut thin_at = Instant::now();
        let mut count_at = Some(Instant::now());
        loop {
            quiet_until = quiet_until.filter(|until| Instant::now() < *until);
            let most = if failures < MANY_FAILURES { PARALLEL } else { 1 };
            if quiet_until.is_none() && turns.len() < most {
                if ready.is_empty() && look {
                    let limit = LOOK + u32::try_from(busy.len()).unwrap_or(u32::MAX);
                    let chats = match session.owed_chats(limit).await {
                        Ok(chats) => chats,
                        Err(error) => return error,
                    };
                    let now = clock::now();
                    (due, look) = (None, chats.len() >= limit as usize);
                    for chat in chats.into_iter().filter(|chat| !busy.contains(chat.chat())) {
                        if chat.due() <= now {
                            ready.push_back(chat);
                        } else {
                            due = Some(instant(chat.due(), now));
                            break;
                        }
                    }
                }
                while turns.len() < most
                    && let Some(chat) = ready.pop_front()
                {
                    busy.insert(chat.chat().to_vec());
                    let (this, session) = (self.clone(), session.clone());
                    turns.spawn(async move { (this.turn(&session, &chat).await, chat) });
                }
            }
            let wake = [Some(thin_at), count_at, quiet_until.or(due)].into_iter().flatten().min();
            let time = pin!(async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            });
            tokio::select! {
                Some(ended) = turns.join_next() => {
                    let Ok((turn, chat)) = ended else {
                        return StoreError::Unavailable { problem: "a turn of the webhook ended by itself".into() };
                    };
                    busy.remove(chat.chat());
                    look = true;
                    let turn = match turn {
                        Ok(turn) => turn,
                        Err(error) => return error,
                    };
                    failures = match (&turn.problem, turn.delivered) {
                        (Some(_), 0) => failures.saturating_add(1),
                        (Some(_), _) => 1,
                        (None, _) => 0,
                    };
                    if let Some(wait) = turn.problem.as_ref().and_then(NotTaken::asked) {
                        quiet_until = Some(Instant::now() + wait.min(Duration::from_secs(3600)));
                    }
                    self.tell(turn);
                    count_at = count_at.or(Some(Instant::now() + COUNT));
                }
                () = self.bell.arrived.notified() => {
                    look = true;
                    count_at = count_at.or(Some(Instant::now() + COUNT));
                }
                () = self.bell.again.notified() => {
                    match session.revive_deliveries(clock::now()).await {
                        Ok(revived) => tracing::info!(bot = %self.name, revived, "dead letters are tried again"),
                        Err(error) => return error,
                    }
                    (look, quiet_until, count_at) = (true, None, Some(Instant::now()));
                }
                () = time => {
                    let now = Instant::now();
                    look |= due.is_some_and(|due| due <= now);
                    if thin_at <= now {
                        thin_at = now + THIN;
                        if let Err(error) = self.thin(session).await {
                            return error;
                        }
                    }
                    if count_at.is_some_and(|at| at <= now) {
                        count_at = None;
                        match session.backlog().await {
                            Ok(backlog) => self.counted(backlog),
                            Err(error) => return error,
                        }
                    }
                }
            }
        }
    }

    /// Posts the next messages of a chat, up to the first that is not taken.
    async fn turn(&self, session: &SessionStore, chat: &OwedChat) -> Result<Turn, StoreError> {
        let mut turn = Turn { delivered: 0, died: 0, problem: None };
        for delivery in self.ask(session.owed_of(chat, TURN)).await? {
            let Delivery { key, body, stored_at, attempts } = delivery;
            let Some(body) = body else {
                tracing::error!(bot = %self.name, "a message for the webhook cannot be unsealed: it stays a dead letter");
                self.ask(session.not_delivered(&key, clock::now(), None)).await?;
                turn.died += 1;
                continue;
            };
            let attempt = attempts.saturating_add(1);
            let began = Instant::now();
            let posted = self.poster.post(body, attempt).await;
            measure::posted(&self.name, posted.is_ok(), began.elapsed());
            let Err(problem) = posted else {
                self.ask(session.delivered(&key)).await?;
                turn.delivered += 1;
                continue;
            };
            let now = clock::now();
            let age = (now - stored_at).to_std().unwrap_or_default();
            let wait = pace::next(attempt, age, self.give_up, problem.asked(), &mut rand::rng());
            let next = wait.map(|wait| now + chrono::TimeDelta::from_std(wait).unwrap_or_default());
            self.ask(session.not_delivered(&key, now, next)).await?;
            turn.died += u64::from(next.is_none());
            turn.problem = Some(problem);
            break;
        }
        Ok(turn)
    }

    /// Waits for its turn with the database.
    async fn ask<T>(&self, asking: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        // Never closed.
        let _permit = self.statements.acquire().await;
        asking.await
    }

    async fn thin(&self, session: &SessionStore) -> Result<(), StoreError> {
        let now = clock::now();
        // How long dead letters stay is in [retention].
        let limits =
            DeliveryLimits { waiting: MOST_WAITING, dead: u32::MAX, dead_since: DateTime::<Utc>::MIN_UTC };
        let thinned = session.thin_deliveries(&limits, now).await?;
        if thinned.died > 0 {
            tracing::error!(bot = %self.name, died = thinned.died, "more than {MOST_WAITING} messages wait for the webhook: the oldest became dead letters");
        }
        Ok(())
    }

    /// Counts a turn; logs the first failure after a success, and every message that was given up.
    fn tell(&self, turn: Turn) {
        if let Some(problem) = &turn.problem {
            let first = self.status().is_none_or(|status| status.problem.is_none());
            if turn.died > 0 {
                tracing::error!(bot = %self.name, "a message for the webhook was given up: {problem}");
            } else if first {
                tracing::warn!(bot = %self.name, "a message for the webhook is tried again: {problem}");
            }
        }
        let now = clock::now();
        self.note(|status| {
            status.delivered += turn.delivered;
            if turn.delivered > 0 {
                status.delivered_at = Some(now);
                status.problem = None;
            }
            if let Some(problem) = turn.problem {
                status.failed += 1;
                status.problem = Some(WebhookProblem { at: now, text: problem.to_string() });
            }
        });
    }

    /// Writes what is owed to the board, and warns of dead letters.
    fn counted(&self, backlog: Backlog) {
        let Backlog { waiting, oldest, dead } = backlog;
        self.board.bot(&self.name, |bot| {
            let status = bot.webhook.get_or_insert_default();
            let before = std::mem::replace(&mut status.dead, dead);
            (status.waiting, status.oldest_waiting_at) = (waiting, oldest);
            if dead == 0 {
                bot.clear(WarningKind::DeadLetters);
            } else if dead > before {
                let text = format!(
                    "{dead} {} not taken by the webhook and given up; they are kept for as long as [retention] \
                     says. Mend the program that takes them, then try the dead letters again.",
                    if dead == 1 { "message was" } else { "messages were" },
                );
                bot.raise(WarningKind::DeadLetters, clock::now(), text);
            }
        });
    }

    fn status(&self) -> Option<WebhookStatus> {
        self.board.subscribe().borrow().bots.get(&self.name)?.webhook.clone()
    }

    fn note(&self, change: impl FnOnce(&mut WebhookStatus)) {
        self.board.bot(&self.name, |bot| change(bot.webhook.get_or_insert_default()));
    }
}

fn instant(at: DateTime<Utc>, now: DateTime<Utc>) -> Instant {
    Instant::now() + (at - now).to_std().unwrap_or_default()
}
