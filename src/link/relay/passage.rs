//! One connection through the relay: bytes pass as they are, frames are counted, silence ends it.

use std::io;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::frames::Frames;

/// Bytes that pass at once. Larger ones fit the caches no more, smaller ones cost more calls.
const BUFFER: usize = 64 * 1024;
/// For the server to answer the close frame of the bot. A dead one never does, and the library `ws`, on which Baileys
/// stands, waits 30 s for it before it reports the end.
const CLOSING: Duration = Duration::from_secs(1);

/// What has passed since the relay began.
#[derive(Debug, Default)]
pub struct Counters {
    /// From WhatsApp.
    pub inbound: Counter,
    /// To WhatsApp.
    pub outbound: Counter,
}

/// What has passed one way.
#[derive(Debug, Default)]
pub struct Counter {
    frames: AtomicU64,
    bytes: AtomicU64,
}

impl Counter {
    /// WebSocket frames, and bytes.
    pub fn get(&self) -> Flow {
        Flow { frames: self.frames.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }
}

/// So much has passed one way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flow {
    /// WebSocket frames.
    pub frames: u64,
    /// Bytes, those of the frames' headers included.
    pub bytes: u64,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passed {
    /// The bot closed it, with this code if it gave one.
    ByBot(Option<u16>),
    /// WhatsApp's side closed it, with this code if it gave one.
    ByServer(Option<u16>),
    /// WhatsApp's side broke.
    Broken(io::ErrorKind),
    /// The bot sent something, and nothing came for the longest time that a live server leaves unanswered.
    Silence,
}

/// How long a live server may leave a bot without a frame. The relay cannot ask for one itself.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The bot asks for a sign of life this often.
    pub keep_alive: Duration,
    /// The server gives it within this.
    pub deadline: Duration,
}

impl Patience {
    /// The longest that nothing comes from a live server.
    pub fn longest(self) -> Duration {
        self.keep_alive + self.deadline
    }
}

/// What is known of the silence of the server.
#[derive(Debug)]
struct Silence {
    heard: Instant,
    /// When the bot wrote what is not answered yet.
    asked: Option<Instant>,
    /// Longest time without a frame that the server has outlived: a bot may ask less often than most. Counts up to
    /// twice the usual.
    outlived: Duration,
}

impl Silence {
    fn new() -> Self {
        Self { heard: Instant::now(), asked: None, outlived: Duration::ZERO }
    }

    fn heard(&mut self) {
        let now = Instant::now();
        self.outlived = self.outlived.max(now - self.heard);
        (self.heard, self.asked) = (now, None);
    }

    /// When the server counts as dead: something is unanswered for the deadline, and nothing has come for longer than
    /// the bot's keep-alive leaves it. Not all that a bot sends is answered.
    fn over_at(&self, patience: Patience) -> Option<Instant> {
        let quiet = self.outlived.clamp(patience.keep_alive, 2 * patience.keep_alive) + patience.deadline;
        Some((self.asked? + patience.deadline).max(self.heard + quiet))
    }
}

/// Ends once the server counts as dead.
async fn over(silence: &Mutex<Silence>, patience: Patience) {
    loop {
        let over_at = silence.lock().unwrap_or_else(PoisonError::into_inner).over_at(patience);
        let now = Instant::now();
        match over_at {
            Some(at) if at <= now => return,
            Some(at) => sleep_until(at).await,
            None => sleep(patience.deadline).await,
        }
    }
}

/// Passes bytes both ways until either side ends.
pub async fn pass(
    bot: impl AsyncRead + AsyncWrite + Unpin,
    server: impl AsyncRead + AsyncWrite + Unpin,
    counters: &Counters,
    patience: Patience,
) -> Passed {
    let (mut from_bot, mut to_bot) = tokio::io::split(bot);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let silence = Mutex::new(Silence::new());
    let known = || silence.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut out, mut back) = (Frames::default(), Frames::default());
    let closing = Notify::new();
    let outwards = copy(&mut from_bot, &mut to_server, &mut out, &counters.outbound, |frames| {
        known().asked.get_or_insert_with(Instant::now);
        if frames.closed() {
            closing.notify_one();
        }
    });
    let inwards = copy(&mut from_server, &mut to_bot, &mut back, &counters.inbound, |_| known().heard());
    let closed = async {
        closing.notified().await;
        sleep(CLOSING).await;
    };
    enum First {
        Bot(Result<(), Failure>),
        Server(Result<(), Failure>),
        Silence,
    }
    let first = tokio::select! {
        ended = outwards => First::Bot(ended),
        ended = inwards => First::Server(ended),
        () = over(&silence, patience) => First::Silence,
        () = closed => First::Bot(Ok(())),
    };
    match first {
        First::Silence => Passed::Silence,
        First::Bot(Ok(()) | Err(Failure::Read(_))) => Passed::ByBot(out.close_code()),
        First::Server(Ok(())) => Passed::ByServer(back.close_code()),
        First::Server(Err(Failure::Read(kind))) | First::Bot(Err(Failure::Write(kind))) => {
            // A server that closes both at once.
            back.close_code().map_or(Passed::Broken(kind), |code| Passed::ByServer(Some(code)))
        }
        First::Server(Err(Failure::Write(_))) => Passed::ByBot(out.close_code()),
    }
}

