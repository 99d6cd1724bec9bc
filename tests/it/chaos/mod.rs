//! The chaos suite: random faults from WhatsApp, the network, the database and the dynos, while simulated
//! phones and the bot exchange numbered messages. After each fault all must be well again within a bound,
//! and nothing that must never happen may have happened.
//!
//! `cargo test` runs a short one; `cargo run --features simulator --example chaos` a long one. Both include
//! these files. What a seed decides is said in [`plan`].

pub mod fault;
mod fleet;
mod invariants;
mod journal;
mod links;
mod phone;
pub mod plan;
pub mod report;
mod world;

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use fault::{Fault, Timing};
use invariants::Invariants;
use plan::{Plan, Step};
use report::Report;
use world::World;

/// What a busy machine may add to a bound.
const SLACK: Duration = Duration::from_secs(10);
/// All that was sent is answered within this at the end.
const END: Duration = Duration::from_secs(60);

/// One run.
pub struct Run {
    pub seed: u64,
    pub faults: u32,
    pub ttl: Duration,
    /// Logs, plan and journal go here.
    pub folder: PathBuf,
    /// Whether the dynos log in detail.
    pub debug: bool,
}

/// A run that went wrong.
#[derive(Debug, thiserror::Error)]
#[error("seed {seed}, step {step}: {}\nkept in {}", .problems.join("; "), .folder.display())]
pub struct Violated {
    pub seed: u64,
    /// Number of the step; 0 before the first.
    pub step: u32,
    pub problems: Vec<String>,
    pub folder: PathBuf,
}

impl Run {
    /// Runs to the end or the first violation; `progress` is told of each step.
    pub async fn run(self, mut progress: impl FnMut(&Step, &Report)) -> Result<Report, Violated> {
        let violated = |step: u32, problems: Vec<String>| Violated {
            seed: self.seed,
            step,
            problems,
            folder: self.folder.clone(),
        };
        let plan = Plan::new(self.seed, self.faults, self.ttl);
        std::fs::write(self.folder.join("plan.txt"), plan.to_string())
            .map_err(|error| violated(0, vec![error.to_string()]))?;
        let world = World::start(self.seed, self.ttl, self.folder.clone(), self.debug).await;
        let world = world.map_err(|problem| violated(0, vec![problem]))?;
        let mut course = Course {
            world,
            timing: Timing { ttl: self.ttl },
            invariants: Invariants::default(),
            report: Report::new(self.seed),
            recent: Vec::new(),
            at: 0,
        };
        course.settle(Instant::now(), SLACK).await.map_err(|problem| violated(0, vec![problem]))?;
        for step in &plan.steps {
            course.step(step).await.map_err(|problems| course.violated(step.number, problems, &violated))?;
            progress(step, &course.report);
        }
        course.end().await.map_err(|problems| course.violated(course.at, problems, &violated))?;
        Ok(course.report)
    }
}

/// A run on its way.
struct Course {
    world: World,
    timing: Timing,
    invariants: Invariants,
    report: Report,
    /// The faults since all was well.
    recent: Vec<Fault>,
    at: u32,
}

impl Course {
    async fn step(&mut self, step: &Step) -> Result<(), Vec<String>> {
        self.at = step.number;
        tokio::time::sleep(step.after).await;
        self.world.journal.note(&format!("step {step}"));
        self.recent.push(step.fault);
        let struck = self.world.strike(step.fault).await.map_err(|problem| vec![problem])?;
        self.report.struck(step.fault, struck.taken_over);
        if step.settles {
            let bound = self.recent.iter().map(|fault| fault.bound(self.timing)).sum::<Duration>();
            let took = self.settle(Instant::now(), bound).await.map_err(|problem| vec![problem])?;
            self.world.whatsapp.clear_faults();
            self.report.recovered(&self.recent, took, bound);
            self.world.journal.note(&format!("well again after {took:?}"));
        }
        let mut wrong = self.invariants.check(&mut self.world, &self.recent);
        if step.settles {
            self.recent.clear();
            self.report.memory(step.number, &self.world.fleet);
            wrong.extend(self.report.growth());
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Waits until the fleet is at rest and a message that was sent then is answered, with all before it.
    async fn settle(&mut self, since: Instant, bound: Duration) -> Result<Duration, String> {
        let mut mark = None;
        loop {
            let unrest = match mark {
                Some(_) => None,
                None => {
                    self.world.fleet.reap()?;
                    self.world.fleet.unrest().await
                }
            };
            if unrest.is_none() {
                let mark = *mark.get_or_insert_with(|| self.world.phones.sent() + 1);
                if self.world.phones.answered(mark) {
                    return Ok(since.elapsed());
                }
            }
            if since.elapsed() > bound + SLACK {
                let sent = self.world.phones.sent();
                let missing = self.world.phones.unanswered(sent);
                return Err(format!(
                    "not well within {bound:?} + {SLACK:?}: {}; {} of {sent} messages without an answer, \
                     from {:?} on",
                    unrest.unwrap_or_else(|| "the fleet is at rest".to_owned()),
                    missing.len(),
                    missing.first(),
                ));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn end(&mut self) -> Result<(), Vec<String>> {
        self.world.phones.stop();
        let sent = self.world.phones.sent();
        let begun = Instant::now();
        while !self.world.phones.answered(sent) {
            if begun.elapsed() > END {
                let missing = self.world.phones.unanswered(sent);
                return Err(vec![format!("messages without an answer at the end: {missing:?}")]);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.world.fleet.stop().await.map_err(|problem| vec![problem])?;
        let wrong = self.invariants.check(&mut self.world, &self.recent);
        self.report.end(&self.world);
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Writes down what the simulator knows.
    fn violated(
        &self,
        step: u32,
        problems: Vec<String>,
        violated: &impl Fn(u32, Vec<String>) -> Violated,
    ) -> Violated {
        for problem in &problems {
            self.world.journal.note(&format!("VIOLATED {problem}"));
        }
        self.world.journal.note(&format!("{:#?}", self.world.whatsapp.counters()));
        let violated = violated(step, problems);
        let events = self.world.whatsapp.all_events();
        let lines: Vec<String> = events.iter().map(|event| format!("{event:?}")).collect();
        let _ = std::fs::write(violated.folder.join("simulator.txt"), lines.join("\n"));
        // What became of the messages: their deliveries, and whether they were acknowledged.
        let sent: Vec<String> = self.world.whatsapp.sent().iter().map(|sent| format!("{sent:?}")).collect();
        let _ = std::fs::write(violated.folder.join("messages.txt"), sent.join("\n"));
        violated
    }
}
