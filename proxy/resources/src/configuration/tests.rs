//! Configurations as people write them, and as they get them wrong.

use std::time::Duration;

use outrigger_identity::SpiffeId;
use outrigger_policy::access::{AccessRequest, Action, CallProtocol};

use super::*;
use crate::mistake::{MistakeKind, Mistakes};
use crate::source::Source;

const HEAD: &str = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata:\n  name: app-config\n";

fn read(texts: &[&str]) -> Result<Loaded<Configuration>, Mistakes> {
    let sources: Vec<Source> =
        texts.iter().enumerate().map(|(n, text)| Source::new(&format!("config{n}.yaml"), *text)).collect();
    load(&sources, &|name| (name == "TOKEN").then(|| "s3cret".to_owned()))
}

fn spec(spec: &str) -> Configuration {
    read(&[&format!("{HEAD}spec:\n{spec}")]).unwrap_or_else(|mistakes| panic!("{mistakes}")).value
}

fn mistakes(spec: &str) -> Vec<String> {
    let error = read(&[&format!("{HEAD}spec:\n{spec}")]).unwrap_err();
    error.kept().iter().map(|mistake| mistake.to_string().replace("config0.yaml:", "")).collect()
}

fn warnings(spec: &str) -> Vec<String> {
    let loaded = read(&[&format!("{HEAD}spec:\n{spec}")]).unwrap();
    loaded.warnings.iter().map(|warning| warning.to_string().replace("config0.yaml:", "")).collect()
}

#[test]
fn nothing_said_is_the_default() {
    let configuration = read(&[HEAD]).unwrap().value;

    assert_eq!(configuration.name, "app-config");
    assert_eq!(configuration.access_control, None);
    assert_eq!(configuration.tracing.effective_sampling_rate(), 1e-4);
    assert!(configuration.metrics.enabled);
    assert_eq!(configuration.mtls, Mtls::default());
    assert_eq!(read(&[]).unwrap().value, Configuration::default());
}

