//! The files that flags name: Configurations and folders of resources.

use std::path::{Path, PathBuf};

use outrigger_resources::configuration::{self, Configuration};
use outrigger_resources::kind::Scope;
use outrigger_resources::mistake::Warning;
use outrigger_resources::resources::{self, Resources};
use outrigger_resources::source::Source;

use super::env::Environment;
use super::flags::Flags;
use super::{Mistakes, known, table};

/// What is in the files.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// All Configurations, merged.
    pub(crate) configuration: Configuration,
    /// What the folders have for this app.
    pub(crate) resources: Resources,
    /// What is probably not meant as it is written.
    pub(crate) warnings: Vec<Warning>,
}

/// Reads all of them; every mistake in any joins `mistakes`.
pub(crate) fn read(flags: &Flags, environment: &Environment, mistakes: &mut Mistakes) -> Files {
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
    let mut sources = Vec::new();
    for folder in folders(flags) {
        match Source::read_folder(&folder) {
            Ok(found) => sources.extend(found),
            Err(found) => found.kept().iter().for_each(|mistake| mistakes.add_file(mistake.to_string())),
        }
    }
    let resources = match resources::load(&sources, scope, &lookup) {
        Ok(loaded) => {
            warnings.extend(loaded.warnings);
            known::keep(loaded.value, &configuration.denied_components, &mut warnings, mistakes)
        }
        Err(found) => {
            found.kept().iter().for_each(|mistake| mistakes.add_file(mistake.to_string()));
            Resources::default()
        }
    };
    Files { configuration, resources, warnings }
}

/// The folders of resources; the old flag counts when the new one is not given.
fn folders(flags: &Flags) -> Vec<PathBuf> {
    let mut given = flags.list(&table::RESOURCES_PATH);
    if given.is_empty() {
        given.push(flags.text(&table::COMPONENTS_PATH));
    }
    given.into_iter().filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}
