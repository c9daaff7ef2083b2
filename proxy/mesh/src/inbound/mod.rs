//! Calls that arrive: terminate mutual TLS, authorise, deliver.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response};
use outrigger_certs::TrustDomains;
use outrigger_identity::{AppId, SpiffeId};
use outrigger_policy::access::{AccessRequest, Action, CallProtocol};
use outrigger_telemetry::access_record::Direction;
use outrigger_telemetry::trace::{SpanKind, TraceContext};
use outrigger_wire::path::Rules;
use outrigger_wire::{Body, CanonicalPath, Cause, Failure, Limits, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::connection::CallRecord;
use crate::listener::{Listener, serve_each};
use crate::measures::{CallerMeasures, Measures};
use crate::outbound::strip_from_app;
use crate::peer::dapr::{self, Called, Refused};
use crate::peer::http2::{self, Socket};
use crate::peer::native;
use crate::{Inbound, Parts, Peers, Wire, drain};

/// Serves peers on `listener` until the drain starts, then lets their open calls finish.
///
/// With mutual TLS a peer that proves no identity of our trust domain gets a TLS alert and
/// nothing else, and the handshake settles which wire is spoken. Returns when the last
/// connection has ended; dropping the future cuts them.
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
    let ended = match port.parts.peers {
        Peers::Clear => {
            let caller = Caller::new(&port, Wire::Dapr, None);
            streams(http2::socket(socket), &caller, drain).await
        }
        Peers::MutualTls => match terminate(&port, socket).await {
            Ok((stream, wire, peer)) => {
                let caller = Caller::new(&port, wire, Some(peer));
                streams(stream, &caller, drain).await
            }
            Err(reason) => {
                port.measures.handshake_failed();
                tracing::info!(peer = %address, %reason, "a peer was refused before its first call");
                return;
            }
        },
    };
    if let Err(failure) = ended {
        tracing::debug!(peer = %address, %failure, "connection of a peer ended");
    }
}

/// Serves the calls of one connection by the wire that it speaks.
async fn streams<S>(stream: S, caller: &Caller<'_>, drain: drain::Watch) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _counted = caller.port.measures.peer_accepted(caller.wire);
    let limits = &caller.port.parts.limits;
    match caller.wire {
        Wire::Dapr => http2::serve(stream, &ByDapr(caller), limits, drain).await,
        Wire::Native | Wire::Local => http2::serve(stream, &ByNative(caller), limits, drain).await,
    }
}

/// Shakes hands; both ends prove who they are, and the wire is settled.
async fn terminate(port: &Port, socket: TcpStream) -> Result<(TlsStream<Socket>, Wire, Peer), String> {
    let identity = port.parts.identity.borrow().clone().ok_or("this sidecar holds no certificate yet")?;
    // Ours first, where the peer offers both.
    let config =
        identity.server_config(&[native::ALPN, dapr::ALPN], &port.trust_domains).map_err(|error| error.to_string())?;
    let within = Limits::millis(port.parts.limits.handshake_timeout_ms);
    let shaking = async {
        // Who only connects and says nothing takes no place.
        let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), http2::socket(socket)).await?;
        let _one_of_few = port.handshakes.acquire().await;
        hello.into_stream(config).await
    };
    let stream = timeout(within, shaking)
        .await
        .map_err(|_| format!("no handshake within {within:?}"))?
        .map_err(|error| outrigger_certs::handshake_reason(&error))?;
    let session = stream.get_ref().1;
    let wire = match session.alpn_protocol() {
        Some(native::ALPN) => Wire::Native,
        Some(dapr::ALPN) => Wire::Dapr,
        _ => return Err("it offered no wire that is spoken here (ALPN outrigger/1 or h2)".to_owned()),
    };
    let id = outrigger_certs::peer_identity(session).map_err(|error| error.to_string())?;
    let tls = outrigger_certs::connection_facts(session).into();
    let app = id.as_dapr().and_then(|dapr| AppId::new(dapr.namespace, dapr.app_id).ok());
    Ok((stream, wire, Peer { id, app, tls }))
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
    wire: Wire,
    /// `None` without mutual TLS.
    peer: Option<Peer>,
    measures: CallerMeasures,
}

/// How a call came, beside its request.
struct Came {
    protocol: CallProtocol,
    trace: TraceContext,
    /// Whether it is meant for the app beside us.
    meant: Result<(), Failure>,
    /// Who it says that it comes from; counts only where nobody proves anything.
    claimed: Option<AppId>,
}

/// Calls of the native wire.
struct ByNative<'a>(&'a Caller<'a>);

impl http2::Handler for ByNative<'_> {
    async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let tracer = &self.0.port.parts.tracer;
        let grpc = header::is_grpc(request.headers());
        let protocol = if grpc { CallProtocol::Grpc } else { CallProtocol::Http };
        let trace = match protocol {
            CallProtocol::Http => tracer.receive(request.headers()),
            CallProtocol::Grpc => tracer.receive_grpc(request.headers()),
        };
        let authority = request.uri().authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let meant = self.0.meant_for_us("authority", authority, true);
        let head = request.method() == Method::HEAD;
        match self.0.answer(Came { protocol, trace, meant, claimed: None }, request).await {
            Ok(response) => response,
            // A body in answer to HEAD would break the stream (RFC 9110, section 9.3.2).
            Err(failure) if head => refusal(&failure).map(|_| Body::empty()),
            Err(failure) => refusal(&failure),
        }
    }
}

/// Calls of the Dapr wire.
struct ByDapr<'a>(&'a Caller<'a>);

impl http2::Handler for ByDapr<'_> {
    async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let limits = &self.0.port.parts.limits;
        dapr::answer(request, limits, async |called| self.call(called).await).await
    }
}

