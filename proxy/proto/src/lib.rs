//! Generated protobuf messages and gRPC services, a module a package.
//!
//! The definitions under `protos/` are our own words for public interfaces
//! (message names and field numbers are facts). Only wire adapters name these
//! types; everything above them uses the floor's own.

#![allow(missing_docs, unreachable_pub, clippy::indexing_slicing, clippy::unwrap_used, reason = "generated code")]

/// `dapr.proto.common.v1`: what calls between sidecars share with the runtime's API.
pub mod common {
    /// The version; a folder of its own, because the packages name each other so.
    pub mod v1 {
        tonic::include_proto!("dapr.proto.common.v1");
    }
}

/// `dapr.proto.internals.v1`: calls between sidecars that speak the Dapr wire.
pub mod internals {
    /// The version; a folder of its own, because the packages name each other so.
    pub mod v1 {
        tonic::include_proto!("dapr.proto.internals.v1");
    }
}

/// `dapr.proto.runtime.v1`: what the sidecar itself serves to apps.
pub mod runtime {
    tonic::include_proto!("dapr.proto.runtime.v1");
}

/// `grpc.health.v1`: whether a gRPC server serves.
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// What the sidecar's gRPC API serves, as an encoded `FileDescriptorSet` for server reflection.
pub const SERVED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/served.bin"));

/// `dapr.proto.sentry.v1`: the certificate authority.
pub mod sentry {
    tonic::include_proto!("dapr.proto.sentry.v1");
}

/// `outrigger.registry.v1`: the registry of the embedded control process.
pub mod registry {
    tonic::include_proto!("outrigger.registry.v1");
}
