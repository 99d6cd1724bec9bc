use super::*;
use crate::link::state::Parked;
use crate::runtime::clock;
use crate::runtime::status::{AlertsStatus, Board, Holder, HostedStatus, Qr, RelayWay, WarningKind};

const ADMIN: Access = Access::Admin(Proof::ThisMachine);
const PUBLIC: Access = Access::Public(Denial::NoTokenSet);

/// The page at `/`.
fn live(snapshot: &Snapshot, access: Access, now: DateTime<Utc>) -> String {
    super::live(&Paths::plain(), snapshot, access.is_admin(), now)
}

fn page(name: &str, snapshot: &Snapshot, access: Access, now: DateTime<Utc>) -> String {
    super::page(name, &Paths::plain(), snapshot, access, now)
}

const EVERY_STATE: [LinkState; 17] = [
    LinkState::Starting,
    LinkState::WaitingForDatabase,
    LinkState::Standby,
    LinkState::Pairing,
    LinkState::Connecting,
    LinkState::Open,
    LinkState::BackingOff,
    LinkState::LoggedOut,
    LinkState::Parked(Parked::Conflict),
    LinkState::Parked(Parked::ClientOutdated),
    LinkState::Parked(Parked::Refused),
    LinkState::Parked(Parked::TemporaryBan),
    LinkState::Parked(Parked::QrExpired),
    LinkState::Parked(Parked::SessionUnreadable),
    LinkState::Parked(Parked::PairingBroken),
    LinkState::Parked(Parked::BotCrashes),
    LinkState::Parked(Parked::BotNotStarted),
];

fn snapshot(change: impl FnOnce(&mut BotStatus)) -> Snapshot {
    let board = Board::new(clock::now(), None, ["main"].into_iter());
    board.bot("main", change);
    board.subscribe().borrow().clone()
}

#[test]
fn what_others_wrote_is_escaped() {
    const EVIL: &str = "</p><script>alert(1)</script>\"'&";
    let mut snapshot = snapshot(|bot| {
        bot.advice = Some(EVIL.to_owned());
        bot.last_disconnect =
            Some(Disconnect { at: clock::now(), reason: EVIL.to_owned(), text: EVIL.to_owned() });
        bot.disconnects.insert(EVIL.to_owned(), 1);
        bot.raise(WarningKind::Deaf, clock::now(), EVIL);
    });
    snapshot.simulator = Some(EVIL.to_owned());
    snapshot.database = DatabaseStatus::Down { kind: "sqlite", problem: EVIL.to_owned() };
    let html = page(EVIL, &snapshot, ADMIN, clock::now());
    assert!(!html.contains("<script>alert"), "{html}");
    assert_eq!(html.matches("&#60;script&#62;alert(1)").count(), 9, "name twice and seven texts");
    assert_eq!(html.matches("<script>").count(), 1, "only our own");
}

#[test]
fn the_qr_is_shown_to_admins_while_it_is_valid() {
    let now = clock::now();
    let pairing = |expires_at| {
        snapshot(|bot| {
            bot.state = LinkState::Pairing;
            bot.qr = Some(Qr { payload: "2@secret-of-the-qr".to_owned(), expires_at });
        })
    };
    let valid = pairing(now + TimeDelta::seconds(20));
    let admin = live(&valid, ADMIN, now);
    assert!(admin.contains("<svg class=\"qr\"") && admin.contains(">20 s<"), "{admin}");

    for hidden in [
        live(&valid, PUBLIC, now),
        live(&valid, Access::Public(Denial::TokenNeeded), now),
        live(&pairing(now), ADMIN, now),
    ] {
        assert!(!hidden.contains("class=\"qr\""), "{hidden}");
    }
    let opened = snapshot(|bot| {
        bot.state = LinkState::Open;
        bot.qr = Some(Qr { payload: "2@stale".to_owned(), expires_at: now + TimeDelta::seconds(20) });
    });
    assert!(!live(&opened, ADMIN, now).contains("class=\"qr\""));
    assert!(!page("x", &valid, ADMIN, now).contains("secret-of-the-qr"));
}

#[test]
fn every_state_has_words_and_actions_are_for_admins() {
    for state in EVERY_STATE {
        let snapshot = snapshot(|bot| bot.state = state);
        let words = words(state);
        let admin = live(&snapshot, ADMIN, clock::now());
        assert!(admin.contains(words.word) && admin.contains(state.name()), "{state:?}: {admin}");
        assert_eq!(admin.contains("action=\"/bots/main/reconnect\""), words.can_reconnect, "{state:?}");
        assert_eq!(admin.contains("action=\"/bots/main/qr\""), words.can_pair, "{state:?}");
        assert!(!live(&snapshot, PUBLIC, clock::now()).contains("<form"), "{state:?}");
    }
}

