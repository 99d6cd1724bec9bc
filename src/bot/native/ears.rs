//! Raises and clears the warning that a bot is deaf. It restarts nothing.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;
use wacore::types::events::{Event, EventHandler};
use wacore::types::message::MessageInfo;

use crate::link::hearing::{Hearing, Verdict, WINDOW};
use crate::measure;
use crate::runtime::clock;
use crate::runtime::status::{Board, WarningKind};

/// What a bot hears, over all its clients; cheap to clone.
#[derive(Clone, Default)]
pub struct Ears(Arc<Shared>);

#[derive(Default)]
struct Shared {
    hearing: Mutex<Hearing>,
    changed: Notify,
    /// Whose they are, once they are watched.
    bot: OnceLock<String>,
}

impl Ears {
    /// A message was decrypted.
    pub fn heard(&self, info: &MessageInfo) {
        self.hearing().heard(Instant::now(), key(info));
        self.0.changed.notify_one();
    }

    /// A message was not.
    fn missed(&self, info: &MessageInfo) {
        self.hearing().missed(Instant::now(), key(info));
        self.0.changed.notify_one();
    }

    /// Keeps the warning of a bot as it should be, until dropped.
    pub async fn watch(self, name: String, board: Board) {
        let mut deaf = false;
        let _ = self.0.bot.set(name.clone());
        loop {
            let verdict = self.hearing().verdict(Instant::now());
            if verdict.deaf != std::mem::replace(&mut deaf, verdict.deaf) {
                tell(&name, &board, verdict);
            }
            let time = async {
                match verdict.again {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.0.changed.notified() => {}
                () = time => {}
            }
        }
    }

    fn hearing(&self) -> MutexGuard<'_, Hearing> {
        self.0.hearing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventHandler for Ears {
    fn handle_event(&self, event: Arc<Event>) {
        // A view-once message that only the phone may show is unavailable, not undecryptable.
        if let Event::UndecryptableMessage(message) = &*event
            && !message.is_unavailable
        {
            if let Some(bot) = self.0.bot.get() {
                measure::undecryptable(bot);
            }
            self.missed(&message.info);
        }
    }
}

fn tell(name: &str, board: &Board, verdict: Verdict) {
    let Verdict { deaf, arrived, missed, .. } = verdict;
    if !deaf {
        tracing::info!(bot = name, arrived, missed, "messages can be decrypted again");
        board.bot(name, |bot| bot.clear(WarningKind::Deaf));
        return;
    }
    tracing::warn!(
        bot = name,
        arrived,
        missed,
        "deaf: most inbound messages cannot be decrypted; the link is left alone"
    );
    let text = format!(
        "{missed} of {arrived} messages of the last {} minutes could not be decrypted. The link itself works, so \
         nothing was restarted, and the senders' phones were asked to send again. Make sure that nothing else uses \
         this session and that no old copy of it was restored; if it lasts, update blacksky, and as the last resort \
         remove the linked device on the phone and pair again.",
        WINDOW.as_secs() / 60,
    );
    board.bot(name, |bot| bot.raise(WarningKind::Deaf, clock::now(), text));
}

/// Names a message within this process; holds nothing of it.
fn key(info: &MessageInfo) -> u64 {
    let mut hasher = DefaultHasher::new();
    (info.source.chat.to_non_ad_string(), &info.id).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::task::AbortOnDropHandle;
    use wacore::types::events::{DecryptFailMode, UnavailableType, UndecryptableMessage};

    use super::*;
    use crate::runtime::status::BotStatus;

    const MINUTE: Duration = Duration::from_secs(60);

    struct Bench {
        ears: Ears,
        board: Board,
        next: u32,
        _watching: AbortOnDropHandle<()>,
    }

    impl Bench {
        fn new() -> Self {
            let (ears, board) = (Ears::default(), Board::new(clock::now(), None, ["main"].into_iter()));
            let watching = tokio::spawn(ears.clone().watch("main".to_owned(), board.clone()));
            Self { ears, board, next: 0, _watching: AbortOnDropHandle::new(watching) }
        }

        fn info(&mut self) -> Arc<MessageInfo> {
            self.next += 1;
            Arc::new(MessageInfo { id: self.next.to_string(), ..Default::default() })
        }

        fn undecryptable(&mut self, is_unavailable: bool) {
            let message = UndecryptableMessage::builder()
                .info(self.info())
                .is_unavailable(is_unavailable)
                .unavailable_type(UnavailableType::Unknown)
                .decrypt_fail_mode(DecryptFailMode::Show)
                .build();
            self.ears.handle_event(Arc::new(Event::UndecryptableMessage(message)));
        }

        async fn status(&self) -> BotStatus {
            // The watcher has seen all that was said when nothing but time is left to wait for.
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.board.subscribe().borrow().bots["main"].clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_warning_is_raised_once_and_clears_itself() {
        let mut bench = Bench::new();
        for _ in 0..13 {
            bench.undecryptable(false);
            tokio::time::sleep(MINUTE).await;
        }
        let status = bench.status().await;
        assert_eq!((status.warnings.len(), status.warnings[0].kind), (1, WarningKind::Deaf));
        assert!(status.warnings[0].text.contains(" of 10 messages of the last 10 minutes"), "{status:?}");
        assert_eq!(status.raised[&WarningKind::Deaf], 1);
        // Nothing more arrives: no evidence is left.
        tokio::time::sleep(11 * MINUTE).await;
        assert!(bench.status().await.warnings.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn hearing_again_clears_it() {
        let mut bench = Bench::new();
        for _ in 0..40 {
            bench.undecryptable(false);
            tokio::time::sleep(MINUTE / 3).await;
        }
        assert_eq!(bench.status().await.warnings.len(), 1);
        for _ in 0..40 {
            let info = bench.info();
            bench.ears.heard(&info);
        }
        assert!(bench.status().await.warnings.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_only_the_phone_may_show_is_no_failure() {
        let mut bench = Bench::new();
        for _ in 0..60 {
            bench.undecryptable(true);
            tokio::time::sleep(MINUTE / 2).await;
        }
        assert!(bench.status().await.warnings.is_empty());
    }
}
