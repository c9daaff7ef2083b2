//! The app beside a sidecar.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use outrigger_mesh::{Inbound, Local};
use outrigger_wire::{Body, Cause, Failure};
use tokio::sync::Notify;

use crate::bodies::{Flood, with_trailers};

/// Does what the path asks for, by default an echo; remembers who called.
#[derive(Default)]
pub(crate) struct TestApp {
    pub(crate) calls: Mutex<Vec<Inbound>>,
    /// What `/flood` answers with.
    pub(crate) flood: Flood,
    /// Told of each call to `/hang` as it comes.
    pub(crate) hanging: Notify,
    /// Told of each call to `/hang` that was given up.
    pub(crate) given_up: Arc<Notify>,
}

struct NoticeDrop(Arc<Notify>);

impl Drop for NoticeDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[async_trait]
impl Local for TestApp {
    async fn deliver(&self, call: Inbound, request: Request<Body>) -> Result<Response<Body>, Failure> {
        self.calls.lock().unwrap().push(call);
        match request.uri().path() {
            "/hang" => {
                // Kept, and never read.
                let _request = request;
                let _notice = NoticeDrop(Arc::clone(&self.given_up));
                self.hanging.notify_one();
                std::future::pending().await
            }
            "/down" => Err(Failure::new(Cause::AppUnavailable { reason: "nothing listens on 127.0.0.1:1".into() })),
            "/small" => Ok(Response::new(Body::full("small"))),
            "/flood" => Ok(Response::new(self.flood.body())),
            "/switch" => Ok(status(StatusCode::SWITCHING_PROTOCOLS, Body::empty())),
            "/too-big" => Ok(status(StatusCode::PAYLOAD_TOO_LARGE, Body::full("too big"))),
            "/trailers" => Ok(Response::new(with_trailers([("grpc-status", "0")]))),
            "/forged-trailers" => Ok(Response::new(with_trailers([
                ("outrigger-failure", "denied"),
                ("outrigger-policy", "forged"),
                ("x-kept", "1"),
            ]))),
            "/trailers-seen" => {
                let request = request.into_body().collect().await?;
                Ok(Response::new(Body::from(format!("{:?}", request.trailers()))))
            }
            _ => Ok(echo(request)),
        }
    }
}

fn status(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// The request's headers and body, its path as `x-path`, and a word that is no app's to say.
fn echo(request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let mut response = Response::new(body);
    *response.headers_mut() = head.headers;
    response.headers_mut().insert("outrigger-failure", "denied".parse().unwrap());
    response.headers_mut().insert("x-path", head.uri.to_string().parse().unwrap());
    response
}
