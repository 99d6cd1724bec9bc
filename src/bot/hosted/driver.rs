//! Keeps a hosted bot: wins the lease, and runs its program again and again for as long as that is held.

use std::time::Duration;

use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::Hosted;
use super::child::{Child, Restart, Restarts};
use super::import;
use super::run::{self, End};
use super::stage::Stage;
use super::tenure::{self, Tenure};
use super::vault::{Vault, VaultError};
use super::view::View;
use crate::bot::handle::Request;
use crate::link::Parked;
use crate::link::machine::GIVEN_AWAY;
use crate::runtime::clock;
use crate::runtime::status::ChildState;
use crate::store::{Notices, StoreError};

/// For writing the last changes of the session after the program has ended.
const FLUSH_DEADLINE: Duration = Duration::from_secs(4);
/// From SIGTERM to SIGKILL when the lease is gone: another dyno may start the bot soon.
const LOST_GRACE: Duration = Duration::from_millis(500);

pub struct Driver {
    hosted: Hosted,
    requests: mpsc::Receiver<Request>,
    /// From before the lease is asked for, so that no release is missed.
    notices: Notices,
    view: View,
    rng: StdRng,
}

/// Why the lease is not needed any more.
#[derive(Debug)]
enum Leave {
    Stop,
    /// Another dyno should have the bot.
    Spared,
    /// It is another's, or ran out.
    Lost,
    /// The session can be neither read nor written.
    Database(StoreError),
}

/// How one run of the program ended.
enum Turn {
    Leave(Leave),
    /// It is to run again at once.
    Again,
    /// By itself.
    Exited {
        how: String,
        ran_for: Duration,
        dialled: bool,
    },
    /// It could not begin.
    Unable(String),
}

impl Driver {
    pub fn new(hosted: Hosted, requests: mpsc::Receiver<Request>) -> Self {
        let notices = hosted.store.notices();
        Self { notices, view: View::new(&hosted), rng: rand::make_rng(), requests, hosted }
    }

    pub async fn run(mut self) {
        while let Some(mut tenure) =
            tenure::win(&self.hosted, &mut self.requests, &mut self.notices, &self.view, &mut self.rng).await
        {
            self.view.starting();
            let leave = self.serve(&mut tenure).await;
            self.view.stopped();
            match leave {
                Leave::Stop => {
                    tenure.release(&self.hosted).await;
                    // After the release: another dyno starts the bot meanwhile.
                    self.hosted.backups.last(&self.hosted.name, &self.hosted.session).await;
                    return;
                }
                Leave::Spared => {
                    tracing::info!(bot = %self.hosted.name, "giving the bot to a dyno that has fewer");
                    tenure.release(&self.hosted).await;
                    self.hosted.backups.last(&self.hosted.name, &self.hosted.session).await;
                    tokio::select! {
                        () = self.hosted.stop.cancelled() => return,
                        () = sleep(GIVEN_AWAY) => {}
                    }
                }
                Leave::Lost => {
                    tracing::warn!(bot = %self.hosted.name, "the lease was lost: the bot was stopped");
                }
                Leave::Database(error) => {
                    self.hosted.board.database_down(self.hosted.store.kind(), &error.to_string());
                    self.view.waits_for_database(&error.to_string());
                    tenure.release(&self.hosted).await;
                    tokio::select! {
                        () = self.hosted.stop.cancelled() => return,
                        () = sleep(self.hosted.backoff.initial.get()) => {}
                    }
                }
            }
        }
    }

    async fn serve(&mut self, tenure: &mut Tenure) -> Leave {
        let place = self.hosted.folder.join(&self.hosted.bot.session_dir);
        let mut vault = Vault::new(tenure.session.clone(), place, self.hosted.backup_interval);
        if let Some(login) = &self.hosted.bot.login {
            match import::import(&tenure.session, &vault, login).await {
                Ok(outcome) => outcome.log(&self.hosted.name),
                Err(VaultError::Store(error)) => return Leave::of(error),
                // The restore meets the same trouble, and says so on the page.
                Err(error) => {
                    tracing::error!(bot = %self.hosted.name, %error, "the login of SESSION_ID was not imported")
                }
            }
        }
        let mut restarts = Restarts::default();
        let mut stage = loop {
            match Stage::set(&self.hosted).await {
                Ok(stage) => break stage,
                Err(error) => {
                    let text = format!("the bot's surroundings could not be made: {error}");
                    if let Some(leave) = self.park(tenure, Parked::BotNotStarted, &text).await {
                        return leave;
                    }
                }
            }
        };
        loop {
            let left = match self.turn(tenure, &mut stage, &mut vault).await {
                Turn::Leave(leave) => return leave,
                Turn::Again => None,
                Turn::Unable(text) => self.park(tenure, Parked::BotNotStarted, &text).await,
                Turn::Exited { how, ran_for, dialled } => {
                    self.view.ended(&how);
                    match restarts.after(ran_for, dialled, &mut self.rng) {
                        Restart::After(wait) => {
                            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                            tracing::warn!(bot = %self.hosted.name, wait_ms, "the bot ended ({how}): it is started again");
                            let at = clock::now() + chrono::Duration::from_std(wait).unwrap_or_default();
                            self.view.waits_for_restart(at);
                            self.wait(tenure, Some(wait)).await
                        }
                        Restart::Park => self.park(tenure, Parked::BotCrashes, &how).await,
                    }
                }
            };
            if let Some(leave) = left {
                return leave;
            }
        }
    }

