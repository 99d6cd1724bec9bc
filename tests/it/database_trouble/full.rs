//! A disk with no room left.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::{Connection, PgConnection};

use super::scene::{Scene, report};
use crate::support::postgres::{Account, Cluster, answers, base};

/// A small disk in memory.
struct Disk(PathBuf);

impl Disk {
    /// `None` where mounting is not allowed.
    fn new(size: &str) -> Option<Self> {
        let folder = base().join(format!("blacksky-disk-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&folder);
        if !mount.output().is_ok_and(|output| output.status.success()) {
            let _ = fs::remove_dir(&folder);
            return None;
        }
        Account::of_server().give(&folder);
        Some(Self(folder))
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Leaves no room.
    fn fill(&self) {
        let mut file = fs::File::create(self.filler()).expect("a file");
        for size in [1 << 20, 4096] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.filler()).expect("removed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: after a failed test somebody still has files open there.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

fn space(folder: &Path) -> String {
    folder.display().to_string().replace('\'', "''")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_closes_the_link_until_there_is_room() {
    let Some(disk) = Disk::new("24m") else {
        println!("skipped: no tmpfs can be mounted here (that takes root)");
        return;
    };
    // A server of its own: one whose disk has gone is of no use to other tests.
    let cluster = tokio::task::spawn_blocking(Cluster::start).await.expect("starts");
    answers(&cluster.url("postgres")).await;
    let mut admin = PgConnection::connect(&cluster.url("postgres")).await.expect("connects");
    for sql in [
        format!("CREATE TABLESPACE small LOCATION '{}'", space(&disk.0)),
        "CREATE DATABASE on_small TABLESPACE small".to_owned(),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await.expect("made");
    }
    let mut scene = Scene::linked(cluster.url("on_small")).await;

    disk.fill();
    // What is in the tables has a little room left inside them.
    for n in 0..30 {
        scene.say(format!("long{n}-{}", "x1y2z3".repeat(500)));
    }
    scene.until("waiting_for_database").await;
    let said = scene.until_said(&["disk is full", "larger plan"]).await;
    // It lets us in, since the lease fits; that is no reason to dial all the time.
    let logins = scene.sim.handle().counters().logins;
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    let more = scene.sim.handle().counters().logins - logins;
    assert!(more <= 4, "{more} logins in 6 s");
    disk.free();
    let begun = tokio::time::Instant::now();
    scene.all_answered().await;
    report("disk full", &said, begun.elapsed());
    scene.end().await;
    sqlx::raw_sql("DROP DATABASE on_small WITH (FORCE)").execute(&mut admin).await.expect("dropped");
    sqlx::raw_sql("DROP TABLESPACE small").execute(&mut admin).await.expect("dropped");
}
