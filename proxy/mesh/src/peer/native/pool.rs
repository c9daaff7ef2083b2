//! Connections to one replica, each bound to the identity that it proved.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, Response};
use outrigger_certs::{Identity, IdentityWatch};
use outrigger_identity::SpiffeId;
use outrigger_wire::{Body, Cause, Failure, Limits};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::{Connection, Slot, establish};
use crate::measures::Measures;
use crate::net;

/// What every pool dials with.
pub(crate) struct Dialer {
    identity: IdentityWatch,
    limits: Arc<Limits>,
    measures: Arc<Measures>,
    drivers: Mutex<JoinSet<()>>,
}

/// Connections to one replica of one app.
pub(crate) struct Pool {
    dialer: Arc<Dialer>,
    address: SocketAddr,
    expected: SpiffeId,
    connections: Mutex<Vec<Arc<Connection>>>,
    /// Held by the one task that connects; the last failure to, and when it came.
    connecting: tokio::sync::Mutex<Option<(Instant, Failure)>>,
}

/// A place for one call on a connection.
pub(crate) struct Lease {
    connection: Arc<Connection>,
    sender: SendRequest<Bytes>,
    slot: Slot,
}

/// Kept until the response body has ended: the connection's place for it.
pub(crate) struct Occupied(#[allow(dead_code, reason = "held for its drop")] Slot);

impl Dialer {
    pub(crate) fn new(identity: IdentityWatch, limits: Arc<Limits>, measures: Arc<Measures>) -> Arc<Self> {
        Arc::new(Self { identity, limits, measures, drivers: Mutex::default() })
    }

    /// The identity to dial with now.
    ///
    /// # Errors
    /// `Unauthenticated` until the first certificate has come.
    fn identity(&self) -> Result<Arc<Identity>, Failure> {
        self.identity.borrow().clone().ok_or_else(|| {
            Failure::new(Cause::Unauthenticated {
                what: "this sidecar holds no certificate yet; is the certificate authority reachable?".to_owned(),
            })
        })
    }

    fn own(&self, driver: impl Future<Output = ()> + Send + 'static) {
        let mut drivers = lock(&self.drivers);
        while drivers.try_join_next().is_some() {}
        drivers.spawn(driver);
    }
}

impl Pool {
    pub(crate) fn new(dialer: Arc<Dialer>, address: SocketAddr, expected: SpiffeId) -> Self {
        Self { dialer, address, expected, connections: Mutex::default(), connecting: tokio::sync::Mutex::default() }
    }

    /// A place on a connection whose peer proved to be whom we expect: on one that
    /// stands where there is one, else on a new one.
    ///
    /// # Errors
    /// `Connect`, `Tls`, `Timeout`; `Limit` when every connection is full and there may be
    /// no more.
    pub(crate) async fn lease(&self) -> Result<Lease, Failure> {
        let identity = self.dialer.identity()?;
        if let Some(lease) = self.standing(&identity).await {
            return Ok(lease);
        }
        // One task connects; those that waited for it find its connection.
        let waiting_since = Instant::now();
        let mut one_connects = self.connecting.lock().await;
        if let Some(lease) = self.standing(&identity).await {
            return Ok(lease);
        }
        // Who waited for an attempt shares its failure: else a dead replica would make
        // each of a thousand callers wait for the timeouts of all before it.
        if let Some((failed_at, failure)) = &*one_connects
            && *failed_at >= waiting_since
        {
            return Err(failure.clone());
        }
        let limits = &self.dialer.limits;
        if lock(&self.connections).len() as u64 >= limits.peer_connections {
            self.dialer.measures.limit_exceeded("peer_connections");
            return Err(Failure::limit(limits.peer_connections()));
        }
        let connection = match self.connect(&identity).await {
            Ok(connection) => connection,
            Err(failure) => {
                *one_connects = Some((Instant::now(), failure.clone()));
                return Err(failure);
            }
        };
        let sender = connection.ready().await?;
        let slot = connection.take_slot(limits.peer_streams).ok_or_else(|| Failure::limit(limits.peer_streams()))?;
        Ok(Lease { connection, sender, slot })
    }

    /// A place on a connection that stands. One made under an older identity is left to
    /// finish what it has; one that broke is forgotten.
    async fn standing(&self, identity: &Identity) -> Option<Lease> {
        loop {
            let (connection, slot) = {
                let mut connections = lock(&self.connections);
                connections.retain(|connection| {
                    connection.generation == identity.generation && connection.peer == self.expected
                });
                connections.iter().find_map(|connection| {
                    let slot = connection.take_slot(self.dialer.limits.peer_streams)?;
                    Some((Arc::clone(connection), slot))
                })?
            };
            match connection.ready().await {
                Ok(sender) => return Some(Lease { connection, sender, slot }),
                Err(_) => lock(&self.connections).retain(|other| !Arc::ptr_eq(other, &connection)),
            }
        }
    }

    async fn connect(&self, identity: &Identity) -> Result<Arc<Connection>, Failure> {
        let limits = &self.dialer.limits;
        let within = Limits::millis(limits.connect_timeout_ms);
        let stream = net::connect_to(self.address, within).await?;
        let (connection, driver) = establish(stream, identity, &self.expected, self.address, limits).await?;
        if connection.peer != self.expected {
            // The verifier has held them to it; this holds the verifier to it.
            return Err(Failure::internal(format!("{} proved to be {}", self.address, connection.peer)));
        }
        let (address, peer, gauge) = (self.address, connection.peer.clone(), self.dialer.measures.peer_connected());
        tracing::debug!(%address, %peer, tls = %connection.tls, "connected to a peer");
        self.dialer.own(async move {
            let ended = driver.run().await;
            tracing::debug!(%address, %peer, reason = %Ended(&ended), "connection to a peer ended");
            drop(gauge);
        });
        let connection = Arc::new(connection);
        lock(&self.connections).push(Arc::clone(&connection));
        Ok(connection)
    }

    /// A pool that connects to nobody.
    #[cfg(test)]
    pub(crate) fn for_test(address: SocketAddr) -> Self {
        let (_, identity) = tokio::sync::watch::channel(None);
        let dialer = Dialer::new(identity, Arc::default(), Arc::new(Measures::for_test()));
        Self::new(dialer, address, SpiffeId::parse("spiffe://public/ns/default/test").unwrap())
    }
}

struct Ended<'a>(&'a Result<(), Failure>);

impl std::fmt::Display for Ended<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Ok(()) => f.write_str("closed"),
            Err(failure) => failure.fmt(f),
        }
    }
}

impl Lease {
    /// Who answers here, as its certificate says.
    pub(crate) fn peer(&self) -> &SpiffeId {
        &self.connection.peer
    }

    /// TLS version and key exchange.
    pub(crate) fn tls(&self) -> &Arc<str> {
        &self.connection.tls
    }

    /// Sends the request; what comes beside the response is to be kept until its body has ended.
    pub(crate) async fn send(self, request: Request<Body>) -> Result<(Response<Body>, Occupied), Failure> {
        let response = self.connection.send(self.sender, request).await?;
        Ok((response, Occupied(self.slot)))
    }
}

// What a poisoned pool holds is checked at every use.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
