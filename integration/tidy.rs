//! The shape of the code, checked as code: layering, module docs, file length.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

const MAX_LINES: usize = 400;

/// What the code of a folder may not mention (architecture 2).
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "src/domain",
        &[
            "actix",
            "tokio",
            "heed",
            "bollard",
            "rumqtt",
            "rustls",
            "hyper",
            "tracing",
            "std::fs",
            "std::net::Tcp",
            "std::net::Udp",
            "::now()",
            "async ",
            "crate::actors",
            "crate::messages",
            "crate::protocol",
            "crate::store",
        ],
    ),
    (
        "src/messages",
        &[
            "crate::actors",
            "crate::protocol",
            "crate::store",
            "tokio",
            "heed",
            "bollard",
            "rumqtt",
            "rustls",
            "hyper",
        ],
    ),
    (
        "src/store",
        &["crate::actors", "crate::protocol", "actix", "bollard", "rumqtt", "rustls", "hyper"],
    ),
    ("src/protocol", &["crate::actors", "crate::store", "heed"]),
    (
        "src/actors",
        &["heed::", "bollard::", "rumqttc::", "rumqttd::", "rustls::", "hyper::", "rcgen::"],
    ),
    (
        "src/localhub",
        &["heed::", "bollard::", "rumqttc::", "rumqttd::", "rustls::", "hyper::", "rcgen::"],
    ),
    ("src/ctl", &["heed::", "bollard::", "rumqttc::", "rumqttd::", "rustls::", "hyper::"]),
];

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// `…/tests.rs` and what is below `…/tests/` are only in test builds.
fn is_test(file: &Path) -> bool {
    file.with_extension("").iter().any(|part| part == "tests")
}

/// The code of a file, without comments and without its tests.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    code.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_code_is_tidy() {
    let mut files = Vec::new();
    for folder in ["src", "modules", "integration", "bench"] {
        rust_files(Path::new(folder), &mut files);
    }
    assert!(!files.is_empty());
    let mut faults = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.display();
        if !text.starts_with("//! ") {
            faults.push(format!("{name}: must open with a line that says what it is for"));
        }
        if text.lines().count() > MAX_LINES {
            faults.push(format!("{name}: longer than {MAX_LINES} lines"));
        }
        for (folder, words) in FORBIDDEN {
            if file.starts_with(folder) && !is_test(&file) {
                let code = code(&text);
                let used = words.iter().filter(|word| code.contains(**word));
                faults.extend(used.map(|word| format!("{name}: {folder} may not use {word}")));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_binaries_only_start_things() {
    let mut files = Vec::new();
    rust_files(Path::new("src/bin"), &mut files);
    for file in files {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 60, "{} has {lines} lines, more than 60", file.display());
    }
}

#[test]
fn every_guarantee_has_a_number_of_its_own_and_its_tests_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    let (promises, _) = text.split_once("\n## How it is shown").unwrap();
    let mut numbers: Vec<u32> =
        promises.lines().filter_map(|line| line.split_once(". ")?.0.parse().ok()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=numbers.len() as u32).collect::<Vec<_>>());
    for named in promises.split('`').skip(1).step_by(2) {
        let path = root.join(named.trim_end_matches('/'));
        let is_file = named.starts_with("integration/") || named.starts_with("scripts/");
        assert!(!is_file || path.exists(), "docs/guarantees.md names {named}, which is not there");
    }
}
