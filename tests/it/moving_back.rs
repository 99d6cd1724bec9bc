//! A hosted bot leaves blacksky with its login: its session folder is an ordinary one.

use crate::dyno_life::{FRIEND, PATIENCE, PHONE, TOKEN, pair};
use crate::hosted_dyno::{WEBSITE, answered};
use crate::support::dyno::App;
use crate::support::node::{self, NodeBot};
use crate::support::{postgres, sim};

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_of_a_stopped_bot_links_without_blacksky() {
    node::install();
    let sim = sim::simulator();
    let phone = sim.handle();
    let slug = WEBSITE
        .slug(&sim.url())
        .database(&postgres::database().await)
        .env("BLACKSKY_ADMIN_TOKEN", TOKEN)
        .env("BLACKSKY_LEASE_TTL", "2s");
    let app = App::start(slug, 1).await;
    pair(&app, &sim).await;
    answered(&phone, &app, &WEBSITE, "before").await;
    // The next machine has nothing but the database.
    for old in app.restart() {
        assert!(old.ended(PATIENCE).await.status.success(), "{}", old.log());
    }
    app.until_up().await;
    answered(&phone, &app, &WEBSITE, "elsewhere").await;

    let last = app.dyno("web.1");
    app.scale(0);
    assert!(last.ended(PATIENCE).await.status.success(), "{}", last.log());
    let session = last.folder().join(WEBSITE.session);
    std::fs::remove_file(session.join(".blacksky")).expect("the marker of whose it was");

    let mut bot = NodeBot::start(&sim.url(), &session);
    bot.next("open").await;
    phone.send_text(FRIEND, PHONE, "alone").expect("sent");
    let reply = phone.wait_for_text(FRIEND, "echo: alone", PATIENCE).await;
    assert!(reply.is_ok(), "{:?} {:?}", phone.counters(), bot.said());
    let (counters, keys) = (phone.counters(), phone.ratchets());
    assert_eq!(counters.registrations, 1, "a new QR was shown: {:?}", bot.said());
    assert_eq!((counters.decrypt_failures, keys.reused.len()), (0, 0), "{counters:?}");
    bot.stop().await;
}
