//! Flags and environment into the types of [`Sidecar`].

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use outrigger_api::Cors;
use outrigger_blocks::app::AppProtocol;
use outrigger_identity::AppId;
use outrigger_telemetry::log::Level;
use outrigger_wire::Limits;

use super::address::{Host, port};
use super::authority::authority;
use super::env::{self, Environment, Variables};
use super::flags::Flags;
use super::sidecar::{AppChannel, Listen, Log, Sidecar, StartedBy};
use super::size::size;
use super::table::{self, Flag};
use super::{Mistakes, files, metrics, tracing};

/// Types flags and environment; what is wrong joins `mistakes`.
///
/// `None` when nothing whole came out, and then there is a mistake. With
/// mistakes and a sidecar, the sidecar is good for finding more of them only.
pub(crate) fn read(flags: &Flags, environment: &Environment, mistakes: &mut Mistakes) -> Option<Sidecar> {
    let variables = env::read(environment, mistakes);
    let app = app(flags, &variables, mistakes);
    let listen = listen(flags, mistakes);
    let channel = channel(flags, mistakes);
    if let (Some(channel), Some(listen)) = (&channel, &listen) {
        conflicts(channel, listen, mistakes);
    }
    init_endpoints(flags, mistakes);
    let files::Files { configuration, resources, warnings } = files::read(flags, environment, mistakes);
    let metric_labels = metrics::labels(&configuration.metrics.http, flags.persona(), mistakes);
    let spans = tracing::spans(&configuration.tracing, app.as_ref(), environment, mistakes);
    let authority = authority(flags, &variables, &configuration.mtls, mistakes);
    let control_socket = Some(flags.text(&table::CONTROL_SOCKET))
        .filter(|text| !text.is_empty())
        .map(PathBuf::from)
        .or(variables.control_socket);
    let limits = limits(flags, mistakes);
    let max_body_bytes = size(flags, &table::MAX_BODY_SIZE, &table::MAX_REQUEST_MB, 20, mistakes);
    let log = log(flags, configuration.logging.enabled, mistakes);
    let run_pid = u32::try_from(flags.uint(&table::RUN_PID)).unwrap_or(0);
    Some(Sidecar {
        warnings,
        persona: flags.persona(),
        app: app?,
        channel,
        configuration,
        resources,
        metric_labels,
        spans,
        listen: listen?,
        authority,
        control_socket,
        api_token: variables.api_token,
        app_token: variables.app_token,
        cors: Cors::parse(&flags.text(&table::ALLOWED_ORIGINS)),
        host_ip: variables.host_ip,
        limits,
        max_body_bytes,
        graceful: graceful(flags),
        block_shutdown: flags.is_given(&table::BLOCK_SHUTDOWN).then(|| flags.duration(&table::BLOCK_SHUTDOWN)),
        log: log?,
        started_by: StartedBy { run_pid, command: flags.text(&table::APP_COMMAND) },
    })
}

fn app(flags: &Flags, variables: &Variables, mistakes: &mut Mistakes) -> Option<AppId> {
    let id = flags.text(&table::APP_ID);
    if id.is_empty() {
        mistakes.add("--app-id", None, "is required", "write --app-id=<name of the app>");
        return None;
    }
    match AppId::new(&variables.namespace, &id) {
        Ok(app) => Some(app),
        Err(error) => {
            // One of the two parts is at fault; with a good namespace it is the ID.
            let (name, value) = if AppId::new("default", &id).is_ok() {
                ("NAMESPACE", variables.namespace.as_str())
            } else {
                ("--app-id", id.as_str())
            };
            mistakes.add(name, Some(value), error.to_string(), "use letters, digits, `-` and `_`");
            None
        }
    }
}

fn one_port(flags: &Flags, flag: &Flag, mistakes: &mut Mistakes) -> Option<u16> {
    let text = flags.text(flag);
    let number = port(&text);
    if number.is_none() {
        mistakes.add(flag.dashed(), Some(&text), "is no port", "write a number from 0 to 65535");
    }
    number
}

fn hosts(flags: &Flags, flag: &Flag, mistakes: &mut Mistakes) -> Option<Vec<Host>> {
    let text = flags.text(flag);
    let hosts: Option<Vec<Host>> = text.split(',').map(Host::parse).collect();
    if hosts.is_none() {
        mistakes.add(
            flag.dashed(),
            Some(&text),
            "holds something that is no IP address",
            "write IP addresses or localhost; empty is all addresses",
        );
    }
    hosts
}

fn one_host(flags: &Flags, flag: &Flag, mistakes: &mut Mistakes) -> Option<Host> {
    let text = flags.text(flag);
    let host = Host::parse(&text);
    if host.is_none() {
        mistakes.add(
            flag.dashed(),
            Some(&text),
            "is no IP address",
            "write one IP address or localhost; empty is all addresses",
        );
    }
    host
}

