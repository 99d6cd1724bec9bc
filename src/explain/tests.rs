//! The texts say what the program does.

use std::collections::BTreeSet;

use wacore::types::events::ConnectFailureReason;

use super::*;
use crate::config::{AlertKind, schema};
use crate::exit::Exit;
use crate::link::policy::{Ending, RATE_LIMIT_STEPS, Reaction, StreamError};
use crate::link::{LinkState, Parked, advice};

fn known(word: &str) -> &'static Entry {
    find(word).unwrap_or_else(|| panic!("no text explains {word:?}"))
}

#[test]
fn every_word_names_one_entry() {
    let mut seen = BTreeSet::new();
    for entry in all() {
        for word in std::iter::once(&entry.code).chain(entry.also) {
            assert!(seen.insert(plain(word)), "{word} stands for two entries");
            assert_eq!(known(word), entry, "{word}");
        }
        for text in [entry.title, entry.meaning, entry.blacksky].iter().chain(entry.todo) {
            assert!(
                !text.is_empty() && text.trim() == *text && !text.contains("  "),
                "{}: {text:?}",
                entry.code
            );
            assert_eq!(text.matches('`').count() % 2, 0, "{}: {text:?}", entry.code);
        }
        assert!(entry.meaning.ends_with('.') && entry.blacksky.ends_with('.'), "{}", entry.code);
    }
}

#[test]
fn a_code_is_found_as_logs_and_pages_write_it() {
    for (typed, code) in [
        ("h12", "H12"),
        (" code=H12 ", "H12"),
        ("Error R10", "R10"),
        ("stream_error_515", "515"),
        ("failure_405", "405"),
        ("http_429", "429"),
        ("http_502", "dial_failed"),
        ("stream_error_999", "stream_error"),
        ("failure_599", "failure"),
        ("close_1006", "eof"),
        ("closed_440", "440"),
        ("closed_999", "eof"),
        ("parked (conflict)", "conflict"),
        ("parked: client_outdated", "client_outdated"),
        ("PARKED", "parked"),
        ("Waiting for database", "waiting_for_database"),
        ("exit code 78", "78"),
        ("multiple-dynos", "several_dynos"),
    ] {
        assert_eq!(known(typed).code, code, "{typed}");
    }
    for typed in ["", "   ", "H9999", "1006", "é", "*"] {
        assert_eq!(find(typed), None, "{typed:?}");
    }
}

#[test]
fn a_slip_is_named() {
    for (typed, near) in
        [("H112", "H12"), ("stanby", "standby"), ("wating_for_database", "waiting_for_database")]
    {
        assert_eq!(nearest(typed), Some(near), "{typed}");
    }
    assert_eq!(nearest("no such thing at all"), None);
}

#[test]
fn heroku_codes_of_the_issue_are_there() {
    for code in [
        "H10", "H12", "H13", "H14", "H15", "H18", "H20", "H27", "H80", "H81", "H82", "R10", "R12", "R13",
        "R14", "R15", "R16",
    ] {
        assert_eq!(known(code).group, Group::Heroku, "{code}");
    }
}

const PARKED: [Parked; 9] = [
    Parked::Conflict,
    Parked::ClientOutdated,
    Parked::Refused,
    Parked::TemporaryBan,
    Parked::QrExpired,
    Parked::SessionUnreadable,
    Parked::PairingBroken,
    Parked::BotCrashes,
    Parked::BotNotStarted,
];

#[test]
fn every_state_is_explained_with_the_advice_of_the_page() {
    let states = [
        LinkState::Starting,
        LinkState::WaitingForDatabase,
        LinkState::Standby,
        LinkState::Pairing,
        LinkState::Connecting,
        LinkState::Open,
        LinkState::BackingOff,
        LinkState::LoggedOut,
    ];
    for state in states {
        assert_eq!(known(state.name()).group, Group::State, "{state:?}");
    }
    let list = known("parked").meaning;
    for why in PARKED {
        let entry = known(why.name());
        assert_eq!(entry.group, Group::State, "{why:?}");
        let said = advice::advice(LinkState::Parked(why)).expect("a parked bot has advice");
        assert!(entry.todo.contains(&said), "{why:?}");
        assert!(list.contains(why.name()), "{why:?} is not among the reasons of parked");
    }
}

#[test]
fn every_alert_is_explained() {
    for kind in AlertKind::ALL {
        known(kind.as_str());
    }
}

#[test]
fn every_exit_code_is_explained() {
    for exit in [Exit::Ok, Exit::Failed, Exit::Usage, Exit::Unavailable, Exit::BadConfig] {
        assert_eq!(known(&(exit as u8).to_string()).group, Group::Exit, "{exit:?}");
    }
}

