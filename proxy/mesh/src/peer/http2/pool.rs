//! Connections to one replica, each bound to the identity that it proved.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, Response};
use outrigger_certs::{Identity, IdentityWatch};
use outrigger_identity::SpiffeId;
use outrigger_wire::{Body, Cause, Failure, Limits};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::{Connection, Slot, establish, establish_in_clear};
use crate::measures::Measures;
use crate::peer::dapr::{self, Apps};
use crate::{Peers, Wire, net};

/// After a failure to connect, how long callers are told of it without another attempt.
const CONNECT_PAUSE: Duration = Duration::from_millis(50);

/// What every pool dials with.
pub(crate) struct Dialer {
    peers: Peers,
    identity: IdentityWatch,
    limits: Arc<Limits>,
    measures: Arc<Measures>,
    drivers: Mutex<JoinSet<()>>,
}

/// Connections to one replica of one app.
pub(crate) struct Pool(Arc<Shared>);

struct Shared {
    dialer: Arc<Dialer>,
    address: SocketAddr,
    expected: SpiffeId,
    connections: Mutex<Vec<Arc<Connection>>>,
    /// Held by the one task that connects; the last failure to, and when it came.
    connecting: Arc<tokio::sync::Mutex<Option<(Instant, Failure)>>>,
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
    pub(crate) fn new(
        peers: Peers,
        identity: IdentityWatch,
        limits: Arc<Limits>,
        measures: Arc<Measures>,
    ) -> Arc<Self> {
        Arc::new(Self { peers, identity, limits, measures, drivers: Mutex::default() })
    }

