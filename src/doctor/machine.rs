//! The disk and the memory of this machine.

use std::path::Path;

use super::Finding;
use crate::config::{Config, DatabaseLocation};

/// What stays on this disk, and what does not.
pub(super) fn disk(config: &Config) -> Vec<Finding> {
    const CHECK: &str = "disk";
    let on_disk = matches!(config.database.location, DatabaseLocation::Sqlite(_));
    vec![match (&config.platform.dyno, on_disk) {
        (None, _) if config.platform.host.is_none() => {
            Finding::ok(CHECK, "this is no dyno: what is on the disk stays there")
        }
        (None, false) => Finding::ok(CHECK, "no session is kept on the disk, which a deploy empties"),
        (None, true) => Finding::warn(
            CHECK,
            "the sessions are in a file, and this host keeps only volumes over a deploy",
            "see that the file of database.url is on a volume, or use a PostgreSQL",
        ),
        (Some(dyno), false) => Finding::ok(
            CHECK,
            format!("{dyno} is a dyno, whose disk is wiped every day; no session is kept on it"),
        ),
        (Some(dyno), true) => Finding::fail(
            CHECK,
            format!("{dyno} is a dyno, whose disk is wiped every day, and the sessions are in a file on it"),
            "heroku addons:create heroku-postgresql:essential-0, and remove database.url and allow_ephemeral",
        ),
    }]
}

pub(super) fn memory(config: &Config) -> Vec<Finding> {
    vec![judge(config, quota(Path::new("/sys/fs/cgroup")))]
}

fn judge(config: &Config, found: Option<u64>) -> Finding {
    const CHECK: &str = "memory";
    let wanted = config.heroku.memory.get();
    let in_mb = |bytes: u64| bytes >> 20;
    match found {
        None => Finding::ok(
            CHECK,
            format!(
                "this machine sets no limit; on a {} dyno it will be {} MB",
                config.heroku.dyno,
                in_mb(wanted)
            ),
        ),
        Some(found) if config.platform.dyno.is_none() => {
            let message = format!(
                "the limit here is {} MB; on a {} dyno it will be {} MB",
                in_mb(found),
                config.heroku.dyno,
                in_mb(wanted)
            );
            Finding::ok(CHECK, message)
        }
        // A dyno may be given a little more or less than its round number.
        Some(found) if in_mb(found) + 32 < in_mb(wanted) => Finding::warn(
            CHECK,
            format!(
                "this dyno has {} MB, and blacksky goes by {} MB (heroku.dyno = \"{}\"), so it would warn too late",
                in_mb(found),
                in_mb(wanted),
                config.heroku.dyno
            ),
            "write the size that heroku ps:type shows as heroku.dyno, or the memory as heroku.memory",
        ),
        Some(found) => Finding::ok(CHECK, format!("{} MB, as heroku.dyno says", in_mb(found))),
    }
}

/// The limit of the control group at `root`, of either version; `None` without one.
fn quota(root: &Path) -> Option<u64> {
    /// What version 1 says when there is none.
    const NO_LIMIT: u64 = 1 << 60;
    let number = |file: &str| std::fs::read_to_string(root.join(file)).ok()?.trim().parse::<u64>().ok();
    number("memory.max").or_else(|| number("memory/memory.limit_in_bytes")).filter(|limit| *limit < NO_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, NoEnvironment};
    use crate::doctor::Outcome;

    fn config(file: &str, dyno: bool) -> Config {
        let loaded = Config::parse(Path::new("blacksky.toml"), file.as_bytes().to_vec(), &NoEnvironment);
        let mut config = loaded.expect("a good file").config;
        config.platform.dyno = dyno.then(|| "web.1".to_owned());
        config
    }

    #[test]
    fn the_quota_is_read_from_either_kind_of_control_group() {
        let root = tempfile::tempdir().expect("a folder");
        assert_eq!(quota(root.path()), None);
        std::fs::create_dir(root.path().join("memory")).expect("made");
        let write = |file: &str, text: &str| std::fs::write(root.path().join(file), text).expect("written");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(quota(root.path()), None, "no limit");
        write("memory/memory.limit_in_bytes", "536870912\n");
        assert_eq!(quota(root.path()), Some(512 << 20));
        write("memory.max", "max\n");
        assert_eq!(quota(root.path()), Some(512 << 20));
        write("memory.max", "1073741824\n");
        assert_eq!(quota(root.path()), Some(1 << 30));
    }

    #[test]
    fn a_dyno_that_is_smaller_than_the_file_says_is_told() {
        let large = "[heroku]\ndyno = \"standard-2x\"\n";
        assert_eq!(judge(&config(large, true), Some(512 << 20)).outcome, Outcome::Warn);
        assert_eq!(judge(&config(large, true), Some(1 << 30)).outcome, Outcome::Ok);
        assert_eq!(judge(&config("", true), Some(512 << 20)).outcome, Outcome::Ok);
        assert_eq!(judge(&config(large, false), Some(512 << 20)).outcome, Outcome::Ok, "no dyno");
        assert_eq!(judge(&config("", true), None).outcome, Outcome::Ok);
    }

    #[test]
    fn a_file_on_a_dyno_is_a_failure() {
        let of = |file: &str, dyno: bool| disk(&config(file, dyno)).remove(0).outcome;
        assert_eq!(of("", false), Outcome::Ok);
        assert_eq!(of("[database]\nallow_ephemeral = true\n", true), Outcome::Fail);
        assert_eq!(of("[database]\nurl = \"postgres://u:p@h/n\"\n", true), Outcome::Ok);
    }
}
