//! The figures of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use blacksky::sim::Counters;
use tokio::time::Instant;

use super::fault::Fault;
use super::fleet::Fleet;
use super::links::Seen;
use super::world::World;
use crate::support::figures;

/// A process this young still grows.
const GROWN_UP: Duration = Duration::from_secs(10);
/// More than this on top, KiB, is a leak.
const FLAT: u64 = 16 * 1024;

/// Figures, kept as the run goes.
pub struct Report {
    pub seed: u64,
    pub begun: Instant,
    pub faults: u32,
    kinds: BTreeMap<String, Kind>,
    /// Recoveries from faults that overlapped.
    together: Kind,
    take_overs: Vec<Duration>,
    memory: Memory,
    messages: (u32, usize),
    whatsapp: Counters,
    keys: usize,
    links: Seen,
}

/// Faults of one kind.
#[derive(Default)]
struct Kind {
    count: u32,
    /// Recoveries when nothing overlapped it.
    recoveries: Vec<Duration>,
    bound: Duration,
    /// Recoveries beyond the bound.
    late: u32,
}

/// Resident memory of the dynos, KiB.
#[derive(Default)]
struct Memory {
    dynos: BTreeMap<String, Life>,
    most: u64,
}

/// Step and memory when a dyno was grown up, and now.
struct Life {
    first: (u32, u64),
    last: (u32, u64),
}

impl Life {
    fn steps(&self) -> u32 {
        self.last.0 - self.first.0
    }
}

impl Report {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            begun: Instant::now(),
            faults: 0,
            kinds: BTreeMap::new(),
            together: Kind::default(),
            take_overs: Vec::new(),
            memory: Memory::default(),
            messages: (0, 0),
            whatsapp: Counters::default(),
            keys: 0,
            links: Seen::default(),
        }
    }

    /// A fault was carried out.
    pub fn struck(&mut self, fault: Fault, taken_over: Option<Duration>) {
        self.faults += 1;
        self.kinds.entry(fault.kind()).or_default().count += 1;
        self.take_overs.extend(taken_over);
    }

    /// All was well again after these.
    pub fn recovered(&mut self, faults: &[Fault], took: Duration, bound: Duration) {
        let kind = match faults {
            [one] => self.kinds.entry(one.kind()).or_default(),
            _ => {
                self.together.count += 1;
                &mut self.together
            }
        };
        kind.recoveries.push(took);
        kind.bound = kind.bound.max(bound);
        kind.late += u32::from(took > bound);
    }

    /// Dynos whose memory has grown beyond what is flat.
    pub fn growth(&self) -> Vec<String> {
        let fat = self.memory.dynos.iter().filter(|(_, life)| life.last.1 > life.first.1 + FLAT);
        fat.map(|(name, life)| format!("{name} grew from {} to {} KiB", life.first.1, life.last.1)).collect()
    }

    /// Reads the memory of the dynos.
    pub fn memory(&mut self, step: u32, fleet: &Fleet) {
        for dyno in &fleet.dynos {
            let Some(now) = dyno.memory() else { continue };
            self.memory.most = self.memory.most.max(now);
            if dyno.born.elapsed() > GROWN_UP {
                let young = Life { first: (step, now), last: (step, now) };
                self.memory.dynos.entry(dyno.name.clone()).or_insert(young).last = (step, now);
            }
        }
    }

    /// Gathers what [`crate::support::figures`] is told of a good run.
    pub fn gather(&self) {
        let of = format!("seed {}", self.seed);
        let sent = f64::from(self.messages.0);
        for (stat, value) in [
            ("faults", f64::from(self.faults)),
            ("seconds", self.begun.elapsed().as_secs_f64()),
            ("messages", sent),
            ("answered twice", self.messages.1 as f64),
            ("QR again", self.whatsapp.registrations.saturating_sub(1) as f64),
            ("keys", self.keys as f64),
            ("memory, MB", self.memory.most as f64 * 1024.0 / 1e6),
        ] {
            figures::note("chaos", &of, stat, value);
        }
    }

    /// The last figures.
    pub fn end(&mut self, world: &World) {
        self.messages = (world.phones.sent(), world.phones.twice());
        self.whatsapp = world.whatsapp.counters();
        self.keys = world.whatsapp.ratchets().message_keys;
        self.links = world.links.seen();
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.recoveries.clone();
        sorted.sort();
        let seconds = |time: Option<&Duration>| match time {
            Some(time) => format!("{:.2} s", time.as_secs_f64()),
            None => "–".to_owned(),
        };
        write!(
            f,
            "{:5} | {:5} | {:>8} | {:>8} | {:>6}",
            self.count,
            sorted.len(),
            seconds(sorted.get(sorted.len() / 2)),
            seconds(sorted.last()),
            format!("{:.0} s", self.bound.as_secs_f64()),
        )?;
        if self.late > 0 { write!(f, " | {} late", self.late) } else { write!(f, " |") }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = self.begun.elapsed();
        writeln!(f, "seed {}: {} faults in {:.0} s", self.seed, self.faults, took.as_secs_f64())?;
        writeln!(
            f,
            "{:38} | {:>5} | {:>5} | {:>8} | {:>8} | {:>6} |",
            "fault", "count", "alone", "median", "worst", "bound"
        )?;
        writeln!(f, "{:-<39}|-------|-------|----------|----------|--------|", "")?;
        for (name, kind) in &self.kinds {
            writeln!(f, "{name:38} | {kind}")?;
        }
        writeln!(f, "{:38} | {}", "(several that overlap)", self.together)?;
        let mut take_overs = self.take_overs.clone();
        take_overs.sort();
        if let Some(worst) = take_overs.last() {
            writeln!(
                f,
                "take-over by the standby while the holder is stopped or cut off: {} times, median {:.2} s, \
                 worst {:.2} s",
                take_overs.len(),
                take_overs[take_overs.len() / 2].as_secs_f64(),
                worst.as_secs_f64(),
            )?;
        }
        let (sent, twice) = self.messages;
        let whatsapp = &self.whatsapp;
        writeln!(
            f,
            "messages: {sent} sent, all answered, {twice} answered twice; redelivered {}, duplicates by id {}, \
             retry receipts {}",
            whatsapp.redeliveries, whatsapp.duplicates, whatsapp.retry_receipts
        )?;
        writeln!(
            f,
            "never: QR codes after the first {}, message keys used twice 0 of {}, decrypt failures {}, nacks {}",
            whatsapp.registrations.saturating_sub(1),
            self.keys,
            whatsapp.decrypt_failures,
            whatsapp.nacks
        )?;
        let links = self.links;
        writeln!(
            f,
            "links: {} dials, {} logins, at most {} dials of one dyno in 5 s, {} sooner than the back-off's \
             floor (stream restarts, leases won again), dead links replaced {}, two at a time for {:?} at most \
             (as the proxies see it), watch late by {:?} at most",
            links.dials,
            whatsapp.logins,
            links.most,
            links.quick,
            whatsapp.replaced,
            links.longest_shared,
            links.late
        )?;
        let mut lives: Vec<_> = self.memory.dynos.iter().collect();
        lives.sort_by_key(|(_, life)| std::cmp::Reverse(life.steps()));
        write!(f, "memory: at most {} KiB; dynos that lived longest:", self.memory.most)?;
        for (name, life) in lives.iter().take(4) {
            write!(f, " {name} {} → {} KiB over {} faults;", life.first.1, life.last.1, life.steps())?;
        }
        writeln!(f)
    }
}
