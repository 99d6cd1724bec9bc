//! One page from every dyno: publishes the bots whose link is held here, shows on the board what the
//! holders of the others say, and carries what a page asks to the holder.
//!
//! ```text
//! holder:   board → status table → board of every other dyno (`BotStatus::holder`)
//! standby:  page → errand → control table → the holder's bot, and its answer the way back
//! ```
//!
//! It also notices first when the database goes away or comes back, and says so on the board.

mod errand;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod said;

pub use errand::ask_holder;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::status::{Board, BotStatus, Holder, Qr, Role, Snapshot};
use crate::bot::call::{Call, Refusal};
use crate::bot::handle::{BotHandle, Errand, Request};
use crate::link::LinkState;
use crate::store::{Notice, Owner, Publication, Published, PublishedQr, Store, StoreError};
use said::Said;

/// Longest between two publications of one holder: by this the others know that it lives.
const BEAT: Duration = Duration::from_secs(5);
/// A publication that is older than this many beats is not believed.
const STALE_BEATS: u32 = 3;
/// How often a standby looks for news, and a holder for requests, when no notice tells of any.
const LOOK: Duration = Duration::from_secs(2);
/// Wait after the database did not answer.
const RETRY: Duration = Duration::from_secs(1);
/// Shortest between two rounds of work; changes in between are seen together.
const PACE: Duration = Duration::from_millis(25);
/// Requests that are older than this are not carried out.
const EXPIRY: Duration = Duration::from_secs(60);

/// A bot as this room needs it.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// Its session.
    pub session: String,
    /// Its own way to ask.
    pub handle: BotHandle,
}

/// What the task needs.
pub(super) struct Sharing {
    pub store: Store,
    pub owner: Owner,
    pub board: Board,
    pub bots: BTreeMap<String, Known>,
    pub errands: mpsc::Receiver<Errand>,
    /// `lease.renew`: the beat is not slower.
    pub renew: Duration,
    pub stop: CancellationToken,
}

/// What is known of another holder.
#[derive(Debug)]
struct Heard {
    news: Published,
    /// Believed until then.
    until: Instant,
}

struct Work {
    store: Store,
    owner: Owner,
    board: Board,
    /// The board, read.
    snapshot: watch::Receiver<Snapshot>,
    bots: BTreeMap<String, Known>,
    beat: Duration,
    warning: Option<String>,
    /// What was published of the bots held here.
    said: BTreeMap<String, Said>,
    /// What was read of the others.
    heard: BTreeMap<String, Heard>,
    publish_at: Instant,
    take_at: Instant,
    look_at: Instant,
}

/// Keeps every dyno's page the same until stopped.
pub(super) async fn share(sharing: Sharing) {
    let Sharing { store, owner, board, bots, mut errands, renew, stop } = sharing;
    let mut notices = store.notices();
    let mut changes = board.subscribe();
    changes.mark_changed();
    let now = Instant::now();
    let warning = store.warning();
    let mut work = Work {
        store,
        owner,
        board,
        snapshot: changes.clone(),
        bots,
        beat: renew.min(BEAT),
        warning,
        said: BTreeMap::new(),
        heard: BTreeMap::new(),
        publish_at: now,
        take_at: now,
        look_at: now,
    };
    let mut under_way = JoinSet::new();
    let mut errands_end = false;
    loop {
        let wake_at = work.wake_at();
        let wake = async {
            match wake_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            errand = errands.recv(), if !errands_end => {
                match errand {
                    Some(errand) => work.send(errand, &mut under_way),
                    None => errands_end = true,
                }
                continue;
            }
            Some(_) = under_way.join_next() => continue,
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                work.changed();
            }
            notice = notices.next() => work.told(&notice),
            () = wake => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = async {
                work.round(&mut under_way).await;
                tokio::time::sleep(PACE).await;
            } => {}
        }
    }
}

impl Work {
    /// Something on the board changed.
    fn changed(&mut self) {
        for said in self.said.values_mut() {
            said.doubtful = true;
        }
    }

    /// Another dyno, or this one, says that there is something to see.
    fn told(&mut self, notice: &Notice) {
        let now = Instant::now();
        match notice {
            Notice::Status { .. } => self.look_at = now,
            Notice::Control => self.take_at = now,
            Notice::Missed => (self.look_at, self.take_at) = (now, now),
            Notice::Lease { .. } | Notice::Dynos | Notice::Jobs | Notice::Outbox { .. } => {}
        }
    }

