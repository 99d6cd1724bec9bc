//! A hosted bot that looks for blacksky's secrets where a program of the same account could find them.

use std::os::unix::fs::{MetadataExt, chown};

use crate::support::blacksky::Blacksky;
use crate::support::dyno::{account, base};
use crate::support::eventually::eventually;
use crate::support::sim::{PATIENCE, simulator};

const SECRET: &str = "the sealing key that no bot may see";
const TOKEN: &str = "the admin token that no bot may see";

/// Its own environment, and what the system shows of the process that started it.
const BOT: &str = r"
const fs = require('fs');
const look = (what, from) => {
  try { console.log(`${what}: ${/no bot may see/.test(fs.readFileSync(from, 'latin1')) ? 'found' : 'nothing'}`); }
  catch (error) { console.log(`${what}: ${error.code}`); }
};
look('own environment', '/proc/self/environ');
look('environment above', `/proc/${process.ppid}/environ`);
look('command above', `/proc/${process.ppid}/cmdline`);
try { fs.closeSync(fs.openSync(`/proc/${process.ppid}/mem`, 'r')); console.log('memory above: open'); }
catch (error) { console.log(`memory above: ${error.code}`); }
console.log('looked');
setInterval(() => {}, 1000);
";

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_finds_no_secret_in_the_process_above_it() {
    let sim = simulator();
    let folder = tempfile::tempdir_in(base()).expect("a folder");
    let toml = "[bots.main]\nkind = \"hosted\"\ncommand = ['node', 'bot.js']\nstop_grace = \"1s\"\n";
    std::fs::write(folder.path().join("blacksky.toml"), toml).expect("written");
    std::fs::write(folder.path().join("bot.js"), BOT).expect("written");
    let mut bot = Blacksky::in_folder(folder.path())
        .env("BLACKSKY_SECRET_KEY", SECRET)
        .env("BLACKSKY_ADMIN_TOKEN", TOKEN)
        .env("TMPDIR", folder.path().display().to_string());
    let program = std::path::PathBuf::from(env!("CARGO_BIN_EXE_blacksky"));
    // The system lets root look everywhere: as on a dyno, nobody is root here.
    if let Some(user) = account(&program) {
        for path in
            [folder.path().to_owned(), folder.path().join("blacksky.toml"), folder.path().join("bot.js")]
        {
            chown(path, Some(user), Some(user)).expect("the tests may give it away");
        }
        let (user, group) = (format!("--reuid={user}"), format!("--regid={user}"));
        bot = bot.within(&["setpriv", &user, &group, "--clear-groups"]);
    } else if std::fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0) {
        println!("left out: root sees everything, and there is no other account that reaches the program");
        return;
    }
    let process = bot.run(&sim.url());
    eventually("it has looked", PATIENCE, async || process.log().contains("looked")).await;
    let log = process.log();
    for words in [
        "own environment: nothing",
        "environment above: EACCES",
        "memory above: EACCES",
        "command above: nothing",
    ] {
        assert!(log.contains(words), "{words}:\n{log}");
    }
    assert!(!log.contains(": found"), "{log}");
}