#[test]
fn every_supported_field_is_read() {
    let configuration = spec(
        r#"
  tracing:
    samplingRate: "0.5"
    stdout: yes
    zipkin:
      endpointAddress: http://zipkin.default.svc.cluster.local:9411/api/v2/spans
    otel:
      endpointAddress: collector.observability:4318
      protocol: http
      isSecure: false
      timeout: 1m30s
      headers:
      - name: authorization
        value: Bearer $TOKEN
      - x-team=ordering=1
  metrics:
    enabled: off
  mtls:
    enabled: true
    workloadCertTTL: 24h
    allowedClockSkew: 15m
    sentryAddress: "[::1]:50001"
    controlPlaneTrustDomain: cluster.local
  accessControl:
    defaultAction: deny
    trustDomain: my.domain
    policies:
    - appId: checkout
      namespace: default
      trustDomain: public
      defaultAction: Allow
      operations:
      - name: orders/*
        httpVerb: [GET, "POST"]
        action: deny
"#,
    );

    assert_eq!(configuration.tracing.sampling_rate, Some(0.5));
    assert!(configuration.tracing.stdout);
    let zipkin = configuration.tracing.zipkin.as_deref();
    assert_eq!(zipkin, Some("http://zipkin.default.svc.cluster.local:9411/api/v2/spans"));
    let otlp = configuration.tracing.otlp.clone().unwrap();
    assert_eq!(otlp.endpoint, "collector.observability:4318");
    assert_eq!((otlp.protocol, otlp.secure, otlp.timeout), (OtlpProtocol::Http, false, Some(Duration::from_secs(90))));
    let headers: Vec<(&str, &str)> = otlp.headers.iter().map(|h| (h.name.as_str(), h.value.as_str())).collect();
    assert_eq!(headers, [("authorization", "Bearer s3cret"), ("x-team", "ordering=1")]);
    assert!(!format!("{configuration:?}").contains("s3cret"), "a header's value is no text for logs");
    assert!(!configuration.metrics.enabled);
    assert_eq!(configuration.mtls.enabled, Some(true));
    assert_eq!(configuration.mtls.workload_cert_ttl, Some(Duration::from_secs(86_400)));
    assert_eq!(configuration.mtls.allowed_clock_skew, Some(Duration::from_secs(900)));
    assert_eq!(configuration.mtls.sentry_address.as_deref(), Some("[::1]:50001"));
    assert_eq!(configuration.mtls.control_plane_trust_domain.as_ref().map(|td| td.as_str()), Some("cluster.local"));
    assert_eq!(configuration.trust_domain.as_ref().map(|td| td.as_str()), Some("my.domain"));
    let access = configuration.access_control.unwrap();
    assert_eq!((access.name.as_str(), access.default_action), ("app-config", Some(Action::Deny)));
    assert_eq!(access.policies[0].default_action, Some(Action::Allow));
    assert_eq!(access.policies[0].operations[0].name, "orders/*");
}

#[test]
fn the_policy_it_compiles_to_decides_calls() {
    let configuration = spec(
        "  accessControl:\n    policies:\n    - {appId: checkout, namespace: default, trustDomain: public, defaultAction: deny, operations: [{name: /orders, httpVerb: [GET], action: allow}]}\n",
    );
    let caller = SpiffeId::parse("spiffe://public/ns/default/checkout").unwrap();
    let decide = |verb| {
        let request =
            AccessRequest { caller: Some(&caller), protocol: CallProtocol::Http, verb, operation: "/orders/42" };
        configuration.access().decide(&request)
    };

    assert!(decide("GET").is_allowed());
    assert_eq!(&*decide("GET").policy, "app-config: checkout.default /orders");
    assert!(!decide("DELETE").is_allowed());
}

#[test]
fn all_mistakes_are_told_at_once_each_with_its_line_and_field() {
    let mut told = mistakes(
        r#"  traceing:
    samplingRate: "1"
  tracing:
    samplingRate: lots
    stdout: "true"
    zipkin:
      endpointAddress: https://zipkin:9411
    otel:
      endpointAddress: http://collector:4317
      protocol: carrier-pigeon
      timeout: 1d
  metrics: [1]
  httpPipeline:
    handlers:
    - {name: x, type: middleware.http.bearer}
  mtls:
    workloadCertTTL: 0s
    sentryAddress: sentry
  accessControl:
    defaultAction: perhaps
    policies:
    - namespace: default
      trustDomain: Public
      operations:
      - name: ""
        httpVerb: [get]
        action: allow
      - httpVerb: GET
"#,
    );

    let trust_domain = told.iter().position(|text| text.starts_with("28: ")).unwrap();
    assert!(told.remove(trust_domain).contains("spec.accessControl.policies[0].trustDomain `Public` is wrong: "));

    assert_eq!(
        told,
        [
            "6: spec.traceing is an unknown field; did you mean `tracing`?",
            "9: spec.tracing.samplingRate `lots` is wrong: write a number from \"0\" (no traces) to \"1\" (every trace)",
            "10: spec.tracing.stdout `true` is wrong: write true or false, without quotes",
            "12: spec.tracing.zipkin.endpointAddress `https://zipkin:9411` is wrong: write http://host:port/api/v2/spans; https is not supported yet, see docs/not-supported.md",
            "14: spec.tracing.otel.endpointAddress `http://collector:4317` is wrong: write host:port, without http:// and without a path",
            "15: spec.tracing.otel.protocol `carrier-pigeon` is wrong: write grpc or http",
            "16: spec.tracing.otel.timeout `1d` is wrong: `1d` is no duration: there is no unit `d`; use ns, us, ms, s, m or h (a day is 24h)",
            "17: spec.metrics `a list` is wrong: write fields, each as `name: value`",
            "18: spec.httpPipeline is not supported yet, see docs/not-supported.md; remove it",
            "22: spec.mtls.workloadCertTTL `0s` is wrong: write a duration above 0, for example 24h",
            "23: spec.mtls.sentryAddress `sentry` is wrong: write host:port, without http:// and without a path",
            "25: spec.accessControl.defaultAction `perhaps` is wrong: write allow or deny",
            "27: spec.accessControl.policies[0].appId is missing; write the ID of the calling app",
            "30: spec.accessControl.policies[0].operations[0].name is missing; write the path of the operation, for example /orders/*",
            "31: spec.accessControl.policies[0].operations[0].httpVerb[0] `get` is wrong: no HTTP verb: `get`; write one of GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH in capitals, or *",
            "33: spec.accessControl.policies[0].operations[1].name is missing; write the path of the operation, for example /orders/*",
            "33: spec.accessControl.policies[0].operations[1].action is missing; write allow or deny",
            "33: spec.accessControl.policies[0].operations[1].httpVerb `GET` is wrong: write a list, each item after `- `",
        ]
    );
}

#[test]
fn scalars_mean_what_go_yaml_makes_of_them() {
    for (text, expected) in [
        ("yes", Some(true)),
        ("on", Some(true)),
        ("y", Some(true)),
        ("TRUE", Some(true)),
        ("'yes'", Some(true)),
        ("no", Some(false)),
        ("Off", Some(false)),
        ("N", Some(false)),
        ("False", Some(false)),
        ("\"true\"", None),
        ("tRue", None),
        ("1", None),
        ("0", None),
        ("[true]", None),
    ] {
        let loaded = read(&[&format!("{HEAD}spec:\n  tracing:\n    stdout: {text}\n")]);
        assert_eq!(loaded.ok().map(|loaded| loaded.value.tracing.stdout), expected, "{text}");
    }
    // A text field takes a plain number as it is spelled.
    for (text, spelled) in [
        ("010", "010"),
        ("1.10", "1.10"),
        ("0x10", "0x10"),
        ("yes", "yes"),
        ("1e3", "1e3"),
        ("1_0", "1_0"),
        ("2001-01-01", "2001-01-01"),
        ("!!str 1", "1"),
    ] {
        let text = format!("apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata:\n  name: {text}\n");
        assert_eq!(read(&[&text]).unwrap().value.name, spelled);
    }
    assert_eq!(spec("  tracing:\n    samplingRate: 1\n").tracing.sampling_rate, Some(1.0));
    assert_eq!(spec("  tracing:\n    samplingRate: 1e-2\n").tracing.sampling_rate, Some(0.01));
    assert_eq!(spec("  tracing:\n    samplingRate:\n").tracing.sampling_rate, None);
    for text in ["nan", "inf", "-0.1", "1.1", "\"\"", "0x1p-2"] {
        assert_eq!(mistakes(&format!("  tracing:\n    samplingRate: {text}\n")).len(), 1, "{text}");
    }
}

#[test]
fn the_later_file_wins_field_by_field() {
    let first = format!(
        "{HEAD}spec:\n  tracing: {{samplingRate: '1', otel: {{endpointAddress: 'a:1', protocol: http}}}}\n  metric: {{enabled: false}}\n"
    );
    let second = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nspec:\n  tracing: {otel: {endpointAddress: 'b:2'}}\n  accessControl: {defaultAction: deny}\n";

    let configuration = read(&[&first, second]).unwrap().value;

    assert_eq!(configuration.tracing.sampling_rate, Some(1.0));
    let otlp = configuration.tracing.otlp.unwrap();
    assert_eq!((otlp.endpoint.as_str(), otlp.protocol), ("b:2", OtlpProtocol::Http));
    assert!(!configuration.metrics.enabled);
    assert_eq!(configuration.name, "config1", "one without a name goes by its file");
    assert_eq!(configuration.access_control.unwrap().default_action, Some(Action::Deny));
}

#[test]
fn an_address_of_zipkin_is_a_url() {
    let read = |url: &str| format!("  tracing: {{zipkin: {{endpointAddress: '{url}'}}}}\n");
    for url in ["http://zipkin", "http://zipkin:9411", "http://[::1]/a", "http://[::1]:9411/api/v2/spans"] {
        assert_eq!(spec(&read(url)).tracing.zipkin.as_deref(), Some(url));
    }
    for url in [
        "zipkin:9411",
        "ftp://zipkin",
        "http://",
        "http://:1",
        "http://a:b",
        "http://u:p@a:1/",
        "http://a/?b",
        "http://a/b c",
    ] {
        assert_eq!(mistakes(&read(url)).len(), 1, "{url}");
    }
    assert_eq!(spec("  tracing: {zipkin: {}}\n").tracing.zipkin, None);
}

#[test]
fn labels_and_buckets_of_metrics_are_read() {
    let metrics = spec(
        "  metrics:\n    latencyDistributionBuckets: [5, 50]\n    http: {increasedCardinality: false, excludeVerbs: true, pathMatching: ['/a/{b}']}\n",
    )
    .metrics;
    assert_eq!(metrics.latency_buckets, [5.0, 50.0]);
    assert_eq!((metrics.http.increased_cardinality, metrics.http.exclude_verbs), (Some(false), true));
    assert_eq!(metrics.http.path_matching, ["/a/{b}"]);
    for buckets in ["[50, 5]", "[5, 5]", "[0]", "[a]", "5"] {
        assert!(!mistakes(&format!("  metrics: {{latencyDistributionBuckets: {buckets}}}\n")).is_empty(), "{buckets}");
    }
}

#[test]
fn groups_of_the_api_logging_and_scopes_are_read() {
    let configuration = spec(
        r#"  api:
    allowed:
    - {name: invoke, version: v1, protocol: http}
    - {name: metadata, version: v1, protocol: GRPC}
    denied: [{name: shutdown, version: v1, protocol: http}]
  logging: {apiLogging: {enabled: true, obfuscateURLs: true, omitHealthChecks: true}}
  components: {deny: [Bindings.SMTP, state.redis/v1, a.b/]}
  secrets:
    scopes: [{storeName: vault, defaultAccess: deny, allowedSecrets: [a, b]}, {storeName: local}]
"#,
    );

    let rule = |name: &str, protocol| ApiRule { name: name.to_owned(), version: "v1".to_owned(), protocol };
    assert_eq!(configuration.api.allowed, [rule("invoke", ApiProtocol::Http), rule("metadata", ApiProtocol::Grpc)]);
    assert_eq!(configuration.api.denied, [rule("shutdown", ApiProtocol::Http)]);
    let logging = &configuration.logging;
    assert_eq!((logging.enabled, logging.obfuscate_urls, logging.omit_health_checks), (Some(true), true, true));
    assert_eq!(configuration.denied_components, ["bindings.smtp", "state.redis/v1", "a.b"]);
    assert_eq!(configuration.secret_scopes[0].default_access, SecretAccess::Deny);
    assert_eq!(configuration.secret_scopes[0].allowed_secrets, ["a", "b"]);
    assert_eq!(configuration.secret_scopes[1].default_access, SecretAccess::Allow);
}

#[test]
fn what_has_no_effect_yet_is_warned_of_by_name_and_its_mistakes_are_told() {
    let warned = warnings(
        r#"  features: [{name: HotReload, enabled: true}, {name: Other, enabled: false}]
  wasm: {strictSandbox: true}
  workflow: {maxConcurrentWorkflowInvocations: 32, stateRetentionPolicy: {completed: 72h}}
  secrets: {scopes: [{storeName: vault}]}
  mtls: {tokenValidators: [{name: jwks}]}
"#,
    );
    assert_eq!(warned.len(), 5, "{warned:?}");
    let told = mistakes(
        r#"  api: {allowed: [{name: invoke, protocol: udp}]}
  logging: {apiLogging: {enable: true}}
  features: [{enabled: true}]
  workflow: {maxConcurrentActivityInvocations: many, stateRetentionPolicy: {failed: 3d}, workflowConcurrencyLimits: [{name: a}]}
  secrets: {scopes: [{storeName: vault, defaultAccess: perhaps}, {storeName: vault}]}
"#,
    );
    assert_eq!(told.len(), 9, "{told:#?}");
}

#[test]
fn metrics_goes_over_metric() {
    assert!(spec("  metrics: {enabled: true}\n  metric: {enabled: false}\n").metrics.enabled);
}

#[test]
fn what_asks_for_nothing_is_no_mistake() {
    let configuration = spec("  features: []\n  nameResolution:\n  secrets: {}\n  accessControl:\n");

    assert_eq!(configuration.access_control, None);
}

#[test]
fn duplicates_are_refused() {
    let told = mistakes(
        r#"  tracing: {}
  tracing: {}
  accessControl:
    policies:
    - {appId: a, namespace: n, trustDomain: public, operations: [{name: /x, action: deny, httpVerb: ["*"]}, {name: X, action: allow, httpVerb: ["*"]}]}
    - {appId: a, namespace: m, trustDomain: public}
    - {appId: a, namespace: n, trustDomain: other}
"#,
    );

    assert_eq!(
        told,
        [
            "7: spec.tracing is there twice; the first is on line 6",
            "10: spec.accessControl.policies[0].operations[1].name is there twice; the first is on line 10",
            "12: spec.accessControl.policies[2].appId with this namespace is there twice; the first is on line 10",
        ]
    );
    let twice = format!("{HEAD}---\n{HEAD}");
    assert_eq!(
        read(&[&twice]).unwrap_err().to_string(),
        "config0.yaml:6: kind: Configuration is there twice; the first is on line 1"
    );
}

#[test]
fn other_resources_are_refused_by_name() {
    let error = read(&["apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: statestore}\n"]).unwrap_err();

    assert_eq!(
        error.to_string(),
        "config0.yaml:1: resources of kind `Component` (dapr.io/v1alpha1) named `statestore` are not supported yet, see docs/not-supported.md; remove this one"
    );
    let unknown = read(&["kind: Configuration\n"]).unwrap_err();
    assert_eq!(unknown.to_string(), "config0.yaml:1: apiVersion is missing; write apiVersion: dapr.io/v1alpha1");
    assert!(read(&["just text"]).is_err());
    assert!(read(&["apiVersion: dapr.io/v2\nkind: Configuration\n"]).is_err());
}

#[test]
fn a_rule_that_never_decides_is_warned_of() {
    let rule = |name: &str, verbs: &str| {
        format!(
            "  accessControl:\n    defaultAction: deny\n    policies:\n    - {{appId: a, namespace: n, trustDomain: public, operations: [{{name: '{name}', action: deny{verbs}}}]}}\n"
        )
    };
    for name in ["/a/*/b", "/a//b", "/a/", "/a/../b", "/a?x=1", "/a#b", "/a%20b", "*/b"] {
        let told = warnings(&rule(name, ", httpVerb: ['*']"));
        assert_eq!(told.len(), 1, "{name}: {told:?}");
        assert!(told[0].contains("operations[0].name matches"), "{name}: {told:?}");
    }
    for name in ["/", "/a", "a/b", "/a/*", "/a/**", "/a/**/b", "/a*/b", "/**", "*"] {
        assert_eq!(warnings(&rule(name, ", httpVerb: ['*']")), Vec::<String>::new(), "{name}");
    }
    assert!(warnings(&rule("/a", ""))[0].contains("has no httpVerb: it decides gRPC calls only"));
}

