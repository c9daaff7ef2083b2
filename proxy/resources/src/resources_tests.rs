//! Resources as people write them, and as they get them wrong.

use std::time::Duration;

use super::*;
use crate::property::PropertyValue;

const OURS: Scope<'_> = Scope { app_id: "orders", namespace: Some("shop") };
const COMPONENT: &str = "apiVersion: dapr.io/v1alpha1\nkind: Component\n";

fn environment(name: &str) -> Option<String> {
    match name {
        "PASSWORD" => Some("s3cret".to_owned()),
        "POD_NAME" => Some("orders-0".to_owned()),
        _ => None,
    }
}

fn load_all(texts: &[&str]) -> Result<Loaded<Resources>, Vec<String>> {
    let sources: Vec<Source> =
        texts.iter().enumerate().map(|(n, text)| Source::new(&format!("r{n}.yaml"), *text)).collect();
    load(&sources, OURS, &environment).map_err(|mistakes| mistakes.kept().iter().map(ToString::to_string).collect())
}

fn resources(text: &str) -> Resources {
    load_all(&[text]).unwrap_or_else(|mistakes| panic!("{mistakes:#?}")).value
}

#[test]
fn a_component_is_read_with_all_its_fields() {
    let text = r#"
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: statestore
  namespace: shop
spec:
  type: state.redis
  version: v2
  ignoreErrors: true
  initTimeout: 30s
  metadata:
  - name: redisHost
    value: localhost:6379
  - name: port
    value: 010
  - name: password
    envRef: PASSWORD
  - name: token
    secretKeyRef: {name: tokens, key: redis}
  - name: other
    secretKeyRef: {name: tokens}
  - name: nothing
auth:
  secretStore: vault
scopes: [orders, cart]
"#;

    let resources = resources(text);

    let component = &resources.components[0];
    assert_eq!((component.name.as_str(), component.component_type.as_str()), ("statestore", "state.redis"));
    assert_eq!((component.version.as_str(), component.ignore_errors), ("v2", true));
    assert_eq!(component.init_timeout, Duration::from_secs(30));
    assert_eq!(component.secret_store.as_deref(), Some("vault"));
    assert_eq!(component.scopes, ["orders", "cart"]);
    let texts: Vec<_> = component.metadata.iter().map(|p| (p.name.as_str(), p.value.text())).collect();
    assert_eq!(
        texts,
        [
            ("redisHost", Some("localhost:6379")),
            ("port", Some("010")),
            ("password", Some("s3cret")),
            ("token", None),
            ("other", None),
            ("nothing", Some("")),
        ]
    );
    let PropertyValue::Secret(secret) = &component.metadata[4].value else { panic!("no secret") };
    assert_eq!((secret.name.as_str(), secret.key.as_str()), ("tokens", "tokens"));
    assert_eq!(component.metadata[1].place.to_string(), "r0.yaml:15: spec.metadata[1] ");
    assert!(!format!("{resources:?}").contains("s3cret"), "a value is no text for logs");
}

#[test]
fn what_is_not_said_has_the_default_of_stock() {
    let text = format!("{COMPONENT}metadata: {{name: s}}\nspec: {{type: state.sqlite}}\n");

    let component = resources(&text).components.remove(0);

    assert_eq!((component.version.as_str(), component.ignore_errors), ("v1", false));
    assert_eq!(component.init_timeout, Duration::from_secs(5));
    assert!(component.metadata.is_empty() && component.scopes.is_empty() && component.secret_store.is_none());
}

#[test]
fn names_in_braces_stand_for_the_app_in_the_metadata_of_a_component() {
    let value = |text: &str| {
        let text = format!(
            "{COMPONENT}metadata: {{name: s}}\nspec: {{type: a.b, metadata: [{{name: x, value: '{text}'}}]}}\n"
        );
        load_all(&[&text]).map(|loaded| loaded.value.components[0].metadata[0].value.text().unwrap().to_owned())
    };

    assert_eq!(value("{appID}-{namespace}-{podName}").unwrap(), "orders-shop.orders-orders-0");
    let two = value("{uuid} {uuid}").unwrap();
    let (first, second) = two.split_once(' ').unwrap();
    assert_ne!(first, second);
    assert_eq!((first.len(), first.as_bytes()[14]), (36, b'4'), "{first}");
    let source = Source::new(
        "r.yaml",
        format!(
            "{COMPONENT}metadata: {{name: s}}\nspec: {{type: a.b, metadata: [{{name: x, value: '{{podName}}'}}]}}\n"
        ),
    );
    let error = load(&[source], OURS, &|_| None).unwrap_err().to_string();
    assert_eq!(
        error,
        "r.yaml:4: spec.metadata[0].value `{podName}` is wrong: set POD_NAME in the environment of the sidecar"
    );
}

