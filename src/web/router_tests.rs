use std::net::SocketAddr;

use axum::body::{Body, to_bytes};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tower::ServiceExt;

use super::super::access::Peer;
use super::*;
use crate::bot::handle::{Answer, Ask as Asked, Errand, Request as Ask};
use crate::config::Secret;
use crate::link::LinkState;
use crate::link::state::Parked;
use crate::runtime::status::{Board, ChildState, Holder, HostedStatus, Qr, WarningKind};

#[path = "router_stream_tests.rs"]
mod streams;

const TOKEN: &str = "correct horse";
const ROOM: Room = Room { connections: 32, streams: 8, own_streams: 2, passing: 4 };

struct Stage {
    board: Board,
    asked: mpsc::Receiver<Ask>,
    router: Router,
    stop: CancellationToken,
}

fn stage(token: Option<&str>) -> Stage {
    stage_at(token, Paths::plain())
}

fn stage_at(token: Option<&str>, paths: Paths) -> Stage {
    stage_with(token, paths, ROOM)
}

fn stage_with(token: Option<&str>, paths: Paths, room: Room) -> Stage {
    let board = Board::new(clock::now(), None, ["main"].into_iter());
    let (handle, asked) = BotHandle::new();
    let site = Site {
        name: "app".to_owned(),
        snapshot: board.subscribe(),
        handles: BTreeMap::from([("main".to_owned(), handle)]),
        admin_token: token.map(Secret::new),
        jobs: None,
        store: None,
        targets: BTreeMap::new(),
        own: None,
        dyno: false,
        paths,
        heartbeat: super::super::HEARTBEAT,
    };
    let stop = CancellationToken::new();
    Stage { board, asked, router: router(site, room, stop.clone()), stop }
}

