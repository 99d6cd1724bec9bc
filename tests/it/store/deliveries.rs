//! What is owed to a webhook: written with the inbox, in order within a chat, fenced.

use blacksky::runtime::clock;
use blacksky::store::{Backlog, DeliveryLimits, InboxMessage, SessionStore, StoreError, Thinned};
use chrono::{DateTime, TimeDelta, Utc};

use super::{Bench, lease, on_both};

on_both!(
    a_new_message_is_owed_once,
    a_chat_is_owed_in_order_and_its_first_says_when,
    what_is_given_up_holds_up_nothing_and_can_be_revived,
    another_epoch_fences_the_one_who_posts,
    what_is_owed_outlives_the_linking,
    the_limits_keep_the_newest,
    a_new_key_reaches_what_is_owed,
);

fn message(chat: &str, id: &str) -> InboxMessage {
    InboxMessage {
        chat: format!("{chat}@s.whatsapp.net"),
        sender: format!("{chat}@s.whatsapp.net"),
        id: id.to_owned(),
        at: time(0),
        push_name: "Ada".into(),
        text: "hello".into(),
    }
}

fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).expect("a time")
}

async fn owe(session: &SessionStore, messages: &[(&str, &str)]) -> usize {
    let batch: Vec<_> = messages.iter().map(|(chat, id)| message(chat, id)).collect();
    let bodies: Vec<_> = messages.iter().map(|(_, id)| format!("body {id}").into_bytes()).collect();
    session.put_inbox_owing(&batch, &bodies, time(0)).await.expect("writes")
}

/// The bodies that are owed, chat by chat.
async fn owed(session: &SessionStore) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for chat in session.owed_chats(100).await.expect("reads") {
        let of_chat = session.owed_of(&chat, 100).await.expect("reads");
        let text = |body: Option<Vec<u8>>| String::from_utf8(body.expect("unseals")).expect("text");
        all.push(of_chat.into_iter().map(|delivery| text(delivery.body)).collect());
    }
    all
}

async fn a_new_message_is_owed_once(bench: &Bench) {
    let store = bench.open().await;
    let session = store.session(&lease(&store, "a").await);
    assert_eq!(owe(&session, &[("1", "a"), ("2", "b"), ("1", "c")]).await, 3);
    // Delivered again by WhatsApp, with one that is new.
    assert_eq!(owe(&session, &[("1", "a"), ("2", "d")]).await, 1);
    assert_eq!(owed(&session).await, [["body a", "body c"], ["body b", "body d"]]);
    assert_eq!(
        session.backlog().await.expect("reads"),
        Backlog { waiting: 4, oldest: Some(time(0)), dead: 0 }
    );
    // The commands see them as ever.
    assert_eq!(session.unhandled(10).await.expect("reads").len(), 4);
    // What was taken is not owed again when WhatsApp delivers it once more.
    let chat = session.owed_chats(1).await.expect("reads").remove(0);
    let first = session.owed_of(&chat, 1).await.expect("reads").remove(0);
    session.delivered(&first.key).await.expect("writes");
    assert_eq!(owe(&session, &[("1", "a")]).await, 0);
    assert_eq!(owed(&session).await, [vec!["body b", "body d"], vec!["body c"]]);
    // Without a webhook nothing is owed.
    session.put_inbox(&[message("3", "e")]).await.expect("writes");
    assert_eq!(session.backlog().await.expect("reads").waiting, 3);
}