/// Which end failed.
enum Failure {
    Read(io::ErrorKind),
    Write(io::ErrorKind),
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    frames: &mut Frames,
    counter: &Counter,
    passed: impl Fn(&Frames),
) -> Result<(), Failure> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await.map_err(|error| Failure::Read(error.kind()))?;
        if read == 0 {
            return Ok(());
        }
        let before = frames.count();
        frames.push(&buffer[..read]);
        passed(frames);
        counter.frames.fetch_add(frames.count() - before, Ordering::Relaxed);
        counter.bytes.fetch_add(read as u64, Ordering::Relaxed);
        to.write_all(&buffer[..read]).await.map_err(|error| Failure::Write(error.kind()))?;
        to.flush().await.map_err(|error| Failure::Write(error.kind()))?;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    const SILENCE: Patience =
        Patience { keep_alive: Duration::from_secs(30), deadline: Duration::from_secs(10) };
    const PING: &[u8] = &[0x82, 0x81, 0, 0, 0, 0, 1];
    const PONG: &[u8] = &[0x82, 0x01, 1];

    #[tokio::test(start_paused = true)]
    async fn bytes_pass_as_they_are_and_frames_are_counted() {
        let ((bot, relay_bot), (server, relay_server)) = (duplex(1 << 20), duplex(1 << 20));
        let counters = Counters::default();
        let ends = async {
            let ((mut bot, mut server), mut seen) = ((bot, server), vec![0; PING.len()]);
            bot.write_all(PING).await.expect("writes");
            server.read_exact(&mut seen).await.expect("reads");
            assert_eq!(seen, PING);
            server.write_all(PONG).await.expect("writes");
            server.write_all(&[0x88, 2, 0x03, 0xf3]).await.expect("writes");
            drop(server);
            let mut rest = Vec::new();
            bot.read_to_end(&mut rest).await.expect("reads");
            assert_eq!(rest, [PONG, &[0x88, 2, 0x03, 0xf3]].concat());
        };
        let passing = async { pass(relay_bot, relay_server, &counters, SILENCE).await };
        let (passed, ()) = tokio::join!(passing, ends);
        assert_eq!(passed, Passed::ByServer(Some(1011)));
        let (out, back) = (counters.outbound.get(), counters.inbound.get());
        assert_eq!((out.frames, out.bytes), (1, PING.len() as u64));
        assert_eq!((back.frames, back.bytes), (2, PONG.len() as u64 + 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_server_does_not_keep_a_bot_that_closes() {
        let ((mut bot, relay_bot), (_server, relay_server)) = (duplex(1 << 20), duplex(1 << 20));
        let (counters, start) = (Counters::default(), Instant::now());
        bot.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]).await.expect("writes");
        assert_eq!(pass(relay_bot, relay_server, &counters, SILENCE).await, Passed::ByBot(Some(1000)));
        assert_eq!(start.elapsed(), CLOSING);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_answered_in_time_ends_it_and_quiet_does_not() {
        let ((mut bot, relay_bot), (mut server, relay_server)) = (duplex(1 << 20), duplex(1 << 20));
        let (counters, start) = (Counters::default(), Instant::now());
        let chat = async {
            // An hour without a word, then half an hour of answered pings, the last one not.
            tokio::time::sleep(Duration::from_secs(3600)).await;
            let mut buffer = [0; 7];
            for _ in 0..60 {
                bot.write_all(PING).await.expect("writes");
                server.read_exact(&mut buffer).await.expect("reads");
                tokio::time::sleep(Duration::from_secs(9)).await;
                server.write_all(PONG).await.expect("writes");
                tokio::time::sleep(Duration::from_secs(21)).await;
            }
            bot.write_all(PING).await.expect("writes");
            std::future::pending::<()>().await
        };
        tokio::select! {
            passed = pass(relay_bot, relay_server, &counters, SILENCE) => assert_eq!(passed, Passed::Silence),
            () = chat => {}
        }
        // It has outlived an hour: this bot may ask seldom.
        assert_eq!(start.elapsed().as_secs(), 3600 + 1800 - 21 + 70);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_falls_silent_is_noticed_within_the_keep_alive_and_the_deadline() {
        for last_word in [0, 1, 29] {
            let ((mut bot, relay_bot), (mut server, relay_server)) = (duplex(1 << 20), duplex(1 << 20));
            let counters = Counters::default();
            let chat = async {
                let mut buffer = [0; 7];
                for _ in 0..20 {
                    bot.write_all(PING).await.expect("writes");
                    server.read_exact(&mut buffer).await.expect("reads");
                    server.write_all(PONG).await.expect("writes");
                    sleep(Duration::from_secs(30)).await;
                }
                bot.write_all(PING).await.expect("writes");
                server.write_all(PONG).await.expect("writes");
                let silent = Instant::now();
                // What no server answers, and then the next question.
                sleep(Duration::from_secs(last_word)).await;
                if last_word > 0 {
                    bot.write_all(PING).await.expect("writes");
                }
                sleep(Duration::from_secs(30 - last_word)).await;
                bot.write_all(PING).await.expect("writes");
                std::future::pending::<()>().await;
                silent
            };
            let start = Instant::now();
            tokio::select! {
                passed = pass(relay_bot, relay_server, &counters, SILENCE) => assert_eq!(passed, Passed::Silence),
                _ = chat => {}
            }
            assert_eq!(start.elapsed().as_secs(), 600 + 40, "{last_word}");
        }
    }
}