#[test]
fn a_missing_default_action_and_an_unset_variable_are_warned_of() {
    let told = warnings("  accessControl:\n    policies:\n    - {appId: $NOPE-a, namespace: n, trustDomain: public}\n");

    assert!(told[0].contains("refers to the environment variable `NOPE`, which is not set"), "{told:?}");
    assert!(told[1].contains("has policies and no defaultAction: callers without a policy are denied"), "{told:?}");
}

#[test]
fn no_bytes_make_it_panic() {
    let good = format!(
        "{HEAD}spec:\n  tracing: {{samplingRate: '1'}}\n  accessControl:\n    policies:\n    - &a {{appId: a, namespace: n, trustDomain: public}}\n    - <<: *a\n      appId: b\n"
    );
    assert!(read(&[&good]).is_ok());
    for end in 0..good.len() {
        let _ = read(&[&good[..end]]);
    }
    // A small generator is enough: what matters is that every byte gets everywhere.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    const BYTES: &[u8] = b"\n\n  -:{}[]&*!|>'\"%@`#?,~<abn01\x00\xff\xc3\t$.";
    for _ in 0..3000 {
        let length = next() as usize % 60;
        let noise: Vec<u8> = (0..length).map(|_| BYTES[next() as usize % BYTES.len()]).collect();
        let _ = load(&[Source::new("noise", noise.clone())], &|_| None);
        let mut damaged = good.clone().into_bytes();
        for byte in noise.iter().take(4) {
            let at = next() as usize % damaged.len();
            damaged[at] = *byte;
        }
        let _ = load(&[Source::new("damaged", damaged)], &|_| None);
        let scope = crate::kind::Scope { app_id: "a", namespace: None };
        let _ = crate::resources::load(&[Source::new("noise", noise)], scope, &|_| None);
    }
}

