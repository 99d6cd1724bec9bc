//! What the plans of Heroku Postgres hold (Dev Center, "Choosing the Right Heroku Postgres Plan").

use super::Heroku;
use super::values::Size;

/// The database that comes with the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabasePlan {
    /// As in the file, e.g. "essential-0".
    pub name: String,
    /// What it holds.
    pub size: Size,
}

const GB: u64 = 1024;
/// In MB. Each size of the larger tiers holds the same in all of them.
const ESSENTIAL: [(&str, u64); 3] = [("0", GB), ("1", 10 * GB), ("2", 32 * GB)];
const LARGER: [(&str, u64); 9] = [
    ("0", 64 * GB),
    ("2", 256 * GB),
    ("3", 512 * GB),
    ("4", 768 * GB),
    ("5", 1024 * GB),
    ("6", 1536 * GB),
    ("7", 2048 * GB),
    ("8", 3072 * GB),
    ("9", 4096 * GB),
];

impl Heroku {
    /// The plan of the add-on `heroku-postgresql`; `None` without it, and for one that is not known here.
    pub fn database_plan(&self) -> Option<DatabasePlan> {
        let name = self.addons.iter().find_map(|addon| addon.strip_prefix("heroku-postgresql:"))?;
        let (tier, number) = name.rsplit_once('-')?;
        let sizes: &[(&str, u64)] = match tier {
            "essential" => &ESSENTIAL,
            "standard" | "premium" | "private" | "shield" => &LARGER,
            _ => return None,
        };
        let (_, megabytes) = sizes.iter().find(|(one, _)| *one == number)?;
        Some(DatabasePlan { name: name.to_owned(), size: Size::megabytes(*megabytes) })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Config, NoEnvironment, Size};

    #[test]
    fn the_plan_is_that_of_the_add_on() {
        let plan = |addons: &str| {
            let file = format!("[heroku]\naddons = [{addons}]\n");
            let loaded = Config::parse(Path::new("blacksky.toml"), file.into_bytes(), &NoEnvironment);
            let plan = loaded.expect("holds").config.heroku.database_plan();
            plan.map(|plan| (plan.name, plan.size))
        };
        assert_eq!(
            plan("\"papertrail\", \"heroku-postgresql:essential-0\""),
            Some(("essential-0".into(), Size::megabytes(1024)))
        );
        assert_eq!(
            plan("\"heroku-postgresql:premium-2\"").map(|plan| plan.1),
            Some(Size::megabytes(256 * 1024))
        );
        for none in [
            "",
            "\"papertrail\"",
            "\"heroku-postgresql\"",
            "\"heroku-postgresql:essential-9\"",
            "\"heroku-postgresql:mini\"",
        ] {
            assert_eq!(plan(none), None, "{none}");
        }
    }
}
