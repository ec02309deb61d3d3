//! The page's files: whole, unaltered where others made them, and free of what its policy forbids.

use sha2::{Digest as _, Sha256};

use super::*;

#[test]
fn what_others_made_is_what_they_published() {
    let sums = include_str!("vendor/SHA256SUMS");
    assert_eq!(sums.lines().count(), 3);
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").unwrap();
        let content = match name == LICENCE.0 {
            true => LICENCE.1,
            false => FILES.iter().find(|(known, ..)| *known == name).unwrap().2,
        };
        let found: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, sum, "{name}: fetch it again with ./x page-vendor");
    }
    assert!(LICENCE.1.contains("Permission is hereby granted, free of charge"));
    assert!(include_str!("vendor/README.md").contains("1.6.32"));
    assert!(FILES.iter().any(|(_, _, content)| content.contains("uPlot (v1.6.32)")));
}

#[test]
fn nothing_is_fetched_from_elsewhere_and_nothing_is_inline() {
    for (name, _, content) in FILES.iter().copied().chain([("index.html", HTML, INDEX)]) {
        let ours = !name.starts_with("uPlot");
        for scheme in ["http:", "https:", "wss:", "data:", "@import"] {
            let links = content.matches(scheme).count();
            // Namespaces and a comment are names, and fetch nothing.
            let names = content.matches("http://www.w3.org/2000/svg").count() * usize::from(scheme == "http:")
                + content.matches("/*! https://github.com/leeoniya/uPlot").count() * usize::from(scheme == "https:");
            assert_eq!(links, names, "{scheme} in {name}");
        }
        for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
            assert!(!content.contains(forbidden), "{forbidden} in {name}");
        }
        for inline in [" style=", " onclick=", " onload=", "<style", "javascript:"] {
            assert!(!ours || !content.contains(inline), "{inline} in {name}");
        }
    }
    assert_eq!(INDEX.matches("<script").count(), INDEX.matches("<script src=\"page/").count());
}

#[test]
fn whatever_the_page_names_is_served() {
    let names = |content: &str, before: &str, after: char| -> Vec<String> {
        content.split(before).skip(1).filter_map(|rest| rest.split(after).next()).map(str::to_owned).collect()
    };
    let mut wanted = names(INDEX, "\"page/", '"');
    for (_, kind, content) in FILES.iter().filter(|(_, kind, _)| *kind == SCRIPT) {
        assert_eq!(*kind, SCRIPT);
        wanted.extend(names(content, "from './", '\''));
    }
    assert!(wanted.len() > 15, "{wanted:?}");
    for name in wanted {
        assert!(name == LICENCE.0 || FILES.iter().any(|(known, ..)| *known == name), "{name}");
    }
}