#[test]
fn yaml_made_to_hurt_is_refused_in_short_time() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    let nested_anchors: String = (0..60).map(|n| format!("{:indent$}- &a{n}\n", "", indent = n)).collect();
    let nested_anchors = nested_anchors + &" ".repeat(60) + "- [" + &"x, ".repeat(90_000) + "]\n";
    for (name, text, reason) in [
        ("alias bomb", bomb, "100000 values"),
        ("anchors around many values", nested_anchors, "100000 values"),
        ("100k lists", "[".repeat(100_000), "nest"),
        ("100k maps", "{a: ".repeat(100_000), "nest"),
        ("deep blocks", (0..5_000).map(|n| format!("{}a:\n", " ".repeat(n % 200))).collect(), ""),
        ("100k items", format!("[{}]", "x, ".repeat(100_001)), "100000 values"),
        ("alias of itself", "a: &a [*a]\n".to_owned(), "alias"),
        ("alias of nothing", "a: *b\n".to_owned(), ""),
        ("a list for a key", "? [a]\n: b\n".to_owned(), "must be a text"),
        ("a tag", "a: !python/object x\n".to_owned(), "tag"),
        ("not UTF-8", "a: \u{fffd}".to_owned(), ""),
    ] {
        let error = read(&[&text]).unwrap_err();
        assert!(error.to_string().contains(reason), "{name}: {error}");
        assert!(error.to_string().len() < 2_000, "{name}");
    }
    let giant = load(&[Source::new("giant", vec![b'#'; crate::source::MAX_FILE_BYTES + 1])], &|_| None).unwrap_err();
    assert!(matches!(giant.kept()[0].kind, MistakeKind::TooLarge { .. }));
    let latin1 = load(&[Source::new("latin1", b"a: \xe4".to_vec())], &|_| None).unwrap_err();
    assert_eq!(latin1.to_string(), "latin1: is not valid YAML: it is not UTF-8 from byte 3 on");
}