#[test]
fn an_endpoint_is_read_with_all_its_fields() {
    let text = r#"
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {name: github}
spec:
  baseUrl: https://api.github.com/v3
  headers:
  - {name: Accept, value: application/json}
  - {name: Authorization, envRef: PASSWORD}
  clientTLS:
    rootCA: {secretKeyRef: {name: ca, key: pem}}
    certificate: {value: CERT}
    privateKey: {envRef: PASSWORD}
    renegotiation: Never
"#;

    let resources = resources(text);

    let endpoint = &resources.http_endpoints[0];
    assert_eq!((endpoint.name.as_str(), endpoint.base_url.as_str()), ("github", "https://api.github.com/v3"));
    assert_eq!(endpoint.headers[1].value.text(), Some("s3cret"));
    let tls = endpoint.client_tls.as_ref().unwrap();
    assert!(matches!(&tls.root_ca, Some(PropertyValue::Secret(secret)) if secret.key == "pem"));
    assert_eq!(tls.private_key.as_ref().and_then(PropertyValue::text), Some("s3cret"));
}

#[test]
fn all_mistakes_are_told_each_with_file_line_and_fix() {
    let told = load_all(&[
        &format!(
            "{COMPONENT}metadata: {{name: a}}\nspec:\n  type: redis\n  metdata: []\n  ignoreErrors: perhaps\n  metadata:\n  - value: x\n  - {{name: x, envRef: DAPR_API_TOKEN}}\n  - {{name: y, value: [1]}}\n---\n{COMPONENT}metadata: {{}}\nspec: {{type: a.b}}\n---\n{COMPONENT}metadata: {{name: b}}\n"
        ),
        "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata: {name: e}\nspec:\n  baseUrl: ftp://x\n  headers: [{name: 'a b', value: x}]\n  clientTLS: {certificate: {value: x}, renegotiation: Often}\n",
        &format!("{COMPONENT}metadata: {{name: a}}\nspec: {{type: a.b}}\n"),
    ])
    .unwrap_err();

    assert_eq!(
        told,
        [
            "r0.yaml:5: spec.type `redis` is wrong: write a category and an implementation, for example state.sqlite",
            "r0.yaml:6: spec.metdata is an unknown field; did you mean `metadata`?",
            "r0.yaml:7: spec.ignoreErrors `perhaps` is wrong: write true or false, without quotes",
            "r0.yaml:9: spec.metadata[0].name is missing; write the name of the property",
            "r0.yaml:10: spec.metadata[1].envRef `DAPR_API_TOKEN` is wrong: write the name of another variable: those of the sidecar itself are not for resources",
            "r0.yaml:11: spec.metadata[2].value `a list` is wrong: write a text",
            "r0.yaml:13: metadata.name is missing; write a name below metadata, without `/` and `%`",
            "r0.yaml:18: spec is missing; write spec: with type, version and metadata below it",
            "r1.yaml:5: spec.baseUrl `ftp://x` is wrong: write http:// or https://, a host, and maybe a path; no user, query or fragment",
            "r1.yaml:6: spec.headers[0].name `a b` is wrong: write the name of an HTTP header",
            "r1.yaml:7: spec.clientTLS.renegotiation `Often` is wrong: write Never, OnceAsClient or FreelyAsClient",
            "r1.yaml:7: spec.clientTLS.privateKey is missing; write certificate and privateKey together, or neither",
            "r2.yaml:1: metadata.name the Component `a` is declared at r0.yaml:1 already; remove one of them or give it another name",
        ]
    );
}

#[test]
fn kinds_that_are_not_built_are_refused_each_by_name_and_line() {
    let told = load_all(&[
        "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata:\n  name: r\n---\n# nothing\n---\napiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {name: sub}\nscopes: [cart, orders]\n",
    ]);

    assert_eq!(
        told.unwrap_err(),
        [
            "r0.yaml:1: resources of kind `Resiliency` (dapr.io/v1alpha1) named `r` are not supported yet, see docs/not-supported.md; remove this one",
            "r0.yaml:8: resources of kind `Subscription` (dapr.io/v2alpha1) named `sub` are not supported yet, see docs/not-supported.md; remove this one",
        ]
    );
}

#[test]
fn what_is_for_other_apps_is_left_alone() {
    for (rest, ours) in [
        ("metadata: {name: x}\nscopes: [cart]\n", false),
        ("metadata: {name: x}\nscopes: []\n", true),
        ("metadata: {name: x, namespace: other}\n", false),
        ("metadata: {name: x, namespace: shop}\n", true),
    ] {
        let text = format!("{COMPONENT}{rest}spec: {{type: state.sqlite}}\n");
        assert_eq!(resources(&text).components.len(), usize::from(ours), "{rest}");
    }
}

#[test]
fn configurations_and_resources_of_others_are_warned_of() {
    let loaded = load_all(&[
        "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\n---\napiVersion: apps/v1\nkind: Deployment\n",
    ]);

    let warned: Vec<String> = loaded.unwrap().warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warned,
        [
            "r0.yaml:1: `Configuration` (dapr.io/v1alpha1) named `c` is not read from here; give its file to --config",
            "r0.yaml:5: `Deployment` (apps/v1) named `` is no resource of ours and is left alone",
        ]
    );
}

#[test]
fn what_is_no_resource_is_refused() {
    assert_eq!(
        load_all(&["- a\n---\nmetadata: {name: x}\n---\na: ["]).unwrap_err().len(),
        4,
        "a list; no apiVersion; no kind; no end"
    );
    assert_eq!(resources(""), Resources::default());
}
