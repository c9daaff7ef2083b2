//! `ca-listen`: the address of the TCP door, kept for whoever starts the process again.
//!
//! A sidecar that misses the process starts it with no word of a TCP door, and the stock
//! sidecars behind that door would then have no authority.

use std::io;
use std::net::SocketAddr;

use super::file;
use super::home::Home;

/// The address kept by a process before us; `None` where there is none that can be read.
pub(crate) fn kept(home: &Home) -> Option<SocketAddr> {
    let path = home.ca_listen();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "cannot read the address of the TCP door");
            return None;
        }
    };
    let address = text.trim_end().parse().ok();
    if address.is_none() {
        tracing::warn!(path = %path.display(), "this file holds no address of a TCP door; remove it");
    }
    address
}

/// Keeps the address: whoever starts the process next opens the door there again.
pub(crate) fn keep(home: &Home, address: SocketAddr) -> io::Result<()> {
    file::replace(&home.ca_listen(), format!("{address}\n").as_bytes())
}

/// From now on there is no TCP door unless it is asked for.
pub(crate) fn forget(home: &Home) -> io::Result<()> {
    file::remove(&home.ca_listen())
}

/// Whether a door at `open` is what somebody wants who asks for `asked`.
pub(crate) fn suits(open: Option<SocketAddr>, asked: SocketAddr) -> bool {
    open.is_some_and(|open| open == asked || (asked.port() == 0 && open.ip() == asked.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_kept_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(&dir.path().join("home")).unwrap();
        assert_eq!(kept(&home), None);
        keep(&home, at("127.0.0.1:4001")).unwrap();
        keep(&home, at("[::1]:4002")).unwrap();
        assert_eq!(kept(&home), Some(at("[::1]:4002")));
        forget(&home).unwrap();
        forget(&home).unwrap();
        assert_eq!(kept(&home), None);
        std::fs::write(home.ca_listen(), "nonsense").unwrap();
        assert_eq!(kept(&home), None);
    }

    #[test]
    fn any_port_of_the_address_suits_who_asks_for_any() {
        let open = Some(at("127.0.0.1:4001"));
        for (asked, suited) in
            [("127.0.0.1:4001", true), ("127.0.0.1:0", true), ("127.0.0.1:4002", false), ("[::1]:0", false)]
        {
            assert_eq!(suits(open, at(asked)), suited, "{asked}");
            assert!(!suits(None, at(asked)));
        }
    }
}
