//! [`Exporter`]: carries ended spans to a collector, out of the way of the data path.
//!
//! Spans wait in a bounded queue. A task on the runtime that is handed in sends them in batches. When the collector is slow or away the
//! queue fills and further spans are dropped and counted; nobody ever waits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{Protocol, SpanExporter as Otlp, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::sampler::Sampler;
use super::stdout;
use super::tracer::Tracer;
use super::zipkin::Zipkin;
use crate::metrics::{Counter, Registry};

/// Where spans go and how they are gathered.
#[derive(Clone, Debug)]
pub struct Config {
    /// Each gets every span.
    pub endpoints: Vec<Endpoint>,
    /// `service.name`; Dapr's is the app ID.
    pub service_name: String,
    /// Further resource attributes.
    pub resource: Vec<(String, String)>,
    /// Which new traces are sampled.
    pub sampler: Sampler,
    /// Most spans waiting; more are dropped and counted. Default 2048.
    pub queue: usize,
    /// Most spans sent at once. Default 512.
    pub batch: usize,
    /// Longest time that a span waits for its batch to fill. Default 5 s.
    pub delay: Duration,
}

impl Config {
    /// The defaults (those of OpenTelemetry's batch processor), for an app ID and one endpoint.
    pub fn new(service_name: impl Into<String>, endpoint: Endpoint) -> Config {
        Config {
            endpoints: vec![endpoint],
            service_name: service_name.into(),
            resource: Vec::new(),
            sampler: Sampler::default(),
            queue: 2048,
            batch: 512,
            delay: Duration::from_secs(5),
        }
    }
}

/// One receiver of spans.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// An OpenTelemetry collector.
    Otlp {
        /// How it is spoken to.
        protocol: OtlpProtocol,
        /// `http://host:port`, for [`OtlpProtocol::Http`] with a path if it is not `/v1/traces`.
        url: String,
        /// Sent with every batch, such as a token of the collector. The library adds what `OTEL_EXPORTER_OTLP_HEADERS` holds.
        headers: Vec<(String, String)>,
        /// Longest wait for one batch. Dapr and OpenTelemetry: 10 s.
        timeout: Duration,
    },
    /// A Zipkin server, spoken to in v2 JSON.
    Zipkin {
        /// `http://host:port/path`; the path is `/api/v2/spans` when there is none.
        url: String,
        /// Longest wait for one batch.
        timeout: Duration,
    },
    /// One line a span in the log, for looking at while developing.
    Stdout,
}

/// The encodings of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// gRPC, by custom on port 4317.
    Grpc,
    /// Protobuf over HTTP/1.1, by custom on port 4318.
    Http,
}

/// Why an exporter cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    /// This build sends spans in clear only.
    #[error(
        "collector {url}: TLS to a collector is not supported; use http:// (in Dapr's Configuration: isSecure: false), with a collector on this host or a mesh between"
    )]
    Tls {
        /// The collector.
        url: String,
    },
    /// Not a URL.
    #[error("collector {url}: not an address of the form http://host:port")]
    Url {
        /// What was given.
        url: String,
    },
    /// A header for the collector cannot be sent.
    #[error("collector header {name:?}: not a valid header name and value")]
    Header {
        /// The header's name; the value may be a secret.
        name: String,
    },
    /// The OTLP library refused.
    #[error("collector {url}: {reason}")]
    Build {
        /// The collector.
        url: String,
        /// What the library says.
        reason: String,
    },
}

/// What came of the spans that were still waiting at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All were handed over, or failed to be and were counted.
    Flushed,
    /// Time ran out; what was left is dropped.
    TimedOut,
}

/// The owner of the exporting task. Dropping it ends the task at once; [`shutdown`](Self::shutdown) sends what waits first.
#[derive(Debug)]
pub struct Exporter {
    stop: oneshot::Sender<()>,
    task: AbortOnDrop,
}

