//! The link in simulated time: the real client library, our connection, heartbeat, transport and state machine
//! against the simulator with its real handshake and encryption, over a pipe within the process, on a paused
//! clock. Not in it: the database (the session is in memory), the lease, TCP.
//!
//! The clock of the client library is set once a process, so each test runs in a process of its own.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;
use wacore::store::InMemoryBackend;
use wacore::time::{MonotonicProvider, TimeProvider};
use wacore::types::events::{EventInterest, EventKind, InboundMessage, Subscription};
use whatsapp_rust::store::persistence_manager::PersistenceManager;
use whatsapp_rust::{Client, InboundDurabilityHook};

use super::connection::{Connection, News};
use super::ears::Ears;
use super::executor::Executor;
use crate::config::{Heartbeat, Period};
use crate::link::backoff::tests::defaults;
use crate::link::dial::{self, DialError, Dialler, Socket};
use crate::link::http::Http;
use crate::link::machine::{Action as Step, Event, Machine};
use crate::link::policy::Ending;
use crate::link::transport::{CutReason, End, Factory, Line};
use crate::runtime::clock;
use crate::runtime::status::{Board, WarningKind};
use crate::sim::{Action, Fault, Handle, Options, PATH, Server, When};

const ACCOUNT: &str = "15550001000";
const CONTACT: &str = "15550002000";
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Simulated; nothing of what is waited for takes that long.
const PATIENCE: Duration = Duration::from_secs(600);
/// Marks the process of its own.
const ALONE: &str = "BLACKSKY_TEST_ALONE";

/// The default settings.
const HEARTBEAT: Heartbeat =
    Heartbeat { period: Period(Duration::from_secs(25)), deadline: Period(Duration::from_secs(10)) };

/// The client library's clocks, on the runtime's.
#[derive(Clone, Copy)]
struct Simulated {
    origin: Instant,
    wall_ms: i64,
}

impl MonotonicProvider for Simulated {
    fn now_nanos(&self) -> u64 {
        u64::try_from(Instant::now().saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }
}

impl TimeProvider for Simulated {
    fn now_millis(&self) -> i64 {
        let passed = Instant::now().saturating_duration_since(self.origin).as_millis();
        self.wall_ms + i64::try_from(passed).unwrap_or(i64::MAX)
    }
}

/// Runs a test in a process of its own, on a paused clock.
#[allow(clippy::disallowed_methods, reason = "a test asks which of its two processes it is")]
fn alone(name: &str, body: impl Future<Output = ()>) {
    if std::env::var_os(ALONE).is_none() {
        let name = format!("{}::{name}", module_path!().split_once("::").expect("a module").1);
        let output = Command::new(std::env::current_exe().expect("a binary"))
            .args([name.as_str(), "--exact", "--nocapture"])
            .env(ALONE, "1")
            .output()
            .expect("it starts again");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        // The figures.
        text.lines().filter(|line| line.contains("simulated")).for_each(|line| println!("{line}"));
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let simulated = Simulated { origin: Instant::now(), wall_ms: clock::now().timestamp_millis() };
        wacore::time::set_monotonic_provider(simulated).expect("the first");
        wacore::time::set_time_provider(simulated).expect("the first");
        body.await;
    });
}

/// Dials the simulator over a pipe.
struct Wire {
    server: Arc<Server>,
    /// The server drops every link after 50 ms.
    dropping: Arc<AtomicBool>,
}

#[async_trait]
impl Dialler for Wire {
    async fn dial(&self) -> Result<Socket, DialError> {
        if self.dropping.load(Ordering::Relaxed) {
            let handle = self.server.handle();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                handle.strike(Action::Drop);
            });
        }
        dial::upgrade(&format!("ws://127.0.0.1{PATH}"), self.server.connect()).await
    }
}

/// Tells the ears what could be read; the session itself is not kept.
struct Reader(Ears);

#[async_trait]
impl InboundDurabilityHook for Reader {
    async fn on_messages(&self, _client: Arc<Client>, batch: &[InboundMessage]) -> anyhow::Result<()> {
        batch.iter().for_each(|message| self.0.heard(&message.info));
        Ok(())
    }
}

/// A client and its simulator.
struct Bed {
    phone: Handle,
    client: Arc<Client>,
    executor: Executor,
    factory: Factory,
    line: Line,
    dropping: Arc<AtomicBool>,
    connection: Option<Connection>,
    board: Board,
    _listening: AbortOnDropHandle<()>,
    _deafness: Subscription,
}

