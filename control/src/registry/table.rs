//! What is announced now, and who watches it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outrigger_identity::AppId;
use outrigger_proto::registry as proto;
use tokio::sync::watch;

use super::entry::Entry;

/// Bounds of the registry.
#[derive(Clone, Copy, Debug)]
pub struct RegistryLimits {
    /// Announce streams open at once; default 1,024.
    pub announcements: usize,
    /// Watch streams open at once; default 8,192.
    pub watchers: usize,
}

impl Default for RegistryLimits {
    fn default() -> Self {
        Self { announcements: 1024, watchers: 8192 }
    }
}

/// A bound of the registry was met.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the registry has {limit} open {what} streams and takes no more")]
pub(crate) struct Full {
    what: &'static str,
    limit: usize,
}

/// How many sidecars are here: the number of open Announce streams.
pub type Presence = watch::Receiver<usize>;

/// The set of what is announced. A clone is another handle on the same set.
#[derive(Clone, Debug)]
pub struct Registry {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: RegistryLimits,
    table: Mutex<Table>,
    announcers: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Table {
    // By instance. The number is that of the stream that announced it last.
    entries: BTreeMap<String, (u64, Entry)>,
    watched: BTreeMap<AppId, Watched>,
    watchers: usize,
    streams: u64,
}

#[derive(Debug)]
struct Watched {
    watchers: usize,
    endpoints: watch::Sender<Arc<proto::Endpoints>>,
}

impl Registry {
    /// An empty registry.
    pub fn new(limits: RegistryLimits) -> Self {
        let shared = Shared { limits, table: Mutex::default(), announcers: watch::Sender::new(0) };
        Self { shared: Arc::new(shared) }
    }

    /// How many Announce streams are open, now and after each change.
    pub fn presence(&self) -> Presence {
        self.shared.announcers.subscribe()
    }

    /// Every announced sidecar, sorted by instance.
    pub(crate) fn list(&self) -> Vec<proto::Announcement> {
        self.shared.table().entries.values().map(|(_, entry)| entry.announcement()).collect()
    }

    /// Opens a place for one sidecar; it ends when the value is dropped.
    pub(crate) fn announcer(&self) -> Result<Announcer, Full> {
        let limit = self.shared.limits.announcements;
        let admitted = self.shared.announcers.send_if_modified(|open| {
            let room = *open < limit;
            *open += usize::from(room);
            room
        });
        if !admitted {
            return Err(Full { what: "Announce", limit });
        }
        let mut table = self.shared.table();
        table.streams += 1;
        let stream = table.streams;
        drop(table);
        Ok(Announcer { shared: Arc::clone(&self.shared), stream, instance: None })
    }

    /// The endpoints of one app, now and after each change (a slow watcher sees the last).
    pub(crate) fn watch(&self, app: AppId) -> Result<Watcher, Full> {
        let limit = self.shared.limits.watchers;
        let mut table = self.shared.table();
        if table.watchers >= limit {
            return Err(Full { what: "Watch", limit });
        }
        table.watchers += 1;
        let now = table.endpoints(&app);
        let watched = table
            .watched
            .entry(app.clone())
            .or_insert_with(|| Watched { watchers: 0, endpoints: watch::Sender::new(Arc::new(now)) });
        watched.watchers += 1;
        let endpoints = watched.endpoints.subscribe();
        drop(table);
        Ok(Watcher { shared: Arc::clone(&self.shared), app, endpoints })
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        // No code under the lock leaves the table half changed.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn endpoints(&self, app: &AppId) -> proto::Endpoints {
        let of_app = self.entries.values().filter(|(_, entry)| entry.app == *app);
        proto::Endpoints { endpoints: of_app.map(|(_, entry)| entry.endpoint()).collect() }
    }

    fn put(&mut self, stream: u64, entry: Entry) {
        let app = entry.app.clone();
        let before = self.entries.insert(entry.instance.clone(), (stream, entry));
        self.tell(&app);
        if let Some((_, before)) = before
            && before.app != app
        {
            self.tell(&before.app);
        }
    }

    /// Removes an instance, unless another stream has announced it since.
    fn remove(&mut self, stream: u64, instance: String) {
        if let Slot::Occupied(slot) = self.entries.entry(instance)
            && slot.get().0 == stream
        {
            let (_, entry) = slot.remove();
            self.tell(&entry.app);
        }
    }

    fn tell(&self, app: &AppId) {
        if let Some(watched) = self.watched.get(app) {
            let now = self.endpoints(app);
            watched.endpoints.send_if_modified(|last| {
                let changed = **last != now;
                if changed {
                    *last = Arc::new(now);
                }
                changed
            });
        }
    }
}

/// One open Announce stream. Dropping it takes its entry away.
#[derive(Debug)]
pub(crate) struct Announcer {
    shared: Arc<Shared>,
    stream: u64,
    instance: Option<String>,
}

impl Announcer {
    /// Stores the entry in place of this stream's last one, and of an older stream's
    /// entry for the same instance: a sidecar that comes back is the one that is here.
    pub(crate) fn announce(&mut self, entry: Entry) {
        let mut table = self.shared.table();
        let now = entry.instance.clone();
        let before = self.instance.replace(now.clone()).filter(|before| *before != now);
        if let Some(before) = before {
            table.remove(self.stream, before);
        }
        table.put(self.stream, entry);
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        if let Some(instance) = self.instance.take() {
            self.shared.table().remove(self.stream, instance);
        }
        self.shared.announcers.send_modify(|open| *open = open.saturating_sub(1));
    }
}

/// One open Watch stream.
#[derive(Debug)]
pub(crate) struct Watcher {
    shared: Arc<Shared>,
    app: AppId,
    endpoints: watch::Receiver<Arc<proto::Endpoints>>,
}

impl Watcher {
    /// The endpoints as they are now; what was sent before counts as seen.
    pub(crate) fn now(&mut self) -> proto::Endpoints {
        proto::Endpoints::clone(&self.endpoints.borrow_and_update())
    }

