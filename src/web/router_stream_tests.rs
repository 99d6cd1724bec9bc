use super::*;
use crate::runtime::status::Memory;

#[tokio::test(start_paused = true)]
async fn a_stream_begins_with_the_present_follows_changes_and_never_falls_silent() {
    let stage = stage(None);
    let response = stage.ask("GET", "/events", &[LOCAL], "").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body().into_data_stream();
    let first = piece(&mut body).await.unwrap();
    assert!(
        first.starts_with("event: status\ndata: {") && first.contains("\"state\":\"starting\""),
        "{first}"
    );

    stage.board.bot("main", |bot| bot.state = LinkState::Open);
    let second = piece(&mut body).await.unwrap();
    assert!(second.contains("\"state\":\"open\""), "{second}");

    let quiet = tokio::time::Instant::now();
    for _ in 0..3 {
        assert_eq!(piece(&mut body).await.unwrap(), ":\n\n");
    }
    assert_eq!(quiet.elapsed().as_secs(), 60, "a comment every 20 s");

    stage.stop.cancel();
    assert_eq!(piece(&mut body).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_changes_is_seen_as_few_events_that_end_with_the_last() {
    let stage = stage(None);
    let mut body = stage.ask("GET", "/events", &[LOCAL], "").await.into_body().into_data_stream();
    piece(&mut body).await.unwrap();
    let mut events = 0;
    let mut seen = String::new();
    for n in 1..=1000 {
        stage.board.bot("main", |bot| bot.messages_in = n);
        tokio::time::advance(Duration::from_millis(1)).await;
        if let Ok(Some(event)) = tokio::time::timeout(Duration::ZERO, piece(&mut body)).await {
            events += 1;
            seen = event;
        }
    }
    while !seen.contains("\"messages_in\":1000") {
        seen = piece(&mut body).await.unwrap();
        events += 1;
    }
    assert!((2..=8).contains(&events), "{events} events in a second");
}

#[tokio::test]
async fn the_qr_streams_to_admins_only() {
    for (token, headers, shown) in [
        (None, vec![LOCAL], true),
        (None, vec![LOCAL, ("via", "1.1 vegur")], false),
        (Some(TOKEN), vec![LOCAL], false),
        (Some(TOKEN), vec![LOCAL, ("authorization", "Bearer correct horse")], true),
    ] {
        let stage = stage(token);
        stage.board.bot("main", |bot| {
            bot.state = LinkState::Pairing;
            bot.qr =
                Some(Qr { payload: "2@x".into(), expires_at: clock::now() + chrono::TimeDelta::hours(1) });
        });
        let mut body =
            stage.ask("GET", "/events?view=page", &headers, "").await.into_body().into_data_stream();
        let event = piece(&mut body).await.unwrap();
        assert_eq!(event.contains("<svg class=\\\"qr\\\""), shown, "{headers:?}");
    }
    assert_eq!(stage(None).get("/events?view=other", &[]).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn streams_are_limited_and_their_places_come_free() {
    let stage = stage(Some(TOKEN));
    let mut open = Vec::new();
    for _ in 0..ROOM.streams {
        open.push(stage.ask("GET", "/events", &[], "").await);
    }
    let refused = stage.ask("GET", "/events", &[], "").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "30");
    assert_eq!(stage.get("/status", &[]).await.0, StatusCode::OK);
    // Visitors leave places to whoever has the token.
    let signed_in = [("authorization", "Bearer correct horse")];
    for _ in 0..ROOM.own_streams {
        let own = stage.ask("GET", "/events?view=page", &signed_in, "").await;
        assert_eq!(own.status(), StatusCode::OK);
        open.push(own);
    }
    assert_eq!(
        stage.get("/events?view=page", &signed_in).await.0,
        StatusCode::SERVICE_UNAVAILABLE,
        "these have an end, too"
    );
    drop(open);
    assert_eq!(stage.ask("GET", "/events", &[], "").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn few_visitors_get_a_stream_while_memory_is_nearly_used_up() {
    let stage = stage_with(Some(TOKEN), Paths::plain(), Room { streams: 100, ..ROOM });
    let memory = |tight| Memory { used_bytes: 480 << 20, programs_bytes: 0, quota_bytes: 512 << 20, tight };
    stage.board.memory(memory(true));
    let mut open = Vec::new();
    loop {
        let response = stage.ask("GET", "/events", &[], "").await;
        if response.status() != StatusCode::OK {
            break;
        }
        open.push(response);
    }
    assert_eq!(open.len(), 64);
    stage.board.memory(memory(false));
    assert_eq!(stage.ask("GET", "/events", &[], "").await.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn all_streams_get_the_same_event_of_their_view_and_none_misses_a_change() {
    let stage = stage(Some(TOKEN));
    let signed_in = [("authorization", "Bearer correct horse")];
    let mut streams = Vec::new();
    for n in 0..8 {
        let (path, headers) = match n % 3 {
            0 => ("/events", &[][..]),
            1 => ("/events?view=page", &[][..]),
            _ => ("/events?view=page", &signed_in[..]),
        };
        let response = stage.ask("GET", path, headers, "").await;
        streams.push((n % 3, response.into_body().into_data_stream()));
    }
    for n in 1..=20_u64 {
        let advice = format!("The change {n}.");
        stage.board.bot("main", |bot| {
            bot.state = LinkState::Parked(Parked::Refused);
            bot.advice = Some(advice.clone());
        });
        for (view, stream) in &mut streams {
            let event = piece(stream).await.unwrap();
            assert!(event.contains(&advice), "{view}: {event}");
            let acts = event.contains("action=\\\"/bots/main/reconnect");
            assert_eq!(acts, *view == 2, "{event}");
        }
        tokio::time::advance(std::time::Duration::from_millis(n * 13 % 200)).await;
    }
}
