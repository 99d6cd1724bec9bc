//! The commands of the file: the real binary and the simulator.

use std::time::Duration;

use crate::support::blacksky::Blacksky;
use crate::support::eventually::eventually;
use crate::support::linked::linked;
use crate::support::sim::{PATIENCE, simulator};

const PHONE: &str = "4915100000001";
const ADA: &str = "4915100000002";
const BEN: &str = "4915100000003";

const FILE: &str = r#"
[bots.main]
prefix = "!"
owners = ["+4915100000003"]

[bots.main.commands]
ping = { reply = "pong {args}", description = "answers at once" }
hours = { match = "exact", pattern = "When are you open?", reply = "From 9 to 5." }
order = { match = "prefix", pattern = "order ", reply = "ordered: {args}" }
plus = { match = "regex", pattern = '(\d+) *plus *(\d+)', reply = "{1} and {2}" }
shout = { run = ["sh", "-c", "tr a-z A-Z"], description = "says it loud" }
fails = { run = ["sh", "-c", "echo no; exit 1"] }
hangs = { run = ["sleep", "100"], timeout = "2s" }
secret = { run = ["sh", "-c", "env"] }
like = { react = "👍" }
once = { reply = "only once", per_minute = 1 }
mine = { reply = "yes, owner", owners_only = true }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_match_and_to_answer() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    std::fs::write(folder.path().join("blacksky.toml"), FILE).expect("written");
    let bot =
        Blacksky::in_folder(folder.path()).env("BLACKSKY_SECRET_KEY", "a secret that no program may see");
    let process = linked(&sim, bot, &sim.url(), PHONE).await;
    let phone = sim.handle();
    let ask = async |from: &str, text: &str, reply: &str| {
        phone.send_text(from, PHONE, text).expect("sent");
        let got = phone.wait_for_text(from, reply, PATIENCE).await;
        assert!(got.is_ok(), "{text:?} did not get {reply:?}; log:\n{}", process.log());
    };
    // It holds up nobody but its own chat.
    phone.send_text(BEN, PHONE, "!hangs").expect("sent");
    ask(ADA, "!ping now", "pong now").await;
    ask(ADA, "when are you OPEN?", "From 9 to 5.").await;
    ask(ADA, "Order two pizzas", "ordered: two pizzas").await;
    ask(ADA, "what is 17 PLUS 4 then", "17 and 4").await;
    ask(ADA, "!help", "!fails\n!hangs\n!like\n!once\n!ping: answers at once\n!secret\n!shout: says it loud")
        .await;
    ask(ADA, "!once", "only once").await;
    ask(BEN, "!mine", "yes, owner").await;
    assert!(process.log().contains("it did not end within 2 s"), "{}", process.log());

    // What gets no answer, before something that does.
    let known = phone.received().len();
    for text in ["!once", "!mine", "!fails", "is 17 plus", "When are you open", "!unknown"] {
        phone.send_text(ADA, PHONE, text).expect("sent");
    }
    ask(ADA, "!ping last", "pong last").await;
    let to_ada = |received: &blacksky::sim::Received| received.to == ADA && received.copy_for.is_none();
    assert_eq!(phone.received_after(known).iter().filter(|one| to_ada(one)).count(), 1);

    // The program reads the message as JSON, and none of our secrets.
    phone.send_text(ADA, PHONE, "!shout it").expect("sent");
    phone.send_text(ADA, PHONE, "!secret").expect("sent");
    let said = async |wanted: &str| {
        let mut found = None;
        eventually(&format!("{wanted}; log:\n{}", process.log()), PATIENCE, async || {
            let texts = phone.received().into_iter().filter_map(|one| one.text);
            found = texts.into_iter().find(|text| text.contains(wanted));
            found.is_some()
        })
        .await;
        found.expect("just seen")
    };
    let shouted = said("\"ARGS\":\"IT\"").await;
    assert!(
        shouted.contains("\"BOT\":\"MAIN\"") && shouted.contains(&format!("{ADA}@S.WHATSAPP.NET")),
        "{shouted}"
    );
    let environment = said("PATH=").await;
    assert!(
        !environment.contains("no program may see") && !environment.contains("BLACKSKY"),
        "{environment}"
    );

    // A reaction is a message without a text.
    let known = phone.received().len();
    phone.send_text(ADA, PHONE, "!like").expect("sent");
    eventually("a reaction", PATIENCE, async || {
        phone.received_after(known).iter().any(|one| to_ada(one) && one.text.is_none() && one.error.is_none())
    })
    .await;
    tokio::time::timeout(Duration::from_secs(5), process.bot()).await.expect("the page answers");
}

