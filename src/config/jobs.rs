//! `[jobs.NAME]`: something that is done by the clock.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use url::Url;

use super::bots::{Bot, Client};
use super::listing::Listing;
use super::problem::Problem;
use super::reader::{Origin, Reader, Setting, Table};
use super::suggest;
use super::values::choice::choice;
use super::values::cron::Cron;
use super::values::form::{BotName, ChatAddress};
use super::values::list::List;
use super::values::number::Whole;
use super::values::period::PeriodIn;
use super::values::text::Text;
use super::values::web_url::WebUrl;
use super::values::zone::Zone;
use super::values::{self, Period, Value as _};

/// `[jobs.NAME]`.
#[derive(Debug, Clone)]
pub struct Job {
    pub cron: Cron,
    pub zone: chrono_tz::Tz,
    pub enabled: bool,
    pub catch_up: CatchUp,
    pub overlap: Overlap,
    /// How long it may take.
    pub timeout: Period,
    pub action: JobAction,
}

/// What a job does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobAction {
    /// GET this address and expect this HTTP status, or any below 400.
    Ping(Url, Option<u16>),
    /// Send this text.
    Send { bot: String, to: ChatAddress, text: String },
    /// Run this program with these arguments.
    Run(Vec<String>),
    /// Back up the session of every bot.
    Backup,
    /// Restart this bot.
    Restart(String),
}

impl JobAction {
    /// Its key.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ping(..) => "ping",
            Self::Send { .. } => "send",
            Self::Run(_) => "run",
            Self::Backup => "backup",
            Self::Restart(_) => "restart",
        }
    }
}

choice! {
    /// What happens to times that no process was there for.
    pub enum CatchUp { Once = "once", Skip = "skip" }
}

choice! {
    /// What happens when a run is due and the last one has not ended.
    pub enum Overlap { Skip = "skip", Allow = "allow" }
}

/// Something that is done by the clock, once for all dynos. A job has a time and one action: `ping`, `send`, `run`,
/// `backup` or `restart`. `blacksky job run NAME` does it at once.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Job")]
#[schemars(extend(
    "allOf" = [{ "required": ["cron"] }],
    "oneOf" = [
        { "required": ["ping"] }, { "required": ["send"] }, { "required": ["run"] }, { "required": ["backup"] },
        { "required": ["restart"] },
    ],
    "dependencies" = { "expect_status": ["ping"], "send": ["to"], "to": ["send"], "bot": ["send"] },
))]
pub(super) struct JobLayer {
    /// When it is due: minute, hour, day of the month, month and weekday, for example `30 8 * * mon-fri`, or `@hourly`,
    /// `@daily`, `@weekly`, `@monthly`, `@yearly`. With both a day of the month and a weekday, either is enough.
    cron: Setting<Cron>,
    /// Time zone of `cron`, for example `Europe/Berlin`. A time of the day that the change of the clocks leaves out
    /// is made up for at once; one that comes twice is due once.
    timezone: Setting<Zone>,
    /// `false` keeps the job in the file without doing it by the clock.
    enabled: Setting<bool>,
    /// After a time without any process: `once` does it once when it was due meanwhile, however often that was;
    /// `skip` waits for the next time.
    catch_up: Setting<CatchUp>,
    /// When it is due and the last run has not ended: `skip` leaves it out, `allow` does it all the same.
    overlap: Setting<Overlap>,
    /// How long it may take; then it is ended and counts as failed.
    timeout: Setting<PeriodIn<1_000, 86_400_000>>,
    /// Gets this address; an HTTP status below 400 is a success. Redirects are not followed.
    ping: Setting<WebUrl>,
    /// The HTTP status that alone is a success of `ping`, for example `204`.
    expect_status: Setting<Whole<100, 599>>,
    /// Sends this text to the chat `to`, from a native bot. It goes out when the link is open.
    send: Setting<Text<1, 65_536>>,
    /// Whom `send` is for: a phone number with country code (`+4915112345678`), or the address of a chat (`…@g.us`).
    to: Setting<ChatAddress>,
    /// The bot that sends; needed when there are several.
    bot: Setting<BotName>,
    /// Runs this program with its arguments, without a shell, in the folder of the file; exit code 0 is a success.
    /// It gets the Config Vars without those of blacksky, and BLACKSKY_JOB, the name of the job.
    run: Setting<List<Text<1, 4096>, 1>>,
    /// `true` backs up the session of every bot.
    backup: Setting<bool>,
    /// Restarts this bot: the program of a hosted one, the connection of a native one.
    restart: Setting<BotName>,
}

impl JobLayer {
    fn read(mut table: Table<'_, '_>) -> Self {
        let layer = Self {
            cron: table.key("cron"),
            timezone: table.key("timezone"),
            enabled: table.key("enabled"),
            catch_up: table.key("catch_up"),
            overlap: table.key("overlap"),
            timeout: table.key("timeout"),
            ping: table.key("ping"),
            expect_status: table.key("expect_status"),
            send: table.key("send"),
            to: table.key("to"),
            bot: table.key("bot"),
            run: table.key("run"),
            backup: table.key("backup"),
            restart: table.key("restart"),
        };
        table.finish();
        layer
    }