    /// The identity to dial with now; `None` where we are configured to have none.
    ///
    /// # Errors
    /// `Unauthenticated` until the first certificate has come.
    fn identity(&self) -> Result<Option<Arc<Identity>>, Failure> {
        if self.peers == Peers::Clear {
            return Ok(None);
        }
        self.identity.borrow().clone().map(Some).ok_or_else(|| {
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
        let (connections, connecting) = (Mutex::default(), Arc::default());
        Self(Arc::new(Shared { dialer, address, expected, connections, connecting }))
    }

    /// A place on a connection whose peer proved to be whom we expect: on one that
    /// stands where there is one, else on a new one.
    ///
    /// # Errors
    /// `Connect`, `Tls`, `Timeout`; `Limit` when every connection is full and there may be
    /// no more.
    pub(crate) async fn lease(&self) -> Result<Lease, Failure> {
        let pool = &self.0;
        let identity = pool.dialer.identity()?;
        if let Some(lease) = pool.standing(Some(generation(identity.as_deref()))).await {
            return Ok(lease);
        }
        // One task connects; those that waited for it find its connection.
        let waiting_since = Instant::now();
        let mut one_connects = Arc::clone(&pool.connecting).lock_owned().await;
        // It may have been renewed while we waited.
        let identity = pool.dialer.identity()?;
        if let Some(lease) = pool.standing(Some(generation(identity.as_deref()))).await {
            return Ok(lease);
        }
        // Who waited for an attempt shares its failure: else a dead replica would make
        // each of a thousand callers wait for the timeouts of all before it.
        if let Some((failed_at, failure)) = &*one_connects
            && *failed_at + CONNECT_PAUSE >= waiting_since
        {
            let failure = failure.clone();
            drop(one_connects);
            return pool.older(failure).await;
        }
        let limits = &pool.dialer.limits;
        if lock(&pool.connections).len() as u64 >= limits.peer_connections {
            pool.dialer.measures.limit_exceeded("peer_connections");
            return Err(Failure::limit(limits.peer_connections()));
        }
        // Not in the call's own future: callers that wait less than a handshake takes would
        // each begin one, and none would ever end it.
        let (tell, told) = oneshot::channel();
        let shared = Arc::clone(pool);
        pool.dialer.own(async move {
            let made = shared.connect(identity.as_deref()).await;
            if let Err(failure) = &made {
                *one_connects = Some((Instant::now(), failure.clone()));
            }
            // A caller that went away leaves the connection to the next.
            let _gone = tell.send(made);
        });
        let connection = match told.await.map_err(|_| Failure::new(Cause::Draining))? {
            Ok(connection) => connection,
            Err(failure) => return pool.older(failure).await,
        };
        let sender = connection.ready().await?;
        let slot = connection.take_slot(limits.peer_streams).ok_or_else(|| Failure::limit(limits.peer_streams()))?;
        Ok(Lease { connection, sender, slot })
    }
}

/// Of a connection made in clear it is 0.
fn generation(identity: Option<&Identity>) -> u64 {
    identity.map_or(0, |identity| identity.generation)
}

impl Shared {
    /// With mutual TLS the peer has proved to be whom we ask for; without it nobody proves
    /// anything, which only our own configuration can bring about.
    fn is_expected(&self, connection: &Connection) -> bool {
        match (&connection.peer, self.dialer.peers) {
            (Some(peer), Peers::MutualTls) => *peer == self.expected,
            (None, Peers::Clear) => true,
            (Some(_), Peers::Clear) | (None, Peers::MutualTls) => false,
        }
    }

    /// A place on a connection made under an older identity of ours, where no newer one can
    /// be had: a peer that cannot renew yet still answers on what stands.
    async fn older(&self, failure: Failure) -> Result<Lease, Failure> {
        let lease = self.standing(None).await.ok_or(failure)?;
        tracing::debug!(address = %self.address, "a call goes by a connection made before our last renewal");
        Ok(lease)
    }

    /// A place on a connection that stands, made under that generation of our identity or
    /// any. One that broke is forgotten.
    async fn standing(&self, generation: Option<u64>) -> Option<Lease> {
        loop {
            let (connection, slot) = {
                let mut connections = lock(&self.connections);
                connections.retain(|connection| self.is_expected(connection) && !connection.is_closed());
                let fits = |made: u64| generation.is_none_or(|generation| made == generation);
                connections.iter().filter(|connection| fits(connection.generation)).find_map(|connection| {
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

    async fn connect(&self, identity: Option<&Identity>) -> Result<Arc<Connection>, Failure> {
        let limits = &self.dialer.limits;
        let within = Limits::millis(limits.connect_timeout_ms);
        let stream = net::connect_to(self.address, within).await?;
        let (connection, driver) = match identity {
            Some(identity) => establish(stream, identity, &self.expected, self.address, limits).await?,
            None => establish_in_clear(stream, limits).await?,
        };
        if !self.is_expected(&connection) {
            // The verifier has held them to it; this holds the verifier to it.
            let proved = connection.peer.as_ref().map_or("nobody", SpiffeId::as_str);
            return Err(Failure::internal(format!("{} proved to be {proved}", self.address)));
        }
        let peer = connection.peer.as_ref().map_or("unproven", SpiffeId::as_str).to_owned();
        let (address, gauge) = (self.address, self.dialer.measures.peer_connected(connection.wire));
        let tls = connection.tls.as_deref().unwrap_or("none");
        tracing::debug!(%address, peer, tls, wire = connection.wire.name(), "connected to a peer");
        self.dialer.own(async move {
            let ended = driver.run().await;
            tracing::debug!(%address, peer, reason = %Ended(&ended), "connection to a peer ended");
            drop(gauge);
        });
        let connection = Arc::new(connection);
        let mut connections = lock(&self.connections);
        // Those made before the renewal finish what they have.
        connections.retain(|other| other.generation >= connection.generation);
        connections.push(Arc::clone(&connection));
        drop(connections);
        Ok(connection)
    }
}

impl Pool {
    /// A pool that connects to nobody.
    #[cfg(test)]
    pub(crate) fn for_test(address: SocketAddr) -> Self {
        let (_, identity) = tokio::sync::watch::channel(None);
        let dialer = Dialer::new(Peers::MutualTls, identity, Arc::default(), Arc::new(Measures::for_test()));
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
    /// Who answers here, as its certificate says; `None` without mutual TLS.
    pub(crate) fn peer(&self) -> Option<&SpiffeId> {
        self.connection.peer.as_ref()
    }

    /// TLS version and key exchange; `None` without.
    pub(crate) fn tls(&self) -> Option<&Arc<str>> {
        self.connection.tls.as_ref()
    }

    /// The wire that is spoken here.
    pub(crate) fn wire(&self) -> Wire {
        self.connection.wire
    }

    /// Sends the request; what comes beside the response is to be kept until its body has ended.
    pub(crate) async fn send(
        self,
        request: Request<Body>,
        apps: &Apps,
        limits: &Limits,
    ) -> Result<(Response<Body>, Occupied), Failure> {
        let response = match self.connection.wire {
            Wire::Dapr => dapr::call(&self.connection, self.sender, request, apps, limits).await?,
            Wire::Native | Wire::Local => self.connection.send(self.sender, request).await?,
        };
        Ok((response, Occupied(self.slot)))
    }
}

// What a poisoned pool holds is checked at every use.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