    /// One run of the program: session folder, start, watch, stop, last changes.
    async fn turn(&mut self, tenure: &mut Tenure, stage: &mut Stage, vault: &mut Vault) -> Turn {
        let name = self.hosted.name.clone();
        match vault.restore().await {
            Ok(restored) => tracing::info!(bot = %name, ?restored, "the session folder is up to date"),
            Err(VaultError::Store(error)) => return Turn::Leave(Leave::of(error)),
            Err(error) => return Turn::Unable(error.to_string()),
        }
        let mut child = match Child::start(&stage.spec(&self.hosted)) {
            Ok(child) => child,
            Err(error) => return Turn::Unable(error.to_string()),
        };
        let began = Instant::now();
        stage.admit();
        self.view.running(stage.port());
        let end =
            run::watch(&self.hosted, &mut self.requests, &mut self.view, (tenure, vault), stage, &mut child)
                .await;
        stage.refuse();
        let (turn, grace) = match end {
            End::Exited { exit, dialled } => {
                // What it started may live on.
                child.stop(LOST_GRACE, |_| {}).await;
                let turn = Turn::Exited { how: exit.to_string(), ran_for: began.elapsed(), dialled };
                return self.flushed(vault, turn).await;
            }
            End::Lost => (Turn::Leave(Leave::Lost), LOST_GRACE),
            End::Stop => (Turn::Leave(Leave::Stop), self.hosted.bot.stop_grace.get()),
            End::Spared => (Turn::Leave(Leave::Spared), self.hosted.bot.stop_grace.get()),
            End::Restart(why) => {
                tracing::info!(bot = %name, "restarting the bot: {why}");
                (Turn::Again, self.hosted.bot.stop_grace.get())
            }
        };
        let began = Instant::now();
        let exit = child.stop(grace, |line| stage.last_words(&name, &line)).await;
        let ms = began.elapsed().as_millis();
        tracing::info!(bot = %name, step = "program", outcome = %exit, duration_ms = ms, "stopping");
        self.view.ended(&exit.to_string());
        match turn {
            // Nothing of it may be written any more.
            Turn::Leave(Leave::Lost) => turn,
            _ => self.flushed(vault, turn).await,
        }
    }

    /// Writes what the program changed at its end.
    async fn flushed(&self, vault: &mut Vault, turn: Turn) -> Turn {
        let began = Instant::now();
        let known = vault.session_removed();
        let outcome = match timeout(FLUSH_DEADLINE, vault.flush()).await {
            Ok(Ok(mirrored)) => {
                self.view.mirrored(&mirrored);
                "flushed".to_owned()
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "not done in time".to_owned(),
        };
        if vault.session_removed() && !known {
            self.view.session_removed();
        }
        let ms = began.elapsed().as_millis();
        tracing::info!(bot = %self.hosted.name, step = "session", outcome, duration_ms = ms, "stopping");
        turn
    }

    /// Does not start the bot any more until somebody asks; `Some` when the lease is to be left before.
    async fn park(&mut self, tenure: &Tenure, why: Parked, detail: &str) -> Option<Leave> {
        tracing::error!(bot = %self.hosted.name, reason = why.name(), "the bot is not started any more: {detail}");
        let state = if why == Parked::BotCrashes { ChildState::CrashLoop } else { ChildState::NotStarted };
        self.view.parked(why, state, detail);
        self.wait(tenure, None).await
    }

    /// Waits for the time, or for ever; anything that is asked of the bot ends it.
    async fn wait(&mut self, tenure: &Tenure, time: Option<Duration>) -> Option<Leave> {
        let over = async {
            match time {
                Some(time) => sleep(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.hosted.stop.cancelled() => Some(Leave::Stop),
            () = tenure.kept.lost().cancelled() => Some(Leave::Lost),
            Some(_) = self.requests.recv() => None,
            () = over => None,
        }
    }
}

impl Leave {
    fn of(error: StoreError) -> Self {
        match error {
            StoreError::Fenced | StoreError::Held { .. } => Self::Lost,
            other => Self::Database(other),
        }
    }
}
