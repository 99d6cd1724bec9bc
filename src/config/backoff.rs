//! `[backoff]`: the wait before the next dial.

use schemars::JsonSchema;

use super::listing::Listing;
use super::reader::{Reader, Setting, Table};
use super::values::Period;
use super::values::number::Real;
use super::values::period::PeriodIn;

/// `[backoff]`: the wait before the next dial.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    pub initial: Period,
    pub factor: f64,
    pub max: Period,
    /// 0.0 to 1.0: share of the wait that is random.
    pub jitter: f64,
    /// An open link this old clears the attempts.
    pub reset_after: Period,
}

/// How long to wait before WhatsApp is dialled again after the link was lost.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Backoff")]
pub(super) struct BackoffLayer {
    /// Wait before the second dial.
    initial: Setting<PeriodIn<10, 3_600_000>>,
    /// Each further wait is longer by this factor.
    factor: Setting<Real<1, 10>>,
    /// Longest wait.
    max: Setting<PeriodIn<10, 86_400_000>>,
    /// Share of the wait that is random, so that many bots do not dial in step: 0 is none, 1 is all.
    jitter: Setting<Real<0, 1>>,
    /// A link that was open this long clears the count of attempts.
    reset_after: Setting<PeriodIn<10, 86_400_000>>,
}

impl BackoffLayer {
    pub(super) fn read(mut table: Table<'_, '_>) -> Self {
        let layer = Self {
            initial: table.key("initial"),
            factor: table.key("factor"),
            max: table.key("max"),
            jitter: table.key("jitter"),
            reset_after: table.key("reset_after"),
        };
        table.finish();
        layer
    }

    pub(super) fn resolve(self, reader: &mut Reader<'_>) -> Backoff {
        let wrong = self.initial.is_wrong() || self.max.is_wrong();
        // Points at the key that was set; `max` first, since it is the one that must be raised.
        let origin = self.max.origin().map(|origin| ("backoff.max", origin.clone()));
        let origin =
            origin.or_else(|| self.initial.origin().map(|origin| ("backoff.initial", origin.clone())));
        let backoff = Backoff {
            initial: self.initial.value().map_or(Period::seconds(2), |period| period.0),
            factor: self.factor.value().map_or(2.0, |number| number.0),
            max: self.max.value().map_or(Period::seconds(300), |period| period.0),
            jitter: self.jitter.value().map_or(0.5, |number| number.0),
            reset_after: self.reset_after.value().map_or(Period::seconds(30), |period| period.0),
        };
        if let Some((key, origin)) = origin
            && !wrong
            && backoff.max < backoff.initial
        {
            reader.refuse(
                key,
                &origin,
                true,
                format!(
                    "{key}: backoff.max ({}) is below backoff.initial ({})",
                    backoff.max, backoff.initial
                ),
                "raise backoff.max or lower backoff.initial",
            );
        }
        backoff
    }
}

impl Backoff {
    pub(super) fn list(&self, to: &mut Listing) {
        to.add("backoff", "initial", self.initial.to_string());
        to.add("backoff", "factor", self.factor);
        to.add("backoff", "max", self.max.to_string());
        to.add("backoff", "jitter", self.jitter);
        to.add("backoff", "reset_after", self.reset_after.to_string());
    }
}
