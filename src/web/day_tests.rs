use super::*;
use crate::runtime::status::{Hour, Month};

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_400 + minute * 60, 0).expect("a time")
}

fn piece(from: i64, until: i64, state: &str) -> Piece {
    Piece { from: at(from), until: at(until), state: state.into() }
}

fn history(pieces: Vec<Piece>, end: i64) -> BotHistory {
    BotHistory {
        at: at(end),
        since: pieces.first().map(|piece| piece.from),
        open_percent: Some(99.5),
        pieces,
        interruptions: Vec::new(),
        interrupted: 0,
        hours: (0..24).map(|n| Hour { hour: at(n * 60), received: 0, sent: 0 }).collect(),
        month: Month::default(),
    }
}

/// Class, x, width.
fn drawn(card: &DayCard<'_>) -> Vec<(&'static str, f64, f64)> {
    let number = |text: &str| text.parse().expect("a number");
    card.marks.iter().map(|mark| (mark.class, number(&mark.x), number(&mark.width))).collect()
}

#[test]
fn a_minute_is_a_unit_and_what_is_short_is_still_seen() {
    // The window is from minute 1 to 1441.
    let history = history(
        vec![
            piece(-100, 101, "open"),
            piece(101, 131, "backing_off"),
            piece(131, 1435, "open"),
            piece(1435, 1436, "parked"),
            piece(1436, 1440, "open"),
        ],
        1440,
    );
    let card = DayCard::of(&history, false, at(1440)).expect("known");
    assert_eq!(
        drawn(&card),
        [
            ("good", 0.0, 100.0),
            ("good", 130.0, 1304.0),
            ("good", 1434.0, 6.0),
            ("wait", 100.0, 30.0),
            ("act", 1434.0, 6.0),
        ]
    );
    assert_eq!(card.legend, [("good", "Connected"), ("wait", "Reconnecting"), ("act", "Stopped")]);
    assert!(card.since.is_none(), "the whole day is known");
    assert_eq!(
        card.summary,
        "Link in the last 24 hours: connected 99.5 % of the time, not interrupted. Reconnecting for 30 min 0 s. \
         Stopped for 1 min 0 s."
    );
}

#[test]
fn a_hand_over_is_not_drawn_and_what_is_unknown_stays_empty() {
    let mut gap = piece(1400, 1400, "not_kept");
    gap.until += TimeDelta::milliseconds(300);
    let history = history(vec![piece(1300, 1400, "open"), gap, piece(1400, 1440, "open")], 1440);
    let card = DayCard::of(&history, true, at(1440)).expect("known");
    assert_eq!(drawn(&card), [("good", 1299.0, 100.0), ("good", 1399.0, 41.0)]);
    assert!(card.since.is_some() && card.messages.is_none());
    let nothing = BotHistory { since: None, ..history };
    assert!(DayCard::of(&nothing, false, at(1440)).is_none());
}

#[test]
fn nothing_is_drawn_outside() {
    for (from, until) in [(-5000, -4000), (1439, 1440), (1440, 1440), (0, 1), (-9000, 1440), (1430, 9000)] {
        for state in ["open", "parked", "not_kept"] {
            let history = history(vec![piece(from, until, state)], 1440);
            let card = DayCard::of(&history, false, at(1440)).expect("known");
            for (_, x, width) in drawn(&card) {
                assert!(
                    x >= 0.0 && width > 0.0 && x + width <= WIDTH,
                    "{state} {from}..{until}: {x} {width}"
                );
            }
        }
    }
}

#[test]
fn messages_are_drawn_against_the_busiest_hour() {
    let mut history = history(vec![piece(0, 1440, "open")], 1440);
    history.hours[3] = Hour { hour: at(180), received: 1200, sent: 600 };
    history.hours[4] = Hour { hour: at(240), received: 1, sent: 0 };
    let card = DayCard::of(&history, false, at(1440)).expect("known");
    let messages = card.messages.expect("a native bot");
    assert_eq!((messages.received, messages.sent, messages.columns.len()), (1201, 600, 24));
    let column = |n: usize| {
        let column = &messages.columns[n];
        (column.x, column.received.height.as_str(), column.sent.height.as_str(), column.sent.y.as_str())
    };
    assert_eq!(column(3), (30, "24", "12", "12"));
    assert_eq!(column(4), (40, "1", "0", "24"));
    assert!(
        messages.summary.contains("1,201 in, 600 out. Most of them, 1,200 in and 600 out"),
        "{}",
        messages.summary
    );
}

#[test]
fn the_month_is_told_when_more_is_known_than_the_day() {
    let mut history = history(vec![piece(0, 1440, "open")], 1440);
    history.month = Month { since: Some(at(0)), open_percent: Some(99.0), ..Month::default() };
    let told = |history: &BotHistory| DayCard::of(history, false, at(1440)).expect("known").month;
    assert_eq!(told(&history), None);
    history.month.since = Some(at(-29 * 1440));
    history.month.open_percent = Some(99.96);
    let names = ["a", "b", "c", "d", "e", "f"];
    history.month.reasons = names.iter().zip(1..).map(|(name, count)| ((*name).to_owned(), count)).collect();
    assert_eq!(
        told(&history).as_deref(),
        Some("Last 30 days: 99.96 % connected; it ended by f 6, e 5, d 4, c 3, others 3.")
    );
}

#[test]
fn percents_are_short() {
    for (percent, text) in
        [(100.0, "100 %"), (99.9, "99.9 %"), (99.99, "99.99 %"), (0.0, "0 %"), (50.5, "50.5 %")]
    {
        assert_eq!(percent_text(percent), text);
    }
}
