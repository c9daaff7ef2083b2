//! What each room is told, from the sidecar's configuration.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use anyhow::Context as _;
use http::HeaderValue;
use outrigger_api::app::Channel;
use outrigger_api::{
    ApiRules, ApiToken, AppConnection, Browser, CallLog, Groups, Metadata, Metrics, RegisteredComponent,
};
use outrigger_blocks::Forwarded;
use outrigger_blocks::app::{self, AppProtocol};
use outrigger_blocks::error::Manner;
use outrigger_policy::access::CallProtocol;
use outrigger_resources::configuration::{ApiLogging, ApiProtocol, ApiRule};
use outrigger_telemetry::metrics::Registry;
use outrigger_telemetry::trace::{Exporter, Sampler, Tracer};
use outrigger_wire::Limits;
use outrigger_wire::path::Rules;

use crate::admin::Admin;
use crate::command::version;
use crate::config::sidecar::Sidecar;
use crate::config::table::Persona;

/// Where everything is counted.
pub(crate) fn registry(config: &Sidecar) -> Registry {
    let series = Limits::size(config.limits.metric_series);
    match config.configuration.metrics.latency_buckets.as_slice() {
        [] => Registry::with_max_series(series),
        // Histograms refer to their bounds for as long as the process lives, and it has one registry.
        bounds => Registry::with_bounds(series, Vec::leak(bounds.to_vec())),
    }
}

/// Where spans go, and who carries them there; nobody when there is no collector.
///
/// # Errors
///
/// A collector whose address cannot be used.
pub(crate) fn tracer(
    config: &Sidecar,
    admin: &Admin,
    metrics: &Registry,
) -> anyhow::Result<(Tracer, Option<Exporter>)> {
    match &config.spans {
        Some(spans) => {
            let (tracer, exporter) = Exporter::start(spans.clone(), metrics, admin.handle())?;
            Ok((tracer, Some(exporter)))
        }
        None => {
            let rate = config.configuration.tracing.effective_sampling_rate();
            Ok((Tracer::new(Sampler::ratio(rate)), None))
        }
    }
}

/// The gate before the app.
///
/// # Errors
///
/// A token that cannot stand in a header.
pub(crate) fn app_config(config: &Sidecar, limits: &Arc<Limits>) -> anyhow::Result<app::Config> {
    let token = config.app_token.as_ref().map(|token| -> anyhow::Result<HeaderValue> {
        let mut value = HeaderValue::from_str(&token.0).context("APP_API_TOKEN cannot stand in a header")?;
        value.set_sensitive(true);
        Ok(value)
    });
    Ok(app::Config {
        app: config.app.clone(),
        protocol: protocol(config),
        token: token.transpose()?,
        max_concurrency: config.channel.as_ref().and_then(|channel| channel.max_concurrency),
        limits: Arc::clone(limits),
    })
}

/// The way to the app; `None` for one that only calls.
///
/// # Errors
///
/// A host that is none.
pub(crate) fn channel(
    config: &Sidecar,
    limits: &Arc<Limits>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Option<Channel>> {
    let channel = config.channel.as_ref().map(|channel| {
        Channel::new(&channel.host, channel.port, channel.protocol, Arc::clone(limits), Arc::clone(metrics))
    });
    Ok(channel.transpose()?)
}

/// By which protocol's rules calls of our app are decided: a caller must not choose.
pub(crate) fn called_by(config: &Sidecar) -> CallProtocol {
    match protocol(config) {
        AppProtocol::Grpc => CallProtocol::Grpc,
        AppProtocol::Http | AppProtocol::H2c => CallProtocol::Http,
    }
}

fn protocol(config: &Sidecar) -> AppProtocol {
    config.channel.as_ref().map_or(AppProtocol::Http, |channel| channel.protocol)
}

/// What callers of the API must show.
pub(crate) fn token(config: &Sidecar) -> Option<ApiToken> {
    config.api_token.as_ref().and_then(|token| ApiToken::new(&token.0))
}

/// An API that only this machine reaches is guarded from its browsers; one that
/// others reach has names that we do not know.
pub(crate) fn browser(config: &Sidecar) -> Browser {
    let local = config.listen.http.iter().all(|address| address.ip().is_loopback());
    match config.persona {
        Persona::Outrigger if local => Browser::Guarded,
        _ => Browser::Stock,
    }
}

/// What calls that leave say of this sidecar. The address is the one that the system would send
/// from; nothing is sent to learn it.
pub(crate) fn forwarded(config: &Sidecar) -> Forwarded {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Forwarded::new(config.host_ip.or_else(own_address), &host)
}

fn own_address() -> Option<IpAddr> {
    // Addresses of documentation (RFC 5737, RFC 3849): routed by default and nobody's.
    let routes: [(SocketAddr, SocketAddr); 2] = [
        (([0, 0, 0, 0], 0).into(), ([192, 0, 2, 1], 80).into()),
        ((Ipv6Addr::UNSPECIFIED, 0).into(), (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 80).into()),
    ];
    routes.into_iter().find_map(|(from, to)| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_unspecified())
    })
}

/// As `daprd` the paths that stock refuses are refused too.
pub(crate) fn rules(config: &Sidecar) -> Rules {
    match config.persona {
        Persona::Daprd => Rules::Stock,
        Persona::Outrigger => Rules::Open,
    }
}

/// As `daprd` the statuses of stock.
pub(crate) fn manner(config: &Sidecar) -> Manner {
    match config.persona {
        Persona::Daprd => Manner::Stock,
        Persona::Outrigger => Manner::Plain,
    }
}

/// Which groups of the API are served over a protocol.
pub(crate) fn api_rules(config: &Sidecar, protocol: ApiProtocol) -> ApiRules {
    let groups = |rules: &[ApiRule]| -> Groups {
        let of_it = rules.iter().filter(|rule| rule.protocol == protocol);
        of_it.map(|rule| (rule.name.clone(), rule.version.clone())).collect()
    };
    let api = &config.configuration.api;
    ApiRules::new(&groups(&api.allowed), &groups(&api.denied))
}

/// How calls of the API are logged beside their access records: stock's line, for a `daprd` and for those who ask for
/// it in a Configuration.
pub(crate) fn call_log(config: &Sidecar) -> Option<CallLog> {
    let logging = &config.configuration.logging;
    let asked_for = config.persona == Persona::Daprd || logging.enabled == Some(true);
    let ApiLogging { obfuscate_urls, omit_health_checks, .. } = *logging;
    (config.log.access && asked_for).then_some(CallLog { obfuscate_urls, omit_health_checks })
}

/// What the sidecar says of itself.
pub(crate) fn metadata(config: &Sidecar) -> Metadata {
    let channel = config.channel.as_ref();
    let connection = AppConnection {
        port: channel.map(|channel| channel.port),
        protocol: protocol(config),
        channel_address: channel.map_or_else(|| "127.0.0.1".to_owned(), |channel| channel.host.clone()),
        max_concurrency: channel
            .and_then(|channel| channel.max_concurrency)
            .map_or(0, |most| u32::try_from(most.get()).unwrap_or(u32::MAX)),
        health: None,
    };
    let resources = &config.resources;
    let components = resources.components.iter().map(|component| RegisteredComponent {
        name: component.name.clone(),
        component_type: component.component_type.clone(),
        version: component.version.clone(),
        capabilities: Vec::new(),
    });
    let endpoints = resources.http_endpoints.iter().map(|endpoint| endpoint.name.clone());
    Metadata::new(config.app.app_id(), version::RUNTIME, Vec::new(), connection)
        .with_resources(components.collect(), endpoints.collect())
}
