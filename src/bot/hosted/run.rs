//! One run of a hosted bot's program, watched until something ends it.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Hosted;
use super::child::{Child, Exit, Happening};
use super::news::News;
use super::stage::Stage;
use super::tenure::Tenure;
use super::vault::{MirrorEnd, Vault};
use super::view::View;
use crate::bot::handle::Request;
use crate::store::StoreError;

/// A bot that runs for this long without dialling through the relay goes around it.
const THROUGH_WITHIN: Duration = Duration::from_secs(60);
/// Time between two looks at the memory.
const LOOK: Duration = Duration::from_secs(5);
/// Looks in a row above the limit that restart the bot: a peak does not.
const LOOKS: u32 = 3;
/// Wait between two tries to go on writing after the database failed.
const REBIND: Duration = Duration::from_secs(1);
/// For the mirror to finish what it is writing.
const SETTLE: Duration = Duration::from_secs(4);

/// What ended the watch; but for `Exited` the program still runs.
pub enum End {
    Exited {
        exit: Exit,
        /// It had dialled through the relay.
        dialled: bool,
    },
    Stop,
    /// Another dyno should have the bot.
    Spared,
    Lost,
    /// For this reason.
    Restart(&'static str),
}

/// How the session ended to be kept.
enum Keeping {
    Settled,
    Lost,
    /// The bot removed it; the good one is in the database.
    Removed,
}

/// Watches a run.
pub async fn watch(
    hosted: &Hosted,
    requests: &mut mpsc::Receiver<Request>,
    view: &mut View,
    (tenure, vault): (&mut Tenure, &mut Vault),
    stage: &mut Stage,
    child: &mut Child,
) -> End {
    let settle = CancellationToken::new();
    let spared = tenure.kept.spared().clone();
    let writer = view.clone();
    let mut keeping = std::pin::pin!(keep_session(hosted, &writer, tenure, vault, settle.clone()));
    let mut news = News::new(view, stage.redactor());
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut over = 0;
    let around_at = Instant::now() + THROUGH_WITHIN;
    let mut around = std::pin::pin!(tokio::time::sleep_until(around_at));
    let mut waits_for_dial = hosted.bot.relay;
    let end = loop {
        tokio::select! {
            // Output last: a flood of it must not keep the rest from being heard.
            biased;
            () = hosted.stop.cancelled() => break End::Stop,
            () = spared.cancelled() => break End::Spared,
            kept = &mut keeping => return match kept {
                Keeping::Lost | Keeping::Settled => End::Lost,
                Keeping::Removed => End::Restart("it removed its session; the last good one is restored"),
            },
            report = stage.next() => {
                news.report(report);
                waits_for_dial &= !news.dialled();
            }
            Some(request) = requests.recv() => match request {
                Request::ReconnectNow => stage.reconnect(),
                Request::RetryWebhook => {}
                Request::RestartBot => break End::Restart("it was asked for"),
                // The bot shows its codes by itself; one that has given up needs a new start.
                Request::ShowNewQr => break End::Restart("a new QR code was asked for"),
            },
            () = &mut around, if waits_for_dial => {
                waits_for_dial = false;
                news.goes_around();
            }
            _ = looks.tick() => if let Some(used) = child.memory().await {
                news.memory(used);
                over = if used > hosted.memory_limit() { over + 1 } else { 0 };
                if over >= LOOKS {
                    break End::Restart("it uses more memory than it may");
                }
            },
            happening = child.next() => match happening {
                Happening::Line(line) => news.line(&line),
                Happening::Exited(exit) => break End::Exited { exit, dialled: news.dialled() },
            },
        }
    };
    settle.cancel();
    match timeout(SETTLE, keeping).await {
        // What the end of the program changes is written afterwards.
        Ok(Keeping::Settled | Keeping::Removed) | Err(_) => end,
        Ok(Keeping::Lost) => match end {
            exited @ End::Exited { .. } => exited,
            _ => End::Lost,
        },
    }
}

/// Mirrors the session folder, through failures of the database, for as long as the lease lasts.
async fn keep_session(
    hosted: &Hosted,
    view: &View,
    tenure: &mut Tenure,
    vault: &mut Vault,
    settle: CancellationToken,
) -> Keeping {
    loop {
        let lost = tenure.kept.lost().clone();
        let report = |mirrored: super::vault::Mirrored| view.mirrored(&mirrored);
        let ended = tokio::select! {
            () = lost.cancelled() => return Keeping::Lost,
            ended = vault.mirror(settle.clone(), report) => ended,
        };
        match ended {
            MirrorEnd::Stopped => return Keeping::Settled,
            MirrorEnd::Removed => {
                view.session_removed();
                return Keeping::Removed;
            }
            MirrorEnd::Failed(StoreError::Fenced | StoreError::Held { .. }) => return Keeping::Lost,
            MirrorEnd::Failed(error) => {
                let problem = error.to_string();
                tracing::error!(bot = %hosted.name, problem, "the session cannot be written: trying again while the lease lasts");
                view.vault(|vault| vault.problem = Some(problem.clone()));
                hosted.board.database_down(hosted.store.kind(), &problem);
                loop {
                    let lost = tenure.kept.lost().clone();
                    let again = async {
                        sleep(REBIND).await;
                        tenure.rebind(hosted).await
                    };
                    let rebound = tokio::select! {
                        rebound = again => rebound,
                        () = lost.cancelled() => return Keeping::Lost,
                        () = settle.cancelled() => return Keeping::Settled,
                    };
                    match rebound {
                        Ok(()) => break,
                        Err(StoreError::Fenced | StoreError::Held { .. }) => return Keeping::Lost,
                        Err(error) => {
                            tracing::debug!(bot = %hosted.name, %error, "the database is still away")
                        }
                    }
                }
                hosted.board.database_up(hosted.store.kind(), hosted.store.warning());
                tracing::info!(bot = %hosted.name, epoch = tenure.kept.lease.epoch, "the session can be written again");
                vault.rebind(tenure.session.clone());
            }
        }
    }
}