#[test]
fn of_very_many_mistakes_the_first_hundred_are_told() {
    let many: String = (0..5_000).map(|n| format!("  zzz{n}: 1\n")).collect();

    let error = read(&[&format!("{HEAD}spec:\n{many}")]).unwrap_err();

    assert_eq!(error.kept().len(), 100);
    assert!(error.to_string().ends_with("\nand 4900 more"), "{error}");
}

fn names(configuration: &str) -> Option<NameResolution> {
    spec(&format!("  nameResolution:\n{configuration}")).name_resolution
}

#[test]
fn a_component_of_name_resolution_has_the_defaults_of_stock() {
    let sqlite = names("    component: SQLite\n    version: v1\n    configuration: {connectionString: /tmp/nr.db}\n");
    let expected = SqliteNames::new("/tmp/nr.db".into());
    assert_eq!(expected.update_interval, Duration::from_secs(5));
    assert_eq!(sqlite, Some(NameResolution::Sqlite(expected)));
    assert_eq!(names("    component: mdns\n"), Some(NameResolution::Mdns));
    assert_eq!(read(&[HEAD]).unwrap().value.name_resolution, None);
}

#[test]
fn settings_of_sqlite_are_read_by_each_of_their_names() {
    let Some(NameResolution::Sqlite(read)) = names(
        "    component: sqlite\n    configuration:\n      url: file:nr.db\n      timeoutInSeconds: 2\n      \
         busyTimeout: 1s\n      disableWAL: \"true\"\n      tableName: peers\n      metadataTableName: meta\n      \
         updateInterval: 10s\n      cleanupIntervalInSeconds: \"60\"\n",
    ) else {
        panic!("not sqlite")
    };
    assert_eq!(read.file, std::path::Path::new("nr.db"));
    assert_eq!((read.timeout, read.busy_timeout), (Duration::from_secs(2), Duration::from_secs(1)));
    assert!(read.disable_wal);
    assert_eq!((read.table.as_str(), read.metadata_table.as_str()), ("peers", "meta"));
    assert_eq!((read.update_interval, read.cleanup_interval), (Duration::from_secs(10), Duration::from_secs(60)));
}

