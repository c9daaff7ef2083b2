//! The files that flags name: Configurations and folders of resources.

use std::path::{Path, PathBuf};

use outrigger_resources::configuration::{self, Configuration};
use outrigger_resources::kind::{Scope, check_resources};
use outrigger_resources::mistake::Warning;
use outrigger_resources::source::Source;

use super::Mistakes;
use super::env::Environment;
use super::flags::Flags;
use super::table;

/// Reads all of them; every mistake in any joins `mistakes`.
pub(crate) fn read(flags: &Flags, environment: &Environment, mistakes: &mut Mistakes) -> (Configuration, Vec<Warning>) {
    let mut warnings = Vec::new();
    let mut sources = Vec::new();
    for path in flags.list(&table::CONFIG).iter().filter(|path| !path.is_empty()) {
        match Source::read(Path::new(path)) {
            Ok(source) => sources.push(source),
            Err(mistake) => mistakes.add_file(mistake.to_string()),
        }
    }
    let lookup = |name: &str| environment.lookup(name);
    let configuration = match configuration::load(&sources, &lookup) {
        Ok(loaded) => {
            warnings.extend(loaded.warnings);
            loaded.value
        }
        Err(found) => {
            found.kept().iter().for_each(|mistake| mistakes.add_file(mistake.to_string()));
            Configuration::default()
        }
    };
    let app_id = flags.text(&table::APP_ID);
    let namespace = environment.lookup("NAMESPACE").filter(|namespace| !namespace.is_empty());
    let scope = Scope { app_id: &app_id, namespace: namespace.as_deref() };
    for folder in folders(flags) {
        let found = Source::read_folder(&folder).and_then(|sources| check_resources(&sources, scope));
        match found {
            Ok(loaded) => warnings.extend(loaded.warnings),
            Err(found) => found.kept().iter().for_each(|mistake| mistakes.add_file(mistake.to_string())),
        }
    }
    (configuration, warnings)
}

/// The folders of resources; the old flag counts when the new one is not given.
fn folders(flags: &Flags) -> Vec<PathBuf> {
    let mut given = flags.list(&table::RESOURCES_PATH);
    if given.is_empty() {
        given.push(flags.text(&table::COMPONENTS_PATH));
    }
    given.into_iter().filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}
