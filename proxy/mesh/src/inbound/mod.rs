//! Calls that arrive: terminate mutual TLS, authorise, deliver.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response};
use outrigger_certs::TrustDomains;
use outrigger_identity::{AppId, SpiffeId};
use outrigger_policy::access::{AccessRequest, Action, CallProtocol};
use outrigger_telemetry::access_record::Direction;
use outrigger_telemetry::trace::SpanKind;
use outrigger_wire::path::Rules;
use outrigger_wire::{Body, CanonicalPath, Cause, Failure, Limits, header};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::connection::CallRecord;
use crate::listener::{Listener, serve_each};
use crate::measures::{CallerMeasures, Measures};
use crate::outbound::strip_from_app;
use crate::peer::native::{self, ALPN, Socket};
use crate::{Inbound, Parts, Wire, drain};

/// Serves peers on `listener` until the drain starts, then lets their open calls finish.
///
/// A peer that proves no identity of our trust domain gets a TLS alert and nothing
/// else. Returns when the last connection has ended; dropping the future cuts them.
pub async fn serve(listener: Listener, parts: Parts, drain: drain::Watch) {
    let limits = Arc::clone(&parts.limits);
    let port = Arc::new(Port {
        trust_domains: TrustDomains::from(parts.trust_domain.clone()),
        handshakes: Semaphore::new(Limits::size(limits.handshakes)),
        measures: Measures::new(&parts.metrics, &parts.this),
        parts,
    });
    let watch = drain.clone();
    let full = || port.measures.limit_exceeded("connections");
    serve_each(listener, limits.connections, drain, full, |socket, address| {
        connection(Arc::clone(&port), socket, address, watch.clone())
    })
    .await;
}

/// The peer port.
struct Port {
    parts: Parts,
    trust_domains: TrustDomains,
    handshakes: Semaphore,
    measures: Measures,
}

async fn connection(port: Arc<Port>, socket: TcpStream, address: SocketAddr, drain: drain::Watch) {
    let (stream, peer) = match terminate(&port, socket).await {
        Ok(terminated) => terminated,
        Err(reason) => {
            port.measures.handshake_failed();
            tracing::info!(peer = %address, %reason, "a peer was refused before its first call");
            return;
        }
    };
    let _counted = port.measures.peer_accepted();
    let caller = Caller { measures: port.measures.caller(&peer.id), port: &port, peer };
    if let Err(failure) = native::serve(stream, &caller, &port.parts.limits, drain).await {
        tracing::debug!(peer = %address, id = %caller.peer.id, %failure, "connection of a peer ended");
    }
}

/// Shakes hands; both ends prove who they are.
async fn terminate(port: &Port, socket: TcpStream) -> Result<(TlsStream<Socket>, Peer), String> {
    let identity = port.parts.identity.borrow().clone().ok_or("this sidecar holds no certificate yet")?;
    let config = identity.server_config(&[ALPN], &port.trust_domains).map_err(|error| error.to_string())?;
    let within = Limits::millis(port.parts.limits.handshake_timeout_ms);
    let shaking = async {
        // Who only connects and says nothing takes no place.
        let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), native::socket(socket)).await?;
        let _one_of_few = port.handshakes.acquire().await;
        hello.into_stream(config).await
    };
    let stream = timeout(within, shaking)
        .await
        .map_err(|_| format!("no handshake within {within:?}"))?
        .map_err(|error| outrigger_certs::handshake_reason(&error))?;
    let session = stream.get_ref().1;
    if session.alpn_protocol() != Some(ALPN) {
        return Err("it offered no wire that is spoken here (ALPN outrigger/1)".to_owned());
    }
    let id = outrigger_certs::peer_identity(session).map_err(|error| error.to_string())?;
    let tls = outrigger_certs::connection_facts(session).into();
    let app = id.as_dapr().and_then(|dapr| AppId::new(dapr.namespace, dapr.app_id).ok());
    Ok((stream, Peer { id, app, tls }))
}

/// Who is at the other end of a connection.
struct Peer {
    id: SpiffeId,
    app: Option<AppId>,
    tls: Arc<str>,
}

/// A peer that calls.
struct Caller<'a> {
    port: &'a Port,
    peer: Peer,
    measures: CallerMeasures,
}