impl Exporter {
    /// Starts the task on `runtime`, and gives the tracer that feeds it.
    ///
    /// Counts into `outrigger_trace_spans_total{outcome}`: `exported`, `failed` (the collector refused or was away), `dropped`
    /// (the queue was full).
    ///
    /// # Errors
    /// When an endpoint cannot be used. A collector that is merely down is no error.
    pub fn start(config: Config, metrics: &Registry, runtime: &Handle) -> Result<(Tracer, Exporter), ExporterError> {
        // Channels of the gRPC client are made inside a runtime.
        let _inside = runtime.enter();
        let resource = resource(&config);
        let sinks =
            config.endpoints.iter().map(|endpoint| Sink::new(endpoint, &resource)).collect::<Result<Vec<_>, _>>()?;
        let counts = Counts::new(metrics);
        let queue = Arc::new(Queue::new(config.queue, config.batch, counts.dropped.clone()));
        let (stop, stopped) = oneshot::channel();
        let task = runtime.spawn(run(queue.clone(), sinks, config.delay, counts, stopped));
        Ok((Tracer::recording(config.sampler, queue), Exporter { stop, task: AbortOnDrop(task) }))
    }

    /// Sends what waits, for at most `timeout`, and ends the task. Spans that end later are dropped.
    pub async fn shutdown(self, timeout: Duration) -> Outcome {
        let Exporter { stop, mut task } = self;
        // A task that has ended already has nothing left to flush.
        let _ = stop.send(());
        match tokio::time::timeout(timeout, &mut task.0).await {
            Ok(_) => Outcome::Flushed,
            Err(_) => Outcome::TimedOut,
        }
    }
}

#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Clone)]
struct Counts {
    exported: Counter,
    failed: Counter,
    dropped: Counter,
}

impl Counts {
    fn new(metrics: &Registry) -> Counts {
        let family =
            metrics.counter("outrigger_trace_spans_total", "Spans that ended, by what became of them.", &["outcome"]);
        Counts {
            exported: family.with(&["exported"]),
            failed: family.with(&["failed"]),
            dropped: family.with(&["dropped"]),
        }
    }
}

/// Ended spans on their way to the exporting task.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Vec<SpanData>>,
    capacity: usize,
    batch: usize,
    full_batch: Notify,
    dropped: Counter,
}

impl Queue {
    fn new(capacity: usize, batch: usize, dropped: Counter) -> Queue {
        let batch = batch.clamp(1, capacity.max(1));
        Queue { waiting: Mutex::default(), capacity, batch, full_batch: Notify::new(), dropped }
    }

    #[cfg(test)]
    pub(super) fn for_test(capacity: usize) -> Queue {
        Queue::new(capacity, capacity, Counter::default())
    }

    /// Adds a span, or drops and counts it when the queue is full. Wakes the task only when a batch is full, so that most spans
    /// cost the data path no system call.
    pub(super) fn push(&self, span: SpanData) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= self.capacity {
            drop(waiting);
            return self.dropped.inc();
        }
        waiting.push(span);
        if waiting.len() == self.batch {
            self.full_batch.notify_one();
        }
    }

    pub(super) fn take(&self) -> Vec<SpanData> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.len().min(self.batch);
        waiting.drain(..count).collect()
    }
}

async fn run(
    queue: Arc<Queue>,
    mut sinks: Vec<Sink>,
    delay: Duration,
    counts: Counts,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut last = false;
    while !last {
        tokio::select! {
            () = queue.full_batch.notified() => {}
            () = tokio::time::sleep(delay) => {}
            _ = &mut stopped => last = true,
        }
        loop {
            let batch = queue.take();
            if batch.is_empty() {
                break;
            }
            for sink in &mut sinks {
                sink.send(&batch, &counts).await;
            }
        }
    }
}

/// One endpoint, and whether it took the last batch.
struct Sink {
    url: String,
    timeout: Duration,
    transport: Transport,
    healthy: bool,
}

enum Transport {
    Otlp(Box<Otlp>),
    Zipkin(Box<Zipkin>),
    Stdout,
}

