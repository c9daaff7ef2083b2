//! Where the program under test is.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The `outrigger` program: the file that `OUTRIGGER_BIN` names, or the one that cargo builds, once in a test process.
pub fn binary() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("OUTRIGGER_BIN") {
        Some(path) => PathBuf::from(path),
        None => build(),
    })
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let done = Command::new(cargo)
        .args(["build", "--quiet", "--package", "outrigger"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(done.success(), "cargo build --package outrigger failed: {done}");
    // A test program lies in target/debug/deps, the program under test two up.
    let mut path = std::env::current_exe().expect("this program has a path");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.join("outrigger")
}