    /// `None` when something is wrong or missing, which is reported then.
    fn resolve(
        self,
        name: &str,
        place: &Origin,
        bots: &BTreeMap<String, Bot>,
        reader: &mut Reader<'_>,
    ) -> Option<Job> {
        let path = format!("jobs.{name}");
        let is_wrong = self.cron.is_wrong()
            || self.ping.is_wrong()
            || self.expect_status.is_wrong()
            || self.send.is_wrong()
            || self.to.is_wrong()
            || self.bot.is_wrong()
            || self.run.is_wrong()
            || self.backup.is_wrong()
            || self.restart.is_wrong();
        let restart_place = self.restart.origin().cloned();
        let mut actions: Vec<(Origin, JobAction)> = Vec::new();
        let mut found = |origin: Option<Origin>, action: JobAction| {
            actions.extend(origin.map(|origin| (origin, action)));
        };
        let status_place = self.expect_status.origin().cloned();
        let status = self.expect_status.value().and_then(|status| u16::try_from(status.0).ok());
        let origin = self.ping.origin().cloned();
        if let Some(url) = self.ping.value() {
            found(origin, JobAction::Ping(url.0, status));
        } else if let Some(place) = status_place
            && !is_wrong
        {
            let key = format!("{path}.expect_status");
            let what = format!("{key} is for a ping, and there is none");
            reader.refuse(&key, &place, true, what, "add ping = \"https://…\" or leave it out");
            return None;
        }
        let (origin, to_place, bot_place) =
            (self.send.origin().cloned(), self.to.origin().cloned(), self.bot.origin().cloned());
        match (self.send.value(), self.to.value()) {
            (Some(text), Some(to)) => {
                let bot = self.bot.value().map(|bot| bot.0).or_else(|| only_native(bots)).unwrap_or_default();
                found(origin, JobAction::Send { bot, to, text: text.0 });
            }
            _ if is_wrong => {}
            (Some(_), None) => {
                let key = format!("{path}.send");
                let what = format!("{key} does not say whom it is for");
                let help = "add to = \"+4915112345678\", or the address of a chat";
                reader.refuse(&key, origin.as_ref().unwrap_or(place), true, what, help);
                return None;
            }
            (None, _) => {
                for (word, stray) in [("to", to_place), ("bot", bot_place.clone())] {
                    if let Some(stray) = stray {
                        let key = format!("{path}.{word}");
                        let what = format!("{key} is for a send, and there is none");
                        reader.refuse(&key, &stray, true, what, "add send = \"the text\" or leave it out");
                        return None;
                    }
                }
            }
        }
        let origin = self.run.origin().cloned();
        if let Some(command) = self.run.value() {
            found(origin, JobAction::Run(command.0.into_iter().map(|part| part.0).collect()));
        }
        let origin = self.backup.origin().cloned();
        if self.backup.value() == Some(true) {
            found(origin, JobAction::Backup);
        }
        if let Some(bot) = self.restart.value() {
            found(restart_place.clone(), JobAction::Restart(bot.0));
        }
        let mut actions = actions.into_iter();
        let action = match (actions.next(), actions.next()) {
            (Some((_, action)), None) => Some(action),
            (Some(_), Some((second, _))) => {
                let what = format!("{path} has more than one action");
                reader.refuse(&path, &second, true, what, "make one job of each, with a name of its own");
                None
            }
            (None, _) if is_wrong => None,
            (None, _) => {
                let help = "add one of ping = \"https://…\", send = \"text\", run = [\"program\", \"argument\"], backup = true, \
                            restart = \"main\"";
                reader.refuse(&path, place, true, format!("{path} does nothing"), help);
                None
            }
        };
        if let Some(JobAction::Restart(bot)) = &action
            && !bots.get(bot).is_some_and(|bot| bot.enabled)
        {
            let help = match suggest::nearest(bot, bots.keys().map(String::as_str)) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "name a bot of this file that is enabled".to_owned(),
            };
            let key = format!("{path}.restart");
            let place = restart_place.as_ref().unwrap_or(place);
            reader.refuse(&key, place, true, format!("{key}: there is no enabled bot \"{bot}\""), &help);
            return None;
        }
        if let Some(JobAction::Send { bot, .. }) = &action
            && !natives(bots).any(|name| name == bot)
        {
            let help = match suggest::nearest(bot, natives(bots)) {
                Some(near) if !bot.is_empty() => format!("did you mean \"{near}\"?"),
                _ => "add bot = \"NAME\" of a native bot that is enabled".to_owned(),
            };
            let key = if bot_place.is_some() { format!("{path}.bot") } else { format!("{path}.send") };
            let what = match bot.is_empty() {
                true => format!("{key} does not say which bot sends"),
                false => format!("{key}: there is no enabled native bot \"{bot}\""),
            };
            reader.refuse(&key, bot_place.as_ref().unwrap_or(place), true, what, &help);
            return None;
        }
        let cron = match self.cron {
            Setting::Found(cron, _) => cron,
            Setting::Absent => {
                let help = "add cron = \"0 8 * * *\" for every day at eight, or \"@hourly\"";
                reader.refuse(&path, place, true, format!("{path} has no key \"cron\""), help);
                return None;
            }
            Setting::Wrong => return None,
        };
        Some(Job {
            cron,
            zone: self.timezone.value().map_or(chrono_tz::UTC, |zone| zone.0),
            enabled: self.enabled.value().unwrap_or(true),
            catch_up: self.catch_up.value().unwrap_or(CatchUp::Once),
            overlap: self.overlap.value().unwrap_or(Overlap::Skip),
            timeout: self.timeout.value().map_or(Period::seconds(300), |period| period.0),
            action: action?,
        })
    }
}