    /// When there is something to do although nothing changes.
    fn wake_at(&self) -> Option<Instant> {
        let snapshot = self.snapshot.borrow();
        let bots = snapshot.bots.iter().filter_map(|(name, bot)| match bot.role() {
            Role::Holder => {
                let word = self.said.get(name).map_or(self.publish_at, |said| said.due(self.beat));
                Some(self.take_at.min(word.max(self.publish_at)))
            }
            Role::Standby => Some(self.look_at),
            Role::Waiting => None,
        });
        bots.chain(self.heard.values().map(|heard| heard.until)).min()
    }

    /// All that is due.
    async fn round(&mut self, under_way: &mut JoinSet<()>) {
        self.forget();
        let news = self.news();
        self.publish(news).await;
        if self.take_at <= Instant::now() && self.any(|bot| bot.role() == Role::Holder) {
            self.take(under_way).await;
        }
        if self.look_at <= Instant::now() && self.any(|bot| bot.role() == Role::Standby) {
            self.look().await;
        }
    }

    fn any(&self, wanted: impl Fn(&BotStatus) -> bool) -> bool {
        self.snapshot.borrow().bots.values().any(wanted)
    }

    /// What is to be published of the bots held here.
    fn news(&mut self) -> Vec<(String, Publication, Said)> {
        let now = Instant::now();
        let snapshot = self.snapshot.borrow();
        let mut news = Vec::new();
        for (name, bot) in &snapshot.bots {
            let Some(known) = self.bots.get(name) else { continue };
            if bot.role() != Role::Holder {
                self.said.remove(name);
                continue;
            }
            if self.publish_at > now {
                continue;
            }
            let before = self.said.get_mut(name);
            if let Some((said, loud)) = said::next(before, bot, now, self.beat) {
                let qr = bot
                    .qr
                    .as_ref()
                    .map(|qr| PublishedQr { payload: qr.payload.clone(), expires_at: qr.expires_at });
                let status = said.status.clone();
                let publication = Publication { session: known.session.clone(), status, qr, loud };
                news.push((name.clone(), publication, said));
            }
        }
        news
    }

    async fn publish(&mut self, news: Vec<(String, Publication, Said)>) {
        if news.is_empty() {
            return;
        }
        let publications: Vec<Publication> = news.iter().map(|(_, one, _)| one.clone()).collect();
        match self.store.publish(&self.owner, &publications).await {
            // A session that was not written is not ours any more, which its bot is about to see too.
            Ok(_) => {
                self.database_up();
                self.said.extend(news.into_iter().map(|(name, _, said)| (name, said)));
            }
            Err(error) => {
                self.database_down(&error);
                self.publish_at = Instant::now() + RETRY;
                self.changed();
            }
        }
    }

    /// Carries out what other dynos ask of the bots held here.
    async fn take(&mut self, under_way: &mut JoinSet<()>) {
        self.take_at = Instant::now() + LOOK;
        let asked = match self.store.take_asked(&self.owner, EXPIRY).await {
            Ok(asked) => asked,
            Err(error) => return self.database_down(&error),
        };
        for one in asked {
            let bot = self.bots.iter().find(|(_, known)| known.session == one.session);
            if let (Some((_, known)), Some(call)) =
                (bot, errand::call_of(&self.store, &one.session, &one.action))
            {
                let (store, calls) = (self.store.clone(), known.handle.calls.clone());
                under_way.spawn(async move {
                    let secret = matches!(call, Call::PairingCode { .. });
                    let reply = match secret && !store.seals() {
                        true => Err(Refusal::Unsealed),
                        false => calls.make(call).await,
                    };
                    let said = match errand::outcome_of(&store, &one.session, &reply) {
                        Ok(outcome) => store.answer(one.id, &outcome).await,
                        Err(error) => Err(error),
                    };
                    if let Err(error) = said {
                        tracing::debug!(%error, "the answer to a call of another dyno was not stored");
                    }
                });
                continue;
            }
            let outcome = match (bot, Request::of_word(&one.action)) {
                (Some((name, known)), Some(request)) => {
                    tracing::info!(bot = %name, action = request.word(), "asked by the page of another dyno");
                    if known.handle.ask(request) { errand::TOOK } else { errand::BUSY }
                }
                _ => errand::UNKNOWN,
            };
            if let Err(error) = self.store.answer(one.id, outcome).await {
                tracing::debug!(%error, "the answer to a request of another dyno was not stored");
            }
        }
    }

