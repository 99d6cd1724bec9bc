//! `[retention]`: how long what grows is kept.

use schemars::JsonSchema;

use super::listing::Listing;
use super::reader::{Setting, Table};
use super::values::Period;
use super::values::number::Whole;
use super::values::period::PeriodIn;

/// `[retention]`: what stays of the tables that grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Handled messages, of a session.
    pub inbox: Keeps,
    /// Messages that were sent or given up, of a session.
    pub outbox: Keeps,
    /// What a link did, of a session.
    pub history: Keeps,
    /// Runs of a job.
    pub job_runs: Keeps,
    /// What runs of a job wrote.
    pub job_output: Keeps,
    /// Messages that a webhook did not take, of a session.
    pub dead_letters: Keeps,
}

/// What stays of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeps {
    /// What is older goes.
    pub age: Period,
    /// Beyond so many the oldest go.
    pub rows: u32,
}

const HOUR: u64 = 3_600_000;
const YEAR: u64 = 365 * 24 * HOUR;
const MOST: u32 = 1_000_000;

/// How long what grows is kept in the database. What is older than `age` goes, and beyond `rows` the oldest, a few
/// at a time and never what still has to be done. Backups have their own limits.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Retention")]
pub(super) struct RetentionLayer {
    /// Messages that were received and handled, of each bot. While one is kept, WhatsApp may deliver it again
    /// without its being handled twice.
    inbox: KeepsLayer,
    /// Messages of the API that were sent or given up, of each bot. While one is kept, its state can be asked for
    /// and its idempotency key is known.
    outbox: KeepsLayer,
    /// What the link did, of each bot: the last day on the page, and the figures of the last 30 days.
    history: KeepsLayer,
    /// Runs of each job by the clock, and as many that somebody asked for. The last one always stays.
    job_runs: RunsLayer,
    /// What runs of a job wrote; the runs themselves stay.
    job_output: RunsLayer,
    /// Messages that a bot's webhook did not take until they were given up.
    dead_letters: KeepsLayer,
}

/// What stays of a table.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Keeps", inline)]
struct KeepsLayer {
    /// What is older goes.
    age: Setting<PeriodIn<HOUR, YEAR>>,
    /// Beyond so many the oldest go.
    rows: Setting<Whole<1, MOST>>,
}

/// The same of the runs of a job, all of which the page looks at.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "KeepsRuns", inline)]
struct RunsLayer {
    /// What is older goes.
    age: Setting<PeriodIn<HOUR, YEAR>>,
    /// Beyond so many the oldest go.
    rows: Setting<Whole<1, 500>>,
}

impl RetentionLayer {
    pub(super) fn read(mut table: Table<'_, '_>) -> Self {
        macro_rules! keeps {
            ($layer:ident, $key:literal) => {{
                let path = format!("{}.{}", table.path(), $key);
                let found = table.raw($key);
                let mut inner = table.reader().open(path, found, true);
                let layer = $layer { age: inner.key("age"), rows: inner.key("rows") };
                inner.finish();
                layer
            }};
        }
        let layer = Self {
            inbox: keeps!(KeepsLayer, "inbox"),
            outbox: keeps!(KeepsLayer, "outbox"),
            history: keeps!(KeepsLayer, "history"),
            job_runs: keeps!(RunsLayer, "job_runs"),
            job_output: keeps!(RunsLayer, "job_output"),
            dead_letters: keeps!(KeepsLayer, "dead_letters"),
        };
        table.finish();
        layer
    }

    pub(super) fn resolve(self) -> Retention {
        macro_rules! keeps {
            ($layer:expr, $days:literal, $rows:literal) => {
                Keeps {
                    age: $layer.age.value().map_or(Period::seconds($days * 86_400), |period| period.0),
                    rows: $layer.rows.value().map_or($rows, |number| number.0),
                }
            };
        }
        Retention {
            inbox: keeps!(self.inbox, 7, 100_000),
            outbox: keeps!(self.outbox, 7, 100_000),
            history: keeps!(self.history, 30, 20_000),
            job_runs: keeps!(self.job_runs, 365, 50),
            job_output: keeps!(self.job_output, 30, 50),
            dead_letters: keeps!(self.dead_letters, 30, 10_000),
        }
    }
}

impl Retention {
    pub(super) fn list(&self, to: &mut Listing) {
        for (name, keeps) in [
            ("inbox", self.inbox),
            ("outbox", self.outbox),
            ("history", self.history),
            ("job_runs", self.job_runs),
            ("job_output", self.job_output),
            ("dead_letters", self.dead_letters),
        ] {
            let section = format!("retention.{name}");
            to.add(&section, "age", keeps.age.to_string());
            to.add(&section, "rows", keeps.rows);
        }
    }
}
