//! How quickly a stored session is linked again, and what it costs to stay linked: blacksky on both databases, a
//! bare Baileys bot, and a bare whatsapp-rust client on the SQLite store that it comes with, which is the least that
//! blacksky can take.
//!
//! `cargo bench --features simulator --bench boot`. `BENCH_RUNS` (5) and `BENCH_IDLE_S` (10) make it longer. The four
//! take turns. The clock starts before the process is made and stops at the line that says the link is open. PostgreSQL
//! and Baileys are installed as for the tests.

mod bare;
mod contender;
#[allow(dead_code, unused_imports, reason = "shared with the tests, which use all of it")]
#[path = "../../tests/it/support"]
mod support {
    pub mod eventually;
    pub mod figures;
    pub mod http;
    pub mod node;
    pub mod postgres;
    pub mod qr;
    pub mod sim;
}

use std::time::Duration;

use contender::{Contender, Kind};
use support::figures::{self, megabytes, number};
use support::{node, postgres, sim};

fn main() {
    // The bare client is this very program.
    if let Some(asked) = bare::Asked::from_environment() {
        return run(asked.stay_linked());
    }
    run(measure());
}

fn run(task: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(task);
}

async fn measure() {
    node::install();
    let root = tempfile::tempdir().expect("a folder");
    let server = sim::simulator();
    let postgres = postgres::database().await;
    let mut contenders = [
        Contender::new("bare Baileys", Kind::Baileys, root.path(), "4915100000011"),
        Contender::new("bare whatsapp-rust", Kind::WhatsappRust, root.path(), "4915100000012"),
        Contender::new("blacksky, SQLite", Kind::Sqlite, root.path(), "4915100000013"),
        Contender::new("blacksky, PostgreSQL", Kind::Postgres(postgres), root.path(), "4915100000014"),
    ];
    for contender in &contenders {
        contender.pair(&server).await;
    }
    // The first run of each warms the caches and does not count.
    for run in 0..=number("BENCH_RUNS", 5) {
        for contender in &mut contenders {
            let linked = contender.start(&server).await;
            if run > 0 {
                contender.to_open.push(linked.to_open);
                contender.to_port.extend(linked.to_port);
            }
            contender.settle(&server.handle(), &format!("run {run}")).await;
            linked.end().await;
        }
    }
    let mut idle = Vec::new();
    for contender in &contenders {
        idle.push(contender.start(&server).await);
    }
    let seconds = number("BENCH_IDLE_S", 10);
    // What is measured is a span of time.
    tokio::time::sleep(Duration::from_secs(seconds as u64)).await;
    for (contender, linked) in contenders.iter_mut().zip(idle) {
        let name = contender.name;
        if !contender.to_port.is_empty() {
            figures::times("port", name, &mut contender.to_port);
        }
        figures::times("open", name, &mut contender.to_open);
        let (resident, peak) = (megabytes(linked.pid(), "VmRSS"), megabytes(linked.pid(), "VmHWM"));
        println!("memory, {name}: {resident:.1} MB after {seconds} s, at most {peak:.1} MB");
        figures::note("memory", name, "MB", resident);
        figures::note("memory", name, "at most, MB", peak);
        figures::note("memory", name, "after, s", seconds as f64);
        linked.end().await;
    }
    let keys = server.handle().ratchets();
    assert!(keys.reused.is_empty(), "{:?}", keys.reused);
    server.shutdown().await.expect("stops");
}