/// The app that the caller's sidecar names in a call by HTTP.
fn named(headers: &http::HeaderMap) -> Option<String> {
    [header::CALLEE_APP_ID, header::DESTINATION_APP_ID]
        .iter()
        .find_map(|name| headers.get(name)?.to_str().ok().map(str::to_owned))
}

impl ByDapr<'_> {
    async fn call(&self, called: Called) -> Result<Response<Body>, Refused> {
        let tracer = &self.0.port.parts.tracer;
        let Called { request, protocol, outer, meant, claimed } = called;
        // Between the sidecars lies a call of gRPC, and its context is the nearest.
        let trace = match outer.filter(|outer| TraceContext::from_grpc(outer).is_some()) {
            Some(outer) => tracer.receive_grpc(&outer),
            None if protocol == CallProtocol::Grpc => tracer.receive_grpc(request.headers()),
            None => tracer.receive(request.headers()),
        };
        let meant = match meant {
            // Whose certificate we hold is whom the peer has dialled.
            None if self.0.peer.is_some() => Ok(()),
            // In clear there is none, and another app may have this address by now.
            None => match named(request.headers()) {
                Some(app) => self.0.meant_for_us("dapr-callee-app-id", &app, false),
                None => Ok(()),
            },
            Some(app) => self.0.meant_for_us("dapr-callee-app-id", &app, false),
        };
        let (verb, path) = (request.method().clone(), request.uri().path().to_owned());
        self.0.answer(Came { protocol, trace, meant, claimed }, request).await.map_err(|failure| {
            let denied = matches!(failure.cause(), Cause::Denied { .. });
            let words = denied.then(|| {
                let id = self.0.peer.as_ref().map_or("", |peer| peer.id.as_str());
                let verb = if protocol == CallProtocol::Grpc { "NONE" } else { verb.as_str() };
                format!("access control policy has denied access to id: {id} operation: {path} verb: {verb}: {failure}")
            });
            Refused { failure, words }
        })
    }
}

impl Caller<'_> {
    fn new(port: &Port, wire: Wire, peer: Option<Peer>) -> Caller<'_> {
        let measures = match &peer {
            Some(peer) => port.measures.caller(&peer.id),
            None => port.measures.claimed(None),
        };
        Caller { port, wire, peer, measures }
    }

    /// Has a call answered by our app where policy allows it, with one record of it.
    async fn answer(&self, came: Came, request: Request<Body>) -> Result<Response<Body>, Failure> {
        let parts = &self.port.parts;
        let Came { protocol, trace, meant, claimed } = came;
        let (id, app) = match &self.peer {
            Some(peer) => (Some(&peer.id), peer.app.clone()),
            None => (None, claimed),
        };
        let by_name;
        let measures = if self.peer.is_some() {
            &self.measures
        } else {
            by_name = self.port.measures.claimed(app.as_ref());
            &by_name
        };
        measures.received.inc();
        let span = parts.tracer.start_with(&trace, SpanKind::Server, || {
            outrigger_telemetry::trace::call_local(parts.this.app_id(), request.uri().path().trim_start_matches('/'))
        });
        let mut record: CallRecord = CallRecord::begin(Direction::Inbound, protocol, span);
        record.describe(&parts.this, request.method());
        record.access.wire(self.wire.name());
        if let Some(id) = id {
            record.access.caller_id(id);
        }
        if let Some(app) = &app {
            record.access.caller_app(app);
        }
        record.access.callee_app(&parts.this);
        record.access.method(request.method());
        record.access.path(request.uri().path());
        record.access.trace(&trace);
        let tls = self.peer.as_ref().map(|peer| Arc::clone(&peer.tls));
        if let Some((version, exchange)) = tls.as_deref().and_then(|tls| tls.split_once(' ')) {
            record.access.tls(version, exchange);
        }
        let request = record.count_upload(request);
        let delivered = match meant.and_then(|()| self.authorise(&request, protocol, measures)) {
            Ok((policy, forward)) => {
                record.access.policy(&policy, true);
                let (caller, wire) = (id.cloned(), self.wire);
                let inbound = Inbound { caller, caller_app: app, protocol, wire, tls, policy, trace };
                self.deliver(inbound, forward, request).await
            }
            Err(failure) => Err(failure),
        };
        match delivered {
            Ok(mut response) => {
                strip_from_app(response.headers_mut());
                measures.answer(response.status().as_u16());
                Ok(record.answered(response, ()))
            }
            Err(failure) => {
                if let Cause::Denied { policy, .. } = failure.cause() {
                    record.access.policy(policy, false);
                }
                record.access.status(failure.http().as_u16());
                record.failed(&failure);
                self.port.measures.failed("inbound", &failure);
                measures.answer(failure.http().as_u16());
                Err(failure)
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
        measures: &CallerMeasures,
    ) -> Result<(Arc<str>, Option<String>), Failure> {
        let parts = &self.port.parts;
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
            caller: self.peer.as_ref().map(|peer| &peer.id),
            protocol,
            verb: request.method().as_str(),
            operation: path.as_str(),
        });
        measures.decided(decision.action);
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
    ///
    /// Over the native wire the whole name is said, over the Dapr wire often without the namespace.
    fn meant_for_us(&self, field: &'static str, named: &str, whole: bool) -> Result<(), Failure> {
        let this = &self.port.parts.this;
        let meant = match named.split_once('.') {
            Some((app, namespace)) => app == this.app_id() && namespace == this.namespace(),
            None => !whole && named == this.app_id(),
        };
        if meant {
            return Ok(());
        }
        Err(Failure::bad_input(field, named, format!("this sidecar answers for {this} only")))
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
