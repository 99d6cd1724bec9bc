//! Plans and stacks that Heroku has ended.
//!
//! Data, so that a change of Heroku's is a change of one line. Sources: Dev Center, "Heroku Stacks", and the
//! changelog entries on free plans (November 2022) and on mini and basic (May 2024).

/// Plans of an add-on that cannot be had any more, and what to take.
const ENDED: [(&str, &str); 14] = [
    ("heroku-postgresql:dev", "essential-0"),
    ("heroku-postgresql:free", "essential-0"),
    ("heroku-postgresql:hobby-dev", "essential-0"),
    ("heroku-postgresql:mini", "essential-0"),
    ("heroku-postgresql:basic", "essential-1"),
    ("heroku-postgresql:hobby-basic", "essential-1"),
    ("heroku-postgresql:crane", "standard-0"),
    ("heroku-postgresql:yanari", "standard-0"),
    ("heroku-postgresql:standard-yanari", "standard-0"),
    ("heroku-postgresql:tengu", "standard-2"),
    ("heroku-postgresql:standard-tengu", "standard-2"),
    ("heroku-redis:free", "mini"),
    ("heroku-redis:hobby-dev", "mini"),
    ("heroku-kafka:beta-dev", "basic-0"),
];

/// What to write in place of a plan that Heroku has ended.
pub fn instead_of(addon: &str) -> Option<String> {
    let (ended, plan) = ENDED.iter().find(|(ended, _)| *ended == addon)?;
    let service = ended.split(':').next().unwrap_or_default();
    Some(format!("{service}:{plan}"))
}

/// Stacks on which Heroku builds nothing any more.
pub fn stack_ended(stack: &str) -> bool {
    ["heroku-14", "heroku-16", "heroku-18", "heroku-20"].contains(&stack)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::Value;
    use crate::config::values::form::{Addon, Stack};

    #[test]
    fn what_ended_is_replaced_by_something_that_has_not() {
        assert_eq!(
            instead_of("heroku-postgresql:hobby-dev").as_deref(),
            Some("heroku-postgresql:essential-0")
        );
        assert_eq!(instead_of("heroku-postgresql:essential-0"), None);
        for (ended, _) in ENDED {
            let instead = instead_of(ended).expect("a replacement");
            assert!(Addon::from_text(ended).is_ok() && Addon::from_text(&instead).is_ok(), "{ended}");
            assert_eq!(instead_of(&instead), None, "{ended} leads to a plan that ended too");
        }
        assert!(
            Stack::from_text("heroku-20").is_ok() && stack_ended("heroku-20") && !stack_ended("heroku-24")
        );
    }
}
