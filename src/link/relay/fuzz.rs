//! Fuzzed here: what a hosted bot and WhatsApp's side send through the relay.

use std::io::Cursor;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use url::Url;

use super::frames::Frames;
use super::head;
use super::passage::{Counters, Passed, Patience, pass};
use crate::fuzz::run;

/// One byte says in what pieces, one how many of the bytes the bot sends; the rest comes from the server. Frames are
/// counted alike however they are cut, and as another implementation counts them; bytes pass as they are.
pub fn relay_frames(bytes: &[u8]) {
    let Some((&[cut, share], bytes)) = bytes.split_first_chunk::<2>() else { return };
    let mut whole = Frames::default();
    whole.push(bytes);
    let mut pieces = Frames::default();
    bytes.chunks(usize::from(cut).max(1)).for_each(|piece| pieces.push(piece));
    let seen = |frames: &Frames| (frames.count(), frames.closed(), frames.close_code());
    assert_eq!(seen(&whole), seen(&pieces));
    if let Some(count) = counted(bytes) {
        assert_eq!(whole.count(), count);
    }
    let (out, back) = bytes.split_at(bytes.len() * usize::from(share) / 255);
    run(passes(out, back));
}

/// The frames of a stream; `None` where it is none that tungstenite takes.
fn counted(bytes: &[u8]) -> Option<u64> {
    let mut cursor = Cursor::new(bytes);
    let mut count = 0;
    while let Some((_, length)) = FrameHeader::parse(&mut cursor).ok()? {
        count += 1;
        cursor.set_position(cursor.position().saturating_add(length).min(bytes.len() as u64));
    }
    Some(count)
}

async fn passes(out: &[u8], back: &[u8]) {
    let room = out.len().max(back.len()).max(1);
    let ((mut bot, relay_bot), (mut server, relay_server)) = (duplex(room), duplex(room));
    let counters = Counters::default();
    let patience = Patience { keep_alive: Duration::from_secs(30), deadline: Duration::from_secs(10) };
    let ends = async {
        let (mut from_bot, mut from_server) = (vec![0; out.len()], vec![0; back.len()]);
        bot.write_all(out).await.expect("writes");
        server.read_exact(&mut from_bot).await.expect("reads");
        server.write_all(back).await.expect("writes");
        bot.read_exact(&mut from_server).await.expect("reads");
        assert!(from_bot == out && from_server == back, "bytes were changed");
        drop(server);
        let mut more = Vec::new();
        bot.read_to_end(&mut more).await.expect("reads");
        assert!(more.is_empty(), "bytes were added");
    };
    let passing = async { pass(relay_bot, relay_server, &counters, patience).await };
    let (passed, ()) = tokio::join!(passing, ends);
    assert!(matches!(passed, Passed::ByServer(_)), "{passed:?}");
    assert_eq!(
        (counters.outbound.get().bytes, counters.inbound.get().bytes),
        (out.len() as u64, back.len() as u64)
    );
}

/// A head, of a request and of an answer, and what comes after it. Nothing is lost or taken twice; what goes on to
/// WhatsApp reads as one request with the same headers. Gives the headers of a request.
pub fn head(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    run(async {
        let mut from = bytes;
        if let Ok(answer) = head::response(&mut from).await {
            assert_eq!([&answer.bytes[..], &answer.rest, from].concat(), bytes);
        }
        let mut from = bytes;
        let Ok((request, rest)) = head::request(&mut from).await else { return Vec::new() };
        assert!(bytes.ends_with(&[&rest[..], from].concat()));
        let url = Url::parse("wss://web.whatsapp.com/ws/chat").expect("a URL");
        let onward = request.towards(&url);
        // A head has room for so many.
        if request.headers.len() < 60 && bytes.len() < 8192 {
            let (again, more) = head::request(&mut &onward[..]).await.expect("what goes on reads");
            assert!(
                more.is_empty() && again.method == "GET" && again.path.starts_with("/ws/chat"),
                "{again:?}"
            );
            let plain = |one: &head::Request| -> Vec<(String, Vec<u8>)> {
                let ours = |name: &str| ["host", "origin"].iter().any(|our| name.eq_ignore_ascii_case(our));
                one.headers.iter().filter(|(name, _)| !ours(name)).cloned().collect()
            };
            assert_eq!(plain(&again), plain(&request));
            assert_eq!(again.header("host"), Some("web.whatsapp.com"));
        }
        if request.is_upgrade() {
            let away = request.open_and_close(1013, "later");
            let answer = head::response(&mut &away[..]).await.expect("an answer");
            let mut frames = Frames::default();
            frames.push(&answer.rest);
            assert_eq!((answer.status, frames.count(), frames.close_code()), (101, 1, Some(1013)));
        }
        request.headers
    })
}
