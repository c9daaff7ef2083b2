//! Between the registry's messages and our own types.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use outrigger_identity::AppId;
use outrigger_proto::registry as proto;
use outrigger_view::Endpoint;

use super::{Announcement, Description};

impl Announcement {
    pub(super) fn to_proto(&self) -> proto::Announcement {
        let shown = &self.description;
        let started = shown.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        proto::Announcement {
            instance: self.instance.to_string(),
            namespace: self.app.namespace().to_owned(),
            app_id: self.app.app_id().to_owned(),
            peer_address: self.peer_address.to_string(),
            draining: self.draining,
            description: Some(proto::Description {
                pid: shown.pid,
                parent_pid: shown.parent_pid,
                http_port: shown.http_port.into(),
                grpc_port: shown.grpc_port.into(),
                metrics_port: shown.metrics_port.into(),
                app_port: shown.app_port.into(),
                app_pid: shown.app_pid,
                command: shown.command.clone(),
                started_at: i64::try_from(started).unwrap_or(i64::MAX),
            }),
        }
    }

    /// `None` when a field that matters cannot be read.
    pub(super) fn from_proto(sent: proto::Announcement) -> Option<Self> {
        let shown = sent.description.unwrap_or_default();
        let port = |port| u16::try_from(port).unwrap_or(0);
        let started = Duration::from_secs(u64::try_from(shown.started_at).unwrap_or(0));
        Some(Self {
            instance: sent.instance.into(),
            app: AppId::new(&sent.namespace, &sent.app_id).ok()?,
            peer_address: sent.peer_address.parse().ok()?,
            draining: sent.draining,
            description: Description {
                pid: shown.pid,
                parent_pid: shown.parent_pid,
                http_port: port(shown.http_port),
                grpc_port: port(shown.grpc_port),
                metrics_port: port(shown.metrics_port),
                app_port: port(shown.app_port),
                app_pid: shown.app_pid,
                command: shown.command,
                started: SystemTime::UNIX_EPOCH.checked_add(started).unwrap_or(SystemTime::UNIX_EPOCH),
            },
        })
    }
}

/// The endpoints of a message that can be read; the others are left out.
pub(super) fn endpoints(sent: proto::Endpoints) -> Vec<Endpoint> {
    let read = |sent: proto::Endpoint| {
        Some(Endpoint {
            instance: sent.instance.into(),
            address: sent.peer_address.parse().ok()?,
            draining: sent.draining,
        })
    };
    sent.endpoints.into_iter().filter_map(read).collect()
}
