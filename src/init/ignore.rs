//! Lines of .gitignore and .slugignore: appended once, nothing else is touched.

/// What must not be committed: the session, its places beside it, and a local database.
pub fn lines(session_dir: Option<&str>, node: bool, slug: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(path) = session_dir {
        let path = path.trim_start_matches("./");
        let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
        let folder = if folder.is_empty() { String::new() } else { format!("/{folder}") };
        let single = is_single_file(path);
        lines.push(if single { format!("/{path}*") } else { format!("/{path}/") });
        lines.push(format!("{folder}/.{name}.blacksky-*"));
    }
    lines.push("/blacksky.db*".to_owned());
    // Heroku installs the packages after .slugignore has been applied.
    if node && !slug {
        lines.push("node_modules/".to_owned());
    }
    lines
}

/// A single SQLite file instead of a folder.
pub fn is_single_file(path: &str) -> bool {
    [".db", ".sqlite", ".sqlite3"].iter().any(|kind| path.ends_with(kind))
}

/// The text with the lines that are missing; `None` when none is.
pub fn with(text: &str, lines: &[String]) -> Option<String> {
    let plain = |line: &str| line.trim().trim_matches('/').to_owned();
    let known: Vec<String> = text.lines().map(plain).collect();
    let missing: Vec<&String> = lines.iter().filter(|line| !known.contains(&plain(line))).collect();
    if missing.is_empty() {
        return None;
    }
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut new = text.to_owned();
    if !new.is_empty() {
        if !new.ends_with('\n') {
            new.push_str(end);
        }
        new.push_str(end);
    }
    new.push_str("# blacksky: the session lives in the database");
    new.push_str(end);
    for line in missing {
        new.push_str(line);
        new.push_str(end);
    }
    Some(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended_once() {
        let wanted = lines(Some("data/auth"), true, false);
        assert_eq!(wanted, ["/data/auth/", "/data/.auth.blacksky-*", "/blacksky.db*", "node_modules/"]);
        assert_eq!(lines(Some("./wa.db"), false, true), ["/wa.db*", "/.wa.db.blacksky-*", "/blacksky.db*"]);
        let once = with("node_modules\r\n*.log", &wanted).unwrap();
        assert_eq!(
            once,
            "node_modules\r\n*.log\r\n\r\n# blacksky: the session lives in the database\r\n/data/auth/\r\n\
             /data/.auth.blacksky-*\r\n/blacksky.db*\r\n"
        );
        assert_eq!(with(&once, &wanted), None);
        assert!(with("", &wanted).unwrap().starts_with("# blacksky"));
    }
}
