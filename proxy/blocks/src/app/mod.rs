//! The one gate before our own app: every call that reaches it passes here.
//!
//! The mesh has authorised the call; the gate asks whether the app can take it,
//! replaces the headers that tell who calls, adds the app's token, and hands it to
//! the [`AppChannel`].

mod protocol;
mod stamp;
mod turns;

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use http::header::HeaderValue;
use http::{Request, Response};
use outrigger_identity::AppId;
use outrigger_mesh::{Inbound, Local};
use outrigger_policy::access::CallProtocol;
use outrigger_telemetry::trace::{SpanKind, Tracer};
use outrigger_wire::{Body, Cause, Failure, Limits, header};

pub use protocol::AppProtocol;
use stamp::{Facts, Stamps};
use turns::Turns;

/// Carries a request to the app and its answer back.
pub trait AppChannel: Send + Sync + 'static {
    /// Sends one request, which came as `call` says and is one that the app's protocol takes.
    /// Dropping the future or the response's body cancels it.
    ///
    /// # Errors
    /// [`Cause::AppUnavailable`] when the app cannot be reached, others when it breaks off.
    fn send(
        &self,
        call: CallProtocol,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Body>, Failure>> + Send;
}

/// Settings of the gate.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our own app.
    pub app: AppId,
    /// What it speaks.
    pub protocol: AppProtocol,
    /// What it gets as `dapr-api-token` on every call (`APP_API_TOKEN`); keep it
    /// marked sensitive. `None` sends none.
    pub token: Option<HeaderValue>,
    /// Calls that may be in the app at once; the next waits. `None` sets no bound.
    pub max_concurrency: Option<NonZeroUsize>,
    /// The bounds of the data path.
    pub limits: Arc<Limits>,
}

/// Our app, behind its gate.
pub struct App<C> {
    config: Config,
    stamps: Stamps,
    turns: Option<Turns>,
    tracer: Tracer,
    channel: Option<C>,
}

impl<C: AppChannel> App<C> {
    /// The gate before the app that `channel` reaches; `None` when there is no app port.
    pub fn new(config: Config, channel: Option<C>, tracer: Tracer) -> Self {
        let stamps = Stamps::new(&config.app);
        let turns = config.max_concurrency.map(|most| Turns::new(most, Arc::clone(&config.limits)));
        Self { config, stamps, turns, tracer, channel }
    }

    fn channel(&self) -> Result<&C, Failure> {
        self.channel.as_ref().ok_or_else(|| {
            let app = self.config.app.app_id();
            let reason = format!("the sidecar of {app} was started without an app port; give it --app-port <port>");
            Cause::AppUnavailable { reason }.into()
        })
    }
}

#[async_trait]
impl<C: AppChannel> Local for App<C> {
    async fn deliver(&self, call: Inbound, mut request: Request<Body>) -> Result<Response<Body>, Failure> {
        let channel = self.channel()?;
        self.config.protocol.takes(call.protocol)?;
        let turn = match &self.turns {
            Some(turns) => Some(turns.take().await?),
            None => None,
        };
        let trace = self.tracer.child_of(&call.trace);
        let mut span = self.tracer.start_with(&trace, SpanKind::Client, || request.uri().path().to_owned().into());
        let facts = Facts {
            caller: call.caller,
            caller_app: call.caller_app,
            tls: call.tls,
            policy: call.policy,
            wire: call.wire.name(),
        };
        let headers = request.headers_mut();
        self.stamps.stamp(facts, headers);
        if let Some(token) = &self.config.token {
            headers.insert(header::API_TOKEN, token.clone());
        }
        match call.protocol {
            CallProtocol::Http => trace.inject(headers),
            CallProtocol::Grpc => trace.inject_grpc(headers),
        }
        let answer = channel.send(call.protocol, request).await;
        if let Some(span) = &mut span {
            match &answer {
                Ok(response) => span.http_status(response.status()),
                Err(failure) => span.fail(failure.to_string()),
            }
        }
        match turn {
            Some(turn) => answer.map(|response| turn.until_end_of(response)),
            None => answer,
        }
    }
}
