//! With real processes.

use std::collections::BTreeSet;
use std::path::Path;

use tokio::time::{Instant, timeout};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn spec(command: &[&str], folder: &Path) -> Spec {
    let path = (OsString::from("PATH"), OsString::from("/usr/local/bin:/usr/bin:/bin"));
    Spec {
        key: "bots.main.command".to_owned(),
        name: "main".into(),
        command: command.iter().map(|&part| part.to_owned()).collect(),
        folder: folder.to_owned(),
        environment: vec![path],
    }
}

fn shell(script: &str) -> Child {
    // A bot of its own, since a run kills what an earlier one of the same bot left behind.
    let name = format!("t{:016x}", rand::random::<u64>());
    Child::start(&Spec { name, ..spec(&["sh", "-c", script], Path::new("/")) }).expect("starts")
}

async fn to_the_end(child: &mut Child) -> (Vec<Line>, Exit) {
    let mut lines = Vec::new();
    let all = async {
        loop {
            match child.next().await {
                Happening::Line(line) => lines.push(line),
                Happening::Exited(exit) => break exit,
            }
        }
    };
    let exit = timeout(PATIENCE, all).await.expect("it ends in time");
    (lines, exit)
}

async fn line(child: &mut Child) -> String {
    match timeout(PATIENCE, child.next()).await.expect("it says something") {
        Happening::Line(line) => line.raw,
        Happening::Exited(exit) => panic!("it ended: {exit}"),
    }
}

fn alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

#[tokio::test]
async fn both_outputs_and_the_exit_code_come() {
    let mut child = shell("echo out; echo err >&2; printf last; exit 3");
    let (lines, exit) = to_the_end(&mut child).await;
    let seen: BTreeSet<(&str, bool)> = lines.iter().map(|line| (line.raw.as_str(), line.error)).collect();
    assert_eq!(seen, BTreeSet::from([("out", false), ("err", true), ("last", false)]));
    assert_eq!((exit, exit.to_string().as_str()), (Exit::Code(3), "exit code 3"));
}

#[tokio::test]
async fn a_program_that_obeys_ends_with_its_own_last_words() {
    let mut child = shell("trap 'echo saved; exit 0' TERM; echo up; while :; do sleep 0.05; done");
    assert_eq!(line(&mut child).await, "up");
    let (mut said, began) = (Vec::new(), Instant::now());
    let exit = child.stop(PATIENCE, |line| said.push(line.raw)).await;
    assert_eq!(exit, Exit::Code(0));
    assert!(said.contains(&"saved".to_owned()), "{said:?}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn grandchildren_that_ignore_the_signal_are_killed_after_the_grace() {
    let script =
        "(trap '' TERM; echo $$; exec sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done') & wait";
    let mut child = shell(script);
    let pids = [line(&mut child).await, line(&mut child).await];
    let began = Instant::now();
    child.stop(Duration::from_millis(300), |_| {}).await;
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(pids.iter().all(|pid| !alive(pid)), "{pids:?}");
}

#[tokio::test]
async fn what_left_the_group_is_found() {
    let mut child = shell("setsid sh -c 'echo $$; exec sleep 600' & echo leader >&2; exit 0");
    let mut stray = None;
    loop {
        match timeout(PATIENCE, child.next()).await.expect("something happens") {
            Happening::Line(line) if !line.error => stray = Some(line.raw),
            Happening::Line(_) => {}
            Happening::Exited(_) => break,
        }
    }
    let stray = stray.expect("it said its number");
    assert!(alive(&stray));
    child.stop(Duration::from_millis(100), |_| {}).await;
    assert!(!alive(&stray), "{stray} lives");
}

#[tokio::test]
async fn a_flood_neither_blocks_nor_fills_anything() {
    let mut child =
        shell("yes 0123456789012345678901234567890123456789 | head -c 50000000; echo; echo done >&2");
    let began = Instant::now();
    let (lines, exit) = to_the_end(&mut child).await;
    assert_eq!(exit, Exit::Code(0));
    assert!(lines.len() < 5_000, "{} lines passed", lines.len());
    assert!(lines.iter().any(|line| line.error && line.raw == "done"), "the other output goes on");
    assert!(began.elapsed() < PATIENCE);
}

#[tokio::test]
async fn bytes_that_are_no_text_are_shown_as_replaced() {
    let mut child = shell(r"printf 'a\377b\000c\n'");
    let (lines, _) = to_the_end(&mut child).await;
    assert_eq!(lines[0].raw, "a\u{fffd}b\0c");
    let Shown::Text { log, .. } = Redactor::default().show(&lines[0].raw) else { panic!("a text") };
    assert_eq!(log, "a\u{fffd}bc");
}

#[tokio::test]
async fn memory_is_that_of_all_its_processes() {
    let mut one = shell("echo up; exec sleep 600");
    let mut many = shell("for i in 1 2 3 4 5 6 7 8 9; do sleep 600 & done; echo up; wait");
    let (_, _) = (line(&mut one).await, line(&mut many).await);
    let (one_used, many_used) =
        (one.memory().await.expect("measured"), many.memory().await.expect("measured"));
    assert!(one_used > 100_000 && many_used > 4 * one_used, "{one_used} and {many_used}");
    one.stop(Duration::ZERO, |_| {}).await;
    many.stop(Duration::ZERO, |_| {}).await;
}

#[tokio::test]
async fn what_cannot_be_started_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("bot"), "no program").expect("writes");
    let refused =
        |command: &[&str], at: &Path| Child::start(&spec(command, at)).expect_err("refused").to_string();
    assert!(
        refused(&["no-such-program"], folder.path())
            .contains("\"no-such-program\" of bots.main.command is not there")
    );
    assert!(refused(&["./bot"], folder.path()).contains("chmod +x ./bot"));
    assert!(refused(&[], folder.path()).contains("set bots.main.command"));
    assert!(refused(&["sh"], &folder.path().join("none")).contains("cannot be entered"));
}

#[tokio::test]
async fn what_an_earlier_run_left_behind_is_killed_by_the_next_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first =
        Child::start(&spec(&["sh", "-c", "echo $$; exec sleep 600"], folder.path())).expect("starts");
    let pid = line(&mut first).await;
    // As a killed blacksky leaves it.
    std::mem::forget(first);
    let second = Child::start(&spec(&["sleep", "600"], folder.path())).expect("starts");
    timeout(PATIENCE, async {
        while alive(&pid) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("it is killed");
    let other = tempfile::tempdir().expect("a folder");
    let third = Child::start(&spec(&["true"], other.path())).expect("starts");
    assert!(second.memory().await.is_some(), "another folder's bot is another bot");
    drop(third);
}

#[tokio::test]
async fn a_dropped_run_leaves_nothing_behind() {
    let mut child = shell("sleep 600 & echo $!; wait");
    let pid = line(&mut child).await;
    assert!(alive(&pid));
    drop(child);
    timeout(PATIENCE, async {
        while alive(&pid) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("it is killed");
}
