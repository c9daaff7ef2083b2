//! Several sources, asked in order.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use outrigger_identity::AppId;
use outrigger_view::Endpoint;
use outrigger_wire::{Cause, Failure};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Resolver;

/// Sources in order: an app is where the first of them that knows it says.
///
/// When that source has no replica left, the next call asks all of them anew.
pub struct Ordered {
    sources: Vec<Arc<dyn Resolver>>,
    runtime: Handle,
    tasks: Mutex<JoinSet<()>>,
}

impl Ordered {
    /// A resolver over `sources`; to be called within the runtime that is to follow them.
    pub fn new(sources: Vec<Arc<dyn Resolver>>) -> Self {
        Self { sources, runtime: Handle::current(), tasks: Mutex::default() }
    }

    /// What the source says, until it says that there is none.
    fn follow(&self, source: watch::Receiver<Arc<Vec<Endpoint>>>) -> watch::Receiver<Arc<Vec<Endpoint>>> {
        let (endpoints, found) = watch::channel(Arc::clone(&source.borrow()));
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        // As many as there are receivers, and those are bounded by the targets that are kept.
        tasks.spawn_on(pass_on(source, endpoints), &self.runtime);
        found
    }
}

async fn pass_on(mut source: watch::Receiver<Arc<Vec<Endpoint>>>, endpoints: watch::Sender<Arc<Vec<Endpoint>>>) {
    loop {
        let changed = tokio::select! {
            changed = source.changed() => changed,
            () = endpoints.closed() => return,
        };
        let now = Arc::clone(&source.borrow_and_update());
        let none = now.is_empty();
        endpoints.send_replace(now);
        if none || changed.is_err() {
            return;
        }
    }
}

#[async_trait]
impl Resolver for Ordered {
    async fn resolve(&self, app: &AppId) -> Result<watch::Receiver<Arc<Vec<Endpoint>>>, Failure> {
        let mut refused: Vec<String> = Vec::new();
        for source in &self.sources {
            match source.resolve(app).await {
                Ok(found) if !found.borrow().is_empty() => return Ok(self.follow(found)),
                Ok(_) => {}
                Err(failure) => match failure.cause() {
                    Cause::Unresolved { target } => refused.push(target.clone()),
                    _ => refused.push(failure.to_string()),
                },
            }
        }
        let target = match refused.is_empty() {
            true => format!("{app}: no source of name resolution knows it"),
            false => refused.join("; and "),
        };
        Err(Failure::new(Cause::Unresolved { target }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Says(watch::Sender<Arc<Vec<Endpoint>>>, &'static str);

    #[async_trait]
    impl Resolver for Says {
        async fn resolve(&self, app: &AppId) -> Result<watch::Receiver<Arc<Vec<Endpoint>>>, Failure> {
            match self.0.borrow().is_empty() {
                true => Err(Failure::new(Cause::Unresolved { target: format!("{app}: not {}", self.1) })),
                false => Ok(self.0.subscribe()),
            }
        }
    }

    fn at(port: u16) -> Arc<Vec<Endpoint>> {
        let address = ([127, 0, 0, 1], port).into();
        Arc::new(vec![Endpoint { instance: port.to_string().into(), address, draining: false }])
    }

    #[tokio::test]
    async fn the_first_source_that_knows_an_app_says_where_it_is_until_it_knows_no_more() {
        let sources =
            [Arc::new(Says(watch::Sender::default(), "here")), Arc::new(Says(watch::Sender::default(), "there"))];
        let ordered = Ordered::new(sources.iter().map(|source| Arc::clone(source) as Arc<dyn Resolver>).collect());
        let app = AppId::new("default", "orders").unwrap();
        let said = async || ordered.resolve(&app).await.map(|found| found.borrow().clone());

        let refused = ordered.resolve(&app).await.unwrap_err().to_string();
        assert_eq!(refused, "cannot resolve orders.default: not here; and orders.default: not there");
        sources[1].0.send_replace(at(2));
        assert_eq!(said().await.unwrap(), at(2));
        sources[0].0.send_replace(at(1));
        let mut found = ordered.resolve(&app).await.unwrap();
        assert_eq!(*found.borrow(), at(1));

        sources[0].0.send_replace(Arc::default());
        found.wait_for(|endpoints| endpoints.is_empty()).await.unwrap();
        while found.changed().await.is_ok() {}
        assert_eq!(said().await.unwrap(), at(2));
    }
}