/// What the text of a reaction must say.
fn says(reaction: Reaction) -> &'static str {
    match reaction {
        Reaction::Restart => "at once",
        Reaction::Conflict => "once more after 30 s",
        Reaction::LoggedOut => "archived",
        Reaction::BanFor(_) => "until the time that WhatsApp named",
        Reaction::Park(why) => why.name(),
        Reaction::BackOff { extra: 0 } => "growing waits",
        Reaction::BackOff { extra: RATE_LIMIT_STEPS } => "longer",
        Reaction::BackOff { .. } | Reaction::Ours => panic!("not a reaction to a code"),
    }
}

#[test]
fn codes_of_whatsapp_say_what_the_policy_does() {
    let login =
        |code: i32| Ending::Failure { reason: ConnectFailureReason::from(code), expire: None }.reaction();
    let stream = |code: u16| Ending::Stream(StreamError::Code(code)).reaction();
    let banned = Ending::Failure {
        reason: ConnectFailureReason::TempBanned,
        expire: Some(std::time::Duration::from_secs(60)),
    };
    let cases = [401, 402, 403, 405, 406, 409, 411, 429, 440, 500, 503].map(|code| (code, login(code)));
    let more = [401, 405, 409, 411, 429, 440, 500, 503, 515, 516].map(|code| (i32::from(code), stream(code)));
    for (code, reaction) in cases.into_iter().chain(more).chain([(402, banned.reaction())]) {
        let entry = known(&code.to_string());
        assert_eq!(entry.group, Group::Whatsapp, "{code}");
        assert!(entry.blacksky.contains(says(reaction)), "{code} leads to {reaction:?}: {}", entry.blacksky);
    }
    // Baileys' own numbers.
    for code in ["408", "428"] {
        assert_eq!(known(code).group, Group::Whatsapp);
    }
}

#[test]
fn every_reason_of_a_lost_link_is_explained() {
    use crate::link::transport::{CutReason, End};
    let cuts = [
        CutReason::Silence,
        CutReason::ServerError,
        CutReason::Lease,
        CutReason::Database,
        CutReason::LoggedOut,
        CutReason::Stop,
    ];
    let streams = [
        StreamError::Replaced,
        StreamError::DeviceRemoved,
        StreamError::OtherConflict,
        StreamError::NotWellFormed,
        StreamError::Unknown,
    ];
    let ends = [End::Closed { code: None }, End::Closed { code: Some(1006) }, End::Eof, End::Local];
    let endings = [
        Ending::Downgraded,
        Ending::StreamEnd,
        Ending::Paired,
        Ending::PairingRefused,
        Ending::QrEnded,
        Ending::GivenUp,
    ];
    let words = streams.map(|error| Ending::Stream(error).word()).into_iter();
    let words = words.chain(cuts.map(|cut| Ending::Transport(End::Cut(cut)).word()));
    let words = words.chain(ends.map(|end| Ending::Transport(end).word()));
    let words = words.chain(endings.iter().map(Ending::word));
    // The relay's, and those of any number.
    let relay =
        ["cut", "closed_by_bot", "closed", "eof", "io_error", "silence", "dial_failed"].map(str::to_owned);
    let numbers = (0..1000).flat_map(|code| {
        let reason = ConnectFailureReason::from(code);
        [
            Ending::Stream(StreamError::Code(u16::try_from(code).unwrap_or_default())).word(),
            Ending::Failure { reason, expire: None }.word(),
            format!("http_{code}"),
        ]
    });
    for word in words.chain(relay).chain(numbers) {
        known(&word);
    }
}

/// Keys of blacksky.toml that a text names are keys.
#[test]
fn named_keys_exist() {
    let keys: BTreeSet<String> = schema::keys().iter().map(schema::Key::path).collect();
    let sections: BTreeSet<&str> = keys.iter().filter_map(|key| key.split('.').next()).collect();
    let ours = ["last_disconnect.reason", "hosted.memory_bytes"];
    for entry in all() {
        for text in [entry.meaning, entry.blacksky].iter().chain(entry.todo) {
            for quoted in text.split('`').skip(1).step_by(2) {
                let Some((section, _)) = quoted.split_once('.').filter(|_| !quoted.contains([' ', '/']))
                else {
                    continue;
                };
                if sections.contains(section) && !ours.contains(&quoted) {
                    assert!(keys.contains(quoted), "{}: there is no key {quoted}", entry.code);
                }
            }
        }
    }
}
