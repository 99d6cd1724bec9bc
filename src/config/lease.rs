//! `[lease]`: the exclusive right to open a link.

use schemars::JsonSchema;

use super::listing::Listing;
use super::reader::{Reader, Setting, Table};
use super::values::Period;
use super::values::period::PeriodIn;

/// `[lease]`: the exclusive right to open a link.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    pub ttl: Period,
    /// At most a third of `ttl`.
    pub renew: Period,
    /// At most 15 s, so that a stop stays below 30 s.
    pub handover_wait: Period,
}

/// The right to open the link, which only one dyno has at a time.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Lease")]
pub(super) struct LeaseLayer {
    /// How long the right lasts without being renewed: as long another dyno waits after a crash.
    ttl: Setting<PeriodIn<1_000, 600_000>>,
    /// How often it is renewed, at most a third of `ttl`. Not set: a third of `ttl`, at most 10s.
    renew: Setting<PeriodIn<100, 200_000>>,
    /// On SIGTERM an open link is kept until another dyno is ready to go on with it, at most this long. 0s: not
    /// at all. Only on a dyno with PostgreSQL.
    handover_wait: Setting<PeriodIn<0, 15_000>>,
}

impl LeaseLayer {
    pub(super) fn read(mut table: Table<'_, '_>) -> Self {
        let layer = Self {
            ttl: table.key("ttl"),
            renew: table.key("renew"),
            handover_wait: table.key("handover_wait"),
        };
        table.finish();
        layer
    }

    pub(super) fn resolve(self, reader: &mut Reader<'_>) -> Lease {
        let ttl_wrong = self.ttl.is_wrong();
        let origin = self.renew.origin().cloned();
        let ttl = self.ttl.value().map_or(Period::seconds(30), |period| period.0);
        let longest = Period(ttl.get() / 3);
        let renew = self.renew.value().map_or(longest.min(Period::seconds(10)), |period| period.0);
        if let Some(origin) = origin
            && !ttl_wrong
            && renew > longest
        {
            reader.refuse(
                "lease.renew",
                &origin,
                true,
                format!("lease.renew: {renew} is more than a third of lease.ttl ({ttl})"),
                &format!("write at most \"{longest}\", or leave it out"),
            );
        }
        let handover_wait = self.handover_wait.value().map_or(Period::seconds(15), |period| period.0);
        Lease { ttl, renew, handover_wait }
    }
}

impl Lease {
    pub(super) fn list(&self, to: &mut Listing) {
        to.add("lease", "ttl", self.ttl.to_string());
        to.add("lease", "renew", self.renew.to_string());
        to.add("lease", "handover_wait", self.handover_wait.to_string());
    }
}
