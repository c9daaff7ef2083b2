//! What flags and environment come out as, and every way they can be wrong.

use super::*;
use crate::config::flags;
use crate::config::sidecar::Authority;
use crate::config::table::Persona;
use outrigger_certs::RootsSource;

fn typed(persona: Persona, line: &[&str], set: &[(&str, &str)]) -> Result<Sidecar, Mistakes> {
    let arguments: Vec<String> = line.iter().map(|s| (*s).to_owned()).collect();
    let (flags, mut mistakes) = flags::parse(persona, &arguments);
    let sidecar = read(&flags, &Environment::of(set), &mut mistakes);
    mistakes.into_result(())?;
    Ok(sidecar.expect("without mistakes there is a sidecar"))
}

fn daprd(line: &[&str]) -> Result<Sidecar, Mistakes> {
    typed(Persona::Daprd, line, &[])
}

fn outrigger(line: &[&str]) -> Sidecar {
    typed(Persona::Outrigger, line, &[]).unwrap()
}

#[test]
fn daprd_has_stock_defaults() {
    let sidecar = daprd(&["--app-id=shop"]).unwrap();
    assert_eq!(sidecar.app, AppId::new("default", "shop").unwrap());
    assert_eq!(sidecar.channel, None);
    assert!(sidecar.authority.is_none());
    assert_eq!(sidecar.listen.http[0].port(), 3500);
    assert!(sidecar.listen.http[0].ip().is_unspecified());
    assert_eq!(sidecar.listen.grpc[0].port(), 50001);
    assert_eq!(sidecar.listen.peer.port(), 0);
    assert_eq!(sidecar.listen.metrics, Some("0.0.0.0:9090".parse().unwrap()));
    assert_eq!(sidecar.graceful, Duration::from_secs(5));
    assert_eq!(sidecar.log.level, Level::Info);
    assert!(!sidecar.log.access);
}

#[test]
fn outrigger_stays_on_loopback_and_has_mutual_tls() {
    let sidecar = outrigger(&["--app-id=shop"]);
    assert!(matches!(sidecar.authority, Some(Authority::Embedded)));
    for address in sidecar
        .listen
        .http
        .iter()
        .chain(&sidecar.listen.grpc)
        .chain([&sidecar.listen.peer])
        .chain(&sidecar.listen.metrics)
    {
        assert!(address.ip().is_loopback(), "{address}");
    }
}

#[test]
fn an_app_port_makes_a_channel() {
    let channel = |line: &[&str]| daprd(line).unwrap().channel;
    let app = channel(&["--app-id=a", "--app-port=3000"]).unwrap();
    assert_eq!((app.host.as_str(), app.port), ("127.0.0.1", 3000));
    assert_eq!(app.protocol, AppProtocol::Http);
    let app =
        channel(&["--app-id=a", "--app-port=3000", "--app-protocol=GRPC", "--app-channel-address=app.local"]).unwrap();
    assert_eq!((app.host.as_str(), app.protocol), ("app.local", AppProtocol::Grpc));
    assert_eq!(channel(&["--app-id=a", "--app-port=0"]), None);
}

#[test]
fn several_listen_addresses_each_get_both_apis() {
    let listen = daprd(&["--app-id=a", "--dapr-listen-addresses=127.0.0.1,[::1]"]).unwrap().listen;
    assert_eq!(listen.http, ["127.0.0.1:3500".parse().unwrap(), "[::1]:3500".parse().unwrap()]);
    assert_eq!(listen.grpc.len(), 2);
}

#[test]
fn metrics_can_be_off() {
    let listen = daprd(&["--app-id=a", "--enable-metrics=false", "--metrics-port=bad"]).unwrap().listen;
    assert_eq!(listen.metrics, None);
}

#[test]
fn the_request_head_has_the_size_that_was_asked_for() {
    let head = |line: &[&str]| {
        let mut all = vec!["--app-id=a"];
        all.extend(line);
        daprd(&all).unwrap().limits.http1_header_bytes
    };
    assert_eq!(head(&["--read-buffer-size=16Ki"]), 16 << 10);
    assert_eq!(head(&["--read-buffer-size=20k"]), 20_000);
    assert_eq!(head(&["--dapr-http-read-buffer-size=32"]), 32 << 10);
    assert_eq!(head(&["--dapr-http-read-buffer-size=32", "--read-buffer-size=16Ki"]), 16 << 10);
    assert_eq!(head(&["--read-buffer-size=1Ki"]), 8 << 10, "hyper takes no less");
    assert_eq!(head(&["--read-buffer-size=0"]), Limits::default().http1_header_bytes);
    assert_eq!(head(&["--dapr-http-read-buffer-size=-1"]), 8 << 10, "the default, within what hyper takes");
}

