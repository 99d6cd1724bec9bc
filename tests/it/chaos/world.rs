//! The world the bot lives in: WhatsApp, a database, dynos, and the faults that befall them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use blacksky::sim::{Action, Fault as SimFault, Handle, Server, When};
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::fault::{Blow, Fault, Refusal, Road, Timing, Weather, Whose};
use super::fleet::{Fleet, Surroundings};
use super::journal::Journal;
use super::links::Links;
use super::phone::{self, ACCOUNT, Phones};
use crate::support::postgres::{Cluster, Shutdown};
use crate::support::proxy::{Proxy, Traffic};
use crate::support::sim;

/// Everything is up and linked within this at the start.
const BEGINNING: Duration = Duration::from_secs(60);
/// What a slow network adds to each piece, on the road to WhatsApp and on that to the database.
const SLOW: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(300));

/// See the module.
pub struct World {
    pub whatsapp: Handle,
    pub fleet: Fleet,
    pub phones: Phones,
    pub links: Links,
    pub journal: Journal,
    timing: Timing,
    cluster: Cluster,
    _simulator: Server,
    _watch: AbortOnDropHandle<()>,
}

/// What a fault has shown while it lasted.
#[derive(Debug, Default, Clone, Copy)]
pub struct Struck {
    /// Another dyno had the link after so long.
    pub taken_over: Option<Duration>,
}