#[test]
fn wrong_commands_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    for (command, words) in [
        (
            "{ match = \"regex\", pattern = \"(\", reply = \"x\" }",
            "is not a regular expression: unclosed group",
        ),
        (
            "{ match = \"regex\", pattern = '\\w{1000}{1000}', reply = \"x\" }",
            "is not a regular expression: it is too large",
        ),
        (
            "{ match = \"regex\", pattern = \"(a)\", reply = \"{2}\" }",
            "names {2}, and the pattern captures 1",
        ),
        ("{ pattern = \"a\", reply = \"x\" }", "is not for match = \"word\""),
        ("{ reply = \"x\", run = [\"x\"] }", "has both reply and run"),
        ("{ run = [] }", "needs at least 1 entry"),
        ("{ react = \"a b\" }", "is not an emoji"),
    ] {
        let file = format!("[bots.main.commands]\nx = {command}\n");
        std::fs::write(folder.path().join("blacksky.toml"), file).expect("written");
        let (code, _, problems) = Blacksky::in_folder(folder.path()).arg("check").output();
        assert_eq!(code, 78, "{command}: {problems}");
        assert!(problems.contains(words), "{command}: {problems}");
    }
}

/// A PNG of some bytes.
fn picture() -> Vec<u8> {
    let mut picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    picture.resize(300_000, 7);
    picture
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_answers_with_a_file() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let file = r#"
[bots.main]
prefix = "!"

[bots.main.commands]
menu = { reply = { image = "files/menu.png", caption = "for {sender}: {args}" }, react = "👍" }
plan = { reply = { document = "files/menu.png" } }
ping = "pong"
"#;
    std::fs::write(folder.path().join("blacksky.toml"), file).expect("written");
    // Refused while it is not there.
    let (code, _, told) = Blacksky::in_folder(folder.path()).arg("check").output();
    assert_eq!(code, 78, "{told}");
    assert!(told.contains("blacksky.toml:6:28") && told.contains("there is no such file"), "{told}");
    std::fs::create_dir(folder.path().join("files")).expect("made");
    std::fs::write(folder.path().join("files/menu.png"), picture()).expect("written");
    let process = linked(&sim, Blacksky::in_folder(folder.path()), &sim.url(), PHONE).await;
    let phone = sim.handle();
    let got = async |kind: blacksky::sim::MediaKind| {
        let mut found = None;
        eventually(&format!("{kind:?}; log:\n{}", process.log()), PATIENCE, async || {
            let media = phone.received().into_iter().filter(|one| one.to == ADA).filter_map(|one| one.media);
            found = media.into_iter().find(|media| media.kind == kind);
            found.is_some()
        })
        .await;
        found.expect("just seen")
    };
    phone.send_text(ADA, PHONE, "!menu today").expect("sent");
    let menu = got(blacksky::sim::MediaKind::Image).await;
    assert_eq!((menu.problem, menu.size), (None, 300_000));
    assert_eq!(menu.mimetype.as_deref(), Some("image/png"));
    assert_eq!(menu.caption.as_deref(), Some(&*format!("for Phone {ADA}: today")));
    phone.send_text(ADA, PHONE, "!plan").expect("sent");
    let plan = got(blacksky::sim::MediaKind::Document).await;
    assert_eq!((plan.file_name.as_deref(), plan.caption), (Some("menu.png"), None));
    // Gone meanwhile: its chat goes on.
    std::fs::remove_file(folder.path().join("files/menu.png")).expect("removed");
    phone.send_text(ADA, PHONE, "!plan").expect("sent");
    phone.send_text(ADA, PHONE, "!ping").expect("sent");
    phone.wait_for_text(ADA, "pong", PATIENCE).await.expect("it answers");
    assert!(process.log().contains("the file of a command was not sent"), "{}", process.log());
}
