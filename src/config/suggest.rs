//! Did you mean …?

/// The nearest of `candidates`, when it is near enough to be a slip of the fingers.
pub(crate) fn nearest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    // A pasted blob is no slip of the fingers, and the distance takes quadratic time.
    if word.chars().count() > 64 {
        return None;
    }
    let lower = word.to_lowercase();
    candidates
        .map(|candidate| (strsim::osa_distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            *distance <= 1 + candidate.chars().count().max(lower.chars().count()) / 5
                && *distance < lower.chars().count()
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A name of the file as a problem may show it: `***` when it may be a pasted credential.
pub(crate) fn showable(name: &str) -> &str {
    let plain = name.len() <= 40
        && name.chars().all(|c| c.is_alphanumeric() || " _-.!?/".contains(c))
        && !super::values::web_url::looks_like_token(name);
    if plain { name } else { "***" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found() {
        let keys = ["period", "deadline", "max_connections"];
        for (word, near) in [
            ("peroid", Some("period")),
            ("Period", Some("period")),
            ("max_conections", Some("max_connections")),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, keys.into_iter()), near, "{word}");
        }
    }
}
