//! `[web]`: the page, and the other paths of its port.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::bots::{Bot, Client};
use super::listing::Listing;
use super::problem::{Place, Problem};
use super::reader::{Reader, Setting, Table};
use super::values::Secret;
use super::values::form::{BasePath, BotName};
use super::values::number::Whole;
use super::values::text::SecretText;

/// `[web]`.
#[derive(Debug, Clone)]
pub struct Web {
    /// PORT; 0 takes a free one.
    pub port: u16,
    /// BLACKSKY_ADMIN_TOKEN.
    pub admin_token: Option<Secret>,
    /// Where the page is; begins and ends with a slash.
    pub base: String,
    /// The enabled hosted bot that answers all other paths.
    pub proxy: Option<String>,
}

/// The page with the state of the bots and the QR. Every other path goes to the hosted bot, at the port that it
/// is given as PORT.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Web")]
pub(super) struct WebLayer {
    /// Port of the page; 0 takes a free one. On Heroku PORT wins.
    port: Setting<Whole<0, 65_535>>,
    /// Who has it may see the QR and act on the page. Without one only this machine may. At least 8
    /// characters; `openssl rand -hex 32` makes one.
    admin_token: Setting<SecretText<8>>,
    /// Where the page and its paths are, except `/status` and `/healthz`, which stay. `"/blacksky/"` leaves `/`
    /// to a hosted bot.
    base: Setting<BasePath>,
    /// The hosted bot that answers all other paths. Not set: the only enabled one.
    proxy: Setting<BotName>,
}

impl WebLayer {
    pub(super) fn read(mut table: Table<'_, '_>) -> Self {
        let layer = Self {
            port: table.key("port"),
            admin_token: table.key("admin_token"),
            base: table.key("base"),
            proxy: table.key("proxy"),
        };
        table.finish();
        layer
    }

    pub(super) fn resolve(self, bots: &BTreeMap<String, Bot>, reader: &mut Reader<'_>) -> Web {
        Web {
            port: self.port.value().and_then(|number| u16::try_from(number.0).ok()).unwrap_or(3000),
            admin_token: self.admin_token.value().map(|secret| secret.0),
            base: self.base.value().map_or_else(|| "/".to_owned(), |path| path.0),
            proxy: proxy(self.proxy, bots, reader),
        }
    }
}

/// Whose the other paths are. A bot that is only disabled, as in a review app, is no mistake.
fn proxy(wanted: Setting<BotName>, bots: &BTreeMap<String, Bot>, reader: &mut Reader<'_>) -> Option<String> {
    let is_hosted = |bot: &Bot| matches!(bot.client, Client::Hosted(_));
    let (name, origin) = match wanted {
        Setting::Found(name, origin) => (name.0, origin),
        Setting::Wrong => return None,
        Setting::Absent => {
            let hosted: Vec<&String> =
                bots.iter().filter(|(_, bot)| bot.enabled && is_hosted(bot)).map(|(name, _)| name).collect();
            if let [one] = hosted[..] {
                return Some(one.clone());
            }
            if let [first, second, ..] = hosted[..] {
                let what = format!(
                    "web.proxy: {} hosted bots could answer the paths that are not the page's, so none does",
                    hosted.len()
                );
                let help = format!("write proxy = \"{first}\" or proxy = \"{second}\" below [web]");
                reader.push(Problem::warning(Place::File, "web.proxy", what, Some(help)));
            }
            return None;
        }
    };
    match bots.get(&name) {
        Some(bot) if is_hosted(bot) => bot.enabled.then_some(name),
        Some(_) => {
            let what = format!("web.proxy: the bot {name} is native, so it has no port of its own");
            reader.refuse(
                "web.proxy",
                &origin,
                true,
                what,
                "name a bot of kind = \"hosted\", or leave it out",
            );
            None
        }
        None => {
            let known: Vec<&str> = bots.keys().map(String::as_str).collect();
            let what = format!("web.proxy: there is no bot {name}");
            let help = format!("the bots are {}", known.join(", "));
            reader.refuse("web.proxy", &origin, true, what, &help);
            None
        }
    }
}

impl Web {
    pub(super) fn list(&self, to: &mut Listing) {
        to.add("web", "port", self.port);
        to.add_secret("web", "admin_token", self.admin_token.is_some());
        to.add("web", "base", self.base.as_str());
        to.add("web", "proxy", self.proxy.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Config, NoEnvironment, Problems};

    fn proxy(file: &str) -> Result<(Option<String>, usize), Problems> {
        let loaded = Config::parse(Path::new("blacksky.toml"), file.as_bytes().to_vec(), &NoEnvironment)?;
        Ok((loaded.config.web.proxy, loaded.warnings.len()))
    }

    const ONE: &str = "[bots.one]\nkind = \"hosted\"\ncommand = [\"node\", \"index.js\"]\n";
    const TWO: &str =
        "[bots.two]\nkind = \"hosted\"\ncommand = [\"node\", \"two.js\"]\nsession_dir = \"two\"\n";

    #[test]
    fn the_other_paths_are_those_of_the_only_hosted_bot_or_of_the_named_one() {
        let of = |file: &str| proxy(file).expect("good");
        let one = Some("one".to_owned());
        assert_eq!(of(""), (None, 0));
        assert_eq!(of(ONE), (one.clone(), 0));
        assert_eq!(of(&format!("{ONE}[bots.native]\n")), (one.clone(), 0));
        assert_eq!(of(&format!("{ONE}{TWO}")), (None, 1), "warned");
        assert_eq!(of(&format!("{ONE}{TWO}[web]\nproxy = \"one\"\n")), (one.clone(), 0));
        assert_eq!(of(&format!("{ONE}{TWO}enabled = false\n")), (one, 0));
        assert_eq!(of(&format!("{ONE}enabled = false\n[web]\nproxy = \"one\"\n")), (None, 0));
    }

    #[test]
    fn a_person_is_sent_to_where_the_page_is() {
        let of = |file: &str| {
            let path = Path::new("blacksky.toml");
            Config::parse(path, file.as_bytes().to_vec(), &NoEnvironment)
                .expect("good")
                .config
                .app
                .success_url
        };
        assert_eq!(of(""), "/");
        assert_eq!(of("[web]\nbase = \"/blacksky/\"\n"), "/blacksky/");
        assert_eq!(of("[app]\nsuccess_url = \"/shop\"\n[web]\nbase = \"/blacksky/\"\n"), "/shop");
    }

    #[test]
    fn a_name_that_has_no_port_is_refused_with_the_ones_there_are() {
        let problem = |file: &str| proxy(file).expect_err("wrong").list.remove(0);
        let missing = problem(&format!("{ONE}[web]\nproxy = \"other\"\n"));
        assert_eq!(missing.what, "web.proxy: there is no bot other");
        assert!(missing.help.is_some_and(|help| help.contains("one")));
        let native = problem("[bots.main]\n[web]\nproxy = \"main\"\n");
        assert!(native.what.contains("is native"), "{}", native.what);
    }
}
