use super::*;
use crate::runtime::clock;
use crate::runtime::status::{Board, ChildStatus, Holder, HostedStatus};

fn snapshot(change: impl FnOnce(&mut BotStatus)) -> Snapshot {
    let board = Board::new(clock::now(), None, ["main"].into_iter());
    board.bot("main", change);
    board.subscribe().borrow().clone()
}

fn hosted(state: ChildState, port: Option<u16>) -> Option<HostedStatus> {
    Some(HostedStatus {
        child: ChildStatus { state, ..ChildStatus::default() },
        port,
        ..HostedStatus::default()
    })
}

#[test]
fn requests_go_to_a_bot_that_runs_here() {
    let to = |change: fn(&mut BotStatus)| where_to(&snapshot(change), "main");
    assert_eq!(
        to(|bot| {
            bot.state = LinkState::Open;
            bot.hosted = hosted(ChildState::Running, Some(4711));
        }),
        Ok(4711)
    );
    // A link that is down does not keep the bot's pages away.
    assert_eq!(
        to(|bot| {
            bot.state = LinkState::BackingOff;
            bot.hosted = hosted(ChildState::Running, Some(4711));
        }),
        Ok(4711)
    );
    assert_eq!(to(|_| {}), Err(Refusal::NotRunning));
    assert_eq!(to(|bot| bot.state = LinkState::WaitingForDatabase), Err(Refusal::NoDatabase));
    assert_eq!(to(|bot| bot.hosted = hosted(ChildState::CrashLoop, Some(1))), Err(Refusal::Crashes));
    assert_eq!(to(|bot| bot.hosted = hosted(ChildState::NotStarted, None)), Err(Refusal::CannotStart));
    assert_eq!(to(|bot| bot.hosted = hosted(ChildState::Waiting, Some(1))), Err(Refusal::Restarting));
    assert_eq!(where_to(&snapshot(|_| {}), "other"), Err(Refusal::NotRunning));
}

#[test]
fn a_standby_names_the_holder_and_never_its_port() {
    let kept = |dyno: Option<&str>| {
        let mut held = BotStatus::starting(clock::now());
        held.hosted = hosted(ChildState::Running, Some(4711));
        let dyno = dyno.map(str::to_owned);
        let snapshot = snapshot(|bot| {
            bot.state = LinkState::Standby;
            bot.hosted = hosted(ChildState::Running, Some(4712));
            bot.holder = Some(Holder { dyno, bot: Box::new(held), qr_withheld: false });
        });
        where_to(&snapshot, "main")
    };
    assert_eq!(kept(Some("web.1")), Err(Refusal::Elsewhere(Some("web.1".into()))));
    assert_eq!(kept(None), Err(Refusal::Elsewhere(None)));
}
