//! Session files that git has: whoever can read the repository is the bot.

use std::path::Path;
use std::process::{Command, Stdio};

use super::words;

/// Session files in the index of git; empty without git or a repository.
pub fn tracked(folder: &Path, session_dir: Option<&str>) -> Vec<String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(["ls-files", "-z", "--cached", "--"]);
    // Wherever it is, a file of this name is a login.
    command.args([":(glob)**/creds.json", ":(glob)**/app-state-sync-key-*.json"]);
    if let Some(path) = session_dir {
        command.arg(format!(":(literal){}", path.trim_start_matches("./")));
    }
    let Ok(output) = command.stdin(Stdio::null()).stderr(Stdio::null()).output() else { return Vec::new() };
    if !output.status.success() {
        return Vec::new();
    }
    let listed = String::from_utf8_lossy(&output.stdout);
    let mut files: Vec<String> = listed
        .split('\0')
        .filter(|path| !path.is_empty() && !is_placeholder(path))
        .map(str::to_owned)
        .collect();
    files.sort();
    files.dedup();
    files
}

/// Keeps an empty folder in git, or explains it.
fn is_placeholder(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    matches!(name, ".gitkeep" | ".keep" | ".gitignore" | "README.md" | ".placeholder")
}

/// The command that takes them out of git and leaves them on the disk.
pub fn remedy(files: &[String], session_dir: Option<&str>) -> String {
    let dir = session_dir.map(|path| path.trim_start_matches("./"));
    let below =
        |file: &str| dir.is_some_and(|dir| file.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/')));
    let mut paths: Vec<&str> = Vec::new();
    for file in files {
        let path = if below(file) { dir.unwrap_or(file) } else { file };
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    let paths: Vec<String> = paths.into_iter().map(words::quoted).collect();
    format!("git rm -r --cached -- {}", paths.join(" "))
}

/// "session/creds.json, session/a.json, session/b.json and 3 more".
pub fn some(files: &[String]) -> String {
    let some: Vec<&str> = files.iter().take(3).map(String::as_str).collect();
    let more = if files.len() > 3 { format!(" and {} more", files.len() - 3) } else { String::new() };
    format!("{}{more}", some.join(", "))
}

/// What `init` says.
pub fn refusal(files: &[String], session_dir: Option<&str>) -> String {
    format!(
        "git has session files ({}): whoever can read the repository can be this bot, and every deploy would \
         bring an old session. Take them out of it, which leaves them on this disk, and commit that:\n\n    {}\n\n\
         They stay in its history. If anybody else could read it, log the bot out on the phone (Linked devices) and \
         link it anew. Then run blacksky init again.",
        some(files),
        remedy(files, session_dir)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_names_each_place_once() {
        let files = ["auth it/a.json", "auth it/creds.json", "old/creds.json"].map(str::to_owned);
        assert_eq!(remedy(&files, Some("./auth it")), "git rm -r --cached -- 'auth it' old/creds.json");
        assert!(refusal(&files, Some("auth it")).contains("history"));
        assert!(is_placeholder("sessions/.gitkeep") && !is_placeholder("sessions/creds.json"));
    }
}
