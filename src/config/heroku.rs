//! `[heroku]`: what runs where.

use schemars::JsonSchema;
use url::Url;

use super::lints::ended;
use super::listing::Listing;
use super::problem::Problem;
use super::reader::{Origin, Reader, Setting, Table};
use super::values::Size;
use super::values::choice::choice;
use super::values::form::{Addon, Buildpack, Stack};
use super::values::list::List;
use super::values::number::Whole;
use super::values::size::SizeIn;
use super::values::web_url::WebUrl;

/// `[heroku]`.
#[derive(Debug, Clone)]
pub struct Heroku {
    pub process: ProcessType,
    pub stack: String,
    pub dyno: Dyno,
    pub quantity: u32,
    /// Memory of one dyno; by the size of the dyno when it is not set.
    pub memory: Size,
    pub addons: Vec<String>,
    pub build: Build,
    pub buildpacks: Vec<String>,
    /// HEROKU_APP_URL: where people reach the page.
    pub url: Option<Url>,
}

choice! {
    /// Process type in the Procfile. Only `web` gets requests from Heroku's router.
    pub enum ProcessType { Web = "web", Worker = "worker" }
}

choice! {
    /// How the program gets onto the dyno.
    pub enum Build { Buildpack = "buildpack", Npm = "npm", Container = "container" }
}

choice! {
    /// Size of the dyno.
    pub enum Dyno {
        Eco = "eco",
        Basic = "basic",
        Standard1x = "standard-1x",
        Standard2x = "standard-2x",
        PerformanceM = "performance-m",
        PerformanceL = "performance-l",
    }
    // Both ended in November 2022.
    gone { "free" => "eco", "hobby" => "basic" }
}

impl Dyno {
    /// What Heroku gives to a dyno of this size (Dev Center, "Dyno Types").
    pub const fn memory(self) -> Size {
        match self {
            Self::Eco | Self::Basic | Self::Standard1x => Size::megabytes(512),
            Self::Standard2x => Size::megabytes(1024),
            Self::PerformanceM => Size::megabytes(2560),
            Self::PerformanceL => Size::megabytes(14 * 1024),
        }
    }
}

/// What `blacksky gen` writes into Procfile and app.json.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Heroku")]
pub(super) struct HerokuLayer {
    /// Process type. Only a `web` process gets requests, so only with it the page can be reached;
    /// a `worker` has no page, and its QR appears nowhere.
    process: Setting<ProcessType>,
    /// Heroku's stack: the base image of the dyno. With `build = "container"` the image is the Dockerfile's, and
    /// app.json says "container".
    stack: Setting<Stack>,
    /// Size of the dyno. An `eco` web dyno falls asleep after 30 minutes without a request, and the
    /// bot with it; `basic` and larger never sleep.
    dyno: Setting<Dyno>,
    /// Number of dynos. One holds the link; more of them stand by. Heroku allows a single `eco` or
    /// `basic` dyno per process type.
    quantity: Setting<Whole<1, 100>>,
    /// Memory that one dyno may use. Not set: what Heroku gives to `dyno`. At nine tenths of it there is a
    /// warning, and at 1.6 times blacksky restarts by itself, before Heroku would kill it (R15).
    memory: Setting<SizeIn<1_048_576, 1_099_511_627_776>>,
    /// Add-ons that Heroku creates with the app, each as service:plan.
    addons: Setting<List<Addon>>,
    /// How blacksky gets onto the dyno. `buildpack`: by a buildpack, one for Rust that builds it or blacksky's own
    /// that brings it. `npm`: package.json gets the dependency `blacksky`, whose package holds the program, and
    /// Heroku's Node buildpack installs it. `container`: Heroku builds the Dockerfile that `blacksky gen` writes
    /// for a native bot or a Node program.
    build: Setting<Build>,
    /// Buildpacks in order. With one for Rust the Procfile starts `./target/release/blacksky`, where it leaves the
    /// program; otherwise `blacksky` is expected on the PATH. Not set: one for Rust, with `build = "npm"` that for
    /// Node, with `build = "container"` none.
    buildpacks: Setting<List<Buildpack>>,
    /// Public address of the app, as `heroku info` shows it.
    url: Setting<WebUrl>,
}

/// Installs what package.json names.
const NODE_BUILDPACK: &str = "heroku/nodejs";
/// Builds the program with cargo and leaves it in `target/release`.
const RUST_BUILDPACK: &str = "https://github.com/emk/heroku-buildpack-rust";

impl HerokuLayer {
    pub(super) fn read(mut table: Table<'_, '_>) -> Self {
        let layer = Self {
            process: table.key("process"),
            stack: table.key("stack"),
            dyno: table.key("dyno"),
            quantity: table.key("quantity"),
            memory: table.key("memory"),
            addons: table.key("addons"),
            build: table.key("build"),
            buildpacks: table.key("buildpacks"),
            url: table.key("url"),
        };
        table.finish();
        layer
    }

