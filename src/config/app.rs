//! `[app]`: how app.json presents the app.

use schemars::JsonSchema;
use url::Url;

use super::listing::Listing;
use super::reader::{Setting, Table};
use super::values::list::List;
use super::values::text::Text;
use super::values::web_url::{self, UrlOrPath, WebUrl};

/// `[app]`: how app.json presents the app.
#[derive(Debug, Clone)]
pub struct App {
    pub name: String,
    pub description: Option<String>,
    pub repository: Option<Url>,
    pub keywords: Vec<String>,
    pub logo: Option<Url>,
    pub website: Option<Url>,
    /// Absolute URL or path; the page's base when it is not set.
    pub success_url: String,
}

/// How app.json presents the app on Heroku's page of the deploy button.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "App")]
pub(super) struct AppLayer {
    /// Name of the app.
    name: Setting<Text<1, 30>>,
    /// One sentence about the app.
    description: Setting<Text<1, 200>>,
    /// Where the source is.
    repository: Setting<WebUrl>,
    /// Words by which the app is found.
    keywords: Setting<List<Text<1, 50>>>,
    /// Address of a square picture.
    logo: Setting<WebUrl>,
    /// Home page of the project.
    website: Setting<WebUrl>,
    /// Where Heroku sends a person after the first deploy: a path of the page, or an address. Not set: the page.
    success_url: Setting<UrlOrPath>,
}

impl AppLayer {
    pub(super) fn read(mut table: Table<'_, '_>) -> Self {
        let layer = Self {
            name: table.key("name"),
            description: table.key("description"),
            repository: table.key("repository"),
            keywords: table.key("keywords"),
            logo: table.key("logo"),
            website: table.key("website"),
            success_url: table.key("success_url"),
        };
        table.finish();
        layer
    }

    pub(super) fn resolve(self, base: &str) -> App {
        App {
            name: self.name.value().map_or_else(|| "blacksky".to_owned(), |text| text.0),
            description: self.description.value().map(|text| text.0),
            repository: self.repository.value().map(|url| url.0),
            keywords: self
                .keywords
                .value()
                .map_or_else(Vec::new, |list| list.0.into_iter().map(|word| word.0).collect()),
            logo: self.logo.value().map(|url| url.0),
            website: self.website.value().map(|url| url.0),
            success_url: self.success_url.value().map_or_else(|| base.to_owned(), |url| url.0),
        }
    }
}

impl App {
    pub(super) fn list(&self, to: &mut Listing) {
        to.add("app", "name", self.name.as_str());
        to.add("app", "description", self.description.as_deref());
        to.add_url("app", "repository", self.repository.as_ref());
        to.add("app", "keywords", self.keywords.clone());
        to.add_url("app", "logo", self.logo.as_ref());
        to.add_url("app", "website", self.website.as_ref());
        match Url::parse(&self.success_url) {
            Ok(url) if web_url::is_secret(&url) => to.add_secret("app", "success_url", true),
            _ => to.add("app", "success_url", self.success_url.as_str()),
        }
    }
}