impl Sink {
    fn new(endpoint: &Endpoint, resource: &Resource) -> Result<Sink, ExporterError> {
        let (url, timeout, transport) = match endpoint {
            Endpoint::Otlp { protocol, url, headers, timeout } => {
                let mut otlp = otlp(*protocol, url, headers, *timeout)?;
                otlp.set_resource(resource);
                (url.clone(), *timeout, Transport::Otlp(Box::new(otlp)))
            }
            Endpoint::Zipkin { url, timeout } => {
                let zipkin = Zipkin::new(url, *timeout, resource)?;
                (url.clone(), *timeout, Transport::Zipkin(Box::new(zipkin)))
            }
            Endpoint::Stdout => ("stdout".to_owned(), Duration::from_secs(10), Transport::Stdout),
        };
        Ok(Sink { url, timeout, transport, healthy: true })
    }

    async fn send(&mut self, batch: &[SpanData], counts: &Counts) {
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let sent = match &self.transport {
            Transport::Stdout => {
                stdout::write(batch);
                Ok(())
            }
            Transport::Zipkin(zipkin) => within(self.timeout, zipkin.send(batch)).await,
            // The library's own retries stay within the same bound.
            Transport::Otlp(otlp) => within(self.timeout, otlp.export(batch.to_vec())).await,
        };
        // One line when it breaks and one when it heals: a collector that is away must not fill the log.
        match sent {
            Ok(()) => {
                counts.exported.add(count);
                if !std::mem::replace(&mut self.healthy, true) {
                    tracing::info!(collector = %self.url, "the trace collector takes spans again");
                }
            }
            Err(reason) => {
                counts.failed.add(count);
                if std::mem::replace(&mut self.healthy, false) {
                    tracing::warn!(collector = %self.url, %reason, "the trace collector did not take spans; they are dropped until it does");
                }
            }
        }
    }
}

async fn within<E: ToString>(limit: Duration, sending: impl Future<Output = Result<(), E>>) -> Result<(), String> {
    match tokio::time::timeout(limit, sending).await {
        Ok(sent) => sent.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer after {limit:?}")),
    }
}

fn resource(config: &Config) -> Resource {
    let further = config.resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    Resource::builder_empty().with_service_name(config.service_name.clone()).with_attributes(further).build()
}

fn otlp(
    protocol: OtlpProtocol,
    url: &str,
    headers: &[(String, String)],
    timeout: Duration,
) -> Result<Otlp, ExporterError> {
    let uri: http::Uri = url.parse().map_err(|_| ExporterError::Url { url: url.to_owned() })?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(ExporterError::Tls { url: url.to_owned() }),
        _ => return Err(ExporterError::Url { url: url.to_owned() }),
    }
    let headers = header_map(headers)?;
    let built = match protocol {
        OtlpProtocol::Grpc => Otlp::builder()
            .with_tonic()
            .with_protocol(Protocol::Grpc)
            .with_endpoint(url)
            .with_timeout(timeout)
            .with_metadata(opentelemetry_otlp::tonic_types::metadata::MetadataMap::from_headers(headers))
            .build(),
        OtlpProtocol::Http => {
            let url =
                if uri.path() == "/" { format!("{}/v1/traces", url.trim_end_matches('/')) } else { url.to_owned() };
            let headers = headers
                .iter()
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect();
            Otlp::builder()
                .with_http()
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(url)
                .with_timeout(timeout)
                .with_headers(headers)
                .build()
        }
    };
    built.map_err(|error| ExporterError::Build { url: url.to_owned(), reason: error.to_string() })
}

fn header_map(headers: &[(String, String)]) -> Result<http::HeaderMap, ExporterError> {
    headers
        .iter()
        .map(|(name, value)| {
            let pair = name.parse::<http::HeaderName>().ok().zip(value.parse::<http::HeaderValue>().ok());
            pair.ok_or_else(|| ExporterError::Header { name: name.clone() })
        })
        .collect()
}
