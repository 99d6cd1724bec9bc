//! Goals, what was seen of each, the peers of the same run, and the limits beside them.

use super::figures::Figures;

/// What a row of the table says, and the figure that decides whether its goal is met.
struct Row {
    what: &'static str,
    goal: Goal,
    decides: Option<f64>,
    seen: Option<String>,
    peer: Option<String>,
    limit: Option<String>,
}

enum Goal {
    Below(f64, &'static str),
    AtMost(f64, &'static str),
    AtLeast(f64, &'static str),
    /// Measured, with no goal of its own.
    None,
}

impl Goal {
    /// In words, and whether this figure meets it.
    fn judge(&self, figure: Option<f64>) -> (String, String) {
        let (text, met, by) = match (self, figure) {
            (Self::None, _) => return ("–".to_owned(), String::new()),
            (Self::Below(bound, unit), figure) => {
                (format!("< {bound} {unit}"), figure.map(|f| f < *bound), figure.map(|f| f - bound))
            }
            (Self::AtMost(bound, unit), figure) => {
                (format!("≤ {bound} {unit}"), figure.map(|f| f <= *bound), figure.map(|f| f - bound))
            }
            (Self::AtLeast(bound, unit), figure) => {
                (format!("≥ {bound} {unit}"), figure.map(|f| f >= *bound), figure.map(|f| bound - f))
            }
        };
        let verdict = match (met, by) {
            (Some(true), _) => "met".to_owned(),
            (Some(false), Some(by)) => format!("**missed** by {}", short(by)),
            _ => "not measured".to_owned(),
        };
        (text, verdict)
    }
}

/// With as many digits as say something.
fn short(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.2}"),
    }
}

fn ms(value: f64) -> String {
    if value >= 1000.0 { format!("{} s", short(value / 1000.0)) } else { format!("{} ms", short(value)) }
}

fn us(value: f64) -> String {
    if value >= 1000.0 { ms(value / 1000.0) } else { format!("{} µs", short(value)) }
}

fn ratio(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    Some(one? / other?)
}

/// The table, one row a goal.
pub fn write(figures: &Figures) -> String {
    let mut text = String::from(
        "| what | goal | seen | | peer, same run | limit of the machine beside it |\n|---|---|---|---|---|---|\n",
    );
    for row in rows(figures) {
        let (goal, verdict) = row.goal.judge(row.decides);
        let or_dash = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "–".to_owned());
        text.push_str(&format!(
            "| {} | {goal} | {} | {verdict} | {} | {} |\n",
            row.what,
            or_dash(&row.seen),
            or_dash(&row.peer),
            or_dash(&row.limit)
        ));
    }
    text
}

fn rows(f: &Figures) -> Vec<Row> {
    let mut rows = starts(f);
    rows.extend(changes(f));
    rows.extend(sizes(f));
    rows.extend(vault_and_relay(f));
    rows.extend(supervisors(f));
    rows.extend(others(f));
    rows
}

fn limit(f: &Figures, what: &str) -> Option<String> {
    Some(format!("{what} {}", us(f.get("limit", what, "median, µs")?)))
}

const POSTGRES: &str = "blacksky, PostgreSQL";
const SQLITE: &str = "blacksky, SQLite";
const BAILEYS: &str = "bare Baileys";
const BARE: &str = "bare whatsapp-rust";

fn starts(f: &Figures) -> Vec<Row> {
    let port = |of| f.get("port", of, "median");
    let open = |of| f.get("open", of, "median");
    let quicker = ratio(open(BAILEYS), open(POSTGRES));
    let beside = (|| {
        Some(format!(
            "{BARE} on its SQLite {} ({:.1}×); {}",
            ms(open(BARE)?),
            open(POSTGRES)? / open(BARE)?,
            limit(f, "key agreements of a handshake")?
        ))
    })();
    vec![
        Row {
            what: "port bound after exec",
            goal: Goal::Below(50.0, "ms"),
            decides: port(POSTGRES),
            seen: (|| Some(format!("{} (SQLite {})", ms(port(POSTGRES)?), ms(port(SQLITE)?))))(),
            peer: None,
            limit: limit(f, "exec of /bin/true"),
        },
        Row {
            what: "exec → link open, stored session, PostgreSQL",
            goal: Goal::Below(40.0, "ms"),
            decides: open(POSTGRES),
            seen: (|| {
                let p99 = f.get("open", POSTGRES, "max")?;
                Some(format!("{}, longest {} (SQLite {})", ms(open(POSTGRES)?), ms(p99), ms(open(SQLITE)?)))
            })(),
            peer: (|| Some(format!("{BAILEYS} {}", ms(open(BAILEYS)?))))(),
            limit: beside,
        },
        Row {
            what: "the same beside bare Baileys",
            goal: Goal::AtLeast(8.0, "× quicker"),
            decides: quicker,
            seen: quicker.map(|times| format!("{times:.1}×")),
            peer: (|| Some(format!("{BAILEYS} {}", ms(open(BAILEYS)?))))(),
            limit: limit(f, "exec of node"),
        },
    ]
}