#[test]
fn the_request_body_has_the_bound_that_was_asked_for() {
    let bound = |line: &[&str]| {
        let mut all = vec!["--app-id=a"];
        all.extend(line);
        daprd(&all).unwrap().max_body_bytes
    };
    assert_eq!(bound(&[]), 4 << 20);
    assert_eq!(bound(&["--max-body-size=1Gi"]), 1 << 30);
    assert_eq!(bound(&["--max-body-size=0"]), 0);
    assert_eq!(bound(&["--max-body-size=-1"]), 4 << 20);
    assert_eq!(bound(&["--dapr-http-max-request-size=2"]), 2 << 20);
    assert_eq!(bound(&["--dapr-http-max-request-size=2", "--max-body-size=1Mi"]), 1 << 20);
    assert_eq!(bound(&["--dapr-http-max-request-size=-1"]), 4 << 20);
}

#[test]
fn a_configuration_says_what_flags_leave_open() {
    let folder = tempfile::tempdir().unwrap();
    let write = |mtls: &str| {
        let path = folder.path().join("config.yaml");
        let text = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata:\n  name: c\nspec:\n  mtls:\n    enabled: {mtls}\n"
        );
        std::fs::write(&path, text).unwrap();
        format!("--config={}", path.display())
    };
    let off = write("false");
    assert!(outrigger(&["--app-id=a", &off]).authority.is_none());
    assert!(outrigger(&["--app-id=a", &off, "--enable-mtls"]).authority.is_some());
    assert!(daprd(&["--app-id=a", &write("true")]).unwrap().authority.is_none(), "stock reads flags only");
}

#[test]
fn mistakes_in_files_come_with_those_in_flags() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    std::fs::write(&config, "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nspec:\n  acessControl: {}\n").unwrap();
    let config = format!("--config={}", config.display());
    let mistakes = daprd(&["--app-port=x", &config, "--resources-path=/nowhere"]).unwrap_err().to_string();
    for text in ["--app-id", "--app-port", "acessControl", "/nowhere"] {
        assert!(mistakes.contains(text), "{text} is missing in\n{mistakes}");
    }
}

#[test]
fn a_stock_authority_needs_its_address_and_roots() {
    let line = ["--app-id=a", "--enable-mtls", "--sentry-address=localhost:50001"];
    let sidecar = typed(Persona::Daprd, &line, &[("DAPR_TRUST_ANCHORS_FILE", "/roots.pem")]).unwrap();
    let Some(Authority::Sentry { address, identity, roots, token_file }) = sidecar.authority else {
        panic!("no authority");
    };
    assert_eq!(address.to_string(), "localhost:50001");
    assert_eq!(identity.as_str(), "spiffe://localhost/ns/default/dapr-sentry");
    assert!(matches!(roots, RootsSource::File(path) if path.as_os_str() == "/roots.pem"));
    assert_eq!(token_file, None);

    let mistakes = typed(Persona::Daprd, &line, &[]).unwrap_err().to_string();
    assert!(mistakes.contains("DAPR_TRUST_ANCHORS: is required"), "{mistakes}");
    let mistakes = daprd(&["--app-id=a", "--enable-mtls"]).unwrap_err().to_string();
    assert!(mistakes.contains("--sentry-address: is required"), "{mistakes}");
    let bad = [("DAPR_TRUST_ANCHORS", "no PEM at all")];
    let mistakes = typed(Persona::Daprd, &line, &bad).unwrap_err().to_string();
    assert!(mistakes.starts_with("DAPR_TRUST_ANCHORS: "), "{mistakes}");
    let both = [("DAPR_TRUST_ANCHORS", "x"), ("DAPR_TRUST_ANCHORS_FILE", "/x")];
    let mistakes = typed(Persona::Daprd, &line, &both).unwrap_err().to_string();
    assert!(mistakes.contains("beside the file /x"), "{mistakes}");
}

#[test]
fn a_flag_beats_its_variable_and_a_variable_beats_the_default() {
    let set = [
        ("DAPR_TRUST_ANCHORS_FILE", "/roots.pem"),
        ("DAPR_CONTROLPLANE_TRUST_DOMAIN", "from.env"),
        ("DAPR_CONTROLPLANE_NAMESPACE", "dapr-system"),
        ("NAMESPACE", "prod"),
    ];
    let line = ["--app-id=a", "--enable-mtls", "--sentry-address=ca:1"];
    let of = |extra: &[&str]| {
        let mut all = line.to_vec();
        all.extend(extra);
        let sidecar = typed(Persona::Daprd, &all, &set).unwrap();
        assert_eq!(sidecar.app.namespace(), "prod");
        match sidecar.authority {
            Some(Authority::Sentry { identity, .. }) => identity.as_str().to_owned(),
            _ => panic!("no authority"),
        }
    };
    assert_eq!(of(&[]), "spiffe://from.env/ns/dapr-system/dapr-sentry");
    assert_eq!(of(&["--control-plane-trust-domain=localhost"]), "spiffe://localhost/ns/dapr-system/dapr-sentry");
}

