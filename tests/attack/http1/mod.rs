//! HTTP/1.1 on the API port.

mod chunks;
mod connections;
mod framing;
mod heads;
mod responses;
mod slow;
mod targets;
mod upgrades;
