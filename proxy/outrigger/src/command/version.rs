//! What we are.

/// Version of Outrigger.
pub(crate) const OUTRIGGER: &str = env!("CARGO_PKG_VERSION");

/// The version of the stock runtime whose API, flags and behaviour we keep:
/// what `daprd --version` prints and what SDKs and tools compare.
pub(crate) const RUNTIME: &str = "1.18.0";

/// The commit we were built from; an image build sets `OUTRIGGER_COMMIT`.
pub(crate) fn commit() -> &'static str {
    option_env!("OUTRIGGER_COMMIT").unwrap_or("unknown")
}

/// The text of `--build-info`.
pub(crate) fn build_info() -> String {
    format!("Version: {RUNTIME}\nGit Commit: {}\nGit Version: outrigger-{OUTRIGGER}", commit())
}

/// The text of `outrigger version`.
pub(crate) fn long() -> String {
    format!("outrigger {OUTRIGGER} (runtime API {RUNTIME}, commit {})", commit())
}