#[test]
fn names_are_made_of_app_namespace_and_port() {
    for (written, name) in [
        ("    component: kubernetes\n", "orders-dapr.shop.svc.cluster.local:50002"),
        ("    component: kubernetes\n    configuration: {clusterDomain: corp}\n", "orders-dapr.shop.svc.corp:50002"),
        (
            "    component: kubernetes\n    configuration: {template: \"{{.ID}}.{{ .Namespace }}.mesh:{{.Port}}\"}\n",
            "orders.shop.mesh:50002",
        ),
        ("    component: nameformat\n    configuration: {format: \"{appid}.internal:7000\"}\n", "orders.internal:7000"),
        ("    component: nameformat\n    configuration: {format: \"{appid}.internal\"}\n", "orders.internal:50002"),
    ] {
        let Some(NameResolution::Names(template)) = names(written) else { panic!("{written}") };
        assert_eq!(template.name("orders", "shop"), name);
    }
}

#[test]
fn every_mistake_of_name_resolution_is_told_by_line_and_field() {
    for (written, told) in [
        ("    component: consul\n", "7: spec.nameResolution.component is not supported yet"),
        ("    component: carrier-pigeon\n", "7: spec.nameResolution.component"),
        ("    version: v1\n", "7: spec.nameResolution.component"),
        ("    component: mdns\n    version: v2\n", "8: spec.nameResolution.version "),
        (
            "    component: mdns\n    configuration: {port: 1}\n",
            "8: spec.nameResolution.configuration.port is an unknown",
        ),
        ("    component: sqlite\n", "7: spec.nameResolution.configuration.connectionString"),
        (
            "    component: sqlite\n    configuration:\n      connectionString: \":memory:\"\n",
            "9: spec.nameResolution.configuration.connectionString ",
        ),
        (
            "    component: sqlite\n    configuration:\n      connectionString: a\n      updateInterval: 1s\n",
            "10: spec.nameResolution.configuration.updateInterval ",
        ),
        (
            "    component: sqlite\n    configuration:\n      connectionString: a\n      tableName: \"a; drop\"\n",
            "10: spec.nameResolution.configuration.tableName ",
        ),
        (
            "    component: nameformat\n    configuration: {format: fixed}\n",
            "8: spec.nameResolution.configuration.format ",
        ),
        (
            "    component: kubernetes\n    configuration: {template: \"{{.ID | upper}}\"}\n",
            "8: spec.nameResolution.configuration.template ",
        ),
        (
            "    component: static\n    configuration:\n      apps:\n      - app: a\n        addresses: [\"nowhere\"]\n",
            "11: spec.nameResolution.configuration.apps[0].addresses[0] ",
        ),
    ] {
        let mistakes = mistakes(&format!("  nameResolution:\n{written}"));
        assert!(mistakes.iter().any(|mistake| mistake.starts_with(told.trim_end())), "{written}: {mistakes:?}");
    }
}

#[test]
fn apps_at_known_places_are_listed_with_their_addresses() {
    let read = names(
        "    component: static\n    configuration:\n      apps:\n      - app: orders\n        addresses: \
         [127.0.0.1:7001, \"[::1]:7002\"]\n      - {app: stock.shop, addresses: [stock.internal:50002]}\n",
    );
    let app = |app: &str, addresses: &[&str]| StaticApp {
        app: app.to_owned(),
        addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
    };
    let expected = vec![app("orders", &["127.0.0.1:7001", "[::1]:7002"]), app("stock.shop", &["stock.internal:50002"])];
    assert_eq!(read, Some(NameResolution::Static(expected)));
}
