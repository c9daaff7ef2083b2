//! `spec.tracing`, `spec.metrics` and `spec.mtls`.

use outrigger_identity::TrustDomain;

use crate::configuration::load::each;
use crate::configuration::settings::{Header, HttpMetrics, Metrics, Mtls, Otlp, OtlpProtocol, Tracing};
use crate::duration::parse_non_negative;
use crate::fields;
use crate::reader::{At, Reader};
use crate::yaml::Value;

/// Most bounds of a histogram: each is a line of every series.
const MAX_BUCKETS: usize = 100;
/// Most patterns of paths.
const MAX_PATTERNS: usize = 1_000;

pub(super) fn tracing(reader: &mut Reader, at: &At<'_>, tracing: &mut Tracing) {
    let Some(fields) = reader.fields(at, fields::TRACING) else { return };
    each(reader, &fields, "samplingRate", |reader, at| {
        tracing.sampling_rate = reader.parsed(at, sampling_rate).or(tracing.sampling_rate);
    });
    each(reader, &fields, "stdout", |reader, at| {
        tracing.stdout = reader.boolean(at).unwrap_or(tracing.stdout);
    });
    each(reader, &fields, "otel", |reader, at| otel(reader, at, &mut tracing.otlp));
    each(reader, &fields, "zipkin", |reader, at| {
        let Some(fields) = reader.fields(at, fields::ZIPKIN) else { return };
        each(reader, &fields, "endpointAddress", |reader, at| {
            tracing.zipkin = reader.parsed(at, http_url).or(tracing.zipkin.take());
        });
    });
}

fn sampling_rate(text: &str) -> Result<f64, &'static str> {
    match text.parse::<f64>() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err("write a number from \"0\" (no traces) to \"1\" (every trace)"),
    }
}

fn otel(reader: &mut Reader, at: &At<'_>, otlp: &mut Option<Otlp>) {
    let Some(fields) = reader.fields(at, fields::OTEL) else { return };
    let earlier = otlp.take().unwrap_or(Otlp {
        endpoint: String::new(),
        protocol: OtlpProtocol::default(),
        secure: true,
        headers: Vec::new(),
        timeout: None,
    });
    let mut next = earlier;
    each(reader, &fields, "endpointAddress", |reader, at| {
        if let Some(endpoint) = reader.parsed(at, host_port) {
            next.endpoint = endpoint;
        }
    });
    each(reader, &fields, "protocol", |reader, at| {
        next.protocol = reader.parsed(at, protocol).unwrap_or(next.protocol);
    });
    each(reader, &fields, "isSecure", |reader, at| {
        next.secure = reader.boolean(at).unwrap_or(next.secure);
    });
    each(reader, &fields, "headers", |reader, at| {
        next.headers = reader.list(at).iter().filter_map(|item| header(reader, item)).collect();
    });
    each(reader, &fields, "timeout", |reader, at| {
        next.timeout = reader.parsed(at, parse_non_negative).or(next.timeout);
    });
    if next.endpoint.is_empty() && fields.get("endpointAddress").is_none() {
        reader.warn(at.node.line, at.path.clone(), "has no endpointAddress: spans are sent nowhere");
    } else {
        *otlp = Some(next);
    }
}

fn protocol(text: &str) -> Result<OtlpProtocol, &'static str> {
    match text {
        "grpc" => Ok(OtlpProtocol::Grpc),
        "http" => Ok(OtlpProtocol::Http),
        _ => Err("write grpc or http"),
    }
}

/// A header as `name=value` (files) or as `name` and `value` (Kubernetes).
fn header(reader: &mut Reader, at: &At<'_>) -> Option<Header> {
    const FIX: &str = "write `- name: <header>` and `value: <text>` below it, with visible ASCII only";
    let header = match &at.node.value {
        // The value may be a token, so a mistake does not show it.
        Value::Scalar { text, .. } => text.split_once('=').map(|(name, value)| (name.trim(), value.trim())),
        _ => {
            let fields = reader.fields(at, fields::HEADER)?;
            let name = fields.required(reader, "name", "the name of the header")?;
            let value = fields.required(reader, "value", "the value of the header")?;
            Some((reader.text(&name)?, reader.text(&value)?))
        }
    };
    match header {
        Some((name, value)) if is_token(name) && value.bytes().all(|byte| matches!(byte, b' '..=b'~')) => {
            Some(Header { name: name.to_owned(), value: value.to_owned() })
        }
        _ => {
            let value = "a header that cannot be sent".to_owned();
            let kind = crate::mistake::MistakeKind::Value { value, fix: FIX.to_owned() };
            reader.mistake(at.node.line, at.path.clone(), kind);
            None
        }
    }
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// `host:port`, where the host may be a name, an IPv4 address, or an IPv6 address in brackets.
pub(super) fn host_port(text: &str) -> Result<String, &'static str> {
    const FIX: &str = "write host:port, without http:// and without a path";
    let (host, port) = text.rsplit_once(':').ok_or(FIX)?;
    let host_is_name =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    let host_is_ipv6 = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    let port_is_one = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    if (host_is_name || host_is_ipv6) && port_is_one { Ok(text.to_owned()) } else { Err(FIX) }
}

