//! The simulator's media server and an unmodified client of it.

use blacksky::sim::{Action, Fault, MediaKind, Medium, When};
use serde_json::{Value, json};

use crate::support::http::client;
use crate::support::sim::{PATIENCE, assert_clean, pair_rust, simulator};

const ACCOUNT: &str = "15550001011";
const CONTACT: &str = "15550002011";
/// SHA-256 of nothing but zeros, a mebibyte of them.
const ZEROS: &str = "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58";

#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_to_the_client_and_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = simulator();
    let handle = server.handle();
    let rust = pair_rust(&server, &folder.path().join("session.db"), ACCOUNT).await;
    // A client asks for new hosts when its token is not liked.
    handle.inject(Fault::new(Action::Http { status: 401 }, When::Upload));
    let medium = Medium {
        kind: MediaKind::Image,
        mimetype: "image/png".into(),
        caption: Some("a look".into()),
        file_name: None,
        bytes: vec![0; 1 << 20],
    };
    let id = handle.send_media(CONTACT, ACCOUNT, medium).expect("sent");
    handle.wait_for_acknowledgement(&id, PATIENCE).await.expect("acknowledged");
    handle.wait_for_counters("an upload", PATIENCE, |counters| counters.uploads == 1).await.expect("one");
    let back = handle
        .wait_for_counters("an echo", PATIENCE, |counters| counters.messages_received >= 1)
        .await
        .map(|_| handle.received().into_iter().find(|one| one.to == CONTACT))
        .expect("comes")
        .expect("to the contact");
    let media = back.media.expect("a medium");
    assert_eq!((media.kind, media.problem), (MediaKind::Image, None));
    assert_eq!((media.size, media.sha256.as_str()), (1 << 20, ZEROS));
    assert_eq!(media.caption.as_deref(), Some("echo: a look"));
    assert_eq!(media.mimetype.as_deref(), Some("image/png"));
    assert_clean(&handle);
    rust.stop().await;
    server.shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_api_sends_media_and_the_media_server_wants_its_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = simulator();
    let rust = pair_rust(&server, &folder.path().join("session.db"), ACCOUNT).await;
    let media = json!({ "kind": "image", "mimetype": "image/jpeg", "data": "AAAA" });
    let post = async |body: Value| {
        let answer = client()
            .post(format!("{}/send", server.control_url()))
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await;
        let answer = answer.expect("it answers");
        let status = answer.status().as_u16();
        (status, serde_json::from_str::<Value>(&answer.text().await.expect("text")).expect("JSON"))
    };
    let (status, sent) = post(json!({ "from": CONTACT, "text": "three", "media": media })).await;
    assert_eq!(status, 200, "{sent}");
    let count = server.handle().wait_for_counters("an echo", PATIENCE, |c| c.messages_received >= 1).await;
    count.expect("comes");
    let received = client().get(format!("{}/received", server.control_url())).send().await;
    let received = received.expect("it answers").text().await.expect("text");
    let received: Value = serde_json::from_str(&received).expect("JSON");
    let back = received.as_array().expect("a list").iter().find(|one| one["to"] == CONTACT).expect("one");
    assert_eq!((&back["media"]["kind"], &back["media"]["size"]), (&json!("image"), &json!(3)), "{back}");
    for (body, part) in [
        (json!({ "media": { "kind": "image", "mimetype": "a/b", "data": "%" } }), "data"),
        (json!({ "from": CONTACT }), "nothing to send"),
    ] {
        let (status, refused) = post(body).await;
        assert!(status == 422 && refused["error"].as_str().is_some_and(|e| e.contains(part)), "{refused}");
    }
    let up = format!("http://{}/mms/image/AAAA?token=AAAA", server.address());
    for (url, status) in [(format!("{up}&auth=guess"), 401), (up, 401)] {
        let answer = client().post(&url).body("file").send().await.expect("it answers");
        assert_eq!(answer.status().as_u16(), status, "{url}");
    }
    let down = format!("http://{}/sim-media/AAAA?token=BBBB", server.address());
    assert_eq!(client().get(down).send().await.expect("it answers").status().as_u16(), 403);
    assert_clean(&server.handle());
    rust.stop().await;
}
