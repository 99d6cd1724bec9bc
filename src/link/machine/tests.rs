use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::link::backoff::tests::defaults;

/// A machine with its clock and its dice.
struct Bench {
    machine: Machine,
    now: Instant,
    rng: StdRng,
}

const ASK: Duration = Duration::from_secs(10);
const LOST: Reaction = Reaction::BackOff { extra: 0 };

impl Bench {
    fn new() -> Self {
        Self { machine: Machine::new(defaults(), ASK), now: Instant::now(), rng: StdRng::seed_from_u64(7) }
    }

    /// A machine that dials.
    fn dialling() -> Self {
        let mut bench = Self::new();
        assert_eq!(bench.send(Event::Start), [Action::Acquire]);
        assert_eq!(bench.send(Event::Acquired), [Action::Dial]);
        bench
    }

    fn open() -> Self {
        let mut bench = Self::dialling();
        bench.send(Event::Opened);
        bench
    }

    fn send(&mut self, event: Event) -> Vec<Action> {
        self.machine.step(self.now, event, &mut self.rng)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn state(&self) -> LinkState {
        self.machine.state()
    }

    /// Ends the link and gives the wait until the next dial.
    fn wait_after(&mut self, reaction: Reaction) -> Duration {
        match self.send(Event::Ended(reaction)).as_slice() {
            [Action::WakeAt(until)] | [Action::WakeAt(until), Action::Confirm] => *until - self.now,
            other => panic!("{reaction:?} gave {other:?}"),
        }
    }

    /// Lets the planned time come.
    fn wake(&mut self) -> Vec<Action> {
        self.now = self.machine.next_dial().expect("a dial is planned");
        self.send(Event::Woke)
    }
}

#[test]
fn a_first_pairing_and_its_restart() {
    let mut bench = Bench::new();
    assert_eq!(bench.state(), LinkState::Starting);
    bench.send(Event::Start);
    bench.send(Event::Acquired);
    assert_eq!(bench.state(), LinkState::Connecting);
    bench.send(Event::QrShown);
    assert_eq!(bench.state(), LinkState::Pairing);
    assert_eq!(bench.send(Event::Ended(Reaction::Restart)), [Action::Dial], "515 is no fault");
    assert_eq!(bench.state(), LinkState::Connecting);
    bench.send(Event::Opened);
    assert_eq!(bench.state(), LinkState::Open);
}

#[test]
fn a_held_lease_is_asked_for_again() {
    let mut bench = Bench::new();
    bench.send(Event::Start);
    let ask_again = Duration::from_secs(3);
    assert_eq!(bench.send(Event::Held { ask_again }), [Action::WakeAt(bench.now + ask_again)]);
    assert_eq!(bench.state(), LinkState::Standby);
    assert_eq!(bench.send(Event::Woke), [Action::Acquire]);
    assert_eq!(bench.state(), LinkState::Standby, "still standing by while asking");
}

#[test]
fn the_wait_grows_and_an_open_link_resets_it() {
    let mut bench = Bench::dialling();
    let mut last = Duration::ZERO;
    for step in 0..4 {
        let wait = bench.wait_after(LOST);
        let full = Duration::from_secs(2 << step);
        assert!(wait >= full / 2 && wait <= full, "step {step}: {wait:?}");
        assert!(wait >= last, "step {step}");
        last = wait / 2;
        assert_eq!(bench.wake(), [Action::Dial]);
    }
    assert_eq!(bench.machine.attempt(), 5);
    bench.send(Event::Opened);
    bench.pass(Duration::from_secs(30));
    assert_eq!(bench.send(Event::Woke), []);
    assert_eq!(bench.machine.attempt(), 0);
    assert!(bench.wait_after(LOST) <= Duration::from_secs(2));
}

#[test]
fn a_link_that_opens_and_falls_at_once_does_not_reset_the_wait() {
    let mut bench = Bench::dialling();
    for _ in 0..5 {
        bench.send(Event::Opened);
        bench.pass(Duration::from_secs(29));
        bench.wait_after(LOST);
        bench.wake();
    }
    assert!(bench.wait_after(LOST) >= Duration::from_secs(32));
}

#[test]
fn a_rate_limit_jumps_five_steps() {
    let mut bench = Bench::dialling();
    let wait = bench.wait_after(Reaction::BackOff { extra: 5 });
    assert!(wait >= Duration::from_secs(32) && wait <= Duration::from_secs(64), "{wait:?}");
}

#[test]
fn conflicts_retry_late_and_the_third_parks() {
    let mut bench = Bench::open();
    for _ in 0..2 {
        assert_eq!(bench.wait_after(Reaction::Conflict), CONFLICT_RETRY);
        assert_eq!(bench.wake(), [Action::Dial]);
        bench.send(Event::Opened);
    }
    assert_eq!(bench.send(Event::Ended(Reaction::Conflict)), [Action::Confirm]);
    assert_eq!(bench.state(), LinkState::Parked(Parked::Conflict));
    assert_eq!(bench.send(Event::Woke), []);
    assert_eq!(bench.send(Event::ReconnectNow), [Action::Dial]);
    // The count begins anew.
    assert_eq!(bench.wait_after(Reaction::Conflict), CONFLICT_RETRY);
}

#[test]
fn a_conflict_asks_whether_the_lease_is_still_ours_and_stands_by_when_it_is_not() {
    let mut bench = Bench::open();
    for _ in 0..3 {
        let actions = bench.send(Event::Ended(Reaction::Conflict));
        assert_eq!(actions, [Action::WakeAt(bench.now + CONFLICT_RETRY), Action::Confirm]);
        assert_eq!(bench.send(Event::LeaseLost), [Action::Discard(CutReason::Lease), Action::Acquire]);
        assert_eq!(bench.state(), LinkState::Standby, "it never parks: the conflict was the other dyno");
        bench.send(Event::Acquired);
        bench.send(Event::Opened);
    }
}

#[test]
fn failed_attempts_in_a_row_are_counted_until_the_link_is_stable() {
    let mut bench = Bench::dialling();
    for failed in 1..=7 {
        bench.wait_after(LOST);
        assert_eq!(bench.machine.failed(), failed);
        bench.wake();
    }
    // Open for too short a time is one more failure.
    bench.send(Event::Opened);
    bench.pass(Duration::from_secs(29));
    bench.wait_after(LOST);
    assert_eq!(bench.machine.failed(), 8);
    bench.wake();
    bench.send(Event::Opened);
    bench.pass(Duration::from_secs(30));
    bench.send(Event::Woke);
    assert_eq!(bench.machine.failed(), 0);
    // The end of a stable link is no failed attempt.
    bench.wait_after(LOST);
    assert_eq!(bench.machine.failed(), 0);
    bench.wake();
    bench.wait_after(LOST);
    assert_eq!(bench.machine.failed(), 1);
    bench.wake();
    bench.send(Event::Ended(Reaction::Park(Parked::Refused)));
    assert_eq!(bench.machine.failed(), 0, "a parked link attempts nothing");
}

#[test]
fn rare_conflicts_never_park() {
    let mut bench = Bench::open();
    for _ in 0..20 {
        assert_eq!(bench.wait_after(Reaction::Conflict), CONFLICT_RETRY);
        bench.wake();
        bench.send(Event::Opened);
        bench.pass(Duration::from_secs(290));
    }
}

#[test]
fn restarts_without_an_open_link_after_a_scan_mean_broken_pairing() {
    let mut bench = Bench::dialling();
    bench.send(Event::QrShown);
    for _ in 0..3 {
        assert_eq!(bench.send(Event::Ended(Reaction::Restart)), [Action::Dial]);
        bench.pass(Duration::from_secs(1));
    }
    assert_eq!(bench.send(Event::Ended(Reaction::Restart)), []);
    assert_eq!(bench.state(), LinkState::Parked(Parked::PairingBroken));
    assert_eq!(bench.send(Event::ShowNewQr), [Action::Dial]);
}

#[test]
fn a_paired_bot_that_is_restarted_before_it_is_let_in_goes_on_by_itself() {
    let mut bench = Bench::dialling();
    bench.send(Event::QrShown);
    bench.send(Event::Opened);
    bench.send(Event::Ended(LOST));
    bench.pass(Duration::from_secs(60));
    bench.send(Event::Woke);
    for _ in 0..3 {
        assert_eq!(bench.send(Event::Ended(Reaction::Restart)), [Action::Dial]);
    }
    assert!(matches!(bench.send(Event::Ended(Reaction::Restart)).as_slice(), [Action::WakeAt(_)]));
    assert_eq!(bench.state(), LinkState::BackingOff);
}

#[test]
fn a_server_that_restarts_open_links_is_not_hammered() {
    let mut bench = Bench::open();
    for _ in 0..3 {
        assert_eq!(bench.send(Event::Ended(Reaction::Restart)), [Action::Dial]);
        bench.send(Event::Opened);
    }
    assert!(matches!(bench.send(Event::Ended(Reaction::Restart)).as_slice(), [Action::WakeAt(_)]));
    assert_eq!(bench.state(), LinkState::BackingOff);
}

#[test]
fn an_expired_qr_waits_for_a_person() {
    let mut bench = Bench::dialling();
    bench.send(Event::QrShown);
    assert_eq!(bench.send(Event::Ended(Reaction::Park(Parked::QrExpired))), []);
    assert_eq!(bench.send(Event::Woke), []);
    assert_eq!(bench.machine.next_dial(), None);
    assert_eq!(bench.send(Event::ShowNewQr), [Action::Dial]);
}

#[test]
fn a_ban_is_waited_out_and_cannot_be_hurried() {
    let mut bench = Bench::dialling();
    let ban = Duration::from_secs(7200);
    assert_eq!(bench.wait_after(Reaction::BanFor(ban)), ban);
    assert_eq!(bench.state(), LinkState::Parked(Parked::TemporaryBan));
    assert_eq!(bench.send(Event::ReconnectNow), []);
    assert_eq!(bench.send(Event::ShowNewQr), []);
    assert_eq!(bench.wake(), [Action::Dial]);
    // A server that claims eternity.
    assert_eq!(bench.wait_after(Reaction::BanFor(Duration::MAX)), LONGEST_BAN);
}

#[test]
fn a_refused_version_is_probed_hourly() {
    let mut bench = Bench::dialling();
    for _ in 0..3 {
        assert_eq!(bench.wait_after(Reaction::Park(Parked::ClientOutdated)), OUTDATED_PROBE);
        assert_eq!(bench.state(), LinkState::Parked(Parked::ClientOutdated));
        assert_eq!(bench.wake(), [Action::Dial]);
    }
}

#[test]
fn a_logout_archives_and_pairs_anew_under_a_new_lease() {
    let mut bench = Bench::open();
    assert_eq!(bench.send(Event::Ended(Reaction::LoggedOut)), [Action::Archive]);
    assert_eq!(bench.state(), LinkState::LoggedOut);
    assert_eq!(bench.send(Event::Archived), [Action::Acquire]);
    assert_eq!(bench.state(), LinkState::LoggedOut);
    assert_eq!(bench.send(Event::Acquired), [Action::Dial]);
    bench.send(Event::QrShown);
    assert_eq!(bench.state(), LinkState::Pairing);
}

#[test]
fn a_database_lost_while_open_closes_the_link_and_is_asked_again() {
    let mut bench = Bench::open();
    let actions = bench.send(Event::DatabaseDown);
    assert_eq!(actions[0], Action::Discard(CutReason::Database));
    assert_eq!(bench.state(), LinkState::WaitingForDatabase);
    for _ in 0..20 {
        bench.pass(ASK);
        assert_eq!(bench.send(Event::Woke), [Action::Acquire]);
        let [Action::WakeAt(until)] = bench.send(Event::DatabaseDown)[..] else { panic!("no wake") };
        assert!(until - bench.now <= ASK);
    }
    bench.pass(ASK);
    assert_eq!(bench.send(Event::Woke), [Action::Acquire]);
    assert_eq!(bench.send(Event::Acquired), [Action::Dial]);
}

#[test]
fn a_database_that_lets_in_and_then_refuses_is_not_a_reason_to_dial_in_a_loop() {
    let mut bench = Bench::dialling();
    let mut waits = Vec::new();
    for _ in 0..12 {
        bench.send(Event::Opened);
        let actions = bench.send(Event::DatabaseDown);
        let [Action::Discard(CutReason::Database), Action::WakeAt(until)] = actions[..] else {
            panic!("{actions:?}")
        };
        waits.push(until - bench.now);
        bench.pass(until - bench.now);
        assert_eq!(bench.send(Event::Woke), [Action::Acquire]);
        assert_eq!(bench.send(Event::Acquired), [Action::Dial]);
    }
    assert!(waits[0] <= Duration::from_secs(3), "{waits:?}");
    assert!(waits[11] >= Duration::from_secs(150), "{waits:?}");
}

#[test]
fn an_unreadable_session_is_never_dialled_over() {
    let mut bench = Bench::dialling();
    let actions = bench.send(Event::Unreadable);
    assert_eq!(actions, [Action::Discard(CutReason::Stop)], "whoever has the key may try");
    assert_eq!(bench.state(), LinkState::Parked(Parked::SessionUnreadable));
    assert_eq!(bench.send(Event::ShowNewQr), [], "a new QR would be a new identity");
    assert_eq!(bench.send(Event::ReconnectNow), [Action::Acquire]);
}

#[test]
fn a_parked_bot_still_loses_its_lease() {
    let mut bench = Bench::dialling();
    bench.send(Event::Ended(Reaction::Park(Parked::Refused)));
    assert_eq!(bench.send(Event::LeaseLost), [Action::Discard(CutReason::Lease), Action::Acquire]);
    assert_eq!(bench.state(), LinkState::Standby);
}

#[test]
fn a_lease_that_was_given_up_wakes_only_who_stands_by() {
    let mut bench = Bench::new();
    bench.send(Event::Start);
    bench.send(Event::Held { ask_again: ASK });
    assert_eq!(bench.send(Event::LeaseFree), [Action::Acquire]);
    assert_eq!(bench.state(), LinkState::Standby);
    // Our own release for want of a database must not cut its back-off short.
    bench.send(Event::DatabaseDown);
    assert_eq!(bench.state(), LinkState::WaitingForDatabase);
    assert_eq!(bench.send(Event::LeaseFree), []);
    assert_eq!(Bench::open().send(Event::LeaseFree), []);
}

const WAIT: Duration = Duration::from_secs(15);

/// A machine that waits for a successor.
fn handing_over() -> Bench {
    let mut bench = Bench::open();
    bench.machine = bench.machine.clone().handing_over_within(WAIT);
    assert_eq!(bench.send(Event::Stop), [Action::WakeAt(bench.now + WAIT)]);
    assert!(bench.machine.hands_over() && !bench.machine.stopped());
    assert_eq!(bench.state(), LinkState::Open, "nothing has changed for the phone");
    bench
}

#[test]
fn an_open_link_is_kept_until_a_successor_is_ready() {
    let mut bench = handing_over();
    let early = [
        Event::Stop,
        Event::Start,
        Event::Acquired,
        Event::Held { ask_again: ASK },
        Event::QrShown,
        Event::Opened,
        Event::Archived,
        Event::ReconnectNow,
        Event::ShowNewQr,
        Event::LeaseFree,
        Event::Spared,
        Event::Restart,
    ];
    for event in early {
        assert_eq!(bench.send(event), [], "{event:?}");
        assert!(bench.machine.hands_over(), "{event:?}");
    }
    assert_eq!(bench.send(Event::Woke), [Action::WakeAt(bench.now + WAIT)], "an older wake-up");
    assert_eq!(bench.send(Event::SuccessorReady), [Action::Close]);
    assert!(bench.machine.stopped());
    assert_eq!(bench.state(), LinkState::Standby);
}

#[test]
fn whatever_ends_a_hand_over_is_the_last_thing() {
    let last = [
        (Event::SuccessorReady, Action::Close),
        (Event::StopNow, Action::Close),
        (Event::Unreadable, Action::Close),
        (Event::Ended(Reaction::Restart), Action::Close),
        (Event::Ended(Reaction::LoggedOut), Action::Close),
        (Event::Ended(LOST), Action::Close),
        (Event::LeaseLost, Action::Discard(CutReason::Lease)),
        (Event::DatabaseDown, Action::Discard(CutReason::Database)),
    ];
    for (event, action) in last {
        let mut bench = handing_over();
        assert_eq!(bench.send(event), [action], "{event:?}");
        assert!(bench.machine.stopped(), "{event:?}");
    }
    let mut bench = handing_over();
    bench.pass(WAIT);
    assert_eq!(bench.send(Event::Woke), [Action::Close], "nobody came");
    assert!(bench.machine.stopped());
}

#[test]
fn only_an_open_link_is_worth_waiting_for() {
    let to_elsewhere: [&[Event]; 6] = [
        &[],
        &[Event::Start],
        &[Event::Start, Event::Held { ask_again: ASK }],
        &[Event::Start, Event::Acquired],
        &[Event::Start, Event::Acquired, Event::Ended(LOST)],
        &[Event::Start, Event::Acquired, Event::Ended(Reaction::Park(Parked::Refused))],
    ];
    for events in to_elsewhere {
        for stop in [Event::Stop, Event::StopNow] {
            let mut bench = Bench::new();
            bench.machine = bench.machine.clone().handing_over_within(WAIT);
            for event in events {
                bench.send(*event);
            }
            assert_eq!(bench.send(stop), [Action::Close], "{events:?}");
            assert!(bench.machine.stopped());
        }
    }
    assert_eq!(Bench::open().send(Event::Stop), [Action::Close], "nobody to wait for");
}

fn any_reaction() -> impl Strategy<Value = Reaction> {
    prop_oneof![
        Just(Reaction::Restart),
        Just(Reaction::Conflict),
        Just(Reaction::LoggedOut),
        (0u64..100_000).prop_map(|s| Reaction::BanFor(Duration::from_secs(s))),
        Just(Reaction::Park(Parked::Refused)),
        Just(Reaction::Park(Parked::ClientOutdated)),
        Just(Reaction::Park(Parked::QrExpired)),
        (0u32..10).prop_map(|extra| Reaction::BackOff { extra }),
        Just(Reaction::Ours),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Acquired),
        1 => (0u64..100).prop_map(|s| Event::Held { ask_again: Duration::from_secs(s) }),
        1 => Just(Event::DatabaseDown),
        1 => Just(Event::LeaseLost),
        1 => Just(Event::Unreadable),
        2 => Just(Event::QrShown),
        3 => Just(Event::Opened),
        6 => any_reaction().prop_map(Event::Ended),
        2 => Just(Event::Archived),
        6 => Just(Event::Woke),
        1 => Just(Event::ReconnectNow),
        1 => Just(Event::ShowNewQr),
        1 => Just(Event::SuccessorReady),
        2 => Just(Event::LeaseFree),
        2 => Just(Event::Spared),
        1 => Just(Event::Restart),
    ]
}