fn changes(f: &Figures) -> Vec<Row> {
    let gap = |stat| f.get("hand-over", "SIGTERM, successor ready", stat);
    let over = |stat| f.get("take-over", "kill -9", stat);
    let baileys = |of: &str| of.contains("Baileys");
    let dead = f.most("dead link", "max", |of| !baileys(of));
    let bound = f.most("dead link", "period + deadline", |_| true);
    vec![
        Row {
            what: "hand-over gap on SIGTERM, successor ready: no link for",
            goal: Goal::Below(250.0, "ms p99"),
            decides: gap("p99"),
            seen: (|| {
                let [median, p99, max] = ["median", "p99", "max"].map(gap);
                Some(format!(
                    "p99 {}, median {}, longest {} of {}",
                    ms(p99?),
                    ms(median?),
                    ms(max?),
                    gap("times")?
                ))
            })(),
            peer: (|| {
                let away = f.get("supervisor: stop and start of all, link away", "pm2", "median")?;
                Some(format!("pm2, stopped and started {}", ms(away)))
            })(),
            limit: limit(f, "PostgreSQL commit of a row"),
        },
        Row {
            what: "take-over after kill -9",
            goal: Goal::AtMost(1000.0, "ms beyond lease.ttl"),
            decides: ratio(over("max"), Some(1.0)).zip(over("lease.ttl")).map(|(max, ttl)| max - ttl),
            seen: (|| {
                Some(format!(
                    "longest {} of {}, median {}; lease.ttl {}",
                    ms(over("max")?),
                    over("times")?,
                    ms(over("median")?),
                    ms(over("lease.ttl")?)
                ))
            })(),
            peer: None,
            limit: over("lease.ttl").map(|ttl| format!("lease.ttl {}", ms(ttl))),
        },
        Row {
            what: "dead link detected",
            goal: Goal::AtMost(1000.0, "ms beyond period + deadline"),
            decides: dead.zip(bound).map(|(dead, bound)| dead - bound),
            seen: dead.zip(bound).map(|(dead, bound)| {
                format!("longest {} of four kinds of death; period + deadline {}", ms(dead), ms(bound))
            }),
            peer: f
                .most("dead link", "max", baileys)
                .map(|max| format!("{BAILEYS}, keep-alive 1 s in place of 30 s: {}", ms(max))),
            limit: bound.map(|bound| format!("period + deadline {}", ms(bound))),
        },
    ]
}

fn sizes(f: &Figures) -> Vec<Row> {
    let memory = |of| f.get("memory", of, "MB");
    let less = ratio(memory(BAILEYS), memory(POSTGRES));
    let many = |stat| f.get("many", "native", stat);
    let fits = many("memory at most, MB").zip(many("bots")).map(|(most, bots)| bots * 536.9 / most);
    vec![
        Row {
            what: "resident memory, one native bot, linked",
            goal: Goal::Below(22.0, "MB"),
            decides: memory(POSTGRES),
            seen: (|| {
                Some(format!(
                    "{} MB after {} s, at most {} MB (SQLite {} MB)",
                    short(memory(POSTGRES)?),
                    f.get("memory", POSTGRES, "after, s")?,
                    short(f.get("memory", POSTGRES, "at most, MB")?),
                    short(memory(SQLITE)?)
                ))
            })(),
            peer: memory(BAILEYS).map(|mb| format!("{BAILEYS} {} MB", short(mb))),
            limit: memory(BARE).map(|mb| format!("{BARE} {} MB", short(mb))),
        },
        Row {
            what: "the same beside bare Baileys",
            goal: Goal::AtLeast(4.0, "× less"),
            decides: less,
            seen: less.map(|times| format!("{times:.1}×")),
            peer: memory(BAILEYS).map(|mb| format!("{BAILEYS} {} MB", short(mb))),
            limit: None,
        },
        Row {
            what: "native bots on one dyno of 512 MB",
            goal: Goal::AtLeast(500.0, "bots"),
            decides: many("bots").zip(fits).map(|(bots, fits)| if fits >= bots { bots } else { fits }),
            seen: (|| {
                Some(format!(
                    "{} bots: {} MB at most, {} MB and {} % of one processor at rest; all open {} s after a restart",
                    many("bots")?,
                    short(many("memory at most, MB")?),
                    short(many("memory at rest, MB")?),
                    short(many("processor at rest, %")?),
                    short(many("restart, s")?)
                ))
            })(),
            peer: memory(BAILEYS)
                .map(|mb| format!("{BAILEYS} {:.0}, one process each", (536.9 / mb).floor())),
            limit: None,
        },
    ]
}

