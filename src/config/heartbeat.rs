//! `[heartbeat]`: the probe that tells a live link from a dead one.

use schemars::JsonSchema;

use super::listing::Listing;
use super::reader::{Setting, Table};
use super::values::Period;
use super::values::period::PeriodIn;

/// `[heartbeat]`: the probe that tells a live link from a dead one.
#[derive(Debug, Clone, Copy)]
pub struct Heartbeat {
    pub period: Period,
    pub deadline: Period,
}

/// The probe that tells a live link from a dead one. A dead link is noticed within `period` and
/// `deadline` together.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Heartbeat")]
pub(super) struct HeartbeatLayer {
    /// After this time without anything from WhatsApp it is asked for a sign of life.
    period: Setting<PeriodIn<100, 600_000>>,
    /// How long an answer may take before the link counts as dead and is dialled again.
    deadline: Setting<PeriodIn<100, 300_000>>,
}

impl HeartbeatLayer {
    pub(super) fn read(mut table: Table<'_, '_>) -> Self {
        let layer = Self { period: table.key("period"), deadline: table.key("deadline") };
        table.finish();
        layer
    }

    pub(super) fn resolve(self) -> Heartbeat {
        Heartbeat {
            period: self.period.value().map_or(Period::seconds(25), |period| period.0),
            deadline: self.deadline.value().map_or(Period::seconds(10), |period| period.0),
        }
    }
}

impl Heartbeat {
    pub(super) fn list(&self, to: &mut Listing) {
        to.add("heartbeat", "period", self.period.to_string());
        to.add("heartbeat", "deadline", self.deadline.to_string());
    }
}
