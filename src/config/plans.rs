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
    /// Connections that it allows.
    pub connections: u32,
}

const GB: u64 = 1024;
/// MB and connections. Each size of the larger tiers has the same in all of them.
const ESSENTIAL: [(&str, u64, u32); 3] = [("0", GB, 20), ("1", 10 * GB, 20), ("2", 32 * GB, 40)];
const LARGER: [(&str, u64, u32); 9] = [
    ("0", 64 * GB, 120),
    ("2", 256 * GB, 400),
    ("3", 512 * GB, 500),
    ("4", 768 * GB, 500),
    ("5", 1024 * GB, 500),
    ("6", 1536 * GB, 500),
    ("7", 2048 * GB, 500),
    ("8", 3072 * GB, 500),
    ("9", 4096 * GB, 500),
];

impl Heroku {
    /// The plan of the add-on `heroku-postgresql`; `None` without it, and for one that is not known here.
    pub fn database_plan(&self) -> Option<DatabasePlan> {
        let name = self.addons.iter().find_map(|addon| addon.strip_prefix("heroku-postgresql:"))?;
        let (tier, number) = name.rsplit_once('-')?;
        let sizes: &[(&str, u64, u32)] = match tier {
            "essential" => &ESSENTIAL,
            "standard" | "premium" | "private" | "shield" => &LARGER,
            _ => return None,
        };
        let (_, megabytes, connections) = *sizes.iter().find(|(one, ..)| *one == number)?;
        Some(DatabasePlan { name: name.to_owned(), size: Size::megabytes(megabytes), connections })
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
            plan.map(|plan| (plan.name, plan.size, plan.connections))
        };
        assert_eq!(
            plan("\"papertrail\", \"heroku-postgresql:essential-0\""),
            Some(("essential-0".into(), Size::megabytes(1024), 20))
        );
        assert_eq!(
            plan("\"heroku-postgresql:premium-2\""),
            Some(("premium-2".into(), Size::megabytes(256 * 1024), 400))
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
