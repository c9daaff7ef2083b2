//! Where spans go: the Configuration, and OpenTelemetry's own variables where
//! it names no collector.

use std::time::Duration;

use outrigger_identity::AppId;
use outrigger_resources::configuration::{self as files, Tracing};
use outrigger_telemetry::trace::{Config, Endpoint, OtlpProtocol, Sampler};

use super::Mistakes;
use super::env::Environment;

/// OpenTelemetry's default for one batch.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The resource attribute that names the service.
const SERVICE_NAME: &str = "service.name";

/// The exporter's settings; `None` when spans go nowhere.
pub(crate) fn spans(
    tracing: &Tracing,
    app: Option<&AppId>,
    environment: &Environment,
    mistakes: &mut Mistakes,
) -> Option<Config> {
    let from_environment = match &tracing.otlp {
        Some(_) => None,
        None => of_environment(environment, mistakes),
    };
    // As in stock, a collector from the environment gets every span unless
    // the Configuration says otherwise.
    let rate = match (&from_environment, tracing.sampling_rate) {
        (Some(_), None) => 1.0,
        _ => tracing.effective_sampling_rate(),
    };
    let mut endpoints = Vec::new();
    endpoints.extend(tracing.otlp.as_ref().map(of_configuration));
    endpoints.extend(from_environment);
    let zipkin = tracing.zipkin.clone();
    endpoints.extend(zipkin.map(|url| Endpoint::Zipkin { url, timeout: TIMEOUT }));
    if tracing.stdout {
        endpoints.push(Endpoint::Stdout);
    }
    if rate <= 0.0 {
        return None;
    }
    let mut endpoints = endpoints.into_iter();
    let name = environment
        .text("OTEL_SERVICE_NAME", mistakes)
        .or_else(|| app.map(|app| app.app_id().to_owned()))
        .unwrap_or_default();
    let mut config = Config::new(name, endpoints.next()?);
    config.endpoints.extend(endpoints);
    config.sampler = Sampler::ratio(rate);
    config.resource = resource(environment, mistakes);
    if let Some(name) = config.resource.iter().find(|(key, _)| key == SERVICE_NAME).map(|(_, value)| value.clone())
        && environment.text("OTEL_SERVICE_NAME", mistakes).is_none()
    {
        config.service_name = name;
    }
    config.resource.retain(|(key, _)| key != SERVICE_NAME);
    Some(config)
}

/// `OTEL_RESOURCE_ATTRIBUTES`: `key=value` pairs with commas between, percent-encoded.
fn resource(environment: &Environment, mistakes: &mut Mistakes) -> Vec<(String, String)> {
    const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let Some(text) = environment.text(NAME, mistakes) else { return Vec::new() };
    let mut pairs = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let decoded = |text: &str| percent_encoding::percent_decode_str(text.trim()).decode_utf8_lossy().into_owned();
        match pair.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => pairs.push((decoded(key), decoded(value))),
            _ => mistakes.add(NAME, Some(pair), "is no key=value", "write key=value, with commas between pairs"),
        }
    }
    pairs
}

fn of_configuration(otlp: &files::Otlp) -> Endpoint {
    let scheme = if otlp.secure { "https" } else { "http" };
    Endpoint::Otlp {
        protocol: match otlp.protocol {
            files::OtlpProtocol::Grpc => OtlpProtocol::Grpc,
            files::OtlpProtocol::Http => OtlpProtocol::Http,
        },
        url: format!("{scheme}://{}", otlp.endpoint),
        headers: otlp.headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect(),
        timeout: otlp.timeout.unwrap_or(TIMEOUT),
    }
}

