//! The database: reachable, ours alone, writable, up to date; the sessions in it and their keys.

use std::time::Duration;

use chrono::TimeDelta;

use super::Finding;
use crate::config::{Config, DatabaseLocation, Tls};
use crate::store::examine::{self, Schema, Server};
use crate::store::{Owner, Store, StoreError};

/// Leases go by the database's clock; ours only writes times for people.
const LARGEST_SKEW: Duration = Duration::from_secs(5);
/// Every write of a session waits for one round trip.
const SLOW: Duration = Duration::from_millis(50);

pub(super) async fn look(config: &Config) -> Vec<Finding> {
    match &config.database.location {
        DatabaseLocation::Missing(wiped) => {
            vec![Finding::fail("database", format!("there is none: {}", wiped.what()), wiped.todo())]
        }
        DatabaseLocation::Sqlite(file) if !file.exists() => {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(std::path::Path::new("."));
            let up = folder.ancestors().find(|up| up.as_os_str().is_empty() || up.is_dir());
            let up = up.filter(|up| !up.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
            vec![match tempfile::tempfile_in(up) {
                Ok(_) => Finding::ok(
                    "database",
                    format!("the SQLite file {} is made at the first start", file.display()),
                ),
                Err(error) => Finding::fail(
                    "database",
                    format!("the SQLite file {} cannot be made: {}", file.display(), error.kind()),
                    "give the folder to the user that blacksky runs as, or name another file",
                ),
            }]
        }
        DatabaseLocation::Sqlite(_) => {
            let mut findings = Vec::new();
            stored(config, &mut findings).await;
            findings
        }
        DatabaseLocation::Postgres(url) => {
            let server = match examine::server(url, config.database.tls).await {
                Ok(server) => server,
                Err(error) => return vec![unavailable("database", &error)],
            };
            let mut findings = of_server(config, &server);
            match &server.pooler_problem {
                Some(_) => {
                    findings.push(Finding::skip("database.sessions", "not looked at through this pooler"))
                }
                None => stored(config, &mut findings).await,
            }
            findings
        }
    }
}

/// The store's messages say what to do themselves.
fn unavailable(check: &str, error: &StoreError) -> Finding {
    Finding::fail(check, error.to_string(), "blacksky explain waiting_for_database; heroku pg:info")
}

fn of_server(config: &Config, server: &Server) -> Vec<Finding> {
    let mut findings = Vec::new();
    let millis = server.round_trip.as_secs_f64() * 1000.0;
    let answers = format!("PostgreSQL {} answers within {millis:.1} ms", server.version);
    findings.push(if server.round_trip > SLOW {
        let todo =
            "put app and database into the same region: each write of a session waits for one round trip";
        Finding::warn("database", answers, todo)
    } else {
        Finding::ok("database", answers)
    });
    findings.push(tls(config, server));
    findings.push(pooler(server));
    findings.push(connections(config, server));
    findings.push(match &server.write_problem {
        None => Finding::ok("database.write", "a row could be written (and was taken back)"),
        Some(problem) => {
            Finding::fail("database.write", problem.clone(), "heroku pg:info shows size and state")
        }
    });
    findings.push(size(config, server));
    findings.push(clock(server.clock_ahead, server.round_trip));
    findings
}

fn tls(config: &Config, server: &Server) -> Finding {
    const CHECK: &str = "database.tls";
    match (&server.encrypted, config.database.tls) {
        (Some(version), Tls::VerifyFull) => {
            Finding::ok(CHECK, format!("{version}, certificate and name checked"))
        }
        (Some(version), _) => Finding::ok(
            CHECK,
            format!(
                "{version}; the certificate is not checked (database.tls = \"require\"), as Heroku Postgres needs it"
            ),
        ),
        (None, _) if server.local => Finding::ok(CHECK, "none; the database is on this machine"),
        // A pooler speaks to the server by itself.
        (None, Tls::Require | Tls::VerifyFull) => {
            Finding::ok(CHECK, "encrypted to what stands before the database")
        }
        (None, Tls::Disable) => Finding::warn(
            CHECK,
            "the connection is in the clear, over a network",
            "remove database.tls = \"disable\", or make sure that the network is private",
        ),
    }
}

fn pooler(server: &Server) -> Finding {
    const CHECK: &str = "database.pooler";
    match &server.pooler_problem {
        None => Finding::ok(CHECK, "each connection has a server process of its own"),
        Some(problem) => Finding::fail(
            CHECK,
            problem.clone(),
            "heroku config shows the URLs: the one of the add-on itself is wanted",
        ),
    }
}

fn connections(config: &Config, server: &Server) -> Finding {
    const CHECK: &str = "database.connections";
    let (limit, used) = (server.connection_limit, server.connections);
    let (dynos, each) = (config.heroku.quantity, config.database.max_connections);
    // Old and new dynos run at once during a deploy.
    let wanted = 2 * dynos * each;
    let said = match config.heroku.database_plan() {
        Some(plan) if plan.connections != limit => {
            format!("; {} is known for {}", plan.name, plan.connections)
        }
        _ => String::new(),
    };
    let message = format!(
        "{limit} allowed{said}, {used} in use now; a deploy takes up to {wanted} (2 × {dynos} × {each})"
    );
    if wanted > limit {
        Finding::warn(
            CHECK,
            message,
            "lower database.max_connections, run fewer dynos, or take a larger plan",
        )
    } else if used + each > limit {
        Finding::warn(CHECK, message, "end other clients of the database: heroku pg:ps, heroku pg:killall")
    } else {
        Finding::ok(CHECK, message)
    }
}

fn size(config: &Config, server: &Server) -> Finding {
    const CHECK: &str = "database.size";
    let in_mb = |bytes: u64| bytes.div_ceil(1 << 20);
    let Some(plan) = config.heroku.database_plan().filter(|_| !server.local) else {
        return Finding::ok(CHECK, format!("{} MB", in_mb(server.size)));
    };
    let message = format!("{} MB of the {} MB of {}", in_mb(server.size), in_mb(plan.size.get()), plan.name);
    if server.size / 9 >= plan.size.get() / 10 {
        let todo = "take a larger plan, or let [backup] keep less: above the limit Heroku takes the \
                    right to write away";
        Finding::warn(CHECK, message, todo)
    } else {
        Finding::ok(CHECK, message)
    }
}

fn clock(ahead: TimeDelta, round_trip: Duration) -> Finding {
    const CHECK: &str = "database.clock";
    let apart = ahead.abs().to_std().unwrap_or_default();
    let seconds = apart.as_secs_f64();
    if apart > LARGEST_SKEW + round_trip / 2 {
        let (direction, fast) =
            if ahead > TimeDelta::zero() { ("behind", "slow") } else { ("ahead of", "fast") };
        return Finding::warn(
            CHECK,
            format!(
                "this machine's clock is {seconds:.0} s {direction} the database's, so it is probably {fast}"
            ),
            "set the clock (NTP): times on the page are wrong, and TLS and WhatsApp refuse clocks that are far off",
        );
    }
    Finding::ok(CHECK, format!("within {:.1} s of this machine's", seconds.max(0.1)))
}

/// What is in it, through the store itself.
async fn stored(config: &Config, findings: &mut Vec<Finding>) {
    let store = match Store::open(&config.database).await {
        Ok(store) => store,
        Err(error) => return findings.push(unavailable("database", &error)),
    };
    if store.kind() == "sqlite" {
        findings.push(Finding::ok("database", "the SQLite file can be opened"));
    }
    match contents(config, &store, findings).await {
        Ok(()) => {}
        Err(error) => findings.push(unavailable("database.sessions", &error)),
    }
    store.close().await;
}

async fn contents(config: &Config, store: &Store, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
    let schema = store.schema().await?;
    findings.push(version(schema));
    findings.push(secret_key(config, store));
    if schema.found != schema.known {
        findings.push(Finding::skip("database.sessions", "not looked at with tables of another version"));
        return Ok(());
    }
    let sessions = store.sessions().await?;
    for (name, bot) in config.bots.iter().filter(|(_, bot)| bot.enabled) {
        let check = format!("bots.{name}.session");
        let Some(session) = sessions.iter().find(|session| session.session == bot.session) else {
            let others: Vec<&str> = sessions
                .iter()
                .map(|session| session.session.as_str())
                .filter(|id| config.bots.values().all(|bot| bot.session != *id))
                .collect();
            let message = format!("there is no session {} yet: the bot will show a QR", bot.session);
            findings.push(if others.is_empty() {
                Finding::ok(check, message)
            } else {
                let message = format!("{message}; no bot uses {}", others.join(", "));
                let todo = "if one of them is this bot's, set SESSION_ID (or bots.NAME.session) to its name";
                Finding::warn(check, message, todo)
            });
            continue;
        };
        let holder = match &session.holder {
            Some(holder) => format!("held by {}", Owner(holder.owner.clone()).dyno()),
            None => "held by nobody".to_owned(),
        };
        let message = format!("{}: {} rows, {holder}", session.session, session.rows);
        findings.push(Finding::ok(check, message));
        findings.push(key(name, &store.readable(&bot.session).await?));
    }
    Ok(())
}

fn version(schema: Schema) -> Finding {
    const CHECK: &str = "database.schema";
    let Schema { found, known } = schema;
    if found == known {
        Finding::ok(CHECK, format!("version {found}, as this blacksky knows it"))
    } else if found == 0 {
        let todo = "blacksky migrate; blacksky run does it too";
        Finding::warn(CHECK, "there are no tables yet", todo)
    } else if found < known {
        let message = format!("version {found}, and this blacksky knows {known}");
        Finding::warn(CHECK, message, "blacksky migrate; blacksky run does it too")
    } else {
        let message = format!("version {found} is newer than the {known} of this blacksky, which refuses it");
        Finding::fail(CHECK, message, "deploy the newer blacksky again; heroku releases shows which that was")
    }
}

fn secret_key(config: &Config, store: &Store) -> Finding {
    const CHECK: &str = "secret_key";
    let ids: Vec<String> = store.keys().iter().map(ToString::to_string).collect();
    match ids.as_slice() {
        [] if matches!(config.database.location, DatabaseLocation::Postgres(_)) => Finding::warn(
            CHECK,
            "not set: whoever reads the database can use the WhatsApp account",
            "heroku config:set BLACKSKY_SECRET_KEY=$(openssl rand -hex 32), and keep it",
        ),
        [] => Finding::ok(CHECK, "not set; the sessions are in a file that only you can read"),
        [one] => Finding::ok(CHECK, format!("set; its id is {one}")),
        [first, old @ ..] => Finding::ok(CHECK, format!("set; {first} seals, {} opens too", old.join(", "))),
    }
}

fn key(name: &str, readable: &examine::Readable) -> Finding {
    let check = format!("bots.{name}.unseal");
    if !readable.lost.is_empty() {
        let lost: Vec<String> =
            readable.lost.iter().map(|(id, count)| format!("{count} under {id}")).collect();
        return Finding::fail(
            check,
            format!("stored values are sealed under a key that is not set: {}", lost.join(", ")),
            "set BLACKSKY_SECRET_KEY back to the key with that id; heroku releases shows when it changed",
        );
    }
    if readable.damaged > 0 {
        return Finding::warn(
            check,
            format!("{} stored values are damaged", readable.damaged),
            "the bot renews what can be renewed; if it does not link, blacksky session restore",
        );
    }
    let plain =
        if readable.plain > 0 { format!("; {} are not sealed", readable.plain) } else { String::new() };
    Finding::ok(check, format!("{} stored values were tried, and all can be read{plain}", readable.opened))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;

    #[test]
    fn a_clock_that_is_off_is_told_with_its_direction() {
        let fast = clock(TimeDelta::seconds(-90), Duration::from_millis(2));
        assert_eq!(fast.outcome, Outcome::Warn);
        assert!(fast.message.contains("90 s ahead of") && fast.message.contains("fast"), "{fast:?}");
        let slow = clock(TimeDelta::seconds(90), Duration::from_millis(2));
        assert!(slow.message.contains("90 s behind"), "{slow:?}");
        assert_eq!(clock(TimeDelta::seconds(4), Duration::from_millis(2)).outcome, Outcome::Ok);
        assert_eq!(
            clock(TimeDelta::seconds(-6), Duration::from_secs(3)).outcome,
            Outcome::Ok,
            "not known better"
        );
    }

    #[test]
    fn another_version_of_the_tables_is_told() {
        let of = |found, known| version(Schema { found, known }).outcome;
        assert_eq!(of(8, 8), Outcome::Ok);
        assert_eq!(of(0, 8), Outcome::Warn);
        assert_eq!(of(7, 8), Outcome::Warn);
        assert_eq!(of(9, 8), Outcome::Fail);
    }
}
