//! Which dyno gives which bot to which other, so that each has about as many.

use std::collections::BTreeMap;

use super::{Dyno, Owner};

/// A session that should change its dyno.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The session.
    pub session: String,
    /// Who has it.
    pub from: Owner,
    /// Who should have it.
    pub to: Owner,
}

/// The leases as they are spread over the dynos that are ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// The sessions of each dyno, in the order of owners and of sessions.
    held: BTreeMap<Owner, Vec<String>>,
}

impl Spread {
    /// From what the database says. Dynos that are not ready neither give nor get: a dyno that stops gives
    /// everything by itself.
    pub fn of(dynos: &[Dyno], holders: &[(String, Owner)]) -> Self {
        let mut held: BTreeMap<Owner, Vec<String>> =
            dynos.iter().filter(|dyno| dyno.ready).map(|dyno| (dyno.owner.clone(), Vec::new())).collect();
        for (session, owner) in holders {
            if let Some(sessions) = held.get_mut(owner) {
                sessions.push(session.clone());
            }
        }
        for sessions in held.values_mut() {
            sessions.sort();
        }
        Self { held }
    }

    /// Whether there is another dyno that could take a session.
    pub fn is_shared(&self) -> bool {
        self.held.len() > 1
    }

    /// Whether another dyno holds fewer than `me`.
    pub fn has_more(&self, me: &Owner) -> bool {
        let mine = self.held.get(me).map_or(0, Vec::len);
        self.held.values().any(|sessions| sessions.len() < mine)
    }

    /// What has to move until no dyno holds two more than another. Every dyno that reads the same makes the same
    /// plan, so that two of them do not fill the same third. `may_move` says which of a dyno's sessions it may
    /// give; what does not move stays counted. `known` says whether a dyno knows a session at all.
    pub fn moves(
        mut self,
        may_move: impl Fn(&Owner, &str) -> bool,
        known: impl Fn(&Owner, &str) -> bool,
    ) -> Vec<Move> {
        let mut moves = Vec::new();
        while let Some(next) = self.next_move(&may_move, &known) {
            if let Some(sessions) = self.held.get_mut(&next.from) {
                sessions.retain(|session| *session != next.session);
            }
            // Last, so that it is the last to go on from there.
            self.held.entry(next.to.clone()).or_default().push(next.session.clone());
            moves.push(next);
        }
        moves
    }

    fn next_move(
        &self,
        may_move: &impl Fn(&Owner, &str) -> bool,
        known: &impl Fn(&Owner, &str) -> bool,
    ) -> Option<Move> {
        let mut givers: Vec<_> = self.held.iter().collect();
        givers.sort_by_key(|(_, sessions)| std::cmp::Reverse(sessions.len()));
        let mut takers: Vec<_> = self.held.iter().collect();
        takers.sort_by_key(|(_, sessions)| sessions.len());
        for (from, sessions) in &givers {
            for (to, fewer) in &takers {
                if sessions.len() < fewer.len() + 2 {
                    break;
                }
                let session = sessions.iter().find(|session| may_move(from, session) && known(to, session));
                if let Some(session) = session {
                    return Some(Move { session: session.clone(), from: (*from).clone(), to: (*to).clone() });
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use proptest::prelude::*;

    use super::{Dyno, Move, Owner, Spread};

    fn dyno(name: &str, ready: bool) -> Dyno {
        Dyno {
            owner: Owner(name.to_owned()),
            name: name.to_owned(),
            booted_at: chrono::DateTime::<Utc>::UNIX_EPOCH,
            sessions: Vec::new(),
            ready,
        }
    }

    fn holders(held: &[(&str, usize)]) -> Vec<(String, Owner)> {
        let each = held.iter().flat_map(|(owner, count)| {
            (0..*count).map(move |number| (format!("{owner}-{number:03}"), Owner((*owner).to_owned())))
        });
        each.collect()
    }

    fn moves(dynos: &[&str], held: &[(&str, usize)]) -> Vec<Move> {
        let dynos: Vec<Dyno> = dynos.iter().map(|name| dyno(name, true)).collect();
        Spread::of(&dynos, &holders(held)).moves(|_, _| true, |_, _| true)
    }

    fn from_to(moves: &[Move]) -> Vec<(&str, &str)> {
        moves.iter().map(|one| (one.from.0.as_str(), one.to.0.as_str())).collect()
    }

    #[test]
    fn a_new_dyno_gets_its_share_and_no_more() {
        assert_eq!(from_to(&moves(&["a", "b"], &[("a", 5)])), [("a", "b"), ("a", "b")]);
        assert_eq!(moves(&["a", "b"], &[("a", 1)]), []);
        assert_eq!(moves(&["a", "b"], &[("a", 2), ("b", 1)]), []);
        assert_eq!(moves(&["a"], &[("a", 9)]), []);
        let many = moves(&["a", "b", "c"], &[("a", 50), ("b", 50)]);
        assert_eq!(many.len(), 33, "a third of all, not a half of each");
        assert!(many.iter().all(|one| one.to.0 == "c"));
    }

    #[test]
    fn who_stops_neither_gives_nor_gets() {
        let dynos = [dyno("a", true), dyno("b", false)];
        assert!(!Spread::of(&dynos, &holders(&[("a", 6)])).is_shared());
        let dynos = [dyno("a", true), dyno("b", false), dyno("c", true)];
        let spread = Spread::of(&dynos, &holders(&[("b", 6), ("a", 1)]));
        assert!(spread.is_shared() && spread.has_more(&Owner("a".into())));
        assert_eq!(spread.moves(|_, _| true, |_, _| true), []);
    }

    #[test]
    fn what_may_not_move_or_is_not_known_stays() {
        let dynos = [dyno("a", true), dyno("b", true)];
        let spread = Spread::of(&dynos, &holders(&[("a", 4)]));
        let some = spread.clone().moves(|_, session| session != "a-000", |_, session| session != "a-001");
        let sessions: Vec<_> = some.iter().map(|one| one.session.as_str()).collect();
        assert_eq!(sessions, ["a-002", "a-003"]);
        assert_eq!(spread.moves(|_, _| false, |_, _| true), []);
    }

    proptest! {
        #[test]
        fn a_plan_ends_even_and_leads_to_no_other(counts in prop::collection::vec(0usize..20, 1..6)) {
            let names: Vec<String> = (0..counts.len()).map(|number| format!("d{number}")).collect();
            let dynos: Vec<Dyno> = names.iter().map(|name| dyno(name, true)).collect();
            let held: Vec<(&str, usize)> = names.iter().map(String::as_str).zip(counts.iter().copied()).collect();
            let mut holders = holders(&held);
            let plan = Spread::of(&dynos, &holders).moves(|_, _| true, |_, _| true);
            for one in &plan {
                let place = holders.iter_mut().find(|(session, _)| *session == one.session).expect("held");
                prop_assert_eq!(&place.1, &one.from);
                place.1 = one.to.clone();
            }
            let after = Spread::of(&dynos, &holders);
            let sizes: Vec<usize> = after.held.values().map(Vec::len).collect();
            let (least, most) = (sizes.iter().min().expect("one"), sizes.iter().max().expect("one"));
            prop_assert!(most - least <= 1, "{:?}", sizes);
            // Each session moves once, and nothing moves that need not.
            let mut sessions: Vec<_> = plan.iter().map(|one| &one.session).collect();
            sessions.sort();
            sessions.dedup();
            prop_assert_eq!(sessions.len(), plan.len());
            prop_assert_eq!(after.moves(|_, _| true, |_, _| true), vec![]);
        }
    }
}
