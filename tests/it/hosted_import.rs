//! A session id that carries a login: the real program, a real Baileys bot and the simulator.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::support::blacksky::{Blacksky, Process};
use crate::support::node;
use crate::support::node::pair_node;
use crate::support::sim::{assert_clean, echo, simulator};

const ACCOUNT: &str = "15550001090";
const CONTACT: &str = "15550002090";
const PATIENCE: Duration = Duration::from_secs(40);

const HOSTED: &str = "[bots.main]\nkind = \"hosted\"\ncommand = [\"node\", \"bot.mjs\"]\n";
/// It refuses to start with a SESSION_ID that is a login, as a bot that writes it over its session would be a
/// danger to that.
const BOT: &str = "
import makeWASocket, { useMultiFileAuthState } from 'baileys'
import pino from 'pino'
if (process.env.SESSION_ID?.includes('!')) throw new Error('it has the login')
async function start() {
    const { state, saveCreds } = await useMultiFileAuthState('sessions')
    const sock = makeWASocket({ auth: state, logger: pino({ level: 'silent' }), syncFullHistory: false })
    sock.ev.on('creds.update', saveCreds)
    sock.ev.on('connection.update', ({ connection }) => { if (connection === 'close') setTimeout(start, 500) })
}
start()
";

/// As KnightBot hands it out.
fn session_id(creds: &Path) -> String {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&fs::read(creds).unwrap()).unwrap();
    format!("KnightBot!{}", BASE64_STANDARD.encode(gzip.finish().unwrap()))
}

fn blacksky(folder: &Path, session_id: &str) -> Blacksky {
    Blacksky::in_folder(folder).env("SESSION_ID", session_id)
}

async fn until(process: &Process, state: &str) {
    let reached = tokio::time::timeout(PATIENCE, async {
        while process.state().await != state {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    if reached.await.is_err() {
        panic!("not {state} but {:?}: {}", process.status().await, process.log());
    }
}

async fn ended(mut process: Process) -> String {
    process.term();
    let status = process.ended(PATIENCE).await;
    assert!(status.success(), "{status}: {}", process.log());
    process.log()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_imported_once_and_asks_for_no_qr() {
    let server = simulator();
    let handle = server.handle();
    let paired = tempfile::tempdir().unwrap();
    let bot = pair_node(&server, paired.path(), ACCOUNT, &[]).await;
    echo(&handle, CONTACT, ACCOUNT, "one").await;
    bot.stop().await;
    let session_id = session_id(&paired.path().join("creds.json"));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::os::unix::fs::symlink(node::folder().join("node_modules"), path.join("node_modules")).unwrap();
    fs::write(path.join("bot.mjs"), BOT).unwrap();
    fs::write(path.join("blacksky.toml"), HOSTED).unwrap();

    let process = blacksky(path, &session_id).run(&server.url());
    until(&process, "open").await;
    let log = ended(process).await;
    assert!(log.contains("the login of SESSION_ID was imported"), "{log}");

    // The disk is wiped, and the variable is still set.
    fs::remove_dir_all(path.join("sessions")).unwrap();
    let process = blacksky(path, &session_id).run(&server.url());
    until(&process, "open").await;
    let again = ended(process).await;
    assert!(again.contains("was imported before"), "{again}");
    assert_eq!((handle.counters().pairings, handle.counters().registrations), (1, 1), "no QR again");

    let payload = session_id.rsplit('!').next().unwrap();
    for log in [log, again] {
        assert!(!log.contains(&payload[..40]) && !log.contains(&payload[payload.len() - 40..]), "{log}");
    }
    let (code, stdout, stderr) = blacksky(path, &session_id).arg("config").output();
    assert_eq!(code, 0, "{stderr}");
    assert!(!stdout.contains(&payload[..40]) && stdout.contains("main"), "{stdout}");

    // What was ended does not come back.
    let (code, _, stderr) =
        blacksky(path, &session_id).arg("session").arg("forget").arg("main").arg("--yes").output();
    assert_eq!(code, 0, "{stderr}");
    let process = blacksky(path, &session_id).run(&server.url());
    until(&process, "pairing").await;
    ended(process).await;
    assert_clean(&handle);
    server.shutdown().await.unwrap();
}

#[test]
fn what_cannot_be_imported_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for (session_id, told) in [
        ("nexus~AbCdEfGh#GhIjKlMnOpQrStUvWxYz0123456789", "MEGA"),
        ("levanter_0123456789abcdef0123456789abcdef01", "levanter's author"),
        ("Ethix-MD&aBcDeFgHs3cr3t", "paste server"),
        ("X-KING-aBcDeFgHs3cr3t", "server of the bot's author"),
        ("KnightBot!H4sIAAAAAAAAA5VUs3cr3tH4sIAAAAAAAAA5VUs3cr3tH4sIAAAAAAAAA5VU", "cut short"),
    ] {
        fs::write(folder.path().join("blacksky.toml"), HOSTED).unwrap();
        let check =
            |folder: &Path| Blacksky::in_folder(folder).env("SESSION_ID", session_id).arg("check").output();
        let (code, stdout, stderr) = check(folder.path());
        assert_eq!(code, 78, "{session_id}: {stdout}{stderr}");
        assert!(stderr.contains(told) && stderr.contains("link the phone"), "{told}: {stderr}");
        assert!(!stderr.contains(&session_id[session_id.len() - 8..]), "{stderr}");
        // A native bot cannot take any.
        fs::write(folder.path().join("blacksky.toml"), "[bots.main]\n").unwrap();
        let (code, _, stderr) = check(folder.path());
        assert!(code == 78 && stderr.contains("Only a hosted bot"), "{stderr}");
    }
}
