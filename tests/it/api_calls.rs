//! What the API asks of a live link, and the stream of its events.

use blacksky::sim::What;
use futures_util::StreamExt;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::api::{ADA, PHONE, TOKEN, ask, bot, scan, start, two_dynos};
use crate::support::blacksky::Process;
use crate::support::eventually::eventually;
use crate::support::http::client;
use crate::support::postgres;
use crate::support::sim::{PATIENCE, simulator};

fn get(process: &Process, path: &str) -> RequestBuilder {
    client().get(process.url(&format!("/api/v1/bots/main/{path}"))).timeout(PATIENCE)
}

fn post(process: &Process, path: &str, body: &Value) -> RequestBuilder {
    let url = process.url(&format!("/api/v1/bots/main/{path}"));
    client().post(url).timeout(PATIENCE).header("content-type", "application/json").body(body.to_string())
}

/// For what has no answer but that it was done.
async fn done(request: RequestBuilder) {
    let answer = request.bearer_auth(TOKEN).send().await.expect("it answers");
    let status = answer.status();
    assert_eq!(status, StatusCode::NO_CONTENT, "{}", answer.text().await.unwrap_or_default());
}

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

async fn listen(process: &Process) -> Result<Socket, tungstenite::Error> {
    let url = process.url("/api/v1/bots/main/events").replace("http", "ws");
    let mut request = url.into_client_request().expect("a request");
    request.headers_mut().insert("authorization", format!("Bearer {TOKEN}").parse().expect("a header"));
    tokio_tungstenite::connect_async(request).await.map(|(socket, _)| socket)
}