#[test]
fn the_advice_of_the_bot_is_shown_but_not_beside_the_steps_of_pairing() {
    let advised = |state| {
        let snapshot = snapshot(|bot| {
            bot.state = state;
            bot.advice = Some("Do what I say.".to_owned());
        });
        live(&snapshot, ADMIN, clock::now()).contains("Do what I say.")
    };
    assert!(advised(LinkState::Parked(Parked::Refused)) && advised(LinkState::Open));
    assert!(!advised(LinkState::Pairing));
}

#[test]
fn warnings_and_the_count_of_each_reason_are_shown() {
    let html = |change: fn(&mut BotStatus)| live(&snapshot(change), PUBLIC, clock::now());
    let quiet = html(|bot| bot.state = LinkState::Open);
    assert!(!quiet.contains("data-warning") && !quiet.contains("Disconnects"), "{quiet}");
    let busy = html(|bot| {
        bot.state = LinkState::Open;
        bot.disconnects = [("silence".to_owned(), 12_000), ("http_503".to_owned(), 1)].into();
        bot.raise(WarningKind::Deaf, clock::now(), "It hears nothing.");
    });
    assert!(busy.contains("data-warning=\"deaf\"") && busy.contains("It hears nothing."), "{busy}");
    assert!(busy.contains("<code>silence</code> 12,000"), "{busy}");
    assert!(busy.contains("<code>http_503</code> 1<"), "{busy}");
}

#[test]
fn alerts_are_listed_with_what_became_of_them() {
    let now = clock::now();
    let mut snapshot = snapshot(|_| {});
    let section = |snapshot: &Snapshot| {
        let html = live(snapshot, PUBLIC, now);
        let begin = html.find("<section id=\"alerts\"").expect("the section");
        html[begin..].split("</section>").next().expect("its end").to_owned()
    };
    assert!(section(&snapshot).contains(" hidden>"), "nothing to tell");
    snapshot.alerts = AlertsStatus::new(true);
    assert!(section(&snapshot).contains("None since this process began."));
    let first = snapshot.alerts.note("logged_out", Some("main".into()), "Removed.".into(), 0, now);
    assert!(section(&snapshot).contains("main: logged out") && section(&snapshot).contains("on its way"));
    snapshot.alerts.ended(first, Err("the webhook answered 404".into()));
    assert!(section(&snapshot).contains("not sent: the webhook answered 404"));
    let second = snapshot.alerts.note("memory", None, "Nearly used up.".into(), 3, now);
    snapshot.alerts.ended(second, Ok(now));
    let html = section(&snapshot);
    assert!(html.contains(">sent<") && html.contains("3 more before it"), "{html}");
    assert!(html.find("Nearly used up.") < html.find("Removed."), "the latest first: {html}");
    snapshot.alerts.webhook = false;
    assert!(section(&snapshot).contains("BLACKSKY_ALERTS_WEBHOOK"));
}

#[test]
fn a_visitor_is_told_how_to_get_the_right() {
    let snapshot = snapshot(|_| {});
    let none = page("x", &snapshot, PUBLIC, clock::now());
    assert!(none.contains("heroku config:set BLACKSKY_ADMIN_TOKEN=") && !none.contains("<input"));
    let needed = page("x", &snapshot, Access::Public(Denial::TokenNeeded), clock::now());
    assert!(needed.contains("name=\"token\"") && !needed.contains("role=\"alert\""));
    let wrong = page("x", &snapshot, Access::Public(Denial::WrongToken), clock::now());
    assert!(wrong.contains("role=\"alert\""));
    let admin = page("x", &snapshot, ADMIN, clock::now());
    assert!(!admin.contains("name=\"token\""));
}

