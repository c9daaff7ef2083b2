//! `docs/observability.md` names every metric, every field of the access record and every place of a span that the code has, and no other.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// The program's own sources, without their tests.
fn sources() -> Vec<(PathBuf, String)> {
    let mut folders: Vec<PathBuf> = ["proxy", "certs", "control", "policy"].map(|name| root().join(name)).to_vec();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "tests" {
                folders.push(path);
            } else if name.ends_with(".rs") && !name.contains("tests") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod ").next().unwrap().to_owned();
                sources.push((path, code));
            }
        }
    }
    sources
}

/// The names of metrics in a source: its texts that are nothing but `dapr_…` or `outrigger_…`.
fn metrics_of(code: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let ours = |text: &&str| {
        let metric = text.strip_prefix("dapr_").or_else(|| text.strip_prefix("outrigger_"));
        metric.is_some_and(|rest| !rest.is_empty() && word(rest))
    };
    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split('"').skip(1).step_by(2)).filter(ours).map(str::to_owned).collect()
}

/// Names in backquotes at the start of the table rows under a heading.
fn tabled(heading: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("docs/observability.md")).unwrap();
    let (_, section) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" |")).map(|(cell, _)| cell);
    cells.flat_map(|cell| cell.split(',')).map(|name| name.trim().trim_matches('`').to_owned()).collect()
}

#[test]
fn every_metric_is_documented_and_every_documented_metric_is_there() {
    let in_code: BTreeSet<String> = sources().iter().flat_map(|(_, code)| metrics_of(code)).collect();
    assert!(in_code.len() > 20, "the sources were not read: {in_code:?}");
    assert_eq!(in_code, tabled("Metrics"));
}

#[test]
fn every_field_of_the_access_record_is_documented() {
    let (_, code) = sources().into_iter().find(|(path, _)| path.ends_with("telemetry/src/access_record.rs")).unwrap();
    let (_, event) = code.split_once("tracing::event!(").unwrap();
    let fields = event.split("\"call\"").next().unwrap().lines();
    let in_code: BTreeSet<String> = fields
        .filter_map(|line| line.strip_prefix("            ")?.split_once(" = "))
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .collect();
    assert!(in_code.len() > 20, "{in_code:?}");
    assert_eq!(in_code, tabled("Access record"));
}

#[test]
fn every_place_that_begins_a_span_is_documented() {
    let text = fs::read_to_string(root().join("docs/observability.md")).unwrap();
    let begins = |code: &str| code.contains(".start_with(") || code.contains("tracer.start(");
    for (path, code) in sources() {
        let path = path.strip_prefix(root()).unwrap().display().to_string();
        if begins(&code) && !path.starts_with("proxy/telemetry/") {
            assert!(
                text.contains(&format!("`{path}`")),
                "{path} begins a span that docs/observability.md does not name"
            );
        }
    }
}
