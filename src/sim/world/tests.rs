use proptest::prelude::*;
use wacore_binary::node::NodeContent;

use super::*;
use crate::sim::fixture::{NUMBER, link, written};

/// A server with one linked and connected device.
fn linked() -> (World, ConnectionId, mpsc::UnboundedReceiver<Out>) {
    let identity = Arc::new(ServerIdentity::generate(1_800_000_000).unwrap());
    let mut world = World::new(identity);
    link(&mut world);
    let (out, orders) = mpsc::unbounded_channel();
    let (connection, _) = world.dialled(out);
    world.connections.get_mut(&connection).unwrap().phase =
        Phase::Open { number: NUMBER.to_owned(), device: 1 };
    (world, connection, orders)
}

#[test]
fn every_request_is_answered_once_and_the_unknown_is_counted() {
    let (mut world, connection, mut orders) = linked();
    for (namespace, child) in
        [("w:p", None), ("encrypt", Some("count")), ("encrypt", Some("digest")), ("new", None)]
    {
        let iq = NodeBuilder::new("iq").attr("id", "7").attr("type", "get").attr("xmlns", namespace);
        let iq = iq.children(child.map(|tag| NodeBuilder::new(tag).build())).build();
        world.stanza(connection, &iq);
        let answers = written(&mut orders);
        assert_eq!(answers.len(), 1, "{namespace}");
        assert_eq!(stanza::attr(&answers[0], "type").as_deref(), Some("result"));
        assert_eq!(stanza::attr(&answers[0], "id").as_deref(), Some("7"));
        assert_eq!(answers[0].get_optional_child(child.unwrap_or("-")).is_some(), child.is_some());
    }
    assert_eq!((world.counters.pings, world.counters.unknown_requests), (1, 1));
}

#[test]
fn a_version_that_has_no_next_one_is_answered() {
    let (mut world, connection, mut orders) = linked();
    let patch = NodeBuilder::new("patch").build();
    let collection =
        NodeBuilder::new("collection").attr("name", "x").attr("version", u64::MAX).children([patch]);
    let sync = NodeBuilder::new("sync").children([collection.build()]).build();
    let iq = NodeBuilder::new("iq").attr("id", "7").attr("type", "set").attr("xmlns", "w:sync:app:state");
    world.stanza(connection, &iq.children([sync]).build());
    assert_eq!(written(&mut orders).len(), 1);
}

#[test]
fn a_message_waits_until_it_is_confirmed_by_any_of_the_ids_of_a_receipt() {
    let (mut world, connection, mut orders) = linked();
    let ids: Vec<String> =
        ["a", "b", "c"].map(|text| world.send_text("15550002001", NUMBER, text).unwrap()).to_vec();
    assert_eq!(written(&mut orders).len(), 3);
    let refusal =
        NodeBuilder::new("ack").attr("class", "message").attr("error", 487).attr("id", ids[2].as_str());
    world.stanza(connection, &refusal.build());
    let items = [NodeBuilder::new("item").attr("id", ids[1].as_str()).build()];
    let receipt = NodeBuilder::new("receipt")
        .attr("id", ids[0].as_str())
        .attr("to", stanza::pn("15550002001", 0))
        .children([NodeBuilder::new("list").children(items).build()])
        .build();
    world.stanza(connection, &receipt);
    let confirmed: Vec<_> =
        world.sent.iter().map(|s| (s.acknowledged_at.is_some(), s.refused.as_deref())).collect();
    assert_eq!(confirmed, [(true, None), (true, None), (false, Some("487"))]);
    assert!(world.device(NUMBER, 1).unwrap().queue.is_empty());
    assert!(world.send_text("15550002001", "15550009999", "x").is_err(), "no device there");
}

