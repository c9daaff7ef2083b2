//! The admin side: one thread with a runtime of its own, on which nothing
//! waits for a call and no call waits: metrics, certificates, the registry,
//! spans.

use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context as _;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use outrigger_api::Readiness;
use outrigger_mesh::http::server::{Connection, Service};
use outrigger_telemetry::metrics::Registry;
use outrigger_wire::Body;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// The admin thread. Dropping it ends its runtime, with everything on it.
#[derive(Debug)]
pub(crate) struct Admin {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When the system gives no thread or no runtime.
    pub(crate) fn start() -> anyhow::Result<Admin> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the admin runtime")?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || {
                // A dropped sender ends it as well.
                let _ended = runtime.block_on(stopped);
            })
            .context("cannot start the admin thread")?;
        Ok(Admin { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Where to spawn.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by the panic itself.
            let _panicked = thread.join();
        }
    }
}

/// The metrics listener: Prometheus text on `/` and `/metrics`, health on
/// `/healthz`.
pub(crate) struct MetricsPage {
    registry: Registry,
    readiness: Arc<Readiness>,
}

impl MetricsPage {
    /// The page of this registry.
    pub(crate) fn new(registry: Registry, readiness: Arc<Readiness>) -> Self {
        MetricsPage { registry, readiness }
    }
}

impl Service for MetricsPage {
    async fn call(&self, _connection: &Connection, request: Request<Body>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return status(StatusCode::METHOD_NOT_ALLOWED);
        }
        match request.uri().path() {
            "/" | "/metrics" => {
                let mut text = String::with_capacity(16 * 1024);
                self.registry.encode(&mut text);
                let mut response = Response::new(Body::from(text));
                response
                    .headers_mut()
                    .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
                response
            }
            "/healthz" if self.readiness.waiting_for().is_empty() => status(StatusCode::NO_CONTENT),
            "/healthz" => status(StatusCode::SERVICE_UNAVAILABLE),
            _ => status(StatusCode::NOT_FOUND),
        }
    }
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(page: &MetricsPage, path: &str) -> StatusCode {
        let connection = Connection { peer: "127.0.0.1:1".parse().unwrap(), listener: "metrics" };
        let request = Request::get(path).body(Body::empty()).unwrap();
        page.call(&connection, request).await.status()
    }

    #[tokio::test]
    async fn the_page_has_metrics_and_health() {
        let readiness = Arc::new(Readiness::new());
        let page = MetricsPage::new(Registry::new(), Arc::clone(&readiness));
        assert_eq!(get(&page, "/").await, StatusCode::OK);
        assert_eq!(get(&page, "/healthz").await, StatusCode::SERVICE_UNAVAILABLE);
        readiness.api_is_listening();
        readiness.identity_is_held();
        readiness.app_has_answered();
        assert_eq!(get(&page, "/healthz").await, StatusCode::NO_CONTENT);
        assert_eq!(get(&page, "/debug").await, StatusCode::NOT_FOUND);
    }

    #[test]
    fn dropping_the_admin_ends_its_thread() {
        let admin = Admin::start().unwrap();
        let (alive, ended) = std::sync::mpsc::channel::<()>();
        admin.handle().spawn(async move {
            let _held = alive;
            std::future::pending::<()>().await;
        });
        drop(admin);
        assert!(ended.recv().is_err(), "the task's end is dropped with its runtime");
    }
}