fn vault_and_relay(f: &Figures) -> Vec<Row> {
    let change = |stat| f.get("vault change", "PostgreSQL, quiet", stat);
    let back = |stat| f.get("vault restore", "PostgreSQL", stat);
    let added = f.get("relay latency", "added", "p50, µs");
    let direct = f.get("relay latency", "direct", "p50, µs");
    let rate = |of| f.get("relay throughput", of, "GB/s");
    vec![
        Row {
            what: "vault: change → durable in PostgreSQL",
            goal: Goal::Below(500.0, "ms"),
            decides: change("max"),
            seen: (|| {
                let busy = f.get("vault change", "PostgreSQL, under traffic", "median")?;
                Some(format!(
                    "longest {} of {}, median {} (under constant traffic {})",
                    ms(change("max")?),
                    change("times")?,
                    ms(change("median")?),
                    ms(busy)
                ))
            })(),
            peer: None,
            limit: f
                .get("vault change", "PostgreSQL, one row alone", "median")
                .map(|row| format!("the row alone {}; 250 ms of it are waited for further changes", ms(row))),
        },
        Row {
            what: "vault: restore of 10,000 files",
            goal: Goal::Below(1000.0, "ms"),
            decides: back("restored").filter(|_| back("files").is_some_and(|files| files >= 10_000.0)),
            seen: (|| Some(format!("{} files in {}", back("files")?, ms(back("restored")?))))(),
            peer: None,
            limit: (|| {
                Some(format!(
                    "only reading and opening them {}, only writing them {}",
                    ms(back("only read")?),
                    ms(back("only written")?)
                ))
            })(),
        },
        Row {
            what: "relay: added to a frame there and back",
            goal: Goal::Below(100.0, "µs p50"),
            decides: added,
            seen: (|| {
                Some(format!("{}, p99 {}", us(added?), us(f.get("relay latency", "added", "p99, µs")?)))
            })(),
            peer: direct.map(|direct| format!("direct socket {}", us(direct))),
            limit: limit(f, "loopback there and back"),
        },
        Row {
            what: "relay: throughput",
            goal: Goal::AtLeast(1.0, "GB/s"),
            decides: rate("relay"),
            seen: rate("relay").map(|rate| format!("{rate:.2} GB/s")),
            peer: rate("direct").map(|rate| format!("direct socket {rate:.2} GB/s")),
            limit: (|| {
                Some(format!("memory copy {} GB/s", short(f.get("limit", "memory copy of 64 KiB", "GB/s")?)))
            })(),
        },
    ]
}

/// Around the same hosted bot.
fn supervisors(f: &Figures) -> Vec<Row> {
    let row = |what, row: &str| {
        let of = |of| f.get(row, of, "median");
        let bare = of("no supervisor").map(|bare| format!("without a supervisor {}", ms(bare)));
        Row {
            what,
            goal: Goal::None,
            decides: None,
            seen: of(POSTGRES).map(ms),
            peer: of("pm2").map(|pm2| format!("pm2 {}", ms(pm2))),
            limit: bare,
        }
    };
    let itself = |of| f.get("supervisor", of, "itself, MB").map(|mb| format!("{} MB", short(mb)));
    vec![
        row("hosted bot: start of the supervisor → login", "supervisor: start to login"),
        row("hosted bot: killed, no link for", "supervisor: bot killed, link away"),
        row(
            "hosted bot: all stopped and started, no link for",
            "supervisor: stop and start of all, link away",
        ),
        row("hosted bot: stop", "supervisor: stop"),
        Row {
            what: "hosted bot: memory of the supervisor itself",
            goal: Goal::None,
            decides: None,
            seen: itself(POSTGRES),
            peer: itself("pm2").map(|mb| format!("pm2 {mb}")),
            limit: f
                .get("supervisor", POSTGRES, "its bot, MB")
                .map(|mb| format!("the bot beside it {} MB", short(mb))),
        },
    ]
}

fn others(f: &Figures) -> Vec<Row> {
    let chaos = |stat| f.sum("chaos", stat);
    let echo = |of, stat| f.get("echo", of, stat);
    let (native, sqlite) = ("native, PostgreSQL", "native, SQLite");
    vec![
        Row {
            what: "random faults of the chaos suite: QR again, lost messages, keys used twice",
            goal: Goal::AtMost(0.0, "of each"),
            decides: chaos("QR again"),
            seen: (|| {
                Some(format!(
                    "{} faults: {} QR again; {} messages, none lost; {} keys, none twice",
                    chaos("faults")?,
                    chaos("QR again")?,
                    chaos("messages")?,
                    chaos("keys")?
                ))
            })(),
            peer: None,
            limit: None,
        },
        Row {
            what: "echoes a second, one native bot, 20 chats",
            goal: Goal::None,
            decides: None,
            seen: (|| {
                Some(format!(
                    "{} on PostgreSQL, {} on SQLite; one by one {}",
                    short(echo(native, "a second")?),
                    short(echo(sqlite, "a second")?),
                    ms(echo(native, "one by one")?)
                ))
            })(),
            peer: (|| {
                Some(format!(
                    "{BAILEYS} {} ({} of {} came); one by one {}",
                    short(echo(BAILEYS, "a second")?),
                    echo(BAILEYS, "echoes")?,
                    echo(BAILEYS, "sent")?,
                    ms(echo(BAILEYS, "one by one")?)
                ))
            })(),
            limit: limit(f, "PostgreSQL commit of a row"),
        },
    ]
}
