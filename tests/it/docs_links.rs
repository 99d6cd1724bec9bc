//! Every link of the docs leads to something that is there: to a file, and to a heading in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Markdown of the repository that a person reads.
fn documents(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("readable") {
            let path = entry.expect("readable").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let foreign = name.starts_with('.') || ["target", "node_modules"].contains(&name.as_str());
            if path.is_dir() && !foreign {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Lines outside of blocks, without what stands between backticks when `code` is false.
fn prose(text: &str, code: bool) -> Vec<String> {
    let mut fenced = false;
    let outside = text.lines().filter(|line| {
        let is_fence = line.trim().starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    });
    let kept = |line: &str| match code {
        true => line.to_owned(),
        false => line.split('`').step_by(2).collect(),
    };
    outside.map(kept).collect()
}

/// The targets of `[text](target)` and of pictures.
fn links(text: &str) -> Vec<String> {
    let text = prose(text, false).join("\n");
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// The anchors of a document, made as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = Vec::new();
    for line in prose(text, true) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        // A heading that is a link has the link's text.
        let kept = heading.trim().to_lowercase();
        let kept: String = kept
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .collect::<String>()
            .replace(' ', "-");
        let count = counts.entry(kept.clone()).or_default();
        anchors.push(if *count == 0 { kept } else { format!("{kept}-{count}") });
        *count += 1;
    }
    anchors
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
        plain
    })
}

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut broken = Vec::new();
    let mut seen = 0;
    for document in documents(root) {
        let text = fs::read_to_string(&document).expect("text");
        for target in links(&text) {
            if target.starts_with("http://")
                || target.starts_with("https://")
                || target.starts_with("mailto:")
            {
                continue;
            }
            seen += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = match file {
                "" => document.clone(),
                file => plain(&document.parent().expect("a folder").join(file)),
            };
            let problem = if !path.starts_with(root) || !path.exists() {
                Some("is not there")
            } else if anchor.is_empty() {
                None
            } else {
                let headings = fs::read_to_string(&path).map(|text| anchors(&text)).unwrap_or_default();
                (!headings.iter().any(|heading| heading == anchor)).then_some("has no such heading")
            };
            if let Some(problem) = problem {
                let name = document.strip_prefix(root).expect("below").display();
                broken.push(format!("{name}: {target} {problem}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(seen > 80, "only {seen} links were found: are the docs read at all?");
}

#[test]
fn every_page_is_in_the_index() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let index = fs::read_to_string(docs.join("README.md")).expect("the index");
    for entry in fs::read_dir(&docs).expect("docs") {
        let name = entry.expect("readable").file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") && name != "README.md" {
            // Also where it is only named.
            assert!(index.contains(&name), "docs/README.md does not tell when {name} is the page to read");
        }
    }
}

#[test]
fn anchors_are_made_as_github_makes_them() {
    let text = "# One\n## H12: Request `timeout` (x_y)\n```\n# not a heading\n```\n## One\n#hash\n### `[jobs.NAME]`\n";
    assert_eq!(anchors(text), ["one", "h12-request-timeout-x_y", "one-1", "jobsname"]);
    assert_eq!(links("a [b](c.md#d) `[e](f)` ![g](h.png)\n```\n[i](j)\n```\n"), ["c.md#d", "h.png"]);
}
