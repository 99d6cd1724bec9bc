//! What this machine can do at all, without blacksky: the limits that stand beside the figures in `RESULTS.md`.
//!
//! `cargo bench --features simulator --bench limits`. PostgreSQL is the tests' own, as on a dyno's database: a commit
//! waits for the disk.

#[allow(dead_code, unused_imports, reason = "shared with the tests, which use all of it")]
#[path = "../tests/it/support"]
mod support {
    pub mod eventually;
    pub mod figures;
    pub mod postgres;
}

use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::time::Instant;
use wacore_libsignal::protocol::KeyPair;

use support::{figures, postgres};

/// A short stanza in a masked frame.
const FRAME: usize = 106;
/// A row of a session, and a file of a hosted bot's.
const ROW: usize = 900;

/// Times of doing it so often, the first tenth of them to warm up.
fn timed(what: &str, times: usize, mut once: impl FnMut()) {
    let mut took = Vec::with_capacity(times);
    for run in 0..times + times / 10 {
        let begun = Instant::now();
        once();
        if run >= times / 10 {
            took.push(begun.elapsed());
        }
    }
    told(what, took);
}

fn told(what: &str, mut took: Vec<Duration>) {
    // Some are of microseconds.
    took.sort_unstable();
    let us = |share| figures::percentile(&took, share).as_secs_f64() * 1e6;
    println!("limit, {what}: {} times, median {:.1} µs, p99 {:.1} µs", took.len(), us(0.5), us(0.99));
    figures::note("limit", what, "median, µs", us(0.5));
    figures::note("limit", what, "p99, µs", us(0.99));
}

/// A frame over loopback and back, between two threads.
fn loopback() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
    let address = listener.local_addr().expect("an address");
    let echo = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("accepts");
        socket.set_nodelay(true).expect("set");
        let mut frame = [0; FRAME];
        while socket.read_exact(&mut frame).is_ok() && socket.write_all(&frame).is_ok() {}
    });
    let mut socket = TcpStream::connect(address).expect("connects");
    socket.set_nodelay(true).expect("set");
    let mut frame = [7; FRAME];
    timed("loopback there and back", 20_000, || {
        socket.write_all(&frame).expect("writes");
        socket.read_exact(&mut frame).expect("comes back");
    });
    drop(socket);
    echo.join().expect("ends");
}

/// A program that does nothing.
fn exec(program: &str, args: &[&str], times: usize) {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    if command.status().is_err() {
        println!("limit, exec of {program}: it is not there");
        return;
    }
    timed(&format!("exec of {program}"), times, || {
        assert!(command.status().expect("starts").success());
    });
}

/// 4 KiB more in a file, on the disk.
fn disk() {
    let folder = tempfile::tempdir_in(postgres::base()).expect("a folder");
    let mut file = File::create(folder.path().join("file")).expect("a file");
    timed("fsync of 4 KiB", 300, || {
        file.write_all(&[7; 4096]).expect("writes");
        file.sync_data().expect("syncs");
    });
}

/// Bytes a second from one place in memory to another.
fn memory() {
    // Larger than the caches; and the size in which the relay passes bytes on.
    for (what, size) in [("memory copy of 64 MiB", 64 << 20), ("memory copy of 64 KiB", 64 << 10)] {
        let (from, mut to) = (vec![7_u8; size], vec![0_u8; size]);
        let rounds = (4 << 30) / size;
        let mut copy = |rounds: usize| {
            for _ in 0..rounds {
                to.copy_from_slice(black_box(&from));
                black_box(&mut to);
            }
        };
        copy(rounds / 10);
        let begun = Instant::now();
        copy(rounds);
        let rate = (rounds * size) as f64 / begun.elapsed().as_secs_f64() / 1e9;
        println!("limit, {what}: {rate:.1} GB/s");
        figures::note("limit", what, "GB/s", rate);
    }
}

/// What the Noise handshake of a login agrees on, both sides: three keys each.
fn handshake() {
    let mut random = rand::rng();
    let (a, b) = (KeyPair::generate(&mut random), KeyPair::generate(&mut random));
    timed("key agreements of a handshake", 500, || {
        for _ in 0..6 {
            black_box(a.private_key.calculate_agreement(&b.public_key).expect("agrees"));
        }
    });
}

/// One row, committed; and a question that reads nothing.
async fn database() {
    let mut connection = PgConnection::connect(&postgres::database().await).await.expect("connects");
    sqlx::raw_sql("CREATE TABLE kept (n bigserial PRIMARY KEY, value bytea NOT NULL)")
        .execute(&mut connection)
        .await
        .expect("a table");
    let (mut asked, mut committed) = (Vec::new(), Vec::new());
    let row = vec![7_u8; ROW];
    for _ in 0..500 {
        let begun = Instant::now();
        sqlx::query("SELECT 1").execute(&mut connection).await.expect("an answer");
        asked.push(begun.elapsed());
        let begun = Instant::now();
        sqlx::query("INSERT INTO kept (value) VALUES ($1)")
            .bind(&row)
            .execute(&mut connection)
            .await
            .expect("a row");
        committed.push(begun.elapsed());
    }
    // The first ones prepare the statements.
    told("PostgreSQL there and back", asked.split_off(10));
    told("PostgreSQL commit of a row", committed.split_off(10));
}

#[tokio::main]
async fn main() {
    loopback();
    exec("/bin/true", &[], 300);
    exec("node", &["-e", "0"], 20);
    disk();
    memory();
    handshake();
    database().await;
}
