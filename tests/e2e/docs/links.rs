//! Every link in the documentation leads somewhere.

use std::fs;

use super::{pages, root};

#[test]
fn links_lead_to_files_and_headings() {
    let mut wrong = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(root().join(&page.path)).unwrap();
        for target in targets(&text).filter(|target| !target.contains("://")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { root().join(&page.path) } else { root().join(&page.path).parent().unwrap().join(file) };
            let leads =
                path.exists() && (anchor.is_empty() || fs::read_to_string(&path).is_ok_and(|text| anchors(&text).any(|known| known == anchor)));
            if !leads {
                wrong.push(format!("{}: {target}", page.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What `[...](target)` names, fenced blocks left out.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    outside_fences(text).flat_map(|line| line.split("](").skip(1).filter_map(|rest| rest.split(')').next()))
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    let headings = outside_fences(text).filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    headings.map(|heading| {
        let kept = heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).collect::<String>();
        kept.trim().replace(' ', "-")
    })
}

fn outside_fences(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

#[test]
fn anchors_are_those_of_github() {
    let page = "# `ringfence check`\n```\n# no\n```\n## Request (400)\ntext\n### mode: Shadow\n";
    assert_eq!(anchors(page).collect::<Vec<_>>(), ["ringfence-check", "request-400", "mode-shadow"]);
}