proptest! {
    /// From wherever a stop comes, and whatever comes after it: it ends once the wait is over, with one last
    /// word, and nothing is begun any more.
    #[test]
    fn a_stop_always_ends(
        seed: u64,
        before in proptest::collection::vec((any_event(), 0u64..60), 0..40),
        after in proptest::collection::vec((any_event(), 0u64..4), 0..20),
        wait in 0u64..=15,
    ) {
        let mut machine = Machine::new(defaults(), ASK).handing_over_within(Duration::from_secs(wait));
        let mut rng = StdRng::seed_from_u64(seed);
        let mut now = Instant::now();
        machine.step(now, Event::Start, &mut rng);
        for (event, time) in before {
            now += Duration::from_secs(time);
            machine.step(now, event, &mut rng);
        }
        let was_open = machine.state() == LinkState::Open;
        let end = now + Duration::from_secs(wait);
        let mut actions = machine.step(now, Event::Stop, &mut rng);
        prop_assert_eq!(machine.hands_over(), was_open && wait > 0);
        for (event, time) in after {
            now += Duration::from_secs(time);
            actions.extend(machine.step(now, event, &mut rng));
        }
        actions.extend(machine.step(now.max(end), Event::Woke, &mut rng));
        prop_assert!(machine.stopped());
        let last = actions.iter().filter(|a| matches!(a, Action::Close | Action::Discard(_))).count();
        prop_assert_eq!(last, 1, "{:?}", actions);
        let begun = actions.iter().find(|a| matches!(a, Action::Acquire | Action::Dial | Action::Archive));
        prop_assert_eq!(begun, None);
    }

    /// Whatever happens in whatever order: one dial in flight, none without the lease, none before its
    /// time unless a person asks, and after stop nothing at all.
    #[test]
    fn the_machine_keeps_its_promises(
        seed: u64,
        events in proptest::collection::vec((any_event(), 0u64..400), 0..200),
        stop_at in 0usize..200,
    ) {
        let mut machine = Machine::new(defaults(), ASK);
        let mut rng = StdRng::seed_from_u64(seed);
        let mut now = Instant::now();
        let mut leased = false;
        let mut asking = false;
        let mut in_flight = false;
        let mut events = events.into_iter();
        let mut next = Some((Event::Start, 0));
        let mut index = 0;
        while let Some((event, wait)) = next {
            now += Duration::from_secs(wait);
            // Only what the owner of the machine could really report.
            let possible = match event {
                Event::Acquired | Event::Held { .. } => asking,
                Event::Ended(_) | Event::QrShown | Event::Opened | Event::Unreadable => in_flight,
                Event::LeaseLost => leased,
                _ => true,
            };
            if possible {
                match event {
                    Event::Acquired => { leased = true; asking = false; }
                    Event::Held { .. } => asking = false,
                    Event::Ended(_) | Event::Unreadable => in_flight = false,
                    _ => {}
                }
                let planned = machine.next_dial();
                for action in machine.step(now, event, &mut rng) {
                    match action {
                        Action::Acquire => {
                            prop_assert!(!leased, "asked for a lease it has after {event:?}");
                            asking = true;
                        }
                        Action::Dial => {
                            prop_assert!(!in_flight, "two dials after {event:?}");
                            prop_assert!(leased, "a dial without the lease after {event:?}");
                            if let (Some(planned), Event::Woke) = (planned, event) {
                                prop_assert!(now >= planned, "dialled before its time");
                            }
                            in_flight = true;
                        }
                        Action::Discard(_) | Action::Archive => { in_flight = false; leased = false; }
                        Action::WakeAt(_) => {}
                        Action::Confirm => prop_assert!(leased && !in_flight),
                        Action::Close => {
                            let wanted = matches!(event, Event::Spared | Event::Restart);
                            prop_assert!(wanted, "closed without a stop after {event:?}");
                            in_flight = false;
                            leased = false;
                        }
                    }
                }
                let dialling = matches!(
                    machine.state(),
                    LinkState::Connecting | LinkState::Pairing | LinkState::Open
                );
                prop_assert_eq!(dialling, in_flight, "the state says something else after {:?}", event);
            }
            index += 1;
            if index == stop_at {
                prop_assert_eq!(machine.step(now, Event::Stop, &mut rng), vec![Action::Close]);
                for (event, _) in events.by_ref() {
                    prop_assert_eq!(machine.step(now, event, &mut rng), vec![]);
                }
                prop_assert_eq!(machine.step(now, Event::Stop, &mut rng), vec![]);
            }
            next = events.next();
        }
    }
}