impl Bed {
    async fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let server = Arc::new(Server::start(Options { listener, state_dir: None }).expect("it starts"));
        let phone = server.handle();
        let (executor, dropping) = (Executor::default(), Arc::new(AtomicBool::new(false)));
        let factory =
            Factory::over(Arc::new(Wire { server, dropping: dropping.clone() }), executor.tasks().clone());
        let (ears, board) = (Ears::default(), Board::new(clock::now(), None, ["main"].into_iter()));
        let listening = tokio::spawn(ears.clone().watch("main".to_owned(), board.clone()));
        let manager = PersistenceManager::new(Arc::new(InMemoryBackend::new())).await.expect("a device");
        let client = Client::builder()
            .with_runtime(executor.clone())
            .with_persistence_manager(Arc::new(manager))
            .with_transport_factory(factory.clone())
            .with_http_client(Http::new())
            .with_version_override((2, 3000, 1_030_000_000))
            .with_skip_history_sync(true)
            .with_inbound_durability_hook(Reader(ears.clone()))
            .build()
            .await
            .expect("a client")
            .into_client();
        client.enable_auto_reconnect.store(false, Ordering::Relaxed);
        let interest = EventInterest::of(&[EventKind::UndecryptableMessage]);
        let deafness = client.subscribe(interest, Arc::new(ears));
        Self {
            phone,
            client,
            executor,
            factory,
            line: Line::default(),
            dropping,
            connection: None,
            board,
            _listening: AbortOnDropHandle::new(listening),
            _deafness: deafness,
        }
    }

    fn dial(&mut self) {
        self.line = self.factory.next_line();
        let connection = Connection::begin(self.client.clone(), self.line.clone(), &self.executor, HEARTBEAT);
        self.connection = Some(connection);
    }

    async fn next(&mut self) -> News {
        let connection = self.connection.as_mut().expect("it was dialled");
        connection.news.recv().await.expect("news end with an ending")
    }

    async fn until_open(&mut self) {
        self.dial();
        while !matches!(timeout(PATIENCE, self.next()).await.expect("it opens"), News::Opened) {}
    }

    async fn until_ended(&mut self) -> Ending {
        loop {
            if let News::Ended(ending) = timeout(PATIENCE, self.next()).await.expect("it ends") {
                return ending;
            }
        }
    }

    /// Links the account and opens the link.
    async fn pair(&mut self) {
        self.dial();
        loop {
            match timeout(PATIENCE, self.next()).await.expect("it pairs") {
                News::Qr(qr) => self.phone.scan(&qr.payload, ACCOUNT).expect("the QR is good"),
                News::Ended(ending) => {
                    assert_eq!(ending, Ending::Paired);
                    break;
                }
                News::Paired | News::Opened => {}
            }
        }
        self.until_open().await;
    }
}

/// Nothing happens for this long, and nothing may.
async fn quiet(bed: &mut Bed, time: Duration) -> (u64, u64) {
    let (probes, pings) = (bed.line.pulse().probes(), bed.phone.counters().pings);
    if let Ok(news) = timeout(time, bed.next()).await {
        panic!("a healthy link had news: {news:?}");
    }
    assert_eq!(bed.line.end(), None);
    (bed.line.pulse().probes() - probes, bed.phone.counters().pings - pings)
}

#[test]
fn no_false_alarm_in_a_quiet_day() {
    alone("no_false_alarm_in_a_quiet_day", async {
        let mut bed = Bed::new().await;
        bed.pair().await;
        let (probes, pings) = quiet(&mut bed, DAY).await;
        assert!(probes > 500 && pings > DAY.as_secs() / 30, "{probes} {pings}");
        println!("24 simulated hours, quiet: 0 false alarms, {probes} probes of ours, {pings} pings in all");
        // It is alive: a message gets through, and a dead link is still noticed.
        bed.phone.send_text(CONTACT, ACCOUNT, "awake?").expect("sent");
        let read = bed.phone.wait_for_counters("a receipt", PATIENCE, |counters| counters.receipts > 0).await;
        read.expect("it is read");
        bed.phone.strike(Action::Swallow);
        assert_eq!(bed.until_ended().await, Ending::Transport(End::Cut(CutReason::Silence)));
    });
}

#[test]
fn no_false_alarm_when_answers_take_almost_as_long_as_they_may() {
    alone("no_false_alarm_when_answers_take_almost_as_long_as_they_may", async {
        let mut bed = Bed::new().await;
        bed.pair().await;
        bed.phone.strike(Action::Slow { ms: 9_900 });
        let (probes, pings) = quiet(&mut bed, DAY).await;
        assert!(probes > 500, "{probes} {pings}");
        println!("24 simulated hours, answers after 9.9 s: 0 false alarms, {probes} probes, {pings} pings");
        // A tenth of a second later it would be dead.
        bed.phone.strike(Action::Slow { ms: 60_000 });
        assert_eq!(bed.until_ended().await, Ending::Transport(End::Cut(CutReason::Silence)));
    });
}

