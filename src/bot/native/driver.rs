//! Runs the actions of the state machine and feeds back what happens.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::Native;
use super::connection::News;
use super::ears::Ears;
use super::gate::{Ailing, Trouble};
use super::live::{Happening, Live, Parts};
use super::timing::Timing;
use super::told::{Looping, Told};
use super::version::Versions;
use super::webhook::{Bell, Webhook};
use crate::bot::handle::Request;
use crate::config::WaVersion;
use crate::link::http::Http;
use crate::link::machine::{self, Action, Event, Machine};
use crate::link::policy::{Ending, Reaction};
use crate::link::transport::{CutReason, End};
use crate::link::{LinkState, Parked, advice};
use crate::measure;
use crate::runtime::backups::Held;
use crate::runtime::clock;
use crate::runtime::status::WarningKind;
use crate::store::{Kept, Lease, Notices, SessionStore, StoreError};

/// The database answers within this or counts as down.
const DATABASE_DEADLINE: Duration = Duration::from_secs(5);
/// For closing the link and flushing the session at the end.
const CLOSE_DEADLINE: Duration = Duration::from_secs(4);
/// For giving the lease up at the end.
const RELEASE_DEADLINE: Duration = Duration::from_secs(2);
/// Shortest wait before a lease that is about to expire is asked for again.
const SHORTEST_ASK: Duration = Duration::from_millis(100);

/// One lease, and the client that was built under it.
struct Epoch {
    kept: Kept,
    session: SessionStore,
    live: Option<Live>,
    _backed_up: Held,
    _webhook: Option<AbortOnDropHandle<()>>,
}

/// Something that woke the driver.
enum Wake {
    Stop,
    StopNow,
    /// The name of a dyno that is ready.
    Successor(String),
    LeaseFree,
    /// Another dyno should have the bot.
    Spared,
    Lost,
    Client(Happening),
    Time,
    Request(Option<Request>),
}

pub struct Driver {
    native: Native,
    notices: Notices,
    ears: Ears,
    bell: Bell,
    _listening: AbortOnDropHandle<()>,
    http: Http,
    versions: Versions,
    machine: Machine,
    rng: StdRng,
    epoch: Option<Epoch>,
    wake_at: Option<Instant>,
    /// The lease was given to another dyno: not asked for before this.
    aside_until: Option<Instant>,
    began: Instant,
    told: Told,
    timing: Timing,
    /// How the link ended, until the machine has said what follows.
    ending: Option<Ending>,
    /// No more requests can come.
    unasked: bool,
}

impl Driver {
    pub fn new(native: Native) -> Self {
        let machine = Machine::new(native.backoff, native.lease.renew.get());
        let ears = Ears::default();
        let listening = tokio::spawn(ears.clone().watch(native.name.clone(), native.board.clone()));
        Self {
            ears,
            bell: Bell::default(),
            _listening: AbortOnDropHandle::new(listening),
            // Before the lease is asked for, so that no release is missed.
            notices: native.store.notices(),
            http: Http::new(),
            versions: Versions::new(native.bot.wa_version),
            machine: machine.handing_over_within(native.lease.handover_wait.get()),
            rng: rand::make_rng(),
            epoch: None,
            wake_at: None,
            aside_until: None,
            began: Instant::now(),
            told: Told::default(),
            timing: Timing::default(),
            ending: None,
            unasked: false,
            native,
        }
    }

    pub async fn run(mut self) {
        self.feed(Event::Start).await;
        while !self.machine.stopped() {
            let wake = self.next().await;
            if let Some(event) = self.translate(wake) {
                self.feed(event).await;
            }
        }
    }

