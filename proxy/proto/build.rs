//! Compiles `protos/` with protox, so that no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const FILES: [&str; 5] = [
        "dapr/proto/common/v1/common.proto",
        "dapr/proto/internals/v1/service_invocation.proto",
        "dapr/proto/runtime/v1/dapr.proto",
        "dapr/proto/sentry/v1/sentry.proto",
        "outrigger/registry/v1/registry.proto",
    ];
    println!("cargo:rerun-if-changed=protos");
    let descriptors = protox::compile(FILES, ["protos"])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".dapr.proto.common.v1.StreamPayload")
        .compile_fds(descriptors)?;
    Ok(())
}