    /// Waits for a change since [`Watcher::now`]. Safe to cancel.
    pub(crate) async fn changed(&mut self) {
        if self.endpoints.changed().await.is_err() {
            // The sender lives in the table for as long as this watcher is counted there.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut table = self.shared.table();
        table.watchers = table.watchers.saturating_sub(1);
        if let Some(watched) = table.watched.get_mut(&self.app) {
            watched.watchers = watched.watchers.saturating_sub(1);
            if watched.watchers == 0 {
                table.watched.remove(&self.app);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        Registry::new(RegistryLimits { announcements: 3, watchers: 2 })
    }

    fn app(id: &str) -> AppId {
        AppId::new("default", id).unwrap()
    }

    fn entry(instance: &str, id: &str, port: u16) -> Entry {
        Entry {
            instance: instance.into(),
            app: app(id),
            peer_address: ([127, 0, 0, 1], port).into(),
            draining: false,
            description: None,
        }
    }

    fn announced(registry: &Registry, entry: Entry) -> Announcer {
        let mut announcer = registry.announcer().unwrap();
        announcer.announce(entry);
        announcer
    }

    fn instances(watcher: &mut Watcher) -> Vec<String> {
        watcher.now().endpoints.into_iter().map(|endpoint| endpoint.instance).collect()
    }

    #[tokio::test]
    async fn an_entry_lives_as_long_as_its_stream() {
        let registry = registry();
        let mut watcher = registry.watch(app("orders")).unwrap();
        assert!(instances(&mut watcher).is_empty());
        let a = announced(&registry, entry("a", "orders", 1));
        watcher.changed().await;
        let b = announced(&registry, entry("b", "orders", 2));
        watcher.changed().await;
        assert_eq!(instances(&mut watcher), ["a", "b"]);
        assert_eq!(registry.list().len(), 2);
        drop(a);
        watcher.changed().await;
        assert_eq!(instances(&mut watcher), ["b"]);
        drop(b);
        assert!(instances(&mut watcher).is_empty());
        assert!(registry.list().is_empty());
        assert!(registry.shared.table().watched.len() == 1);
        drop(watcher);
        assert!(registry.shared.table().watched.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn many_changes_are_told_as_one_and_no_change_is_not_told() {
        let registry = registry();
        let mut watcher = registry.watch(app("orders")).unwrap();
        let mut a = announced(&registry, entry("a", "orders", 1));
        for port in 2..1000 {
            a.announce(entry("a", "orders", port));
        }
        watcher.changed().await;
        assert_eq!(watcher.now().endpoints.first().unwrap().peer_address, "127.0.0.1:999");
        a.announce(entry("a", "orders", 999));
        let _other = announced(&registry, entry("b", "payments", 1));
        let quiet = tokio::time::timeout(std::time::Duration::from_secs(60), watcher.changed());
        assert!(quiet.await.is_err());
    }

    #[test]
    fn a_sidecar_that_comes_back_takes_the_place_of_its_older_stream() {
        let registry = registry();
        let mut watcher = registry.watch(app("orders")).unwrap();
        let old = announced(&registry, entry("a", "orders", 1));
        let _new = announced(&registry, entry("a", "orders", 2));
        drop(old);
        let now = watcher.now();
        assert_eq!(now.endpoints.len(), 1);
        assert_eq!(now.endpoints.first().unwrap().peer_address, "127.0.0.1:2");
    }

    #[test]
    fn a_stream_that_changes_its_app_or_instance_leaves_nothing_behind() {
        let registry = registry();
        let mut orders = registry.watch(app("orders")).unwrap();
        let mut payments = registry.watch(app("payments")).unwrap();
        let mut a = announced(&registry, entry("a", "orders", 1));
        a.announce(entry("a", "payments", 1));
        assert!(instances(&mut orders).is_empty());
        assert_eq!(instances(&mut payments), ["a"]);
        a.announce(entry("b", "orders", 1));
        assert!(instances(&mut payments).is_empty());
        assert_eq!(instances(&mut orders), ["b"]);
        drop(a);
        assert!(registry.list().is_empty());
    }

    #[test]
    fn past_a_bound_a_stream_is_refused_and_room_comes_back() {
        let registry = registry();
        let mut held: Vec<_> = (0..3).map(|_| registry.announcer().unwrap()).collect();
        let error = registry.announcer().unwrap_err();
        assert_eq!(error, Full { what: "Announce", limit: 3 });
        held.pop();
        held.push(registry.announcer().unwrap());
        let watchers: Vec<_> = (0..2).map(|_| registry.watch(app("a")).unwrap()).collect();
        assert_eq!(registry.watch(app("a")).unwrap_err(), Full { what: "Watch", limit: 2 });
        drop(watchers);
        assert!(registry.watch(app("a")).is_ok());
    }

    #[test]
    fn presence_counts_the_open_announce_streams() {
        let registry = registry();
        let presence = registry.presence();
        assert_eq!(*presence.borrow(), 0);
        let a = registry.announcer().unwrap();
        let b = registry.announcer().unwrap();
        assert_eq!(*presence.borrow(), 2);
        drop((a, b));
        assert_eq!(*presence.borrow(), 0);
    }
}
