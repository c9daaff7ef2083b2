//! How other apps are found, and how they find this one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use anyhow::Context as _;
use outrigger_identity::AppId;
use outrigger_mesh::Resolver;
use outrigger_mesh::discovery::registry::{self, Announcement, RegistryResolver};
use outrigger_mesh::discovery::sqlite::{self, Registered, SqliteHosts};
use outrigger_mesh::discovery::{Names, NamesOf, Ordered, Polled};
use outrigger_resources::configuration::{NameResolution, SqliteNames};
use outrigger_wire::Limits;

use crate::config::sidecar::Sidecar;
use crate::control_plane::NoRegistry;

/// Everything that finds apps, in order, and everywhere that this one is announced.
pub(crate) struct Discovery {
    /// Asked for every app.
    pub(crate) resolver: Arc<dyn Resolver>,
    /// Where to announce ourselves.
    pub(crate) places: Places,
}

/// Where a sidecar is announced.
#[derive(Default)]
pub(crate) struct Places {
    /// The registry of the embedded control process.
    pub(crate) registry: Option<RegistryResolver>,
    /// The shared file.
    pub(crate) sqlite: Option<SqliteHosts>,
}

/// What is announced. Dropping it takes it back.
pub(crate) struct Announcements {
    registry: Option<registry::Announced>,
    sqlite: Option<Registered>,
}

impl Discovery {
    /// The registry first, where there is one; then what the Configuration names. In the current runtime.
    ///
    /// # Errors
    ///
    /// A source that cannot be used.
    pub(crate) fn start(config: &Sidecar, registry: Option<RegistryResolver>) -> anyhow::Result<Discovery> {
        let mut places = Places { registry: registry.clone(), sqlite: None };
        let mut sources: Vec<Arc<dyn Resolver>> = Vec::new();
        sources.extend(registry.map(|registry| Arc::new(registry) as Arc<dyn Resolver>));
        let most = Limits::size(config.limits.targets);
        match &config.configuration.name_resolution {
            None => {}
            Some(NameResolution::Sqlite(settings)) => {
                let hosts = SqliteHosts::open(file(settings))?;
                places.sqlite = Some(hosts.clone());
                sources.push(Arc::new(Polled::new(hosts, most)));
            }
            Some(NameResolution::Names(template)) => {
                let template = template.clone();
                let names: NamesOf = Arc::new(move |app| vec![template.name(app.app_id(), app.namespace())]);
                sources.push(Arc::new(Polled::new(Names::new("component", names), most)));
            }
            Some(NameResolution::Static(apps)) => {
                let mut known: Vec<(AppId, Vec<String>)> = Vec::with_capacity(apps.len());
                for app in apps {
                    let id = AppId::parse(&app.app, config.app.namespace())
                        .with_context(|| format!("spec.nameResolution: the app `{}`", app.app))?;
                    known.push((id, app.addresses.clone()));
                }
                let names: NamesOf = Arc::new(move |app| {
                    let of_app = known.iter().filter(|(id, _)| id == app);
                    of_app.flat_map(|(_, addresses)| addresses.iter().cloned()).collect()
                });
                sources.push(Arc::new(Polled::new(Names::new("component", names), most)));
            }
            Some(NameResolution::Mdns) => anyhow::bail!("spec.nameResolution: mdns is not in this build"),
        }
        let resolver: Arc<dyn Resolver> = match sources.len() {
            0 => Arc::new(NoRegistry),
            1 => sources.remove(0),
            _ => Arc::new(Ordered::new(sources)),
        };
        Ok(Discovery { resolver, places })
    }
}

impl Places {
    /// Announces the sidecar everywhere, in the current runtime.
    pub(crate) fn announce(&self, announcement: Announcement, app: &AppId, reached: SocketAddr) -> Announcements {
        Announcements {
            sqlite: self.sqlite.as_ref().map(|hosts| hosts.announce(app, reached)),
            registry: self.registry.as_ref().map(|registry| registry.announce(announcement)),
        }
    }
}

impl Announcements {
    /// Takes back what draws new calls; the registry is told that the sidecar drains.
    pub(crate) fn drain(&self) {
        if let Some(registry) = &self.registry {
            registry.drain();
        }
        if let Some(sqlite) = &self.sqlite {
            sqlite.retract();
        }
    }

    /// Waits until every announcement stands.
    pub(crate) async fn stored(&self) {
        if let Some(registry) = &self.registry {
            registry.stored().await;
        }
        if let Some(sqlite) = &self.sqlite {
            sqlite.stored().await;
        }
    }
}

fn file(settings: &SqliteNames) -> sqlite::Config {
    sqlite::Config {
        file: settings.file.clone(),
        timeout: settings.timeout,
        busy_timeout: settings.busy_timeout,
        disable_wal: settings.disable_wal,
        table: settings.table.clone(),
        metadata_table: settings.metadata_table.clone(),
        update_interval: settings.update_interval,
        cleanup_interval: settings.cleanup_interval,
    }
}

/// Where other machines reach the peer port: `given` (`DAPR_HOST_IP`), the address it is bound to, or that of the
/// interface by which packets leave.
pub(crate) fn reached(peer: SocketAddr, given: Option<IpAddr>) -> SocketAddr {
    if !peer.ip().is_unspecified() {
        return peer;
    }
    SocketAddr::new(given.or_else(outbound).unwrap_or(Ipv4Addr::LOCALHOST.into()), peer.port())
}

fn outbound() -> Option<IpAddr> {
    // Addresses for documentation: nothing is sent, the system only says by which address it would be.
    let by = |local: &str, remote: &str| {
        let socket = UdpSocket::bind(local).ok()?;
        socket.connect(remote).ok()?;
        socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified())
    };
    by("0.0.0.0:0", "192.0.2.1:80").or_else(|| by("[::]:0", "[2001:db8::1]:80"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_port_is_reached_where_it_is_bound_or_where_the_machine_is() {
        let bound: SocketAddr = "127.0.0.1:7001".parse().unwrap();
        let given: IpAddr = "10.1.2.3".parse().unwrap();
        assert_eq!(reached(bound, Some(given)), bound);
        assert_eq!(reached("[::]:7001".parse().unwrap(), Some(given)), "10.1.2.3:7001".parse().unwrap());
        let found = reached("0.0.0.0:7001".parse().unwrap(), None);
        assert!(!found.ip().is_unspecified() && found.port() == 7001, "{found}");
    }
}
