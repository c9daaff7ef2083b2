//! Which calls an app that speaks a given protocol can take.

use std::fmt;

use outrigger_policy::access::CallProtocol;
use outrigger_wire::{Cause, Failure};

/// What our app speaks on its port (`--app-protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AppProtocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/2 without TLS, prior knowledge: takes HTTP and gRPC.
    H2c,
    /// gRPC.
    Grpc,
}

impl AppProtocol {
    /// As in the flag and in metadata.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::H2c => "h2c",
            Self::Grpc => "grpc",
        }
    }

    /// Whether a call of this kind can be put to the app; HTTP to a gRPC app becomes a call of
    /// its `AppCallback/OnInvoke`.
    ///
    /// # Errors
    /// [`Cause::Unsupported`] naming both, for gRPC to an HTTP/1.1 app, which cannot speak it.
    pub(crate) fn takes(self, call: CallProtocol) -> Result<(), Failure> {
        match (self, call) {
            (Self::Http, CallProtocol::Grpc) => {
                let what = "a gRPC call to an app whose --app-protocol is http; start it with --app-protocol grpc or h2c \
                            if it speaks gRPC";
                Err(Cause::Unsupported { what: what.to_owned() }.into())
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for AppProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_reaches_only_apps_that_speak_it() {
        for (app, call, taken) in [
            (AppProtocol::Http, CallProtocol::Http, true),
            (AppProtocol::Http, CallProtocol::Grpc, false),
            (AppProtocol::H2c, CallProtocol::Http, true),
            (AppProtocol::H2c, CallProtocol::Grpc, true),
            (AppProtocol::Grpc, CallProtocol::Http, true),
            (AppProtocol::Grpc, CallProtocol::Grpc, true),
        ] {
            let name = app.takes(call).map_err(|failure| failure.name());
            assert_eq!(name, if taken { Ok(()) } else { Err("unsupported") }, "{app} {call:?}");
        }
    }
}
