//! The documents list what the tables say: no more, no less.

use std::collections::BTreeSet;

use crate::fields::{Support, TABLES};
use crate::kind::Scope;
use crate::resources;
use crate::source::Source;

const CONFIGURATION: &str = include_str!("../../../docs/configuration.md");
const DISCOVERY: &str = include_str!("../../../docs/discovery.md");
const NOT_SUPPORTED: &str = include_str!("../../../docs/not-supported.md");

/// What is in backticks in the first cell of each row of the tables under a heading.
fn first_cells<'a>(document: &'a str, heading: &str) -> BTreeSet<&'a str> {
    let (_, section) = document.split_once(&format!("\n{heading}\n")).unwrap();
    let section = section.split("\n#").next().unwrap();
    section
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .flat_map(|line| line.split(" |").next().unwrap().split('`').step_by(2))
        .collect()
}

/// Fields in the tables; a field that only holds others is known by those.
fn fields(support: Support) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for (path, fields) in TABLES {
        for field in fields.iter().filter(|field| field.support == support) {
            let name = format!("{path}.{}", field.name);
            let holds_others = TABLES.iter().any(|(path, _)| *path == name) || name == "spec.metric";
            if holds_others {
                continue;
            }
            if let Some(rest) = name.strip_prefix("spec.metrics.") {
                paths.insert(format!("spec.metric.{rest}"));
            }
            paths.insert(name);
        }
    }
    paths
}

#[test]
fn the_table_of_fields_lists_every_supported_field_and_no_other() {
    let listed: BTreeSet<String> = first_cells(CONFIGURATION, "## Fields").into_iter().map(str::to_owned).collect();

    assert_eq!(listed, fields(Support::Yes));
}

#[test]
fn the_list_of_what_is_not_supported_lists_every_such_field_and_no_other() {
    let heading = "### Fields of a Configuration";
    let listed: BTreeSet<String> = first_cells(NOT_SUPPORTED, heading).into_iter().map(str::to_owned).collect();

    assert_eq!(listed, fields(Support::Not));
}

#[test]
fn the_document_of_discovery_lists_every_setting_of_every_component() {
    use crate::fields::{NAMES_FORMAT, NAMES_KUBERNETES, NAMES_SQLITE, NAMES_STATIC};
    for (component, known) in [
        ("sqlite", NAMES_SQLITE),
        ("kubernetes", NAMES_KUBERNETES),
        ("nameformat", NAMES_FORMAT),
        ("static", NAMES_STATIC),
    ] {
        let listed = first_cells(DISCOVERY, &format!("### `{component}`"));
        let fields: BTreeSet<&str> = known.iter().map(|field| field.name).collect();
        assert_eq!(listed, fields, "{component}");
    }
}

#[test]
fn each_kind_on_the_list_is_refused_by_name() {
    let kinds = first_cells(NOT_SUPPORTED, "### Resources in `--resources-path`");
    assert!(kinds.len() >= 4);
    for kind in kinds {
        let text = format!("apiVersion: dapr.io/v1alpha1\nkind: {kind}\nmetadata:\n  name: x\n");
        let scope = Scope { app_id: "a", namespace: None };
        let error = resources::load(&[Source::new("r.yaml", text)], scope, &|_| None).unwrap_err().to_string();
        assert!(error.starts_with(&format!("r.yaml:1: resources of kind `{kind}` ")), "{error}");
    }
}

#[test]
fn each_example_in_the_document_is_a_configuration_that_loads() {
    let examples: Vec<&str> =
        CONFIGURATION.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 2);
    for example in &examples {
        crate::configuration::load(&[Source::new("example.yaml", *example)], &|_| None).unwrap();
    }
    let loaded = crate::configuration::load(&[Source::new("example.yaml", examples[1])], &|_| None).unwrap();
    let warned: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warned.len(), 2, "the rule that never matches, and the one for gRPC only: {warned:?}");
}

#[test]
fn each_row_of_the_table_of_patterns_is_true() {
    use outrigger_identity::SpiffeId;
    use outrigger_policy::access::{
        AccessControl, AccessControlSpec, AccessRequest, Action, AppPolicySpec, CallProtocol, OperationSpec, Verbs,
    };

    let (_, table) = CONFIGURATION.split_once("| name | matches | does not match |\n|---|---|---|\n").unwrap();
    let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() >= 6);
    let caller = SpiffeId::parse("spiffe://public/ns/n/a").unwrap();
    for row in rows {
        let cells: Vec<&str> = row.split(" | ").collect();
        let paths = |cell: &'static str| cell.split('`').skip(1).step_by(2).collect::<Vec<&str>>();
        let name = paths(cells[0])[0];
        let access = AccessControl::new(AccessControlSpec {
            name: "doc".to_owned(),
            default_action: None,
            policies: vec![AppPolicySpec {
                app_id: "a".to_owned(),
                namespace: "n".to_owned(),
                trust_domain: "public".to_owned(),
                default_action: None,
                operations: vec![OperationSpec { name: name.to_owned(), verbs: Verbs::ANY, action: Action::Allow }],
            }],
        });
        for (cell, matches) in [(cells[1], true), (cells[2], false)] {
            for operation in paths(cell) {
                let request =
                    AccessRequest { caller: Some(&caller), protocol: CallProtocol::Http, verb: "GET", operation };
                assert_eq!(access.decide(&request).is_allowed(), matches, "{name} {operation}");
            }
        }
    }
}
