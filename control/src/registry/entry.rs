//! An announcement, parsed once.

use std::net::SocketAddr;

use outrigger_identity::{AppId, AppIdError};
use outrigger_proto::registry as proto;

/// Longest instance name, in bytes.
const INSTANCE_MAX: usize = 64;
/// Longest command line kept for display, in bytes.
const COMMAND_MAX: usize = 1024;

/// One sidecar as it announced itself, checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) instance: String,
    pub(crate) app: AppId,
    pub(crate) peer_address: SocketAddr,
    pub(crate) draining: bool,
    pub(crate) description: Option<proto::Description>,
}

/// Why an announcement was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntryError {
    #[error("instance {value:?} is not valid: 1 to {INSTANCE_MAX} letters, digits, '.', '_' or '-'")]
    Instance { value: String },
    #[error(transparent)]
    App(#[from] AppIdError),
    #[error("peer_address {value:?} is not valid: give <IP address>:<port> that a peer can dial")]
    PeerAddress { value: String },
}

impl Entry {
    /// Checks each field that decides anything; the description is only cut to size.
    pub(crate) fn parse(announcement: proto::Announcement) -> Result<Self, EntryError> {
        let proto::Announcement { instance, namespace, app_id, peer_address, draining, description } = announcement;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if instance.is_empty() || instance.len() > INSTANCE_MAX || !instance.bytes().all(allowed) {
            return Err(EntryError::Instance { value: shown(&instance) });
        }
        let app = AppId::new(&namespace, &app_id)?;
        let peer_address = match peer_address.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 && !address.ip().is_unspecified() => address,
            _ => return Err(EntryError::PeerAddress { value: shown(&peer_address) }),
        };
        let description = description.map(|mut description| {
            description.command = printable(&description.command);
            description
        });
        Ok(Self { instance, app, peer_address, draining, description })
    }

    /// The endpoint a watcher is told.
    pub(crate) fn endpoint(&self) -> proto::Endpoint {
        proto::Endpoint {
            instance: self.instance.clone(),
            peer_address: self.peer_address.to_string(),
            draining: self.draining,
        }
    }

    /// The entry as it is listed.
    pub(crate) fn announcement(&self) -> proto::Announcement {
        proto::Announcement {
            instance: self.instance.clone(),
            namespace: self.app.namespace().to_owned(),
            app_id: self.app.app_id().to_owned(),
            peer_address: self.peer_address.to_string(),
            draining: self.draining,
            description: self.description.clone(),
        }
    }
}

fn shown(value: &str) -> String {
    value.chars().take(80).collect()
}

/// The start of a text, without what would steer a terminal.
fn printable(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        let char = if char.is_control() { '\u{fffd}' } else { char };
        if out.len() + char.len_utf8() > COMMAND_MAX {
            break;
        }
        out.push(char);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement() -> proto::Announcement {
        proto::Announcement {
            instance: "a1".into(),
            namespace: "default".into(),
            app_id: "orders".into(),
            peer_address: "127.0.0.1:50002".into(),
            draining: false,
            description: None,
        }
    }

    #[test]
    fn a_good_announcement_is_listed_as_it_came() {
        for address in ["127.0.0.1:1", "[::1]:65535"] {
            let given = proto::Announcement { peer_address: address.into(), ..announcement() };
            assert_eq!(Entry::parse(given.clone()).unwrap().announcement(), given);
        }
    }

    #[test]
    fn each_bad_field_is_refused_by_name_and_value() {
        let long = "i".repeat(65);
        for (given, named) in [
            (proto::Announcement { instance: String::new(), ..announcement() }, "instance \"\""),
            (proto::Announcement { instance: long.clone(), ..announcement() }, "instance \"iii"),
            (proto::Announcement { instance: "a b".into(), ..announcement() }, "instance \"a b\""),
            (proto::Announcement { app_id: "a.b".into(), ..announcement() }, "\"a.b\""),
            (proto::Announcement { app_id: "../x".into(), ..announcement() }, "\"../x\""),
            (proto::Announcement { namespace: String::new(), ..announcement() }, "namespace"),
            (proto::Announcement { peer_address: "orders:80".into(), ..announcement() }, "orders:80"),
            (proto::Announcement { peer_address: "0.0.0.0:80".into(), ..announcement() }, "0.0.0.0"),
            (proto::Announcement { peer_address: "127.0.0.1:0".into(), ..announcement() }, "dial"),
            (proto::Announcement { peer_address: "127.0.0.1".into(), ..announcement() }, "port"),
        ] {
            let error = Entry::parse(given).unwrap_err().to_string();
            assert!(error.contains(named), "{error} does not name {named}");
        }
    }

    #[test]
    fn a_command_line_cannot_steer_a_terminal_or_fill_the_memory() {
        let command = format!("\u{1b}[2J{}", "é".repeat(5000));
        let description = Some(proto::Description { command, ..Default::default() });
        let entry = Entry::parse(proto::Announcement { description, ..announcement() }).unwrap();
        let kept = entry.description.unwrap().command;
        assert!(kept.starts_with("\u{fffd}[2J"));
        assert!(kept.len() <= COMMAND_MAX);
    }
}