impl native::Handler for Caller<'_> {
    async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let parts = &self.port.parts;
        self.measures.received.inc();
        let grpc = header::is_grpc(request.headers());
        let protocol = if grpc { CallProtocol::Grpc } else { CallProtocol::Http };
        let trace = match protocol {
            CallProtocol::Http => parts.tracer.receive(request.headers()),
            CallProtocol::Grpc => parts.tracer.receive_grpc(request.headers()),
        };
        let span = parts.tracer.start_with(&trace, SpanKind::Server, || {
            outrigger_telemetry::trace::call_local(parts.this.app_id(), request.uri().path().trim_start_matches('/'))
        });
        let mut record: CallRecord = CallRecord::begin(Direction::Inbound, protocol, span);
        record.describe(&parts.this, request.method());
        record.access.wire(Wire::Native.name());
        record.access.caller_id(&self.peer.id);
        if let Some(app) = &self.peer.app {
            record.access.caller_app(app);
        }
        record.access.callee_app(&parts.this);
        record.access.method(request.method());
        record.access.path(request.uri().path());
        record.access.trace(&trace);
        if let Some((version, exchange)) = self.peer.tls.split_once(' ') {
            record.access.tls(version, exchange);
        }
        let head = request.method() == Method::HEAD;
        let request = record.count_upload(request);
        let delivered = match self.authorise(&request, protocol) {
            Ok((policy, forward)) => {
                record.access.policy(&policy, true);
                let inbound = Inbound {
                    caller: self.peer.id.clone(),
                    caller_app: self.peer.app.clone(),
                    protocol,
                    wire: Wire::Native,
                    tls: Some(Arc::clone(&self.peer.tls)),
                    policy,
                    trace,
                };
                self.deliver(inbound, forward, request).await
            }
            Err(failure) => Err(failure),
        };
        match delivered {
            Ok(mut response) => {
                strip_from_app(response.headers_mut());
                self.measures.answer(response.status().as_u16());
                record.answered(response, ())
            }
            Err(failure) => {
                if let Cause::Denied { policy, .. } = failure.cause() {
                    record.access.policy(policy, false);
                }
                record.access.status(failure.http().as_u16());
                record.failed(&failure);
                self.port.measures.failed("inbound", &failure);
                self.measures.answer(failure.http().as_u16());
                // A body in answer to HEAD would break the stream (RFC 9110, section 9.3.2).
                if head { refusal(&failure).map(|_| Body::empty()) } else { refusal(&failure) }
            }
        }
    }
}

impl Caller<'_> {
    /// Whether the caller may: the policy that says so, and the path to forward where
    /// it is not the one that came.
    fn authorise(
        &self,
        request: &Request<Body>,
        protocol: CallProtocol,
    ) -> Result<(Arc<str>, Option<String>), Failure> {
        let parts = &self.port.parts;
        self.meant_for_us(request)?;
        if request.method() == Method::CONNECT {
            return Err(Cause::Unsupported { what: "the CONNECT method".to_owned() }.into());
        }
        if request.uri().path().len() as u64 > parts.limits.path_bytes {
            return Err(Failure::limit(parts.limits.path_bytes()));
        }
        if request.headers().len() as u64 > parts.limits.http2_headers {
            return Err(Failure::limit(parts.limits.http2_headers()));
        }
        // A peer's word is not proof: the path is made canonical here again, and policy sees only that.
        let path = CanonicalPath::parse(request.uri().path(), Rules::Open)?;
        let access = Arc::clone(&parts.view.borrow().policies().access);
        let decision = access.decide(&AccessRequest {
            caller: Some(&self.peer.id),
            protocol,
            verb: request.method().as_str(),
            operation: path.as_str(),
        });
        self.measures.decided(decision.action);
        if decision.action == Action::Deny {
            return Err(Failure::new(Cause::Denied {
                policy: Arc::clone(&decision.policy),
                remedy: decision.remedy(),
            }));
        }
        let forward = (path.forward() != request.uri().path()).then(|| path.forward().to_owned());
        Ok((decision.policy, forward))
    }

    /// A peer that was told a wrong address must not have its call answered by the wrong app.
    fn meant_for_us(&self, request: &Request<Body>) -> Result<(), Failure> {
        let this = &self.port.parts.this;
        let authority = request.uri().authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let meant = authority
            .split_once('.')
            .is_some_and(|(app, namespace)| app == this.app_id() && namespace == this.namespace());
        if meant {
            return Ok(());
        }
        Err(Failure::bad_input("authority", authority, format!("this sidecar answers for {this} only")))
    }

    async fn deliver(
        &self,
        call: Inbound,
        forward: Option<String>,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Failure> {
        header::strip_hop_by_hop(request.headers_mut());
        header::strip_control(request.headers_mut());
        let path = match forward {
            None => request.uri().path_and_query().cloned(),
            Some(forward) => Some(with_query(forward, request.uri().query())?),
        };
        let mut uri = http::uri::Parts::default();
        uri.path_and_query = path;
        *request.uri_mut() = http::Uri::from_parts(uri).map_err(|error| Failure::internal(error.to_string()))?;
        let response = self.port.parts.local.deliver(call, request).await?;
        if response.status().is_informational() {
            let reason = format!("it answered {} though nothing had asked for it", response.status());
            return Err(Cause::Protocol { peer: "the app".to_owned(), reason }.into());
        }
        Ok(response)
    }
}

fn with_query(path: String, query: Option<&str>) -> Result<http::uri::PathAndQuery, Failure> {
    let target = match query {
        None => path,
        Some(query) => format!("{path}?{query}"),
    };
    http::uri::PathAndQuery::try_from(target).map_err(|error| Failure::internal(error.to_string()))
}

/// A failure of ours as the native wire carries it.
fn refusal(failure: &Failure) -> Response<Body> {
    let mut response = Response::new(Body::from(failure.to_string()));
    *response.status_mut() = failure.http();
    let headers = response.headers_mut();
    headers.insert(header::FAILURE, HeaderValue::from_static(failure.name()));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Cause::Denied { policy, .. } = failure.cause()
        && let Ok(policy) = HeaderValue::from_str(policy)
    {
        headers.insert(header::POLICY, policy);
    }
    response
}