fn listen(flags: &Flags, mistakes: &mut Mistakes) -> Option<Listen> {
    let http = one_port(flags, &table::HTTP_PORT, mistakes);
    let grpc = one_port(flags, &table::GRPC_PORT, mistakes);
    let api = hosts(flags, &table::LISTEN_ADDRESSES, mistakes);
    let peer_host = one_host(flags, &table::PEER_ADDRESS, mistakes);
    let peer =
        if flags.text(&table::PEER_PORT).is_empty() { Some(0) } else { one_port(flags, &table::PEER_PORT, mistakes) };
    let metrics = if flags.boolean(&table::ENABLE_METRICS) {
        let number = one_port(flags, &table::METRICS_PORT, mistakes);
        let host = one_host(flags, &table::METRICS_ADDRESS, mistakes);
        Some(host?.at(number?))
    } else {
        None
    };
    let public = if flags.text(&table::PUBLIC_PORT).is_empty() {
        None
    } else {
        let number = one_port(flags, &table::PUBLIC_PORT, mistakes);
        let host = one_host(flags, &table::PUBLIC_ADDRESS, mistakes);
        Some(host?.at(number?))
    };
    let (http, grpc, api) = (http?, grpc?, api?);
    if http == grpc && http != 0 {
        mistakes.add(
            "--dapr-grpc-port",
            Some(&grpc.to_string()),
            "is the port of --dapr-http-port as well",
            "give each its own port",
        );
    }
    Some(Listen {
        http: api.iter().map(|host| host.at(http)).collect(),
        grpc: api.iter().map(|host| host.at(grpc)).collect(),
        public,
        peer: peer_host?.at(peer?),
        metrics,
    })
}

fn channel(flags: &Flags, mistakes: &mut Mistakes) -> Option<AppChannel> {
    let protocol = protocol(flags, mistakes);
    let host = flags.text(&table::APP_CHANNEL_ADDRESS);
    let is_host = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    if !is_host {
        mistakes.add(
            "--app-channel-address",
            Some(&host),
            "is no host",
            "write the name or address of the machine on which the app listens, such as 127.0.0.1",
        );
    }
    let text = flags.text(&table::APP_PORT);
    let number = if text.is_empty() { 0 } else { one_port(flags, &table::APP_PORT, mistakes)? };
    // As in stock, port 0 is an app that only calls.
    if number == 0 || !is_host {
        return None;
    }
    // As in stock, zero and less set no bound.
    let max_concurrency = usize::try_from(flags.int(&table::APP_MAX_CONCURRENCY)).ok().and_then(NonZeroUsize::new);
    Some(AppChannel { host, port: number, protocol: protocol?, max_concurrency })
}

fn protocol(flags: &Flags, mistakes: &mut Mistakes) -> Option<AppProtocol> {
    let text = flags.text(&table::APP_PROTOCOL);
    let known = match text.to_ascii_lowercase().as_str() {
        "" | "http" => Some(AppProtocol::Http),
        "h2c" => Some(AppProtocol::H2c),
        "grpc" => Some(AppProtocol::Grpc),
        _ => None,
    };
    if known.is_none() {
        let (reason, fix) = match text.to_ascii_lowercase().as_str() {
            "https" | "grpcs" => (
                "asks for TLS to the app, which is not supported yet",
                "use http, h2c or grpc; docs/not-supported.md says what to do instead",
            ),
            _ => ("is no protocol of an app", "use http, h2c or grpc"),
        };
        mistakes.add("--app-protocol", Some(&text), reason, fix);
    }
    known
}

fn conflicts(channel: &AppChannel, listen: &Listen, mistakes: &mut Mistakes) {
    let mut check = |flag: &Flag, addresses: &[SocketAddr]| {
        let app = channel.port;
        if addresses.iter().any(|address| address.port() == app) {
            mistakes.add(
                flag.dashed(),
                Some(&app.to_string()),
                "is the port of --app-port as well",
                "give the sidecar and the app different ports",
            );
        }
    };
    check(&table::HTTP_PORT, &listen.http);
    check(&table::GRPC_PORT, &listen.grpc);
}

/// The app is asked nothing at start in this build; the names still must be right.
fn init_endpoints(flags: &Flags, mistakes: &mut Mistakes) {
    for endpoint in flags.list(&table::DISABLE_INIT_ENDPOINTS) {
        let name = endpoint.trim().to_ascii_lowercase();
        if !matches!(name.as_str(), "" | "config" | "subscribe") {
            mistakes.add(
                "--disable-init-endpoints",
                Some(&endpoint),
                "is no init endpoint",
                "use config, subscribe or both",
            );
        }
    }
}

/// As in stock, a negative time means the default.
fn graceful(flags: &Flags) -> Duration {
    match u64::try_from(flags.int(&table::GRACEFUL_SECONDS)) {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => Duration::from_secs(5),
    }
}

/// The flag goes over the Configuration, and that over the flag's default.
fn log(flags: &Flags, configured: Option<bool>, mistakes: &mut Mistakes) -> Option<Log> {
    let text = flags.text(&table::LOG_LEVEL);
    let level = text.parse::<Level>().map_err(|_| {
        mistakes.add("--log-level", Some(&text), "is no log level", "use debug, info, warn, error or fatal");
    });
    Some(Log {
        level: level.ok()?,
        json: flags.boolean(&table::LOG_AS_JSON),
        access: match configured {
            Some(enabled) if !flags.is_given(&table::ENABLE_API_LOGGING) => enabled,
            _ => flags.boolean(&table::ENABLE_API_LOGGING),
        },
    })
}

/// The defaults, with the request head that was asked for. hyper takes no
/// less than 8 KiB.
fn limits(flags: &Flags, mistakes: &mut Mistakes) -> Limits {
    const LEAST: u64 = 8 * 1024;
    let head = size(flags, &table::READ_BUFFER_SIZE, &table::READ_BUFFER_KB, 10, mistakes);
    let defaults = Limits::default();
    if head == 0 {
        return defaults;
    }
    let head = head.max(LEAST);
    Limits { http1_header_bytes: head, http2_header_list_bytes: head, ..defaults }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