#[test]
fn a_request_to_send_again_keeps_the_message_until_the_new_copy_is_confirmed() {
    let (mut world, connection, mut orders) = linked();
    let id = world.send_text("15550002001", NUMBER, "text").unwrap();
    let contact = stanza::pn("15550002001", 0);
    let receipt = |kind: Option<&'static str>| {
        let receipt = NodeBuilder::new("receipt").attr("id", id.as_str()).attr("to", &contact);
        receipt.attrs(kind.map(|kind| ("type", kind))).build()
    };
    world.stanza(connection, &receipt(Some("retry")));
    let taken_back =
        NodeBuilder::new("ack").attr("class", "message").attr("error", 500).attr("id", id.as_str()).build();
    world.stanza(connection, &taken_back);
    assert_eq!((world.sent[0].retries, world.sent[0].refused.as_deref()), (1, None));
    assert_eq!(world.device(NUMBER, 1).unwrap().queue.len(), 1);
    let copies: Vec<_> = written(&mut orders)
        .iter()
        .filter(|node| node.tag == "message")
        .filter_map(|node| Some(stanza::attr(node.get_optional_child("enc")?, "type")))
        .collect();
    assert_eq!(copies.len(), 2, "the old copy and the new one");
    world.stanza(connection, &receipt(None));
    assert!(world.sent[0].acknowledged_at.is_some());
    assert!(world.device(NUMBER, 1).unwrap().queue.is_empty());
}

#[test]
fn counted_faults_are_used_up_and_lasting_ones_are_not() {
    let (mut world, ..) = linked();
    world.inject(Fault { times: 2, ..Fault::new(Action::Drop, When::Dial) });
    world.inject(Fault::new(Action::Reset, When::Login).lasting());
    world.inject(Fault { account: Some("1".into()), ..Fault::new(Action::StreamEnd, When::Open) });
    let dials: Vec<_> = (0..3).map(|_| world.take_fault(When::Dial, None)).collect();
    assert_eq!(dials, [Some(Action::Drop), Some(Action::Drop), None]);
    assert_eq!(world.take_fault(When::Open, Some(NUMBER)), None);
    for _ in 0..3 {
        assert_eq!(world.take_fault(When::Login, Some(NUMBER)), Some(Action::Reset));
    }
    world.clear_faults();
    assert_eq!(world.faults(), []);
}

/// Stanzas out of the words that the server reacts to, in any order.
fn stanzas() -> impl Strategy<Value = Node> {
    const TAGS: &[&str] = &[
        "iq",
        "message",
        "receipt",
        "ack",
        "participants",
        "to",
        "enc",
        "list",
        "item",
        "usync",
        "query",
        "user",
        "devices",
        "key",
        "keys",
        "skey",
        "id",
        "value",
        "signature",
        "identity",
        "registration",
        "sync",
        "collection",
        "rotate",
        "count",
        "digest",
        "contact",
        "link_code_companion_reg",
        "pair-device-sign",
    ];
    const VALUES: &[&str] = &[
        "",
        "get",
        "set",
        "result",
        "error",
        "retry",
        "message",
        "encrypt",
        "usync",
        "w:p",
        "md",
        "privacy",
        "pkmsg",
        "msg",
        "w:sync:app:state",
        "15550001001@s.whatsapp.net",
        "15550002001:1@s.whatsapp.net",
        "100015550002001@lid",
        "15550001001:1@s.whatsapp.net",
        "@",
        "companion_hello",
        "companion_finish",
        "999999999999999999999",
    ];
    const KEYS: &[&str] =
        &["id", "to", "from", "type", "xmlns", "jid", "class", "error", "name", "stage", "version"];
    let attrs = proptest::collection::vec((prop::sample::select(KEYS), prop::sample::select(VALUES)), 0..6);
    let content = prop_oneof![
        Just(None),
        proptest::collection::vec(any::<u8>(), 0..70).prop_map(|bytes| Some(NodeContent::Bytes(bytes))),
        prop::sample::select(VALUES).prop_map(|text| Some(NodeContent::String(text.into()))),
    ];
    let leaf = (prop::sample::select(TAGS), attrs.clone(), content)
        .prop_map(|(tag, attrs, content)| NodeBuilder::new(tag).attrs(attrs).apply_content(content).build());
    leaf.prop_recursive(4, 24, 4, move |inner| {
        (prop::sample::select(TAGS), attrs.clone(), proptest::collection::vec(inner, 0..4))
            .prop_map(|(tag, attrs, children)| NodeBuilder::new(tag).attrs(attrs).children(children).build())
    })
}

proptest! {
    #[test]
    fn no_stanza_of_a_client_panics_the_server(nodes in proptest::collection::vec(stanzas(), 1..8)) {
        let (mut world, connection, _orders) = linked();
        world.send_text("15550002001", NUMBER, "text").unwrap();
        for node in &nodes {
            world.stanza(connection, node);
        }
        world.closed(connection, "over", false);
        prop_assert!(world.connections.is_empty());
    }
}
