//! What must hold after each fault, whatever it was.

use blacksky::sim::Counters;

use super::fault::Fault;
use super::world::World;

/// What was seen at the last look.
#[derive(Default)]
pub struct Invariants {
    /// Links that the simulator ended since a newer one of the same device came.
    replaced: u64,
    /// Dials that came at once after another.
    quick: usize,
}

/// So many dials at once need no explanation: a lease that a busy machine did not renew is won again.
const QUICK: usize = 2;

impl Invariants {
    /// What is violated now; `recent` are the faults since all was well before.
    pub fn check(&mut self, world: &mut World, recent: &[Fault]) -> Vec<String> {
        let mut wrong = world.phones.problems();
        wrong.extend(world.links.violations());
        let counters = world.whatsapp.counters();
        wrong.extend(of_whatsapp(&counters));
        let ratchets = world.whatsapp.ratchets();
        if let Some(reuse) = ratchets.reused.first() {
            wrong.push(format!("{} message keys were used twice, first {reuse:?}", ratchets.reused.len()));
        }
        if ratchets.unreadable > 0 {
            wrong.push(format!("{} envelopes are no Signal messages", ratchets.unreadable));
        }
        let new = counters.replaced - self.replaced;
        self.replaced = counters.replaced;
        if new > 0 && !recent.iter().any(|fault| fault.leaves_a_dead_link()) {
            wrong.push(format!("{new} logins while an older link of the same device was alive"));
        }
        let quick = world.links.seen().quick;
        let new = quick - self.quick;
        self.quick = quick;
        if new > QUICK && !recent.iter().any(|fault| fault.allows_a_dial_at_once()) {
            wrong.push(format!("{new} dials without a wait"));
        }
        wrong
    }
}

fn of_whatsapp(counters: &Counters) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut never = |what: &str, count: u64| {
        if count > 0 {
            wrong.push(format!("{what}: {count}"));
        }
    };
    never("new QR codes", counters.registrations.saturating_sub(1));
    never("new pairings", counters.pairings.saturating_sub(1));
    never("messages of the bot that no phone can decrypt", counters.decrypt_failures);
    never("messages that the bot could not decrypt", counters.retry_receipts);
    never("messages that the bot refused", counters.nacks);
    never("connections that spoke garbage", counters.garbage);
    wrong
}