#[test]
fn dead_links_are_noticed_within_period_and_deadline_at_the_default_settings() {
    alone("dead_links_are_noticed_within_period_and_deadline_at_the_default_settings", async {
        let mut bed = Bed::new().await;
        bed.pair().await;
        let limit = HEARTBEAT.period.get() + HEARTBEAT.deadline.get();
        for action in [Action::Silence, Action::Swallow, Action::Slow { ms: 3_600_000 }] {
            let mut worst = Duration::ZERO;
            for round in 0..40u64 {
                // At any moment between two signs of life.
                if timeout(Duration::from_millis(40_000 + round * 977), bed.next()).await.is_ok() {
                    panic!("a healthy link had news");
                }
                let began = Instant::now();
                bed.phone.strike(action.clone());
                assert_eq!(bed.until_ended().await, Ending::Transport(End::Cut(CutReason::Silence)));
                worst = worst.max(began.elapsed());
                bed.phone.clear_faults();
                bed.until_open().await;
            }
            assert!(worst <= limit + Duration::from_secs(1), "{action:?}: {worst:?}");
            println!(
                "simulated, period 25 s, deadline 10 s, 40 times {action:?}: noticed after {worst:?} at most"
            );
        }
    });
}

#[test]
fn a_server_that_drops_every_link_after_50_ms_is_not_flooded() {
    alone("a_server_that_drops_every_link_after_50_ms_is_not_flooded", async {
        let mut bed = Bed::new().await;
        bed.pair().await;
        bed.phone.strike(Action::Drop);
        bed.until_ended().await;
        bed.dropping.store(true, Ordering::Relaxed);
        let mut total = 0;
        for seed in 0..20 {
            let before = bed.phone.counters().dials;
            flood(&mut bed, seed).await;
            let dials = bed.phone.counters().dials - before;
            assert!((8..=13).contains(&dials), "{dials} dials in ten minutes");
            total += dials;
        }
        assert_eq!(bed.phone.counters().registrations, 1);
        let average = total as f64 / 20.0;
        println!(
            "every link dropped after 50 ms, default back-off: {} dials in 10 simulated minutes on average",
            average
        );
    });
}

/// Ten minutes of a bot whose every link is dropped after 50 ms.
async fn flood(bed: &mut Bed, seed: u64) {
    let mut machine = Machine::new(defaults(), Duration::from_secs(10));
    let mut rng = StdRng::seed_from_u64(seed);
    let end = Instant::now() + HOUR / 6;
    machine.step(Instant::now(), Event::Start, &mut rng);
    let mut event = Event::Acquired;
    loop {
        let steps = machine.step(Instant::now(), event, &mut rng);
        event = match steps.as_slice() {
            [Step::Dial] => {
                bed.dial();
                Event::Ended(bed.until_ended().await.reaction())
            }
            [Step::WakeAt(at)] if *at >= end => return tokio::time::sleep_until(end).await,
            [Step::WakeAt(at)] => {
                tokio::time::sleep_until(*at).await;
                Event::Woke
            }
            other => panic!("{other:?}"),
        };
    }
}

#[test]
fn undecryptable_messages_warn_and_restart_nothing() {
    alone("undecryptable_messages_warn_and_restart_nothing", async {
        let mut bed = Bed::new().await;
        bed.pair().await;
        let minute = Duration::from_secs(60);
        let warnings = |bed: &Bed| bed.board.subscribe().borrow().bots["main"].warnings.clone();
        bed.phone.inject(Fault::new(Action::Garble, When::Message).lasting());
        for _ in 0..9 {
            for _ in 0..2 {
                bed.phone.send_text(CONTACT, ACCOUNT, "nobody reads this").expect("sent");
            }
            assert!(timeout(minute, bed.next()).await.is_err(), "the link was touched");
            assert_eq!(warnings(&bed), [], "too early");
        }
        for _ in 0..3 {
            bed.phone.send_text(CONTACT, ACCOUNT, "nor this").expect("sent");
            assert!(timeout(minute, bed.next()).await.is_err(), "the link was touched");
        }
        let raised = warnings(&bed);
        assert_eq!((raised.len(), raised[0].kind), (1, WarningKind::Deaf));
        println!("simulated: {}", raised[0].text);
        assert!(bed.phone.counters().retry_receipts > 0, "the senders were asked again");
        // Readable again: the warning goes by itself.
        bed.phone.clear_faults();
        for _ in 0..25 {
            bed.phone.send_text(CONTACT, ACCOUNT, "better").expect("sent");
            assert!(timeout(minute / 6, bed.next()).await.is_err(), "the link was touched");
        }
        assert_eq!(warnings(&bed), []);
        assert_eq!(bed.line.end(), None, "nothing was restarted");
        assert_eq!(bed.phone.counters().registrations, 1);
    });
}