    pub(super) fn resolve(self, reader: &mut Reader<'_>) -> Heroku {
        let quantity_origin = self.quantity.origin().cloned();
        let dyno_known = !self.dyno.is_wrong();
        let addons_origin = self.addons.origin().cloned();
        let stack_origin = self.stack.origin().cloned();
        let build_known = !self.build.is_wrong();
        let buildpacks_origin = self.buildpacks.origin().cloned();
        let dyno = self.dyno.value().unwrap_or(Dyno::Basic);
        let build = self.build.value().unwrap_or(Build::Buildpack);
        let heroku = Heroku {
            process: self.process.value().unwrap_or(ProcessType::Web),
            stack: self.stack.value().map_or_else(|| "heroku-24".to_owned(), |stack| stack.0),
            dyno,
            quantity: self.quantity.value().map_or(1, |number| number.0),
            memory: self.memory.value().map_or(dyno.memory(), |size| size.0),
            addons: self.addons.value().map_or_else(
                || vec!["heroku-postgresql:essential-0".to_owned()],
                |list| list.0.into_iter().map(|addon| addon.0).collect(),
            ),
            build,
            buildpacks: self.buildpacks.value().map_or_else(
                || match build {
                    Build::Buildpack => vec![RUST_BUILDPACK.to_owned()],
                    Build::Npm => vec![NODE_BUILDPACK.to_owned()],
                    Build::Container => Vec::new(),
                },
                |list| list.0.into_iter().map(|buildpack| buildpack.0).collect(),
            ),
            url: self.url.value().map(|url| url.0),
        };
        if let Some(origin) = quantity_origin
            && dyno_known
            && heroku.quantity > 1
            && matches!(heroku.dyno, Dyno::Eco | Dyno::Basic)
        {
            reader.refuse(
                "heroku.quantity",
                &origin,
                true,
                format!("heroku.quantity: Heroku runs only one {} dyno per process type", heroku.dyno),
                "set it to 1, or dyno = \"standard-1x\"",
            );
        }
        if let (Some(origin), true, Some((what, help))) =
            (buildpacks_origin, build_known, heroku.buildpacks_do_not_fit())
        {
            reader.refuse("heroku.buildpacks", &origin, true, format!("heroku.buildpacks: {what}"), help);
        }
        heroku.warn(reader, addons_origin.as_ref(), stack_origin.as_ref());
        heroku
    }
}

impl Heroku {
    /// Things that Heroku accepted once or may not accept yet.
    fn warn(&self, reader: &mut Reader<'_>, addons: Option<&Origin>, stack: Option<&Origin>) {
        for addon in &self.addons {
            if let (Some(instead), Some(origin)) = (ended::instead_of(addon), addons) {
                let place = reader.place(origin, true);
                reader.push(Problem::warning(
                    place,
                    "heroku.addons",
                    format!("heroku.addons: Heroku no longer offers the plan \"{addon}\""),
                    Some(format!("write \"{instead}\"")),
                ));
            }
        }
        if let Some(origin) = stack
            && !["heroku-22", "heroku-24"].contains(&self.stack.as_str())
        {
            let place = reader.place(origin, true);
            let (what, help) = if ended::stack_ended(&self.stack) {
                ("is a stack on which Heroku builds nothing any more", "write \"heroku-24\"")
            } else {
                (
                    "is no stack that this version knows",
                    "`heroku stack` lists the stacks; \"heroku-24\" is known to work",
                )
            };
            reader.push(Problem::warning(
                place,
                "heroku.stack",
                format!("heroku.stack: \"{}\" {what}", self.stack),
                Some(help.to_owned()),
            ));
        }
    }

    /// What is wrong with the buildpacks for this way of building, and what to do.
    fn buildpacks_do_not_fit(&self) -> Option<(&'static str, &'static str)> {
        match self.build {
            Build::Npm if !self.has_node_buildpack() => Some((
                "none of them installs the package blacksky, as build = \"npm\" needs",
                "add \"heroku/nodejs\", or leave it out",
            )),
            Build::Container if !self.buildpacks.is_empty() => {
                Some(("a container is built without buildpacks", "leave it out, or build = \"container\""))
            }
            _ => None,
        }
    }

    /// Heroku reads package.json.
    pub fn has_node_buildpack(&self) -> bool {
        self.buildpacks.iter().any(|buildpack| buildpack.contains("nodejs"))
    }

    /// One of the buildpacks is for Rust by its own name; whose it is says nothing.
    fn builds_with_cargo(&self) -> bool {
        let name = |buildpack: &str| buildpack.rsplit('/').next().unwrap_or_default().to_owned();
        self.buildpacks.iter().any(|buildpack| name(buildpack).contains("rust"))
    }

    /// The program as the Procfile names it.
    ///
    /// A Rust buildpack copies it to `target/release` of the slug and does not put that on the PATH; npm links it
    /// into `node_modules/.bin`; any other buildpack has to put it on the PATH.
    pub fn program(&self) -> &'static str {
        match self.build {
            Build::Container => "/blacksky",
            Build::Npm => "./node_modules/.bin/blacksky",
            Build::Buildpack if self.builds_with_cargo() => "./target/release/blacksky",
            Build::Buildpack => "blacksky",
        }
    }

    pub(super) fn list(&self, to: &mut Listing) {
        to.add("heroku", "process", self.process.as_str());
        to.add("heroku", "stack", self.stack.as_str());
        to.add("heroku", "dyno", self.dyno.as_str());
        to.add("heroku", "quantity", self.quantity);
        to.add("heroku", "memory", self.memory.to_string());
        to.add("heroku", "addons", self.addons.clone());
        to.add("heroku", "build", self.build.as_str());
        to.add("heroku", "buildpacks", self.buildpacks.clone());
        to.add_url("heroku", "url", self.url.as_ref());
    }
}
