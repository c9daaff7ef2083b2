//! What cargo says about the tree.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this package lies two folders below the root")
        .to_owned()
}

/// A file of the workspace.
pub(crate) fn file(name: &str) -> String {
    let path = root().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

/// What `cargo <args>` prints at the root.
pub(crate) fn cargo(args: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let done = Command::new(cargo).args(args).current_dir(root()).output().expect("cargo runs");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "cargo {args:?} failed: {said}");
    String::from_utf8(done.stdout).expect("cargo prints UTF-8")
}

/// A package that is built: ours or another's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) licence: String,
    /// It lies in this workspace.
    pub(crate) ours: bool,
}

/// The packages that `cargo tree` reaches with `selection`, each once.
pub(crate) fn packages(selection: &[&str]) -> Vec<Package> {
    let mut args = vec!["tree", "--prefix=none", "--no-dedupe", "--format={p}\t{l}"];
    args.extend_from_slice(selection);
    let mut packages: Vec<_> = cargo(&args).lines().filter(|line| !line.is_empty()).map(package).collect();
    packages.sort();
    packages.dedup();
    packages
}

fn package(line: &str) -> Package {
    let (package, licence) = line.split_once('\t').expect("the format has a tab");
    let mut words = package.split(' ');
    let name = words.next().unwrap_or_default().to_owned();
    let version = words.next().unwrap_or_default().to_owned();
    Package {
        name,
        version,
        licence: licence.trim().to_owned(),
        ours: package.contains(&format!("({}", root().display())),
    }
}
