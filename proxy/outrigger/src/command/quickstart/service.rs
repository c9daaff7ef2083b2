//! The three services of the quickstart: storefront → orders → payments.
//!
//! Each is a plain HTTP/1.1 app in a process of its own. It calls the next one
//! through its sidecar, and answers with the headers that *its* sidecar gave
//! it, so that what is shown is what the callee saw.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::ValueEnum;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use outrigger_mesh::drain;
use outrigger_mesh::http::client::Client;
use outrigger_mesh::http::server::{Connection, Service, serve};
use outrigger_mesh::listener::Listener;
use outrigger_wire::{Body, Limits};
use serde::{Deserialize, Serialize};

use crate::loopback;
use crate::supervise::{Signals, parent};

/// Largest order, in bytes.
const ORDER_BYTES: usize = 64 * 1024;

/// Longest wait for the next service.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Takes an order from outside and gives it to orders.
    Storefront,
    /// Has payments charge for an order.
    Orders,
    /// Charges.
    Payments,
}

impl Role {
    /// All three, in the order of the call.
    pub(crate) const ALL: [Role; 3] = [Role::Storefront, Role::Orders, Role::Payments];

    /// The app ID.
    pub(crate) fn app_id(self) -> &'static str {
        match self {
            Role::Storefront => "storefront",
            Role::Orders => "orders",
            Role::Payments => "payments",
        }
    }

    /// The one path it answers.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Role::Storefront => "/buy",
            Role::Orders => "/order",
            Role::Payments => "/charge",
        }
    }

    /// Whom it calls.
    pub(crate) fn next(self) -> Option<Role> {
        match self {
            Role::Storefront => Some(Role::Orders),
            Role::Orders => Some(Role::Payments),
            Role::Payments => None,
        }
    }
}

/// What a service answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    /// Who answers.
    pub(crate) service: String,
    /// What its sidecar said about the caller.
    pub(crate) saw: Saw,
    /// What the next service answered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) then: Option<Box<Receipt>>,
}

/// The headers that a callee's sidecar sets; empty where there was none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saw {
    /// `outrigger-caller-id`
    pub(crate) caller: String,
    /// `outrigger-wire`
    pub(crate) wire: String,
    /// `outrigger-tls`
    pub(crate) tls: String,
    /// `outrigger-policy`
    pub(crate) policy: String,
    /// `dapr-callee-app-id`
    pub(crate) callee: String,
    /// Trace ID of `traceparent`.
    pub(crate) trace: String,
}

impl Saw {
    fn of(headers: &HeaderMap) -> Saw {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        Saw {
            caller: text("outrigger-caller-id"),
            wire: text("outrigger-wire"),
            tls: text("outrigger-tls"),
            policy: text("outrigger-policy"),
            callee: text("dapr-callee-app-id"),
            trace: text("traceparent").split('-').nth(1).unwrap_or_default().to_owned(),
        }
    }
}

/// Serves one role until it is asked to end.
///
/// # Errors
///
/// The port is taken, or the process that started us is gone.
pub(crate) async fn run(role: Role, run_pid: u32, port: u16, sidecar: SocketAddr) -> anyhow::Result<u8> {
    let mut signals = Signals::listen()?;
    parent::end_with(run_pid)?;
    let listener = Listener::bind("app", SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let (drain, watch) = drain::channel();
    let shop = Shop { role, sidecar, client: loopback::client(sidecar) };
    let serving = serve(listener, Arc::new(shop), Arc::new(Limits::default()), watch);
    let ending = async {
        signals.next().await;
        drain.start();
    };
    tokio::join!(serving, ending);
    Ok(0)
}

struct Shop {
    role: Role,
    sidecar: SocketAddr,
    client: Client,
}

impl Service for Shop {
    async fn call(&self, _connection: &Connection, request: Request<Body>) -> Response<Body> {
        if request.method() != Method::POST || request.uri().path() != self.role.path() {
            return answer(StatusCode::NOT_FOUND, &format!("POST {} is what I know", self.role.path()));
        }
        let (head, body) = request.into_parts();
        let order = match Limited::new(body, ORDER_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return answer(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        match self.handle(&head.headers, order).await {
            Ok(receipt) => json(&receipt),
            Err(error) => answer(StatusCode::BAD_GATEWAY, &format!("{error:#}")),
        }
    }
}

impl Shop {
    async fn handle(&self, headers: &HeaderMap, order: Bytes) -> anyhow::Result<Receipt> {
        let then = match self.role.next() {
            Some(next) => Some(Box::new(self.forward(next, headers, order).await?)),
            None => None,
        };
        Ok(Receipt { service: self.role.app_id().to_owned(), saw: Saw::of(headers), then })
    }

    /// Hands the order on, as a tracing library would: with the trace context.
    async fn forward(&self, next: Role, headers: &HeaderMap, order: Bytes) -> anyhow::Result<Receipt> {
        let path = format!("/v1.0/invoke/{}/method{}", next.app_id(), next.path());
        let mut sent = HeaderMap::new();
        sent.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for name in ["traceparent", "tracestate"].map(HeaderName::from_static) {
            if let Some(value) = headers.get(&name) {
                sent.insert(name, value.clone());
            }
        }
        let answer = loopback::call(&self.client, self.sidecar, Method::POST, &path, sent, order, PATIENCE).await?;
        anyhow::ensure!(
            answer.status == StatusCode::OK,
            "{} answered {}: {}",
            next.app_id(),
            answer.status,
            answer.text()
        );
        Ok(serde_json::from_slice(&answer.body)?)
    }
}

fn json(receipt: &Receipt) -> Response<Body> {
    match serde_json::to_vec_pretty(receipt) {
        Ok(mut text) => {
            text.push(b'\n');
            let mut response = Response::new(Body::from(Bytes::from(text)));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn answer(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callee_tells_what_its_sidecar_told_it() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("outrigger-caller-id", "spiffe://public/ns/default/storefront"),
            ("outrigger-wire", "native"),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let saw = Saw::of(&headers);
        assert_eq!(saw.caller, "spiffe://public/ns/default/storefront");
        assert_eq!(saw.wire, "native");
        assert_eq!(saw.trace, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(saw.policy, "");
    }

    #[test]
    fn the_three_call_each_other_in_a_line() {
        let mut line = vec![Role::Storefront];
        while let Some(next) = line.last().and_then(|role| role.next()) {
            line.push(next);
        }
        assert_eq!(line, Role::ALL);
    }
}