impl Stage {
    async fn ask(&self, method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        request.extensions_mut().insert(Peer(SocketAddr::from(([127, 0, 0, 1], 9))));
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn get(&self, uri: &str, headers: &[(&str, &str)]) -> (StatusCode, String) {
        let response = self.ask("GET", uri, headers, "").await;
        (response.status(), text(response).await)
    }

    async fn post(&self, uri: &str, headers: &[(&str, &str)], body: &str) -> (StatusCode, String) {
        let response = self.ask("POST", uri, headers, body).await;
        (response.status(), text(response).await)
    }
}

async fn text(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

/// The next piece of a stream; paused time runs on its own while this waits.
async fn piece(
    body: &mut (impl StreamExt<Item = Result<bytes::Bytes, axum::Error>> + Unpin),
) -> Option<String> {
    let bytes = body.next().await?.unwrap();
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

const LOCAL: (&str, &str) = ("host", "localhost:3000");
const OWN: (&str, &str) = ("origin", "http://localhost:3000");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[tokio::test]
async fn every_answer_carries_the_protecting_headers() {
    let stage = stage(None);
    for (method, uri) in
        [("GET", "/"), ("GET", "/status"), ("GET", "/nothing"), ("POST", "/login"), ("PUT", "/")]
    {
        let response = stage.ask(method, uri, &[LOCAL], "").await;
        let header =
            |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("x-frame-options").as_deref(), Some("DENY"), "{method} {uri}");
        assert_eq!(header("x-content-type-options").as_deref(), Some("nosniff"));
        assert_eq!(header("referrer-policy").as_deref(), Some("same-origin"));
        assert_eq!(header("cache-control").as_deref(), Some("no-store"));
        let policy = header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'sha256-"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}

#[tokio::test]
async fn status_speaks_json_to_programs_and_html_to_browsers() {
    let stage = stage(None);
    stage.board.bot("main", |bot| {
        bot.state = LinkState::Pairing;
        bot.qr = Some(Qr {
            payload: "2@qr-payload".into(),
            expires_at: clock::now() + chrono::TimeDelta::hours(1),
        });
        bot.messages_in = 7;
    });
    for accept in [None, Some("*/*"), Some("application/json"), Some("application/json, text/html;q=0.5")] {
        let mut headers = vec![LOCAL];
        headers.extend(accept.map(|accept| ("accept", accept)));
        let (status, body) = stage.get("/status", &headers).await;
        assert_eq!(status, StatusCode::OK);
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(json["bots"]["main"]["state"], "pairing");
        assert_eq!(json["bots"]["main"]["messages_in"], 7);
        assert_eq!(json["ready"], false);
        assert!(!body.contains("qr-payload"), "{body}");
    }
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let (_, body) = stage.get("/status", &[LOCAL, ("accept", browser)]).await;
    assert!(body.starts_with("<!doctype html>"), "{body}");
}

#[tokio::test]
async fn the_keys_of_status_are_those_of_its_document() {
    let stage = stage(None);
    stage.board.bot("main", |bot| {
        bot.last_disconnect = Some(crate::runtime::status::Disconnect {
            at: clock::now(),
            reason: "silence".into(),
            text: "x".into(),
        });
        bot.raise(WarningKind::Deaf, clock::now(), "x");
    });
    let (_, body) = stage.get("/status", &[]).await;
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    let document = include_str!("../../docs/status.md");
    let mut keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    keys.extend(json["bots"]["main"].as_object().unwrap().keys());
    keys.extend(json["bots"]["main"]["last_disconnect"].as_object().unwrap().keys());
    keys.extend(json["bots"]["main"]["warnings"][0].as_object().unwrap().keys());
    for key in keys {
        assert!(document.contains(&format!("`{key}`")), "docs/status.md does not mention `{key}`");
    }
}

#[tokio::test]
async fn ready_when_every_link_is_open() {
    let stage = stage(None);
    let states = [
        (LinkState::Starting, 503),
        (LinkState::Pairing, 503),
        (LinkState::Parked(Parked::Conflict), 503),
        (LinkState::Open, 200),
        (LinkState::Standby, 503),
    ];
    for (state, expected) in states {
        stage.board.bot("main", |bot| bot.state = state);
        let (status, body) = stage.get("/readyz", &[]).await;
        assert_eq!(status.as_u16(), expected, "{state:?} {body}");
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(json["ready"], expected == 200);
        if expected == 503 {
            assert_eq!(json["reasons"]["main"], state.name());
        }
        assert_eq!(stage.get("/healthz", &[]).await.0, StatusCode::OK);
    }
    stage.board.update(|snapshot| snapshot.stopping = true);
    assert_eq!(stage.get("/readyz", &[]).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn actions_reach_the_bot_from_this_machine_only_with_our_origin() {
    let mut stage = stage(None);
    assert_eq!(stage.post("/bots/main/reconnect", &[LOCAL, OWN], "").await.0, StatusCode::ACCEPTED);
    assert_eq!(stage.asked.try_recv(), Ok(Ask::ReconnectNow));
    let html = ("accept", "text/html");
    assert_eq!(stage.post("/bots/main/qr", &[LOCAL, OWN, html], "").await.0, StatusCode::SEE_OTHER);
    assert_eq!(stage.asked.try_recv(), Ok(Ask::ShowNewQr));

    assert_eq!(stage.post("/bots/other/qr", &[LOCAL, OWN], "").await.0, StatusCode::NOT_FOUND);
    for headers in [&[LOCAL][..], &[LOCAL, ("origin", "https://evil.example")], &[LOCAL, ("origin", "null")]]
    {
        let (status, body) = stage.post("/bots/main/reconnect", headers, "").await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{headers:?} {body}");
        assert!(body.contains("Origin"), "{body}");
    }
    let through_a_proxy = [LOCAL, OWN, ("x-forwarded-for", "192.0.2.1")];
    let (status, body) = stage.post("/bots/main/reconnect", &through_a_proxy, "").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(body.contains("heroku config:set BLACKSKY_ADMIN_TOKEN="), "{body}");
    assert_eq!(stage.get("/bots/main/reconnect", &[LOCAL]).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert!(stage.asked.try_recv().is_err());
}

#[tokio::test]
async fn a_bot_that_has_ended_is_a_503() {
    let mut stage = stage(None);
    stage.asked.close();
    let (status, _) = stage.post("/bots/main/qr", &[LOCAL, OWN], "").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_token_signs_a_browser_in_and_out() {
    let mut stage = stage(Some(TOKEN));
    let (_, before) = stage.get("/", &[LOCAL]).await;
    assert!(before.contains("action=\"/login\""));
    assert_eq!(stage.post("/bots/main/qr", &[LOCAL, OWN], "").await.0, StatusCode::FORBIDDEN);

    let foreign =
        stage.post("/login", &[LOCAL, FORM, ("origin", "https://evil.example")], "token=correct+horse").await;
    assert_eq!(foreign.0, StatusCode::FORBIDDEN);
    let wrong = stage.post("/login", &[LOCAL, OWN, FORM], "token=wrong").await;
    assert_eq!(wrong.0, StatusCode::FORBIDDEN);
    assert!(wrong.1.contains("This is not the admin token."));

    let response = stage.ask("POST", "/login", &[LOCAL, OWN, FORM], "token=correct+horse").await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let cookie = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains("Secure") && !cookie.contains("horse"), "{cookie}");

    let pair = cookie.split(';').next().unwrap();
    let (_, after) = stage.get("/", &[LOCAL, ("cookie", pair)]).await;
    assert!(after.contains("Sign out") && !after.contains("action=\"/login\""));
    assert_eq!(
        stage.post("/bots/main/qr", &[LOCAL, OWN, ("cookie", pair)], "").await.0,
        StatusCode::ACCEPTED
    );
    assert_eq!(stage.asked.try_recv(), Ok(Ask::ShowNewQr));
    // A foreign page can make the browser send the cookie, not our Origin.
    assert_eq!(stage.post("/bots/main/qr", &[LOCAL, ("cookie", pair)], "").await.0, StatusCode::FORBIDDEN);
    let bearer = ("authorization", "Bearer correct horse");
    assert_eq!(stage.post("/bots/main/reconnect", &[LOCAL, bearer], "").await.0, StatusCode::ACCEPTED);

    let https = [LOCAL, OWN, FORM, ("x-forwarded-proto", "https")];
    let response = stage.ask("POST", "/login", &https, "token=correct+horse").await;
    assert!(response.headers()["set-cookie"].to_str().unwrap().contains("; Secure"));
    let response = stage.ask("POST", "/logout", &[LOCAL, OWN], "").await;
    assert!(response.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
}

#[tokio::test]
async fn wrong_tokens_end_in_429_and_bad_forms_in_a_4xx() {
    let stage = stage(Some(TOKEN));
    for body in ["", "token", "nonsense=1", "%zz=%"] {
        let (status, _) = stage.post("/login", &[LOCAL, OWN, FORM], body).await;
        assert!(status.is_client_error(), "{body}: {status}");
    }
    let (status, _) =
        stage.post("/login", &[LOCAL, OWN, FORM], &format!("token={}", "x".repeat(BODY_LIMIT))).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let mut last = StatusCode::OK;
    for _ in 0..6 {
        last = stage.post("/login", &[LOCAL, OWN, FORM], "token=wrong").await.0;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    let response = stage.ask("POST", "/login", &[LOCAL, OWN, FORM], "token=correct+horse").await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(response.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn without_a_token_login_says_how_to_set_one() {
    let (status, body) = stage(None).post("/login", &[LOCAL, OWN, FORM], "token=x").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(body.contains("heroku config:set BLACKSKY_ADMIN_TOKEN="), "{body}");
}

#[tokio::test]
async fn what_the_api_refuses_is_a_problem_document_whoever_refuses_it() {
    let stage = stage(Some(TOKEN));
    let signed_in = [("authorization", "Bearer correct horse")];
    for (method, path, headers, status) in [
        ("GET", "/api/v1/bots/%ff", &signed_in[..], 400),
        ("GET", "/api/v1/bots/%ff/chats", &signed_in[..], 400),
        ("POST", "/api/v1/bots/%ff/typing", &signed_in[..], 400),
        ("POST", "/api/v1/bots/%c3%28/messages", &signed_in[..], 400),
        ("GET", "/api/v1/bots/main/messages/%ff", &signed_in[..], 400),
        ("GET", "/api/v1/bots/%ff/received/%ff", &signed_in[..], 404),
        ("DELETE", "/api/v1/bots/%ff", &signed_in[..], 405),
        ("GET", "/api/v1/bots", &[][..], 401),
        ("GET", "/api/v1/none", &[][..], 404),
        ("GET", "/api/v1/", &[][..], 404),
        ("GET", "/api/v1", &[][..], 404),
        ("PUT", "/api/v1/openapi.json", &[][..], 405),
        ("GET", "/api/v1/bots/main/events", &signed_in[..], 409),
    ] {
        let response = stage.ask(method, path, headers, "").await;
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{method} {path}");
        let body = to_bytes(response.into_body(), 4096).await.unwrap();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["status"], status, "{method} {path}");
        assert!(
            problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()),
            "{method} {path}: {problem}"
        );
    }
    let allowed = stage.ask("DELETE", "/api/v1/bots", &signed_in, "").await;
    assert!(allowed.headers().contains_key("allow"), "headers stay");
}

/// A stage whose bot another dyno keeps, and what is sent there.
fn standby() -> (Stage, mpsc::Receiver<Errand>) {
    let (sender, errands) = mpsc::channel(1);
    let board = Board::new(clock::now(), None, ["main"].into_iter());
    board.bot("main", |bot| {
        let mut held = bot.clone();
        held.state = LinkState::Open;
        bot.state = LinkState::Standby;
        let dyno = Some("web.1".to_owned());
        bot.holder = Some(Holder { dyno, bot: Box::new(held), qr_withheld: false });
    });
    let (handle, asked) = BotHandle::new();
    let site = Site {
        name: "app".to_owned(),
        snapshot: board.subscribe(),
        handles: BTreeMap::from([("main".to_owned(), handle.with_errands("main", sender))]),
        admin_token: None,
        jobs: None,
        store: None,
        targets: BTreeMap::new(),
        own: None,
        dyno: false,
        paths: Paths::plain(),
        heartbeat: super::super::HEARTBEAT,
    };
    let stop = CancellationToken::new();
    (Stage { board, asked, router: router(site, ROOM, stop.clone()), stop }, errands)
}

#[tokio::test]
async fn a_standby_reports_the_holders_state_and_its_own_role() {
    let (stage, _errands) = standby();
    let (_, body) = stage.get("/status", &[]).await;
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(json["bots"]["main"]["state"], "open");
    assert_eq!(json["bots"]["main"]["dyno"], json!({ "role": "standby", "holder": "web.1" }));
    assert_eq!((json["ready"].clone(), stage.get("/readyz", &[]).await.0), (json!(true), StatusCode::OK));
    stage.board.bot("main", |bot| bot.holder.as_mut().unwrap().bot.state = LinkState::BackingOff);
    let (status, body) = stage.get("/readyz", &[]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("backing_off"), "{body}");
    stage.board.bot("main", |bot| bot.holder = None);
    assert_eq!(stage.get("/readyz", &[]).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn actions_on_a_standby_go_to_the_holder() {
    let (mut stage, mut errands) = standby();
    for (answer, status, words) in [
        (Answer::Took, 202, "web.1 took the request."),
        (Answer::Busy, 503, "web.1 is busy or ending"),
        (Answer::NotSent, 503, "the database does not answer"),
    ] {
        let pressed = stage.post("/bots/main/reconnect", &[LOCAL, OWN], "");
        let (pressed, errand) = tokio::join!(pressed, async {
            let errand = errands.recv().await.unwrap();
            let Errand { bot, ask: Asked::Request(request, sender) } = errand else { panic!("a request") };
            sender.send(answer).unwrap();
            (bot, request)
        });
        assert_eq!(errand, ("main".to_owned(), Ask::ReconnectNow));
        assert_eq!(pressed.0.as_u16(), status);
        assert!(pressed.1.contains(words), "{}", pressed.1);
    }
    assert!(stage.asked.try_recv().is_err(), "its own bot was not bothered");
    // What the holder did not answer in time for the first byte follows later.
    let began = tokio::time::Instant::now();
    let response = stage.ask("POST", "/bots/main/qr", &[LOCAL, OWN], "").await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let errand = errands.recv().await.unwrap();
    let mut body = response.into_body().into_data_stream();
    assert!(piece(&mut body).await.unwrap().starts_with("Asked web.1"));
    let Asked::Request(_, sender) = errand.ask else { panic!("a request") };
    sender.send(Answer::Silent).unwrap();
    assert!(piece(&mut body).await.unwrap().starts_with("web.1 did not answer within 10 s."));
    assert_eq!(piece(&mut body).await, None);

    // A browser without the script goes back to the page once the holder has answered.
    let form = [LOCAL, OWN, ("accept", "text/html")];
    let (response, ()) = tokio::join!(stage.ask("POST", "/bots/main/qr", &form, ""), async {
        let Asked::Request(_, sender) = errands.recv().await.unwrap().ask else { panic!("a request") };
        sender.send(Answer::Took).unwrap();
    });
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    drop(errands);
    let (status, body) = stage.post("/bots/main/qr", &[LOCAL, OWN], "").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
}

#[tokio::test]
async fn the_base_moves_all_but_status_and_healthz() {
    let paths = Paths { base: "/blacksky/".to_owned(), bot: None };
    let mut stage = stage_at(Some(TOKEN), paths);
    for (uri, expected) in [
        ("/blacksky/", 200),
        ("/blacksky/readyz", 503),
        ("/status", 200),
        ("/healthz", 200),
        ("/blacksky", 308),
        ("/", 404),
        ("/readyz", 404),
        ("/blacksky/status", 404),
        ("/blacksky/healthz", 404),
        ("/blacksky//", 404),
    ] {
        assert_eq!(stage.get(uri, &[LOCAL]).await.0.as_u16(), expected, "{uri}");
    }
    assert_eq!(stage.ask("GET", "/blacksky", &[LOCAL], "").await.headers()["location"], "/blacksky/");
    let (_, page) = stage.get("/blacksky/", &[LOCAL]).await;
    assert!(
        page.contains("action=\"/blacksky/login\"") && page.contains("data-base=\"/blacksky/\""),
        "{page}"
    );

    let response = stage.ask("POST", "/blacksky/login", &[LOCAL, OWN, FORM], "token=correct+horse").await;
    assert_eq!(response.headers()["location"], "/blacksky/");
    let cookie = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("; Path=/blacksky/;"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    stage.board.bot("main", |bot| bot.state = LinkState::Parked(Parked::QrExpired));
    let (_, page) = stage.get("/blacksky/", &[LOCAL, ("cookie", pair)]).await;
    assert!(
        page.contains("action=\"/blacksky/logout\"") && page.contains("action=\"/blacksky/bots/main/qr\"")
    );
    let form = [LOCAL, OWN, ("cookie", pair), ("accept", "text/html")];
    let response = stage.ask("POST", "/blacksky/bots/main/qr", &form, "").await;
    assert_eq!(response.headers()["location"], "/blacksky/");
    assert_eq!(stage.asked.try_recv(), Ok(Ask::ShowNewQr));
    let events = stage.ask("GET", "/blacksky/events?view=page", &[LOCAL, ("cookie", pair)], "").await;
    let event = piece(&mut events.into_body().into_data_stream()).await.unwrap();
    assert!(event.contains("/blacksky/bots/main/qr"), "{event}");
}

#[tokio::test]
async fn a_base_beside_a_path_that_stays_is_no_conflict() {
    for base in ["/status/", "/healthz/", "/a/b/c/d/"] {
        let stage = stage_at(None, Paths { base: base.to_owned(), bot: None });
        assert_eq!(stage.get(base, &[LOCAL]).await.0, StatusCode::OK, "{base}");
        assert_eq!(stage.get("/status", &[LOCAL]).await.0, StatusCode::OK);
    }
}

fn run_a_program(stage: &Stage) {
    stage.board.bot("main", |bot| {
        bot.state = LinkState::Parked(Parked::BotCrashes);
        let mut hosted = HostedStatus { port: Some(45123), ..HostedStatus::default() };
        hosted.child.state = ChildState::CrashLoop;
        hosted.child.last_exit = Some("ended with code 1 at 491701234567".into());
        hosted.vault.problem = Some("session-491701234567.0.json is torn".into());
        hosted.last_lines = vec!["Error: <b>the last word</b>".into()];
        bot.hosted = Some(hosted);
    });
}

#[tokio::test]
async fn a_program_is_restarted_by_admins_and_a_native_bot_has_none() {
    let mut stage = stage(None);
    let (status, body) = stage.post("/bots/main/restart", &[LOCAL, OWN], "").await;
    assert_eq!(status, StatusCode::CONFLICT, "{body}");
    run_a_program(&stage);
    assert_eq!(stage.post("/bots/main/restart", &[LOCAL], "").await.0, StatusCode::FORBIDDEN);
    assert_eq!(stage.post("/bots/main/restart", &[LOCAL, OWN], "").await.0, StatusCode::ACCEPTED);
    assert_eq!(stage.asked.try_recv(), Ok(Ask::RestartBot));
}

#[tokio::test]
async fn what_a_program_wrote_is_for_admins_and_status_has_no_secret() {
    let stage = stage(Some(TOKEN));
    run_a_program(&stage);
    let bearer = ("authorization", "Bearer correct horse");
    let (_, admin) = stage.get("/", &[LOCAL, bearer]).await;
    assert!(admin.contains("Error: &#60;b&#62;the last word") && !admin.contains("45123"), "{admin}");
    assert!(admin.contains("action=\"/bots/main/restart\"") && admin.contains("Start again"));
    let (_, public) = stage.get("/", &[LOCAL]).await;
    for secret in ["the last word", "45123", "491701234567", "<form method=\"post\" action=\"/bots"] {
        assert!(!public.contains(secret), "{secret}");
    }
    stage.board.bot("main", |bot| bot.hosted.as_mut().unwrap().child.state = ChildState::Running);
    assert!(stage.get("/", &[LOCAL, bearer]).await.1.contains("127.0.0.1:45123"));
    assert!(!stage.get("/", &[LOCAL]).await.1.contains("45123"));
    stage.board.bot("main", |bot| bot.hosted.as_mut().unwrap().child.state = ChildState::CrashLoop);
    let (_, status) = stage.get("/status", &[LOCAL, bearer]).await;
    for secret in ["the last word", "45123", "491701234567"] {
        assert!(!status.contains(secret), "{status}");
    }
    let json: serde_json::Value = serde_json::from_str(&status).unwrap();
    let hosted = &json["bots"]["main"]["hosted"];
    assert_eq!(hosted["child"]["state"], "crash_loop");
    let document = include_str!("../../docs/status.md");
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let parts = [hosted, &hosted["child"], &hosted["vault"], &hosted["relay"]];
    for key in parts.into_iter().flat_map(keys) {
        assert!(document.contains(&format!("`{key}`")), "docs/status.md does not mention `{key}`");
    }
}

#[tokio::test]
async fn without_a_program_there_is_nothing_beside_our_paths() {
    let stage = stage_at(None, Paths { base: "/".to_owned(), bot: Some("main".to_owned()) });
    let (status, body) = stage.get("/panel", &[LOCAL]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body, "The bot main is not running at the moment.\n");
    let response = stage.ask("GET", "/panel", &[LOCAL, ("accept", "text/html")], "").await;
    assert_eq!(response.headers()["x-frame-options"], "DENY");
    assert!(text(response).await.contains("<a href=\"/\">State of the bot</a>"));
    assert_eq!(
        stage.ask("CONNECT", "example.org:443", &[], "").await.status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
}
