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