async fn a_chat_is_owed_in_order_and_its_first_says_when(bench: &Bench) {
    let store = bench.open().await;
    let session = store.session(&lease(&store, "a").await);
    owe(&session, &[("1", "a"), ("1", "b"), ("2", "c"), ("3", "d")]).await;
    let chats = session.owed_chats(10).await.expect("reads");
    assert_eq!(chats.len(), 3);
    let first = session.owed_of(&chats[0], 1).await.expect("reads").remove(0);
    assert_eq!((first.attempts, first.stored_at), (0, time(0)));
    session.not_delivered(&first.key, time(1), Some(time(60))).await.expect("writes");
    let chats = session.owed_chats(10).await.expect("reads");
    assert_eq!(
        chats.iter().map(|chat| chat.due()).collect::<Vec<_>>(),
        [DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH, time(60)]
    );
    // It still stands ahead of its chat.
    let again = session.owed_of(&chats[2], 10).await.expect("reads");
    assert_eq!(again.iter().map(|delivery| delivery.attempts).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(again[0].key, first.key);
    assert_eq!(session.owed_chats(2).await.expect("reads"), chats[..2]);
}

async fn what_is_given_up_holds_up_nothing_and_can_be_revived(bench: &Bench) {
    let store = bench.open().await;
    let session = store.session(&lease(&store, "a").await);
    owe(&session, &[("1", "a"), ("1", "b")]).await;
    let chat = session.owed_chats(1).await.expect("reads").remove(0);
    let first = session.owed_of(&chat, 1).await.expect("reads").remove(0);
    session.not_delivered(&first.key, time(9), None).await.expect("writes");
    assert_eq!(owed(&session).await, [["body b"]]);
    assert_eq!(
        session.backlog().await.expect("reads"),
        Backlog { waiting: 1, oldest: Some(time(0)), dead: 1 }
    );
    assert_eq!(session.revive_deliveries(time(99)).await.expect("writes"), 1);
    assert_eq!(owed(&session).await, [["body a", "body b"]]);
    let revived = session.owed_of(&chat, 1).await.expect("reads").remove(0);
    assert_eq!((revived.attempts, revived.stored_at), (0, time(99)));
    assert_eq!(session.revive_deliveries(time(99)).await.expect("writes"), 0);
}

async fn another_epoch_fences_the_one_who_posts(bench: &Bench) {
    let store = bench.open().await;
    let held = lease(&store, "a").await;
    let session = store.session(&held);
    owe(&session, &[("1", "a"), ("1", "b")]).await;
    let chat = session.owed_chats(1).await.expect("reads").remove(0);
    let first = session.owed_of(&chat, 1).await.expect("reads").remove(0);
    bench.meddle("UPDATE {}session SET epoch = epoch + 1").await;
    let fenced =
        |result: Result<(), StoreError>| assert!(matches!(result, Err(StoreError::Fenced)), "{result:?}");
    fenced(store.session(&held).delivered(&first.key).await);
    fenced(store.session(&held).not_delivered(&first.key, time(1), None).await);
    fenced(store.session(&held).revive_deliveries(time(1)).await.map(drop));
    let batch = [message("1", "c")];
    fenced(store.session(&held).put_inbox_owing(&batch, &[b"c".to_vec()], time(0)).await.map(drop));
    assert_eq!(owed(&store.session(&held)).await, [["body a", "body b"]]);
}

async fn what_is_owed_outlives_the_linking(bench: &Bench) {
    let store = bench.open().await;
    let held = lease(&store, "a").await;
    owe(&store.session(&held), &[("1", "a")]).await;
    store.session(&held).archive().await.expect("archives");
    let session = store.session(&held);
    assert_eq!(session.unhandled(10).await.expect("reads").len(), 0);
    assert_eq!(owed(&session).await, [["body a"]]);
    // Another session sees none of it.
    let other = store.acquire("other", &super::owner("a"), super::TTL).await.expect("wins");
    assert_eq!(store.session(&other).backlog().await.expect("reads"), Backlog::default());
}

async fn the_limits_keep_the_newest(bench: &Bench) {
    let store = bench.open().await;
    let session = store.session(&lease(&store, "a").await);
    owe(&session, &[("1", "a"), ("2", "b"), ("1", "c"), ("2", "d")]).await;
    let limits = DeliveryLimits { waiting: 2, dead: 10, dead_since: time(0) };
    assert_eq!(
        session.thin_deliveries(&limits, time(5)).await.expect("writes"),
        Thinned { died: 2, removed: 0 }
    );
    assert_eq!(owed(&session).await, [["body c"], ["body d"]]);
    let limits = DeliveryLimits { dead: 1, ..limits };
    assert_eq!(session.thin_deliveries(&limits, time(6)).await.expect("writes").removed, 1);
    assert_eq!(session.backlog().await.expect("reads").dead, 1);
    let limits = DeliveryLimits { dead_since: time(6), ..limits };
    assert_eq!(session.thin_deliveries(&limits, time(7)).await.expect("writes").removed, 1);
    assert_eq!(
        session.backlog().await.expect("reads"),
        Backlog { waiting: 2, oldest: Some(time(0)), dead: 0 }
    );
}

async fn a_new_key_reaches_what_is_owed(bench: &Bench) {
    let store = bench.open().await;
    let held = lease(&store, "a").await;
    owe(&store.session(&held), &[("1", "a")]).await;
    // Under another key alone it does not read, and is not lost.
    let other = bench.open_with_key(Some("another key of thirty-two letters")).await;
    let chat = other.session(&held).owed_chats(1).await.expect("reads").remove(0);
    let found = other.session(&held).owed_of(&chat, 1).await.expect("reads").remove(0);
    assert!(found.body.is_none());
    assert!(clock::now() - found.stored_at > TimeDelta::zero());
    assert_eq!(owed(&store.session(&held)).await, [["body a"]]);
}