/// The enabled native bots.
fn natives(bots: &BTreeMap<String, Bot>) -> impl Iterator<Item = &str> {
    let native = |bot: &Bot| bot.enabled && matches!(bot.client, Client::Native(_));
    bots.iter().filter(move |(_, bot)| native(bot)).map(|(name, _)| name.as_str())
}

/// The native bot, when there is one and no other.
fn only_native(bots: &BTreeMap<String, Bot>) -> Option<String> {
    let mut all = natives(bots);
    let first = all.next()?;
    all.next().is_none().then(|| first.to_owned())
}

/// The layers by name, each with the place of its table.
pub(super) type Layers = BTreeMap<String, (Origin, JobLayer)>;

/// Reads `[jobs]`: its tables by name.
pub(super) fn read(mut table: Table<'_, '_>) -> Layers {
    let entries = table.entries();
    let reader = table.reader();
    let mut jobs = BTreeMap::new();
    for (name, key, value) in entries {
        if let Err(wrong) = BotName::from_text(name) {
            let place = reader.key_place(&key);
            let what = format!("jobs: \"{}\" is not a job name", suggest::showable(name));
            let help = wrong.help.map(|help| help.replace("bot name", "job name").replace("main", "morning"));
            reader.push(Problem::error(place, "jobs", what, help));
            continue;
        }
        if !value.get_ref().is_table() {
            let place = reader.key_place(&key);
            let found = values::kind_of(value.get_ref());
            let help =
                format!("write [jobs.NAME] and the keys of the job below it, not {name} = … in [jobs]");
            let path = format!("jobs.{name}");
            reader.push(Problem::error(
                place,
                &path,
                format!("{path} must be a table, not {found}"),
                Some(help),
            ));
            continue;
        }
        let origin = Origin::File(key.clone());
        let table = reader.open(format!("jobs.{name}"), Some((key, value)), true);
        jobs.insert(name.to_owned(), (origin, JobLayer::read(table)));
    }
    jobs
}

/// Applies the defaults and checks what several keys say together.
pub(super) fn resolve(
    layers: Layers,
    bots: &BTreeMap<String, Bot>,
    reader: &mut Reader<'_>,
) -> BTreeMap<String, Job> {
    let jobs = layers.into_iter().filter_map(|(name, (place, layer))| {
        let job = layer.resolve(&name, &place, bots, reader)?;
        Some((name, job))
    });
    jobs.collect()
}

impl Job {
    pub(super) fn list(&self, path: &str, to: &mut Listing) {
        let action = |word| Some(&self.action).filter(|action| action.word() == word);
        to.add(path, "cron", self.cron.to_string());
        to.add(path, "timezone", self.zone.name());
        to.add(path, "enabled", self.enabled);
        to.add(path, "catch_up", self.catch_up.as_str());
        to.add(path, "overlap", self.overlap.as_str());
        to.add(path, "timeout", self.timeout.to_string());
        let (url, status) = match action("ping") {
            Some(JobAction::Ping(url, status)) => (Some(url), *status),
            _ => (None, None),
        };
        to.add_url(path, "ping", url);
        to.add(path, "expect_status", status);
        let (bot, to_whom, text) = match action("send") {
            Some(JobAction::Send { bot, to, text }) => {
                (Some(bot.clone()), Some(to.0.clone()), Some(text.clone()))
            }
            _ => (None, None, None),
        };
        to.add(path, "send", text);
        to.add(path, "to", to_whom);
        to.add(path, "bot", bot);
        match action("run") {
            Some(JobAction::Run(command)) => to.add(path, "run", command.clone()),
            _ => to.add(path, "run", serde_json::Value::Null),
        }
        to.add(path, "backup", action("backup").map(|_| true));
        match action("restart") {
            Some(JobAction::Restart(bot)) => to.add(path, "restart", bot.clone()),
            _ => to.add(path, "restart", serde_json::Value::Null),
        }
    }
}
