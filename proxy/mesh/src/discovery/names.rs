//! Apps behind host names: static lists, name formats, headless services of Kubernetes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use outrigger_identity::AppId;
use outrigger_view::Endpoint;
use outrigger_wire::Failure;

use super::polled::{Lookup, MOST_ENDPOINTS};
use crate::net;

/// How long the addresses of a name hold. The system's resolver does not tell the lifetime of a record;
/// stock sidecars keep them for 20 s.
const HOLDS: Duration = Duration::from_secs(5);

/// The `host:port`s at which an app is; none when it is not among those that are known.
pub type NamesOf = Arc<dyn Fn(&AppId) -> Vec<String> + Send + Sync>;

/// Looks up the host names at which an app is said to be, all their IPv4 and IPv6 addresses.
pub struct Names {
    names: NamesOf,
    kind: &'static str,
}

impl Names {
    /// `kind` is the name of the component, for messages.
    pub fn new(kind: &'static str, names: NamesOf) -> Self {
        Self { names, kind }
    }
}

#[async_trait]
impl Lookup for Names {
    async fn lookup(&self, app: &AppId) -> Result<Vec<Endpoint>, Failure> {
        let mut found = Vec::new();
        let mut failed = None;
        for name in (self.names)(app).iter().take(MOST_ENDPOINTS) {
            match net::addresses(name).await {
                Ok(addresses) => found.extend(addresses.into_iter().map(|address| Endpoint {
                    // A name tells no replicas apart: another one at the same address is met as the same.
                    instance: address.to_string().into(),
                    address,
                    draining: false,
                })),
                Err(failure) => failed = Some(failure),
            }
        }
        match failed {
            // Some names have addresses: those are where the app is.
            Some(failure) if found.is_empty() => Err(failure),
            _ => Ok(found),
        }
    }

    fn holds(&self) -> Duration {
        HOLDS
    }

    fn hint(&self, app: &AppId) -> String {
        match (self.names)(app).as_slice() {
            [] => format!("it is not listed under the `{}` of spec.nameResolution; add it there", self.kind),
            names => format!(
                "the `{}` of spec.nameResolution says {}, and there is no such name",
                self.kind,
                names.join(", ")
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::{Polled, Resolver as _};

    fn named(names: &'static [&'static str]) -> Names {
        let names_of = move |_: &AppId| names.iter().map(|name| (*name).to_owned()).collect();
        Names::new("static", Arc::new(names_of))
    }

    #[tokio::test]
    async fn each_address_of_each_name_is_a_replica() {
        let app = AppId::new("default", "orders").unwrap();
        let found = named(&["127.0.0.1:7001", "[::1]:7002", "localhost:7003"]).lookup(&app).await.unwrap();
        let at = |text: &str| found.iter().any(|endpoint| endpoint.address == text.parse().unwrap());
        assert!(at("127.0.0.1:7001") && at("[::1]:7002"));
        assert!(at("127.0.0.1:7003") || at("[::1]:7003"));
    }

    #[tokio::test]
    async fn an_app_that_is_not_listed_is_refused_with_what_to_do() {
        let app = AppId::new("default", "orders").unwrap();
        let refused = Polled::new(named(&[]), 8).resolve(&app).await.unwrap_err().to_string();
        assert!(refused.contains("not listed under the `static` of spec.nameResolution"), "{refused}");
        let nowhere = Polled::new(named(&["no-such-host.invalid:1"]), 8).resolve(&app).await.unwrap_err().to_string();
        assert!(nowhere.contains("no-such-host.invalid"), "{nowhere}");
    }
}