impl World {
    /// Starts everything and links the bot.
    pub async fn start(seed: u64, ttl: Duration, folder: PathBuf, debug: bool) -> Result<Self, String> {
        let journal = Journal::new(&folder).map_err(|error| error.to_string())?;
        let cluster = tokio::task::spawn_blocking(Cluster::start).await.map_err(|error| error.to_string())?;
        let simulator = sim::simulator();
        let (links, watch) = Links::start();
        let surroundings = Surroundings {
            simulator: simulator.address(),
            database: SocketAddr::from((Ipv4Addr::LOCALHOST, cluster.port)),
            database_name: "postgres".to_owned(),
            ttl,
            folder,
            debug,
        };
        let mut fleet = Fleet::new(surroundings, journal.clone(), links.clone());
        let begun = Instant::now();
        while PgConnection::connect(&cluster.url("postgres")).await.is_err() {
            if begun.elapsed() > BEGINNING {
                return Err("PostgreSQL does not answer".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        fleet.start().await?;
        let qr = loop {
            match fleet.qr().await {
                Some(qr) => break qr,
                None if begun.elapsed() > BEGINNING => return Err("there is no QR on the page".to_owned()),
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        let whatsapp = simulator.handle();
        whatsapp.scan(&qr, ACCOUNT).map_err(|error| format!("the QR cannot be scanned: {error}"))?;
        whatsapp.wait_for_login(ACCOUNT, BEGINNING).await.map_err(|error| error.to_string())?;
        journal.note("linked");
        // Another stream than the plan's.
        let phones = Phones::start(whatsapp.clone(), seed ^ 0x70_68_6f_6e_65);
        Ok(Self {
            whatsapp,
            fleet,
            phones,
            links,
            journal,
            timing: Timing { ttl },
            cluster,
            _simulator: simulator,
            _watch: watch,
        })
    }

    /// Carries a fault out, to the end of the disturbance; what the fault has no part in goes on.
    pub async fn strike(&mut self, fault: Fault) -> Result<Struck, String> {
        let mut struck = Struck::default();
        match fault {
            Fault::Link(blow) => self.whatsapp.strike(action_of_blow(blow)),
            Fault::Refused { how, times } => {
                let (action, when) = action_of_refusal(how);
                self.whatsapp.inject(SimFault { times, ..SimFault::new(action, when) });
                self.whatsapp.strike(Action::Drop);
            }
            Fault::Network { road, weather, whose, ms } => {
                struck.taken_over = self.network(road, weather, whose, Duration::from_millis(ms)).await?;
            }
            Fault::Backends => self.terminate_backends().await?,
            Fault::Postgres { crash, ms } => {
                let how = if crash { Shutdown::Immediate } else { Shutdown::Fast };
                self.cluster.restart(how, Duration::from_millis(ms));
                tokio::time::sleep(Duration::from_millis(ms)).await;
                self.database_is_back().await?;
            }
            Fault::Term(whose) => self.replace(whose).await?,
            Fault::TermTwice { ms } => {
                self.replace(Whose::Holder).await?;
                tokio::time::sleep(Duration::from_millis(ms)).await;
                self.fleet.term_again().await;
            }
            Fault::TermAlone => {
                for place in self.fleet.places(Whose::Holder) {
                    self.fleet.term(place).await;
                }
                self.fleet.left().await?;
                self.fleet.start().await?;
            }
            Fault::Kill(whose) => {
                let places = self.fleet.places(whose);
                for place in places.iter().rev() {
                    self.fleet.kill(*place).await?;
                }
                for _ in places {
                    self.fleet.start().await?;
                }
            }
            Fault::KillSlow { delay, ms } => {
                for place in self.fleet.places(Whose::Holder) {
                    self.fleet.dynos[place].database.set(Traffic::Delay(Duration::from_millis(delay)));
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    self.fleet.kill(place).await?;
                    self.fleet.start().await?;
                }
            }
            Fault::Pause { whose, ms, long } => {
                struck.taken_over = self.pause(whose, Duration::from_millis(ms), long).await?;
            }
            Fault::Preboot { ms } => {
                let old = self.fleet.places(Whose::All);
                for _ in &old {
                    self.fleet.start().await?;
                }
                tokio::time::sleep(Duration::from_millis(ms)).await;
                for place in old.iter().rev() {
                    self.fleet.term(*place).await;
                }
            }
            Fault::Restart => self.replace(Whose::All).await?,
            Fault::ScaleUp => self.fleet.start().await?,
            Fault::ScaleDown(whose) => {
                for place in self.fleet.places(whose) {
                    self.fleet.term(place).await;
                }
            }
        }
        Ok(struck)
    }

    /// SIGTERM, and new ones at once.
    async fn replace(&mut self, whose: Whose) -> Result<(), String> {
        let places = self.fleet.places(whose);
        for place in places.iter().rev() {
            self.fleet.term(*place).await;
        }
        for _ in places {
            self.fleet.start().await?;
        }
        Ok(())
    }

    async fn pause(&mut self, whose: Whose, time: Duration, long: bool) -> Result<Option<Duration>, String> {
        let begun = Instant::now();
        let places = self.fleet.places(whose);
        let others = self.fleet.dynos.len() > places.len();
        for place in &places {
            self.fleet.pause(*place, true).await;
        }
        let expected = long && others && whose == Whose::Holder;
        let taken_over = if expected { Some(self.take_over().await?) } else { None };
        tokio::time::sleep(time.saturating_sub(begun.elapsed())).await;
        for place in places {
            self.fleet.pause(place, false).await;
        }
        Ok(taken_over)
    }

    async fn network(
        &mut self,
        road: Road,
        weather: Weather,
        whose: Whose,
        time: Duration,
    ) -> Result<Option<Duration>, String> {
        let begun = Instant::now();
        let places = self.fleet.places(whose);
        let others = self.fleet.dynos.len() > places.len();
        let roads = |fleet: &Fleet, act: &dyn Fn(&Proxy)| {
            for dyno in places.iter().filter_map(|place| fleet.dynos.get(*place)) {
                act(if road == Road::WhatsApp { &dyno.link } else { &dyno.database });
            }
        };
        let slow = if road == Road::WhatsApp { SLOW.0 } else { SLOW.1 };
        match weather {
            Weather::Hold => roads(&self.fleet, &|proxy| proxy.set(Traffic::Hold)),
            Weather::Swallow => roads(&self.fleet, &|proxy| proxy.set(Traffic::Swallow)),
            Weather::Slow => roads(&self.fleet, &|proxy| proxy.set(Traffic::Delay(slow))),
            Weather::Refuse => roads(&self.fleet, &|proxy| {
                proxy.set(Traffic::Refuse);
                proxy.reset();
            }),
            Weather::Reset => roads(&self.fleet, &Proxy::reset),
            Weather::Cut => roads(&self.fleet, &Proxy::cut),
        }
        // A holder without its database lets go before its lease ends; the other one has it then.
        let dead = matches!(weather, Weather::Hold | Weather::Swallow | Weather::Refuse);
        let lost = road == Road::Database && dead && time > self.timing.take_over();
        let taken_over = if lost && others { Some(self.take_over().await?) } else { None };
        tokio::time::sleep(time.saturating_sub(begun.elapsed())).await;
        roads(&self.fleet, &|proxy| proxy.set(Traffic::Pass));
        if weather == Weather::Swallow {
            // TCP would have sent it again or given up.
            roads(&self.fleet, &Proxy::reset);
        }
        Ok(taken_over)
    }

    /// Waits until a message that is sent now is answered.
    async fn take_over(&mut self) -> Result<Duration, String> {
        let number = self.phones.sent() + 1;
        let bound = self.timing.take_over() + Duration::from_secs(5);
        phone::answer(&mut self.phones, number, bound)
            .await
            .ok_or_else(|| format!("the standby has not taken over within {bound:?}"))
    }

    async fn terminate_backends(&self) -> Result<(), String> {
        const ALL: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
        // A database that is down has no connections.
        let Ok(mut admin) = PgConnection::connect(&self.cluster.url("postgres")).await else { return Ok(()) };
        sqlx::raw_sql(ALL).execute(&mut admin).await.map(|_| ()).map_err(|error| error.to_string())
    }

    async fn database_is_back(&self) -> Result<(), String> {
        let begun = Instant::now();
        while PgConnection::connect(&self.cluster.url("postgres")).await.is_err() {
            if begun.elapsed() > BEGINNING {
                return Err("PostgreSQL does not come back".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

fn action_of_blow(blow: Blow) -> Action {
    match blow {
        Blow::Drop => Action::Drop,
        Blow::Reset => Action::Reset,
        Blow::Silence => Action::Silence,
        Blow::StreamEnd => Action::StreamEnd,
        Blow::StreamError(code) => Action::stream_error(code),
        Blow::Replaced => Action::conflict("replaced", None),
    }
}

fn action_of_refusal(refusal: Refusal) -> (Action, When) {
    match refusal {
        Refusal::Http(status) => (Action::Http { status }, When::Dial),
        Refusal::DialReset => (Action::Reset, When::Dial),
        Refusal::HelloDrop => (Action::Drop, When::Hello),
        Refusal::HelloReset => (Action::Reset, When::Hello),
        Refusal::Failure(reason) => (Action::failure(reason), When::Login),
        Refusal::LoginDrop => (Action::Drop, When::Login),
        Refusal::OpenDrop => (Action::Drop, When::Open),
        Refusal::OpenError(code) => (Action::stream_error(code), When::Open),
    }
}