    /// Reads what the holders of the bots in standby say.
    async fn look(&mut self) {
        self.look_at = Instant::now() + LOOK;
        let sessions: Vec<String> = {
            let snapshot = self.snapshot.borrow();
            let standby = snapshot.bots.iter().filter(|(_, bot)| bot.role() == Role::Standby);
            standby.filter_map(|(name, _)| Some(self.bots.get(name)?.session.clone())).collect()
        };
        let asked_at = Instant::now();
        match self.store.published(&sessions).await {
            Ok(found) => {
                self.database_up();
                self.hear(&sessions, found, asked_at);
            }
            Err(error) => {
                self.database_down(&error);
                self.look_at = Instant::now() + RETRY;
            }
        }
    }

    fn hear(&mut self, sessions: &[String], found: Vec<Published>, asked_at: Instant) {
        let believed = BEAT * STALE_BEATS;
        for (name, known) in self.bots.iter().filter(|(_, known)| sessions.contains(&known.session)) {
            // Another app on this database keeps its page to itself; the bot's own advice names it.
            let fresh = found.iter().find(|one| {
                one.session == known.session && one.age < believed && one.owner.same_app(&self.owner)
            });
            let bot = fresh.and_then(|one| Some((one, holder_of(one, self.store.seals())?)));
            let Some((news, holder)) = bot else {
                if self.heard.remove(name).is_some() {
                    self.board.bot(name, |bot| bot.holder = None);
                }
                continue;
            };
            let until = asked_at + (believed - news.age);
            let same = self.heard.get(name).is_some_and(|before| {
                let before = &before.news;
                before.owner == news.owner && before.status == news.status && before.qr == news.qr
            });
            self.heard.insert(name.clone(), Heard { news: news.clone(), until });
            if !same {
                self.board.bot(name, |bot| bot.holder = Some(holder));
            }
        }
    }

    /// Takes from the board what is too old to be believed, and what the bot itself knows better.
    fn forget(&mut self) {
        let now = Instant::now();
        let over: Vec<String> = {
            let snapshot = self.snapshot.borrow();
            let stands_by =
                |name| snapshot.bots.get(name).is_some_and(|bot: &BotStatus| bot.role() == Role::Standby);
            let over = self.heard.iter().filter(|(name, heard)| heard.until <= now || !stands_by(*name));
            over.map(|(name, _)| name.clone()).collect()
        };
        for name in over {
            self.heard.remove(&name);
            self.board.bot(&name, |bot| bot.holder = None);
        }
    }

    /// Sends an errand on its way; it ends by itself.
    fn send(&self, errand: Errand, under_way: &mut JoinSet<()>) {
        let Some(known) = self.bots.get(&errand.bot) else { return };
        under_way.spawn(errand::deliver(self.store.clone(), known.session.clone(), errand));
    }

    /// A bot that still waits for the database knows better than a statement that went well.
    fn database_up(&self) {
        if !self.any(|bot| bot.state == LinkState::WaitingForDatabase) {
            self.board.database_up(self.store.kind(), self.warning.clone());
        }
    }

    fn database_down(&self, error: &StoreError) {
        self.board.database_down(self.store.kind(), &error.to_string());
    }
}

/// What a holder said, for the board; `None` when it speaks of what this version does not know.
fn holder_of(news: &Published, seals: bool) -> Option<Holder> {
    let mut bot: BotStatus = match serde_json::from_str(&news.status) {
        Ok(bot) => bot,
        Err(error) => {
            tracing::debug!(%error, "the status that another dyno published cannot be read");
            return None;
        }
    };
    bot.qr = news.qr.as_ref().map(|qr| Qr { payload: qr.payload.clone(), expires_at: qr.expires_at });
    let dyno = Some(news.owner.dyno()).filter(|place| *place != Owner::LOCAL).map(str::to_owned);
    Some(Holder { dyno, bot: Box::new(bot), qr_withheld: !seals })
}