#[test]
fn daprd_may_use_the_embedded_authority_through_its_socket() {
    let set = [("OUTRIGGER_CONTROL_SOCKET", "/run/control.sock")];
    let sidecar = typed(Persona::Daprd, &["--app-id=a", "--enable-mtls"], &set).unwrap();
    assert!(matches!(sidecar.authority, Some(Authority::Embedded)));
    assert_eq!(sidecar.control_socket, Some("/run/control.sock".into()));
}

#[test]
fn each_bad_value_is_refused_by_name_with_a_fix() {
    let table: &[(&[&str], &str)] = &[
        (&[], "--app-id: is required"),
        (&["--app-id=a.b"], "--app-id=\"a.b\""),
        (&["--app-id=a/b"], "--app-id=\"a/b\""),
        (&["--app-id=a", "--app-port=http"], "--app-port=\"http\": is no port"),
        (&["--app-id=a", "--app-port=70000"], "--app-port=\"70000\": is no port"),
        (&["--app-id=a", "--dapr-http-port="], "--dapr-http-port=\"\": is no port"),
        (&["--app-id=a", "--dapr-grpc-port=-1"], "--dapr-grpc-port=\"-1\""),
        (&["--app-id=a", "--metrics-port=x"], "--metrics-port=\"x\""),
        (&["--app-id=a", "--dapr-internal-grpc-port=x"], "--dapr-internal-grpc-port=\"x\""),
        (&["--app-id=a", "--dapr-listen-addresses=127.0.0.1,nowhere"], "no IP address"),
        (&["--app-id=a", "--metrics-listen-address=metrics"], "--metrics-listen-address"),
        (&["--app-id=a", "--app-channel-address="], "--app-channel-address=\"\""),
        (&["--app-id=a", "--app-protocol=smtp"], "use http, h2c or grpc"),
        (&["--app-id=a", "--app-protocol=https"], "docs/not-supported.md"),
        (&["--app-id=a", "--max-body-size=big"], "--max-body-size=\"big\": is no quantity"),
        (&["--app-id=a", "--read-buffer-size=4Zi"], "--read-buffer-size=\"4Zi\""),
        (&["--app-id=a", "--dapr-http-read-buffer-size=-2"], "--dapr-http-read-buffer-size"),
        (&["--app-id=a", "--log-level=loud"], "--log-level=\"loud\": is no log level"),
        (&["--app-id=a", "--disable-init-endpoints=config,all"], "\"all\": is no init endpoint"),
        (&["--app-id=a", "--app-port=3500"], "--dapr-http-port=\"3500\": is the port of --app-port"),
        (&["--app-id=a", "--app-port=50001"], "--dapr-grpc-port=\"50001\": is the port of --app-port"),
        (&["--app-id=a", "--dapr-grpc-port=3500"], "is the port of --dapr-http-port"),
    ];
    for (line, want) in table {
        let mistakes: Vec<String> = match daprd(line) {
            Ok(_) => panic!("{line:?} was accepted"),
            Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(mistakes.len(), 1, "{line:?}: {mistakes:?}");
        assert!(mistakes[0].contains(want), "{line:?}: {}", mistakes[0]);
    }
}

#[test]
fn all_mistakes_of_flags_and_environment_come_at_once() {
    let mistakes = typed(
        Persona::Daprd,
        &["--app-port=x", "--log-level=loud", "--read-buffer-size=big", "--enable-mtls", "--sentry-address=nowhere"],
        &[("DAPR_API_TOKEN", "line\nbreak")],
    )
    .unwrap_err();
    let text = mistakes.to_string();
    for name in [
        "--app-id",
        "--app-port",
        "--log-level",
        "--read-buffer-size",
        "--sentry-address",
        "DAPR_TRUST_ANCHORS",
        "DAPR_API_TOKEN",
    ] {
        assert!(text.contains(name), "{name} is missing in\n{text}");
    }
    assert_eq!(mistakes.iter().count(), 7, "{text}");
}

#[test]
fn what_cannot_be_read_is_reported_with_what_cannot_be_used() {
    let mistakes = daprd(&["--app-prot=3000", "--dapr-http-port=x", "--app-id"]).unwrap_err();
    let names: Vec<&str> = mistakes.iter().map(|mistake| mistake.name.as_str()).collect();
    assert_eq!(names, ["--app-prot", "--app-id", "--dapr-http-port"]);
}

#[test]
fn a_bad_namespace_is_blamed_on_its_variable() {
    let mistakes = typed(Persona::Daprd, &["--app-id=a"], &[("NAMESPACE", "a/b")]).unwrap_err().to_string();
    assert!(mistakes.starts_with("NAMESPACE=\"a/b\""), "{mistakes}");
}

#[test]
fn who_started_the_sidecar_is_kept_for_people() {
    let sidecar = outrigger(&["--app-id=a", "--run-pid=42", "--app-command=python app.py"]);
    assert_eq!(sidecar.started_by.run_pid, 42);
    assert_eq!(sidecar.started_by.command, "python app.py");
}
