//! Compiles `protos/` with protox, so that no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const FILES: [&str; 6] = [
        "dapr/proto/common/v1/common.proto",
        "dapr/proto/internals/v1/service_invocation.proto",
        "dapr/proto/runtime/v1/dapr.proto",
        "dapr/proto/sentry/v1/sentry.proto",
        "grpc/health/v1/health.proto",
        "outrigger/registry/v1/registry.proto",
    ];
    // What the sidecar's gRPC API serves, and by reflection tells of.
    const SERVED: [&str; 2] = ["dapr/proto/runtime/v1/dapr.proto", "grpc/health/v1/health.proto"];
    println!("cargo:rerun-if-changed=protos");
    let descriptors = protox::compile(FILES, ["protos"])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".dapr.proto.common.v1.StreamPayload")
        .compile_fds(descriptors)?;
    let mut served = protox::Compiler::new(["protos"])?;
    served.include_imports(true).open_files(SERVED)?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("served.bin"), served.encode_file_descriptor_set())?;
    Ok(())
}
