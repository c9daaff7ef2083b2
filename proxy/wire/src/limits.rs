//! Every bound of the data path, in one place.

use std::fmt::Write as _;

/// One bound: its name in the table, and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Field name in [`Limits`].
    pub name: &'static str,
    /// Its value, in the unit the table gives.
    pub value: u64,
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident: $default:expr, $unit:literal;)+) => {
        /// Every bound of the data path. Past each stand a clear error and the
        /// counter `outrigger_limit_exceeded_total{limit}`.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl Limits {
            /// Name of every limit, in the order of the table.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];

            $(
                #[doc = concat!("The bound `", stringify!($name), "`, to be named in a failure.")]
                pub const fn $name(&self) -> Limit {
                    Limit { name: stringify!($name), value: self.$name }
                }
            )+

            /// The table in `docs/limits.md`: generated here, compared by a test.
            pub fn table() -> String {
                let default = Self::default();
                let mut table = String::from("| limit | default | unit | what it bounds |\n|---|---|---|---|\n");
                $(
                    let words = [$($doc),+].map(str::trim).join(" ");
                    // Writing to a String cannot fail.
                    let _infallible = writeln!(table, "| `{}` | {} | {} | {} |", stringify!($name), default.$name, $unit, words);
                )+
                table
            }
        }
    };
}

limits! {
    /// Connections that one listener holds open; the next waits in the kernel's queue.
    connections: 10_000, "connections";
    /// Header section of one HTTP/1.1 message, with its first line.
    http1_header_bytes: 65_536, "bytes";
    // Heads are parsed on the stack, with room for 100; a larger value has no effect.
    /// Header fields of one HTTP/1.1 message.
    http1_headers: 100, "fields";
    /// Header list of one HTTP/2 message, after HPACK.
    http2_header_list_bytes: 65_536, "bytes";
    /// Header fields of one HTTP/2 message, after HPACK.
    http2_headers: 256, "fields";
    /// Streams that a client may hold open on one HTTP/2 connection to the API.
    http2_streams: 1_000, "streams";
    /// Receive window of one HTTP/2 stream.
    http2_stream_window: 131_072, "bytes";
    /// Receive window of one HTTP/2 connection from a client of the API.
    http2_connection_window: 1_048_576, "bytes";
    /// Bytes buffered for sending on one HTTP/2 stream.
    http2_send_buffer: 262_144, "bytes";
    /// Streams that a client reset before we answered, on one HTTP/2 connection; past it the connection ends.
    http2_pending_resets: 64, "streams";
    /// Streams that we hold open on one connection to a peer; past it another is made.
    peer_streams: 500, "streams";
    /// Life of a connection to a peer with no stream open.
    peer_idle_timeout_ms: 90_000, "milliseconds";
    /// Connections to one replica of a peer.
    peer_connections: 16, "connections";
    /// Longest request path, without its query.
    path_bytes: 16_384, "bytes";
    /// Idle HTTP/1.1 connections kept to the app.
    app_idle_connections: 256, "connections";
    /// Calls to an HTTP/1.1 app at once; the next waits.
    app_connections: 4_096, "connections";
    /// Calls that wait for their turn in the app under `--app-max-concurrency`; the next is refused.
    app_queue: 4_096, "calls";
    /// Longest wait of a call for its turn in the app.
    app_queue_timeout_ms: 60_000, "milliseconds";
    /// Targets whose endpoints, breakers and connections are kept; the least used goes first.
    targets: 1_024, "targets";
    /// Wait for the whole header section of a request, from its first byte.
    header_timeout_ms: 10_000, "milliseconds";
    /// Life of a client's connection to the API with no request open.
    idle_timeout_ms: 180_000, "milliseconds";
    /// Wait for the reader of a body to take anything of it.
    stall_timeout_ms: 300_000, "milliseconds";
    /// Wait for one TCP connection.
    connect_timeout_ms: 1_000, "milliseconds";
    /// Wait for one TLS handshake, either side.
    handshake_timeout_ms: 5_000, "milliseconds";
    /// TLS handshakes in progress on the peer port; the next waits in the kernel's queue.
    handshakes: 256, "handshakes";
    /// Wait for a peer's answer to a liveness ping on an HTTP/2 connection.
    ping_timeout_ms: 10_000, "milliseconds";
    /// Series of one metric; further label sets are counted in one overflow series.
    metric_series: 1_000, "series";
    /// Spans that wait for export; the next is dropped and counted.
    span_queue: 2_048, "spans";
    /// Values that an app has put into its sidecar's metadata; a new key past it is refused.
    metadata_entries: 128, "entries";
    /// One value put into the sidecar's metadata.
    metadata_value_bytes: 65_536, "bytes";
    /// One message of the sidecar's own gRPC API, either way; such messages are held whole.
    message_bytes: 4_194_304, "bytes";
}

impl Limits {
    /// A duration limit as such.
    pub const fn millis(value: u64) -> std::time::Duration {
        std::time::Duration::from_millis(value)
    }

    /// Receive window of an HTTP/2 connection that strangers share: room for every stream's own.
    ///
    /// With less, a few streams whose data nobody reads would stop all the others.
    pub fn shared_window(&self, streams: u64) -> u32 {
        const MOST: u64 = (1 << 31) - 1;
        Self::word(self.http2_stream_window.saturating_mul(streams).clamp(self.http2_connection_window, MOST))
    }

    /// A count or size as the platform's word; saturates, and no limit is near it.
    pub fn size(value: u64) -> usize {
        usize::try_from(value).unwrap_or(usize::MAX)
    }

    /// A count or size for an HTTP/2 setting; saturates.
    pub fn word(value: u64) -> u32 {
        u32::try_from(value).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_the_docs_is_the_one_in_the_code() {
        let docs = include_str!("../../../docs/limits.md");
        assert!(docs.contains(&Limits::table()), "docs/limits.md is stale; it must contain:\n{}", Limits::table());
    }

    #[test]
    fn a_limit_names_itself() {
        assert_eq!(Limits::default().path_bytes(), Limit { name: "path_bytes", value: 16_384 });
    }
}