/// The next event; `Null` when the stream has ended.
async fn next(socket: &mut Socket) -> Value {
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("an event in time");
        match message {
            Some(Ok(tungstenite::Message::Text(text))) => return serde_json::from_str(&text).expect("JSON"),
            Some(Ok(tungstenite::Message::Ping(_))) => {}
            Some(Ok(_) | Err(_)) | None => return Value::Null,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_is_asked_and_answers() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = start(&sim, folder.path()).await;
    let group = sim.handle().add_group("Chess club", &[ADA, PHONE]);
    sim.handle().add_group("Not ours", &[ADA]);
    sim.handle().absent("4915199999999");

    done(post(&process, "typing", &json!({ "to": ADA, "state": "composing" }))).await;
    let shows = What::Typing { account: PHONE.into(), device: 1, to: ADA.into(), state: "composing".into() };
    sim.handle()
        .wait_for_event("the event", 0, PATIENCE, |event| event.what == shows)
        .await
        .expect("it is shown");

    let id = sim.handle().send_text(ADA, PHONE, "hello").expect("sent");
    done(post(&process, "read", &json!({ "chat": ADA, "ids": [id] }))).await;
    let read = What::Read { account: PHONE.into(), device: 1, ids: vec![id] };
    sim.handle()
        .wait_for_event("the event", 0, PATIENCE, |event| event.what == read)
        .await
        .expect("it is told");

    let (status, groups) = ask(get(&process, "groups")).await;
    assert_eq!(status, StatusCode::OK, "{groups}");
    let expected = json!([{
        "address": group, "subject": "Chess club", "description": null, "participants": 2, "announcement": false,
    }]);
    assert_eq!(groups["groups"], expected);

    let numbers = json!({ "numbers": [format!("+{ADA}"), "+49 151 99999999"] });
    let (status, found) = ask(post(&process, "contacts", &numbers)).await;
    assert_eq!(status, StatusCode::OK, "{found}");
    let there: Vec<_> = (0..2).map(|n| found["contacts"][n]["on_whatsapp"].as_bool()).collect();
    assert_eq!(there, [Some(true), Some(false)], "{found}");

    let mut chats = Value::Null;
    eventually("the chat is listed", PATIENCE, async || {
        chats = ask(get(&process, "chats")).await.1;
        chats["chats"][0]["messages"] == 1
    })
    .await;
    assert_eq!(chats["chats"][0]["address"], format!("{ADA}@s.whatsapp.net"));
    assert_eq!(
        (&chats["chats"][0]["group"], chats["chats"].as_array().map(Vec::len)),
        (&json!(false), Some(1))
    );

    for (path, body, part) in [
        ("typing", json!({ "to": ADA, "state": "dancing" }), "unknown variant"),
        ("read", json!({ "chat": group, "ids": ["A"] }), "in a group"),
        ("read", json!({ "chat": ADA, "ids": [] }), "1 to 256"),
        ("contacts", json!({ "numbers": [group] }), "not a group's"),
    ] {
        let (status, problem) = ask(post(&process, path, &body)).await;
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(status == StatusCode::UNPROCESSABLE_ENTITY && detail.contains(part), "{path}: {problem}");
    }
    let (status, problem) = ask(post(&process, "pairing/code", &json!({ "phone": ADA }))).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    assert!(!process.log().contains(ADA), "{}", process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_is_paired_by_a_code_and_by_the_qr_of_the_api() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = bot(folder.path()).run(&sim.url());
    process.until("pairing", PATIENCE).await;
    let (status, problem) = ask(get(&process, "groups")).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    let mut pairing = Value::Null;
    eventually("a QR", PATIENCE, async || {
        pairing = ask(get(&process, "pairing")).await.1;
        !pairing["qr"].is_null()
    })
    .await;
    assert_eq!(pairing["state"], "pairing");

    // The second code is the one that counts.
    let mut codes = Vec::new();
    for _ in 0..2 {
        let (status, answer) =
            ask(post(&process, "pairing/code", &json!({ "phone": format!("+{PHONE}") }))).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        codes.push(answer["code"].as_str().expect("a code").to_owned());
    }
    assert_ne!(codes[0], codes[1]);
    sim.handle().link(&codes[1], PHONE).await.expect("the phone takes the code");
    process.until("open", PATIENCE).await;
    assert!(!codes.iter().any(|code| process.log().contains(code)), "{}", process.log());
    let (_, pairing) = ask(get(&process, "pairing")).await;
    assert_eq!(pairing, json!({ "state": "open", "qr": null }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_pairs_by_a_code_of_the_page() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = bot(folder.path()).run(&sim.url());
    process.until("pairing", PATIENCE).await;
    let page = process.url("/bots/main/code");
    let text = async |request: RequestBuilder| {
        let answer = request.timeout(PATIENCE).send().await.expect("it answers");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    let form = |body: &'static str| {
        let request = client().post(&page).bearer_auth(TOKEN);
        request.header("content-type", "application/x-www-form-urlencoded").body(body)
    };
    assert_eq!(text(client().get(&page)).await.0, 403, "only for the admin");
    assert_eq!(text(client().get(process.url("/bots/nobody/code")).bearer_auth(TOKEN)).await.0, 404);
    let (status, html) = text(client().get(&page).bearer_auth(TOKEN)).await;
    assert!(status == 200 && html.contains("name=\"phone\""), "{html}");
    let (status, html) = text(form("phone=%22%3E%3Cscript%3E0151")).await;
    assert!(
        status == 422 && html.contains("country code, for example") && !html.contains("<script>"),
        "{html}"
    );
    let (status, html) = text(form("phone=%2B49+151+00000001")).await;
    assert_eq!(status, 200, "{html}");
    let halves: Vec<&str> =
        html.split("<b>").skip(1).take(2).filter_map(|part| part.split('<').next()).collect();
    let code = halves.concat();
    assert_eq!(code.len(), 8, "{html}");
    sim.handle().link(&code, PHONE).await.expect("the phone takes the code");
    process.until("open", PATIENCE).await;
    let (status, html) = text(form("phone=%2B49+151+00000001")).await;
    assert!(status == 409 && html.contains("does not wait to be linked"), "{html}");
    assert!(!process.log().contains(&code), "{}", process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dyno_in_standby_passes_calls_on() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let database = postgres::database().await;
    let (holder, standby) = two_dynos(&sim, folder.path(), &database).await;
    // Also a code, which passes through the database only sealed.
    let (status, answer) = ask(post(&standby, "pairing/code", &json!({ "phone": PHONE }))).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let code = answer["code"].as_str().expect("a code");
    {
        use sqlx::Connection;
        let mut connection = sqlx::PgConnection::connect(&database).await.expect("connects");
        let dump: String =
            sqlx::query_scalar("SELECT string_agg(t::text, E'\\n') FROM blacksky.control AS t")
                .fetch_one(&mut connection)
                .await
                .expect("a dump");
        assert!(dump.contains("call ") && dump.contains("reply "), "{dump}");
        assert!(!dump.contains(code) && !dump.contains(PHONE), "{dump}");
    }
    sim.handle().link(code, PHONE).await.expect("the phone takes the code");
    holder.until("open", PATIENCE).await;
    let group = sim.handle().add_group("Chess club", &[PHONE]);
    let (status, groups) = ask(get(&standby, "groups")).await;
    assert_eq!((status, &groups["groups"][0]["address"]), (StatusCode::OK, &json!(group)), "{groups}");
    match listen(&standby).await {
        Err(tungstenite::Error::Http(answer)) => assert_eq!(answer.status().as_u16(), 503),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_hears_messages_and_the_link() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = bot(folder.path()).run(&sim.url());
    process.until("pairing", PATIENCE).await;
    let mut socket = listen(&process).await.expect("a socket");
    let first = next(&mut socket).await;
    assert_eq!((&first["type"], &first["bot"]), (&json!("link"), &json!("main")), "{first}");
    scan(&sim, &process).await;
    eventually("the open link is told", PATIENCE, async || next(&mut socket).await["state"] == "open").await;
    sim.handle().send_text(ADA, PHONE, "hello listener").expect("sent");
    let event = next(&mut socket).await;
    assert_eq!(
        (&event["type"], &event["message"]["text"]),
        (&json!("message"), &json!("hello listener")),
        "{event}"
    );
    assert_eq!(event["message"]["chat"], format!("{ADA}@s.whatsapp.net"));
    // A listener keeps nothing up: the process ends in time and says so.
    let begun = tokio::time::Instant::now();
    process.term();
    eventually("the stream ends", PATIENCE, async || next(&mut socket).await.is_null()).await;
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());

    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = bot(folder.path()).run(&sim.url());
    let plain = get(&process, "events").bearer_auth(TOKEN).send().await.expect("answers");
    assert_eq!(plain.status(), StatusCode::UPGRADE_REQUIRED);
    let url = process.url("/api/v1/bots/main/events").replace("http", "ws");
    match tokio_tungstenite::connect_async(url).await {
        Err(tungstenite::Error::Http(answer)) => assert_eq!(answer.status().as_u16(), 401),
        other => panic!("{other:?}"),
    }
}
