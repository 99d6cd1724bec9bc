//! `[backup]`: copies of the sessions in the database.

use schemars::JsonSchema;

use super::listing::Listing;
use super::reader::{Setting, Table};
use super::values::number::Whole;
use super::values::period::PeriodIn;
use super::values::size::SizeIn;
use super::values::{Period, Size};

/// `[backup]`: copies of the sessions in the database.
#[derive(Debug, Clone, Copy)]
pub struct Backup {
    pub interval: Period,
    pub keep: Keep,
    /// Of all backups in the database together.
    pub max_size: Size,
}

/// How many backups of a session stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// The newest; at least 1.
    pub recent: u32,
    /// The last one of each of so many hours.
    pub hourly: u32,
    /// The last one of each of so many days.
    pub daily: u32,
}

/// Copies of the sessions, sealed, in the same database: for mistakes and damage. A session that did not
/// change gets no new one. Restoring one: `blacksky session restore`.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Backup")]
pub(super) struct BackupLayer {
    /// How often a session is copied if it has changed; another copy is taken when the bot stops.
    interval: Setting<PeriodIn<1_000, 86_400_000>>,
    /// Which backups of a session stay; all others go when a newer one is taken.
    keep: KeepLayer,
    /// Most that the backups of all sessions of the database take together; the oldest go first, the last
    /// one of a session never.
    max_size: Setting<SizeIn<1_048_576, 107_374_182_400>>,
}

/// Which backups of a session stay.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Keep", inline)]
struct KeepLayer {
    /// The newest backups.
    recent: Setting<Whole<1, 1000>>,
    /// The last backup of each of so many hours in which there is one.
    hourly: Setting<Whole<0, 1000>>,
    /// The last backup of each of so many days (UTC) in which there is one.
    daily: Setting<Whole<0, 1000>>,
}

impl BackupLayer {
    pub(super) fn read(mut table: Table<'_, '_>) -> Self {
        let (interval, max_size) = (table.key("interval"), table.key("max_size"));
        let path = format!("{}.keep", table.path());
        let found = table.raw("keep");
        let mut inner = table.reader().open(path, found, true);
        let keep =
            KeepLayer { recent: inner.key("recent"), hourly: inner.key("hourly"), daily: inner.key("daily") };
        inner.finish();
        table.finish();
        Self { interval, keep, max_size }
    }

    pub(super) fn resolve(self) -> Backup {
        Backup {
            interval: self.interval.value().map_or(Period::seconds(300), |period| period.0),
            keep: Keep {
                recent: self.keep.recent.value().map_or(12, |number| number.0),
                hourly: self.keep.hourly.value().map_or(24, |number| number.0),
                daily: self.keep.daily.value().map_or(7, |number| number.0),
            },
            max_size: self.max_size.value().map_or(Size::megabytes(200), |size| size.0),
        }
    }
}

impl Backup {
    pub(super) fn list(&self, to: &mut Listing) {
        to.add("backup", "interval", self.interval.to_string());
        to.add("backup.keep", "recent", self.keep.recent);
        to.add("backup.keep", "hourly", self.keep.hourly);
        to.add("backup.keep", "daily", self.keep.daily);
        to.add("backup", "max_size", self.max_size.to_string());
    }
}