#[test]
fn a_bot_that_another_dyno_should_have_closes_in_order_and_stands_by() {
    let mut bench = Bench::open();
    let given = bench.send(Event::Spared);
    assert_eq!(given, [Action::Close, Action::WakeAt(bench.now + GIVEN_AWAY)]);
    assert_eq!(bench.state(), LinkState::Standby);
    // Nobody took it.
    bench.pass(GIVEN_AWAY);
    assert_eq!(bench.send(Event::Woke), [Action::Acquire]);
    assert_eq!(bench.send(Event::Acquired), [Action::Dial]);
}

#[test]
fn only_an_open_link_is_given_to_another_dyno() {
    let mut bench = Bench::dialling();
    bench.send(Event::QrShown);
    assert_eq!(bench.send(Event::Spared), []);
    assert_eq!(bench.state(), LinkState::Pairing);
    let mut bench = Bench::open();
    bench.wait_after(LOST);
    assert_eq!(bench.send(Event::Spared), []);
    assert_eq!(bench.state(), LinkState::BackingOff);
}

#[test]
fn a_restart_closes_in_order_and_begins_anew() {
    let mut bench = Bench::open();
    assert_eq!(bench.send(Event::Restart), [Action::Close, Action::Acquire]);
    assert_eq!(bench.send(Event::Acquired), [Action::Dial]);
    assert_eq!(bench.send(Event::Restart), [], "it has just begun");
    bench.wait_after(LOST);
    assert_eq!(bench.send(Event::Restart), [Action::Dial]);
}