#[test]
fn spans_have_two_units() {
    for (seconds, text) in [
        (-5, "0 s"),
        (59, "59 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (8040, "2 h 14 min"),
        (86400 * 3 + 3600 * 4, "3 d 4 h"),
    ] {
        assert_eq!(span_text(TimeDelta::seconds(seconds)), text);
    }
}

#[test]
fn counts_are_grouped() {
    for (count, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
        assert_eq!(grouped(&count), text);
    }
}

/// A bot that web.1 keeps, seen from web.2.
fn kept_by(dyno: &str, withheld: bool, change: impl FnOnce(&mut BotStatus)) -> Snapshot {
    let mut held = BotStatus::starting(clock::now());
    change(&mut held);
    let mut snapshot = snapshot(|bot| {
        bot.state = LinkState::Standby;
        let dyno = Some(dyno.to_owned());
        bot.holder = Some(Holder { dyno, bot: Box::new(held), qr_withheld: withheld });
    });
    snapshot.dyno = Some("web.2".to_owned());
    snapshot
}

#[test]
fn a_standby_shows_what_the_holder_says_and_who_that_is() {
    let now = clock::now();
    let expires_at = now + TimeDelta::seconds(20);
    let pairing = |bot: &mut BotStatus| {
        bot.state = LinkState::Pairing;
        bot.qr = Some(Qr { payload: "2@secret-of-the-qr".to_owned(), expires_at });
    };
    let shown = kept_by("web.1", false, pairing);
    let admin = live(&shown, ADMIN, now);
    assert!(admin.contains("<svg class=\"qr\"") && admin.contains("Kept by web.1."), "{admin}");
    assert!(admin.contains("Dyno web.2") && !admin.contains("Standing by"), "{admin}");
    assert!(!live(&shown, PUBLIC, now).contains("<svg class=\"qr\""));

    let withheld = live(&kept_by("web.1", true, |bot| bot.state = LinkState::Pairing), ADMIN, now);
    assert!(withheld.contains("heroku config:set BLACKSKY_SECRET_KEY="), "{withheld}");
    let waiting = live(&kept_by("web.1", false, |bot| bot.state = LinkState::Pairing), ADMIN, now);
    assert!(waiting.contains("Waiting for a code from WhatsApp"), "{waiting}");

    let parked = kept_by("web.1", false, |bot| bot.state = LinkState::Parked(Parked::QrExpired));
    assert!(live(&parked, ADMIN, now).contains("action=\"/bots/main/qr\""));
    let evil = live(&kept_by("<b>", false, |_| {}), ADMIN, now);
    assert!(!evil.contains("<b>."), "{evil}");
}

#[test]
fn the_word_of_a_holder_counts_only_while_this_dyno_stands_by() {
    let mut snapshot = kept_by("web.1", false, |bot| bot.state = LinkState::Open);
    let said = |snapshot: &Snapshot| live(snapshot, ADMIN, clock::now());
    assert!(said(&snapshot).contains("Connected"));
    let bot = snapshot.bots.get_mut("main").expect("it is there");
    bot.state = LinkState::Connecting;
    let own = said(&snapshot);
    assert!(
        !own.contains("Connected") && own.contains("Kept by web.2, which also serves this page"),
        "{own}"
    );
    snapshot.bots.get_mut("main").expect("it is there").state = LinkState::Standby;
    snapshot.bots.get_mut("main").expect("it is there").holder = None;
    assert!(said(&snapshot).contains("Standing by"));
}

/// A hosted bot whose program has just ended for the fifth time.
fn hosted(now: DateTime<Utc>) -> Snapshot {
    let board = Board::new(now - TimeDelta::hours(3), None, ["main"].into_iter());
    board.bot("main", |bot| {
        bot.state = LinkState::Parked(Parked::BotCrashes);
        bot.since = now - TimeDelta::seconds(90);
        bot.advice = crate::link::advice::advice(bot.state).map(str::to_owned);
        bot.backup.last = Some(LastBackup {
            taken_at: now - TimeDelta::minutes(4),
            checked_at: now - TimeDelta::minutes(4),
            bytes: 700_000,
            rows: 813,
        });
        let mut hosted = HostedStatus::default();
        hosted.child.state = ChildState::CrashLoop;
        hosted.child.restarts = 4;
        hosted.child.last_exit = Some("ended with code 1 after 400 ms".to_owned());
        hosted.vault.files = 812;
        hosted.vault.bytes = 1_240_000;
        hosted.vault.mirrored_at = Some(now - TimeDelta::minutes(5));
        hosted.vault.problem = Some("session-491701234567.0.json is torn".to_owned());
        hosted.vault.removed_at = Some(now - TimeDelta::minutes(5));
        hosted.relay.way = RelayWay::Around;
        hosted.relay.dials = 1;
        hosted.last_lines = vec!["Error: Cannot find module './config'".to_owned(), "Node.js v20".to_owned()];
        bot.hosted = Some(hosted);
    });
    board.subscribe().borrow().clone()
}

#[test]
fn a_hosted_bot_as_the_admin_and_as_everybody_sees_it() {
    let now = "2026-11-25T08:00:00Z".parse().expect("a time");
    let paths = Paths { base: "/blacksky/".to_owned(), bot: Some("main".to_owned()) };
    insta::assert_snapshot!("hosted_admin", super::live(&paths, &hosted(now), true, now));
    insta::assert_snapshot!("hosted_public", super::live(&paths, &hosted(now), false, now));
    let report = crate::web::report(&hosted(now), now);
    insta::assert_json_snapshot!("hosted_status", report.bots["main"]);
}