/// `OTEL_EXPORTER_OTLP_*`; those of traces win over those of all signals. The
/// variables with headers the exporter's library reads by itself.
fn of_environment(environment: &Environment, mistakes: &mut Mistakes) -> Option<Endpoint> {
    if environment.text("OTEL_TRACES_EXPORTER", mistakes).as_deref() == Some("none") {
        return None;
    }
    let mut either = |name: &str| {
        let traces = environment.text(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"), mistakes);
        traces.or_else(|| environment.text(&format!("OTEL_EXPORTER_OTLP_{name}"), mistakes))
    };
    let endpoint = either("ENDPOINT")?;
    let protocol = either("PROTOCOL").unwrap_or_default();
    let insecure = either("INSECURE").is_some_and(|text| text == "true");
    let timeout = either("TIMEOUT");
    let timeout = match timeout.as_deref().map(str::parse) {
        None => TIMEOUT,
        Some(Ok(milliseconds)) => Duration::from_millis(milliseconds),
        Some(Err(_)) => {
            mistakes.add(
                "OTEL_EXPORTER_OTLP_TIMEOUT",
                timeout.as_deref(),
                "is no number of milliseconds",
                "write 10000 for ten seconds",
            );
            TIMEOUT
        }
    };
    let url = if insecure {
        format!("http://{}", endpoint.trim_start_matches("http://").trim_start_matches("https://"))
    } else if endpoint.contains("://") {
        endpoint
    } else {
        format!("https://{endpoint}")
    };
    Some(Endpoint::Otlp {
        protocol: if protocol.starts_with("http") { OtlpProtocol::Http } else { OtlpProtocol::Grpc },
        url,
        headers: Vec::new(),
        timeout,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(tracing: &Tracing, set: &[(&str, &str)]) -> Option<String> {
        let mut mistakes = Mistakes::default();
        let config = spans(tracing, None, &Environment::of(set), &mut mistakes);
        assert!(mistakes.is_empty(), "{mistakes}");
        config.map(|config| match config.endpoints.first() {
            Some(Endpoint::Otlp { url, .. }) => url.clone(),
            Some(Endpoint::Zipkin { url, .. }) => url.clone(),
            _ => "stdout".to_owned(),
        })
    }

    #[test]
    fn without_a_collector_no_spans_are_made() {
        assert_eq!(url(&Tracing::default(), &[]), None);
    }

    #[test]
    fn the_environment_names_a_collector_where_the_configuration_does_not() {
        let set = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")];
        assert_eq!(url(&Tracing::default(), &set).as_deref(), Some("http://127.0.0.1:4317"));
        let set = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4317"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "traces:4317"),
            ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
        ];
        assert_eq!(url(&Tracing::default(), &set).as_deref(), Some("http://traces:4317"));
    }

    #[test]
    fn the_configuration_names_a_zipkin() {
        let zipkin = Some("http://zipkin:9411/api/v2/spans".to_owned());
        let tracing = Tracing { sampling_rate: Some(1.0), zipkin: zipkin.clone(), ..Tracing::default() };
        assert_eq!(url(&tracing, &[]), zipkin);
    }

    #[test]
    fn the_environment_describes_the_service() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1");
        let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "team=a%20b, service.name=shop");
        let read = |set: &[(&str, &str)]| {
            let mut mistakes = Mistakes::default();
            let config = spans(&Tracing::default(), None, &Environment::of(set), &mut mistakes);
            assert!(mistakes.is_empty(), "{mistakes}");
            config
        };
        let config = read(&[endpoint, attributes]).unwrap();
        assert_eq!(config.service_name, "shop");
        assert_eq!(config.resource, [("team".to_owned(), "a b".to_owned())]);
        assert_eq!(read(&[endpoint, attributes, ("OTEL_SERVICE_NAME", "b")]).unwrap().service_name, "b");
        assert!(read(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]).is_none());
    }

    #[test]
    fn a_rate_of_zero_makes_no_spans_at_all() {
        let tracing = Tracing { sampling_rate: Some(0.0), stdout: true, otlp: None, zipkin: None };
        assert_eq!(url(&tracing, &[]), None);
    }

    #[test]
    fn a_timeout_that_is_no_number_is_a_mistake() {
        let mut mistakes = Mistakes::default();
        let set = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")];
        let _config = spans(&Tracing::default(), None, &Environment::of(&set), &mut mistakes);
        assert!(mistakes.to_string().contains("OTEL_EXPORTER_OTLP_TIMEOUT=\"10s\""));
    }
}
