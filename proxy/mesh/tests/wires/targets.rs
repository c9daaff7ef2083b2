//! What is kept of the apps that are called.

use std::sync::Mutex;

use async_trait::async_trait;
use outrigger_identity::AppId;
use outrigger_mesh::Resolver;
use outrigger_wire::{Cause, Failure, Limits};
use tokio::sync::watch;

use crate::bodies::get;
use crate::pair::{Endpoints, Pair, call, only};

/// Watches one app at a time and no more, as a registry that is full does.
struct OneAtATime {
    endpoints: Endpoints,
    watched: Mutex<watch::Sender<Endpoints>>,
}

#[async_trait]
impl Resolver for OneAtATime {
    async fn resolve(&self, _app: &AppId) -> Result<watch::Receiver<Endpoints>, Failure> {
        let mut watched = self.watched.lock().unwrap();
        if watched.receiver_count() > 0 {
            return Err(Failure::new(Cause::Limit { name: "registry_watches", limit: 1 }));
        }
        let (sender, endpoints) = watch::channel(self.endpoints.clone());
        *watched = sender;
        Ok(endpoints)
    }
}

#[tokio::test]
async fn a_second_target_takes_the_place_of_the_oldest() {
    let pair = Pair::start().await;
    let resolver = OneAtATime { endpoints: only(pair.address), watched: Mutex::default() };
    let out = pair.another(resolver, Limits { targets: 1, ..Limits::default() });
    assert!(call(&out, "b", get("/small")).await.is_ok());
    // It could be resolved: what answers there is `b`, and not the `c` that was asked for.
    assert_eq!(call(&out, "c", get("/small")).await.unwrap_err().name(), "tls");
}

#[tokio::test]
async fn the_last_endpoints_of_a_source_that_went_away_are_used() {
    let pair = Pair::start().await;
    drop(pair.endpoints);
    let answer = call(&pair.out, "b", get("/small")).await;
    assert!(answer.is_ok(), "{answer:?}");
}