/// `http://host:port` with or without a path: no user, query or fragment.
fn http_url(text: &str) -> Result<String, &'static str> {
    const FIX: &str = "write http://host:port/api/v2/spans; https is not supported yet, see docs/not-supported.md";
    let rest = text.strip_prefix("http://").ok_or(FIX)?;
    let authority = rest.split('/').next().unwrap_or_default();
    let host = if authority.ends_with(']') || !authority.contains(':') {
        format!("{authority}:80")
    } else {
        authority.to_owned()
    };
    host_port(&host).map_err(|_| FIX)?;
    let is_path = rest.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
    if is_path { Ok(text.to_owned()) } else { Err(FIX) }
}

pub(super) fn metrics(reader: &mut Reader, at: &At<'_>, metrics: &mut Metrics) {
    let Some(fields) = reader.fields(at, fields::METRICS) else { return };
    each(reader, &fields, "enabled", |reader, at| {
        metrics.enabled = reader.boolean(at).unwrap_or(metrics.enabled);
    });
    each(reader, &fields, "http", |reader, at| metrics.http = http_metrics(reader, at));
    each(reader, &fields, "latencyDistributionBuckets", |reader, at| {
        let bounds: Vec<u32> = reader.list(at).iter().filter_map(|item| reader.parsed(item, bucket)).collect();
        if bounds.len() > MAX_BUCKETS || !bounds.is_sorted_by(|a, b| a < b) {
            reader.wrong(at, format!("write at most {MAX_BUCKETS} whole numbers of milliseconds, each above the last"));
            return;
        }
        metrics.latency_buckets = bounds.into_iter().map(f64::from).collect();
    });
}

fn bucket(text: &str) -> Result<u32, &'static str> {
    match text.parse() {
        Ok(bound) if bound > 0 => Ok(bound),
        _ => Err("write a whole number of milliseconds above 0"),
    }
}

/// As in stock the whole of it is replaced, not field by field.
fn http_metrics(reader: &mut Reader, at: &At<'_>) -> HttpMetrics {
    let mut http = HttpMetrics::default();
    let Some(fields) = reader.fields(at, fields::HTTP_METRICS) else { return http };
    each(reader, &fields, "increasedCardinality", |reader, at| http.increased_cardinality = reader.boolean(at));
    each(reader, &fields, "excludeVerbs", |reader, at| {
        http.exclude_verbs = reader.boolean(at).unwrap_or_default();
    });
    each(reader, &fields, "pathMatching", |reader, at| {
        http.path_matching = reader.list(at).iter().filter_map(|item| reader.text(item).map(str::to_owned)).collect();
        if http.path_matching.len() > MAX_PATTERNS {
            reader.wrong(at, format!("write at most {MAX_PATTERNS} patterns"));
        }
    });
    http
}

pub(super) fn mtls(reader: &mut Reader, at: &At<'_>, mtls: &mut Mtls) {
    let Some(fields) = reader.fields(at, fields::MTLS) else { return };
    each(reader, &fields, "enabled", |reader, at| mtls.enabled = reader.boolean(at).or(mtls.enabled));
    each(reader, &fields, "workloadCertTTL", |reader, at| {
        mtls.workload_cert_ttl = reader.parsed(at, positive).or(mtls.workload_cert_ttl);
    });
    each(reader, &fields, "allowedClockSkew", |reader, at| {
        mtls.allowed_clock_skew = reader.parsed(at, parse_non_negative).or(mtls.allowed_clock_skew);
    });
    each(reader, &fields, "sentryAddress", |reader, at| {
        mtls.sentry_address = reader.parsed(at, host_port).or(mtls.sentry_address.take());
    });
    each(reader, &fields, "tokenValidators", |reader, at| {
        if !reader.list(at).is_empty() {
            reader.warn(
                at.node.line,
                at.path.clone(),
                "is for the certificate authority; a sidecar does nothing with it",
            );
        }
    });
    each(reader, &fields, "controlPlaneTrustDomain", |reader, at| {
        mtls.control_plane_trust_domain =
            reader.parsed(at, TrustDomain::parse).or(mtls.control_plane_trust_domain.take());
    });
}

fn positive(text: &str) -> Result<std::time::Duration, String> {
    match parse_non_negative(text) {
        Ok(duration) if duration.is_zero() => Err("write a duration above 0, for example 24h".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}
