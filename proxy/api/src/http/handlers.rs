//! One function an endpoint.

use ::http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use outrigger_blocks::error::Problem;
use outrigger_blocks::invoke::Invocation;
use outrigger_policy::access::CallProtocol;
use outrigger_telemetry::trace::TraceContext;
use outrigger_wire::{Body, Cause, Failure, Limits};
use percent_encoding::percent_decode_str;

use super::{HttpApi, respond};

impl HttpApi {
    pub(super) async fn invoke(
        &self,
        target: &str,
        path: &str,
        context: &TraceContext,
        request: Request<Body>,
    ) -> Response<Body> {
        let trace = context.clone();
        let invocation = Invocation { target, protocol: CallProtocol::Http, path, deadline: None, trace };
        match self.0.invoke.call(invocation, request).await {
            Ok(response) => response,
            Err(failure) => self.failed(Problem::Invoke { target, failure: &failure }),
        }
    }

    pub(super) fn healthz(&self, query: Option<&str>) -> Response<Body> {
        let waiting_for = self.0.readiness.waiting_for();
        if !waiting_for.is_empty() {
            return self.failed(Problem::NotReady { waiting_for: &waiting_for });
        }
        match query.and_then(asked_app_id) {
            Some(asked) if asked != self.0.metadata.app_id() => self.failed(Problem::AppIdMismatch),
            _ => respond::empty(),
        }
    }

    pub(super) fn healthz_outbound(&self) -> Response<Body> {
        let waiting_for = self.0.readiness.outbound_waiting_for();
        if waiting_for.is_empty() {
            return respond::empty();
        }
        self.failed(Problem::OutboundNotReady { waiting_for: &waiting_for })
    }

    pub(super) fn get_metadata(&self) -> Response<Body> {
        respond::json(StatusCode::OK, self.0.metadata.json())
    }

    pub(super) async fn put_metadata(&self, key: &str, body: Body) -> Response<Body> {
        let limits = &self.0.limits;
        let kept = match read_value(key, body, limits).await {
            Ok((key, value)) => self.0.metadata.set(&key, value, limits),
            Err(failure) => Err(failure),
        };
        match kept {
            Ok(()) => respond::empty(),
            Err(failure) => {
                self.0.metrics.count_limit(&failure);
                self.failed(Problem::Request { failure: &failure })
            }
        }
    }

    pub(super) fn shutdown(&self, headers: &HeaderMap) -> Response<Body> {
        self.0.shutdown.ask(headers);
        respond::empty()
    }

    pub(super) fn unimplemented(&self, api: &str) -> Response<Body> {
        let failure = Cause::Unsupported { what: format!("the {api} API") }.into();
        self.failed(Problem::Request { failure: &failure })
    }
}

/// Key and value of a metadata entry, as text.
async fn read_value(key: &str, body: Body, limits: &Limits) -> Result<(String, String), Failure> {
    let key = percent_decode_str(key).decode_utf8();
    let key = key.map_err(|_| Failure::bad_input("metadata key", "", "percent-encoded bytes in it must be UTF-8"))?;
    let wait = Limits::millis(limits.stall_timeout_ms);
    let value = match tokio::time::timeout(wait, read(body, limits)).await {
        Ok(value) => value?,
        Err(_) => return Err(Failure::timeout("request body", wait)),
    };
    let value = String::from_utf8(value).map_err(|_| Failure::bad_input("metadata value", "", "UTF-8 text"))?;
    Ok((key.into_owned(), value))
}

async fn read(mut body: Body, limits: &Limits) -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            value.extend_from_slice(&data);
        }
        if value.len() as u64 > limits.metadata_value_bytes {
            return Err(Failure::limit(limits.metadata_value_bytes()));
        }
    }
    Ok(value)
}

/// The first `appid` of a query.
fn asked_app_id(query: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == "appid").then(|| percent_decode_str(value).decode_utf8_lossy().into_owned())
    })
}
