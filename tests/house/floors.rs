//! A crate uses only lower floors (ARCHITECTURE.md).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::tree::{cargo, file, packages};

/// Floor, package, folder. What is not here and lies outside `tests/`, `benches/` and `fuzz/` is refused.
const FLOORS: &[(u8, &str, &str)] = &[
    (6, "outrigger", "proxy/outrigger"),
    (5, "outrigger-api", "proxy/api"),
    (5, "outrigger-control", "control"),
    (4, "outrigger-blocks", "proxy/blocks"),
    (3, "outrigger-mesh", "proxy/mesh"),
    (3, "outrigger-resources", "proxy/resources"),
    (2, "outrigger-view", "proxy/view"),
    (1, "outrigger-policy", "policy"),
    (1, "outrigger-certs", "certs"),
    (0, "outrigger-identity", "certs/identity"),
    (0, "outrigger-wire", "proxy/wire"),
    (0, "outrigger-proto", "proxy/proto"),
    (0, "outrigger-telemetry", "proxy/telemetry"),
];

/// What decisions must stay free of: the machinery of input and output.
const NO_MACHINERY: &[&str] = &["tokio", "tonic", "rustls", "hyper", "h2", "tower"];

fn floor(package: &str) -> Option<u8> {
    let (floor, ..) = FLOORS.iter().find(|(_, name, _)| *name == package)?;
    Some(*floor)
}

/// A package of the workspace.
struct Member {
    name: String,
    folder: String,
    /// Kind (`""`, `dev`, `build`) and name of each package that it uses.
    needs: Vec<(String, String)>,
}

fn members() -> Vec<Member> {
    let text = cargo(&["metadata", "--format-version=1", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&text).expect("cargo prints JSON");
    let root = word(&metadata, "workspace_root");
    list(&metadata, "packages")
        .iter()
        .map(|package| Member {
            name: word(package, "name"),
            folder: word(package, "manifest_path")
                .trim_start_matches(root.as_str())
                .trim_start_matches('/')
                .trim_end_matches("/Cargo.toml")
                .to_owned(),
            needs: list(package, "dependencies").iter().map(|need| (word(need, "kind"), word(need, "name"))).collect(),
        })
        .collect()
}

fn word(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn list(value: &Value, key: &str) -> Vec<Value> {
    value.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn is_test(folder: &str) -> bool {
    ["tests/", "benches", "fuzz"].iter().any(|start| folder.starts_with(start))
}

#[test]
fn every_crate_has_its_floor_and_its_folder() {
    for Member { name, folder, .. } in members().iter().filter(|member| !is_test(&member.folder)) {
        let planned = FLOORS.iter().find(|(_, planned, _)| planned == name);
        let (.., planned) = planned.unwrap_or_else(|| panic!("{name} ({folder}) has no floor"));
        assert_eq!(folder, planned, "the folder of {name}");
    }
}

#[test]
fn a_crate_uses_only_lower_floors() {
    let mut breaches = Vec::new();
    for Member { name, needs, .. } in members() {
        let Some(own) = floor(&name) else { continue };
        for (kind, need) in needs {
            // A test may borrow from its own floor; what ships may not.
            let may = |other: u8| other < own || (kind == "dev" && other == own);
            if let Some(other) = floor(&need)
                && !may(other)
            {
                breaches.push(format!("{name} (floor {own}) uses {need} (floor {other})"));
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn nothing_that_ships_uses_the_parts_of_tests() {
    for Member { name, folder, needs } in members() {
        let ships = !is_test(&folder);
        let parts = needs.iter().find(|(kind, need)| kind != "dev" && need.starts_with("outrigger-test"));
        assert!(!ships || parts.is_none(), "{name} uses {parts:?}");
    }
}

#[test]
fn decisions_pull_in_no_machinery() {
    for package in ["outrigger-policy", "outrigger-identity"] {
        let reached: BTreeSet<_> =
            packages(&["--package", package, "--edges=normal"]).into_iter().map(|found| found.name).collect();
        for machine in NO_MACHINERY {
            assert!(!reached.contains(*machine), "{package} pulls in {machine}");
        }
    }
}

#[test]
fn every_crate_is_held_to_the_lints_of_the_workspace() {
    for Member { name, folder, .. } in members() {
        let manifest = file(&format!("{folder}/Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name} does not take the workspace's lints");
    }
}