    async fn next(&mut self) -> Wake {
        let wake_at = self.wake_at;
        let time = async {
            match wake_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let lost = self.epoch.as_ref().map(|epoch| epoch.kept.lost().clone());
        let lost = async {
            match lost {
                Some(lost) => lost.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let spared = self.epoch.as_ref().filter(|_| self.machine.state() == LinkState::Open);
        let spared = spared.map(|epoch| epoch.kept.spared().clone());
        let spared = async {
            match spared {
                Some(spared) => spared.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let live = self.epoch.as_mut().and_then(|epoch| epoch.live.as_mut());
        let client = async {
            match live {
                Some(live) => live.next().await,
                None => std::future::pending().await,
            }
        };
        let hands_over = self.machine.hands_over();
        let aside = self.aside_until.is_some_and(|until| Instant::now() < until);
        let stands_by = self.machine.state() == LinkState::Standby && !aside;
        let session = &self.native.session;
        tokio::select! {
            biased;
            () = self.native.stop_now.cancelled() => Wake::StopNow,
            () = self.native.stop.cancelled(), if !hands_over => Wake::Stop,
            () = lost => Wake::Lost,
            happening = client => Wake::Client(happening),
            name = self.native.keeper.successor(session), if hands_over => Wake::Successor(name),
            () = self.notices.lease(session), if stands_by => Wake::LeaseFree,
            () = spared, if !hands_over => Wake::Spared,
            request = self.native.requests.recv(), if !self.unasked => Wake::Request(request),
            () = time => Wake::Time,
        }
    }

    /// What happened, in the machine's words; writes to the board what the machine does not know.
    fn translate(&mut self, wake: Wake) -> Option<Event> {
        match wake {
            Wake::Stop => Some(Event::Stop),
            Wake::StopNow => Some(Event::StopNow),
            Wake::Successor(successor) => {
                tracing::info!(bot = %self.native.name, successor, "another dyno is ready: handing the link over");
                Some(Event::SuccessorReady)
            }
            Wake::LeaseFree => {
                let courtesy = self.native.keeper.courtesy();
                if courtesy.is_zero() {
                    return Some(Event::LeaseFree);
                }
                let later = Instant::now() + courtesy;
                self.wake_at = Some(self.wake_at.map_or(later, |at| at.min(later)));
                None
            }
            Wake::Spared => {
                tracing::info!(bot = %self.native.name, "giving the link to a dyno that has fewer bots");
                self.aside_until = Some(Instant::now() + machine::GIVEN_AWAY);
                Some(Event::Spared)
            }
            Wake::Lost => {
                tracing::warn!(bot = %self.native.name, "the lease was lost: closing the link");
                self.told.disconnected(&Ending::Transport(End::Cut(CutReason::Lease)));
                Some(Event::LeaseLost)
            }
            Wake::Client(Happening::Trouble(trouble)) => Some(self.trouble(trouble)),
            Wake::Client(Happening::News(news)) => self.news(news),
            Wake::Time => {
                self.wake_at = None;
                if self.machine.hands_over() {
                    tracing::info!(bot = %self.native.name, "no other dyno became ready in time: closing the link");
                }
                Some(Event::Woke)
            }
            Wake::Request(Some(Request::ReconnectNow)) => Some(Event::ReconnectNow),
            Wake::Request(Some(Request::ShowNewQr)) => Some(Event::ShowNewQr),
            Wake::Request(Some(Request::RestartBot)) => {
                tracing::info!(bot = %self.native.name, "restarting the bot: it was asked for");
                Some(Event::Restart)
            }
            Wake::Request(Some(Request::RetryWebhook)) => {
                self.bell.try_again();
                None
            }
            Wake::Request(None) => {
                self.unasked = true;
                None
            }
        }
    }

    fn trouble(&mut self, trouble: Trouble) -> Event {
        let cut = |reason| Ending::Transport(End::Cut(reason));
        match trouble {
            Trouble::Database => {
                let error = self.epoch.as_ref().and_then(|epoch| epoch.session.problem());
                let problem = error.unwrap_or_else(<StoreError as Ailing>::slow).to_string();
                tracing::error!(bot = %self.native.name, problem, "the database does not take writes: closing the link");
                self.native.board.database_down(self.native.store.kind(), &problem);
                self.told.problem = Some(problem);
                self.told.disconnected(&cut(CutReason::Database));
                Event::DatabaseDown
            }
            Trouble::Fenced => {
                tracing::warn!(bot = %self.native.name, "another dyno has taken over: closing the link");
                self.told.disconnected(&cut(CutReason::Lease));
                Event::LeaseLost
            }
            Trouble::Unreadable => Event::Unreadable,
        }
    }

    fn news(&mut self, news: News) -> Option<Event> {
        let name = self.native.name.clone();
        match news {
            News::Qr(qr) => {
                tracing::info!(bot = %name, "a QR code waits to be scanned");
                self.told.qr = Some(qr);
                Some(Event::QrShown)
            }
            News::Paired => {
                tracing::info!(bot = %name, "the phone linked this device");
                self.told.qr = None;
                self.publish();
                None
            }
            News::Opened => {
                self.timing.opened(&name);
                self.opened();
                Some(Event::Opened)
            }
            News::Ended(ending) => {
                if let Some(live) = self.live() {
                    live.connection = None;
                    live.set_open(false);
                }
                self.told.disconnected(&ending);
                self.timing.ended(&name, &ending);
                let reaction = ending.reaction();
                self.ending = Some(ending);
                Some(Event::Ended(reaction))
            }
        }
    }

    fn opened(&mut self) {
        let name = &self.native.name;
        tracing::info!(bot = %name, "Connection established");
        let again = std::mem::replace(&mut self.told.was_open, true);
        self.told.reconnects += u64::from(again);
        self.told.open_since = Some(clock::now());
        let Some(epoch) = &self.epoch else { return };
        let Some(live) = &epoch.live else { return };
        live.set_open(true);
        let (session, version) = (epoch.session.clone(), live.version);
        live.run(async move {
            if let Err(error) = session.put_wa_version(version).await {
                tracing::debug!(%error, "the version of the open link was not stored");
            }
        });
        self.refresh_version();
    }

    /// Looks in the background for a newer version, for the next dial.
    fn refresh_version(&self) {
        let Some(live) = self.epoch.as_ref().and_then(|epoch| epoch.live.as_ref()) else { return };
        if self.native.link.is_whatsapp() && self.versions.wants_refresh() {
            let (versions, http) = (self.versions.clone(), Arc::new(self.http.clone()));
            live.run(async move { versions.refresh(http).await });
        }
    }

    /// Says how the link ended and what follows, once the machine has decided it.
    fn ended(&mut self, ending: &Ending) {
        let reaction = ending.reaction();
        let (bot, reason, text) = (&self.native.name, ending.word(), ending.text());
        let count = self.told.count(&reason);
        let state = self.machine.state();
        let next = self.machine.next_dial().map(|at| at.saturating_duration_since(Instant::now()));
        let next_attempt_ms = next.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        let (attempt, stands) = (self.machine.attempt(), state.name());
        if reaction == Reaction::Restart && state == LinkState::Connecting {
            tracing::info!(%bot, reason, count, "the stream restarts");
        } else if let (LinkState::Parked(_) | LinkState::LoggedOut, Some(advice)) =
            (state, advice::advice(state))
        {
            tracing::error!(%bot, reason, count, state = stands, next_attempt_ms, "the link ended: {text} {advice}");
        } else {
            tracing::warn!(%bot, reason, count, state = stands, attempt, next_attempt_ms, "the link ended: {text}");
        }
        if reaction == Reaction::Park(Parked::ClientOutdated) {
            if let Some(version) = self.live().map(|live| live.version) {
                self.versions.refused(version);
            }
            self.refresh_version();
        }
    }

    fn live(&mut self) -> Option<&mut Live> {
        self.epoch.as_mut()?.live.as_mut()
    }

    /// Feeds an event and all that follows from it at once.
    async fn feed(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let handed_over = self.machine.hands_over();
            let actions = self.machine.step(Instant::now(), event, &mut self.rng);
            if self.machine.hands_over() && !handed_over {
                let wait_s = self.native.lease.handover_wait.get().as_secs_f64();
                tracing::info!(bot = %self.native.name, wait_s, "keeping the link until another dyno is ready");
            }
            self.timing.waits(self.machine.hands_over());
            tracing::debug!(bot = %self.native.name, ?event, ?actions, "step");
            if let Some(ending) = self.ending.take() {
                self.ended(&ending);
            }
            self.publish();
            for action in actions {
                events.extend(self.act(action).await);
            }
        }
    }

    /// Writes where the bot stands to the board.
    fn publish(&mut self) {
        let state = self.machine.state();
        if state != LinkState::Pairing {
            self.told.qr = None;
        }
        if state != LinkState::Open {
            self.told.open_since = None;
        }
        let looping = self.told.looping(self.machine.failed());
        let told = &self.told;
        let attempt = self.machine.attempt();
        let next_attempt_at = self.machine.next_dial().map(|at| {
            let wait = at.saturating_duration_since(Instant::now());
            clock::now() + chrono::Duration::from_std(wait).unwrap_or_default()
        });
        self.native.board.bot(&self.native.name, |bot| {
            if bot.state != state {
                bot.state = state;
                bot.since = clock::now();
            }
            bot.advice = told.advice(state);
            bot.attempt = attempt;
            bot.next_attempt_at = next_attempt_at;
            bot.qr.clone_from(&told.qr);
            bot.open_since = told.open_since;
            bot.reconnects = told.reconnects;
            bot.last_disconnect.clone_from(&told.last_disconnect);
            bot.disconnects.clone_from(&told.disconnects);
            match &looping {
                Looping::Over => bot.clear(WarningKind::ReconnectLoop),
                Looping::Again(text) => bot.raise(WarningKind::ReconnectLoop, clock::now(), text),
                Looping::AsBefore => {}
            }
        });
    }

    async fn act(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Acquire => Some(self.acquire().await),
            Action::Confirm => self.confirm().await,
            Action::Dial => self.dial().await,
            Action::Discard(reason) => {
                self.discard(reason).await;
                None
            }
            Action::Archive => Some(self.archive().await),
            Action::WakeAt(at) => {
                self.wake_at = Some(at);
                None
            }
            Action::Close => {
                self.close().await;
                None
            }
        }
    }

    async fn acquire(&mut self) -> Event {
        let bot = self.native.name.clone();
        let asking = self.native.keeper.acquire(&self.native.session);
        match tokio::time::timeout(DATABASE_DEADLINE, asking).await {
            Ok(Ok(kept)) => {
                self.database_up();
                tracing::info!(%bot, epoch = kept.lease.epoch, "the lease was won");
                measure::lease_won(&bot, kept.lease.epoch);
                self.timing.won();
                let session = self.native.store.session(&kept.lease);
                let _backed_up = self.native.backups.hold(&bot, &kept.lease);
                let _webhook = self.begin_webhook(&kept.lease);
                self.epoch = Some(Epoch { kept, session, live: None, _backed_up, _webhook });
                (self.told.problem, self.told.holder) = (None, None);
                Event::Acquired
            }
            Ok(Err(StoreError::Held { owner, until })) => {
                self.database_up();
                if self.machine.state() != LinkState::Standby {
                    tracing::info!(%bot, %owner, "another dyno keeps the link: standing by");
                }
                self.told.problem = None;
                self.told.holder = Some(owner);
                let left = (until - clock::now()).to_std().unwrap_or_default();
                Event::Held { ask_again: left.clamp(SHORTEST_ASK, self.native.lease.renew.get()) }
            }
            Ok(Err(StoreError::Fenced)) => Event::Held { ask_again: SHORTEST_ASK },
            Ok(Err(error)) => {
                self.database_down(error.to_string());
                Event::DatabaseDown
            }
            Err(_) => {
                self.database_down(<StoreError as Ailing>::slow().to_string());
                Event::DatabaseDown
            }
        }
    }

    /// Starts to post what is owed, for as long as the lease is kept; the link is not needed for it.
    fn begin_webhook(&self, lease: &Lease) -> Option<AbortOnDropHandle<()>> {
        let native = &self.native;
        let held = (native.store.clone(), lease.clone());
        let (config, board, bell) = (native.bot.webhook.as_ref()?, native.board.clone(), self.bell.clone());
        let webhook = Webhook::new(&native.name, config, native.own_port, held, board, bell)?;
        Some(AbortOnDropHandle::new(tokio::spawn(webhook.run())))
    }

    /// Asks whether the lease is still ours, without waiting for the next renewal.
    async fn confirm(&self) -> Option<Event> {
        let lease = &self.epoch.as_ref()?.kept.lease;
        match tokio::time::timeout(DATABASE_DEADLINE, self.native.keeper.confirm(lease)).await {
            Ok(false) => {
                tracing::info!(bot = %self.native.name, "another dyno has the link: standing by");
                Some(Event::LeaseLost)
            }
            // The deadline of the lease goes on counting.
            Ok(true) | Err(_) => None,
        }
    }

    /// Logs the beginning of an outage and each new problem, not each attempt.
    fn database_down(&mut self, problem: String) {
        let same = self.told.problem.as_ref() == Some(&problem);
        if self.machine.state() != LinkState::WaitingForDatabase || !same {
            tracing::error!(bot = %self.native.name, problem, "the database does not answer: asking again");
        }
        self.native.board.database_down(self.native.store.kind(), &problem);
        self.told.problem = Some(problem);
    }

    fn database_up(&self) {
        self.native.board.database_up(self.native.store.kind(), self.native.store.warning());
    }

    async fn dial(&mut self) -> Option<Event> {
        let version = self.choose_version().await;
        let epoch = self.epoch.as_mut()?;
        // One that has ended itself, or that claims another version than it should.
        let stale = epoch.live.take_if(|live| !live.usable() || live.version != version);
        if let Some(stale) = stale {
            stale.close(CLOSE_DEADLINE).await;
        }
        let live = match &mut epoch.live {
            Some(live) => live,
            none => {
                let building = Live::build(Parts {
                    name: &self.native.name,
                    bot: &self.native.bot,
                    heartbeat: self.native.heartbeat,
                    address: &self.native.link,
                    http: &self.http,
                    board: &self.native.board,
                    session: epoch.session.clone(),
                    session_id: &self.native.session,
                    calls: &self.native.calls,
                    events: &self.native.events,
                    store: &self.native.store,
                    ears: &self.ears,
                    bell: &self.bell,
                    folder: &self.native.folder,
                    version,
                    began: self.began,
                });
                match building.await {
                    Ok(live) => none.insert(live),
                    Err(error) => {
                        tracing::error!(bot = %self.native.name, "{}", chain(&error));
                        self.told.unreadable = StoreError::within(&error).map(ToString::to_string);
                        return Some(match error.trouble() {
                            Trouble::Database => {
                                let problem = epoch.session.problem().map(|problem| problem.to_string());
                                self.told.problem = Some(problem.unwrap_or_else(|| error.to_string()));
                                Event::DatabaseDown
                            }
                            Trouble::Fenced => Event::LeaseLost,
                            Trouble::Unreadable => Event::Unreadable,
                        });
                    }
                }
            }
        };
        live.dial();
        self.timing.dialled();
        None
    }

    async fn choose_version(&self) -> WaVersion {
        let last_good = match &self.epoch {
            Some(Epoch { live: Some(live), .. }) => Some(live.version),
            Some(epoch) => match tokio::time::timeout(DATABASE_DEADLINE, epoch.session.wa_version()).await {
                Ok(Ok(version)) => version,
                // What is wrong shows when the client is built.
                Ok(Err(_)) | Err(_) => None,
            },
            None => None,
        };
        self.versions.choose(last_good)
    }

    /// Ends the client at once and gives the lease up, whether or not the database hears it.
    async fn discard(&mut self, reason: CutReason) {
        let Some(epoch) = self.epoch.take() else { return };
        if let Some(live) = epoch.live {
            live.discard(reason).await;
        }
        if reason != CutReason::Lease {
            self.release(&epoch.kept).await;
        }
    }

    async fn archive(&mut self) -> Event {
        let Some(epoch) = self.epoch.take() else { return Event::LeaseLost };
        // Nothing of the old client may be written to the new generation.
        if let Some(live) = epoch.live {
            live.discard(CutReason::LoggedOut).await;
        }
        let event = match tokio::time::timeout(DATABASE_DEADLINE, epoch.session.archive()).await {
            Ok(Ok(())) => {
                tracing::info!(bot = %self.native.name, "the session was archived");
                Event::Archived
            }
            // The login will be refused once more, and archived then.
            Ok(Err(StoreError::Fenced)) => Event::LeaseLost,
            Ok(Err(error)) => {
                tracing::error!(bot = %self.native.name, %error, "the session was not archived");
                self.told.problem = Some(error.to_string());
                Event::DatabaseDown
            }
            Err(_) => Event::DatabaseDown,
        };
        self.release(&epoch.kept).await;
        event
    }

    async fn release(&self, kept: &Kept) -> &'static str {
        match tokio::time::timeout(RELEASE_DEADLINE, self.native.keeper.release(&kept.lease)).await {
            Ok(Ok(())) => "released",
            Ok(Err(error)) => {
                tracing::warn!(bot = %self.native.name, %error, "the lease was not given up: it expires");
                "expires"
            }
            Err(_) => "expires",
        }
    }

    async fn close(&mut self) {
        let Some(epoch) = self.epoch.take() else { return };
        let bot = self.native.name.as_str();
        if let Some(live) = epoch.live {
            let began = Instant::now();
            let outcome = if live.close(CLOSE_DEADLINE).await { "flushed" } else { "cut at the deadline" };
            let ms = began.elapsed().as_millis();
            measure::stopped("link", began.elapsed());
            tracing::info!(bot, step = "link", outcome, duration_ms = ms, "stopping");
        }
        let began = Instant::now();
        let outcome = self.release(&epoch.kept).await;
        let ms = began.elapsed().as_millis();
        measure::stopped("lease", began.elapsed());
        tracing::info!(bot, step = "lease", outcome, duration_ms = ms, "stopping");
        // After the release: a ready successor opens the link meanwhile.
        self.native.backups.last(bot, &epoch.kept.lease.session).await;
    }
}

/// An error with its causes, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
