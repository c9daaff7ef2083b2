//! The multi-app template of `run -f`: `dapr.yaml` in, one list of sidecar flags an app out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::configuration::{Loaded, load_text};
use crate::fields::{Field as F, Field};
use crate::mistake::{MistakeKind, Mistakes, Place};
use crate::reader::{At, Fields, Reader};
use crate::source::Source;
use crate::yaml;

/// Name of the template in a folder.
pub const FILE_NAME: &str = "dapr.yaml";

/// One app of a template, with what the common part says filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Where it is.
    pub place: Place,
    /// Its ID; the name of its folder when none is given.
    pub app_id: String,
    /// The folder that it runs in.
    pub folder: PathBuf,
    /// Its command line; empty for a sidecar alone.
    pub command: Vec<String>,
    /// Variables of the app and of its sidecar.
    pub environment: BTreeMap<String, String>,
    /// Flags of its sidecar: name without dashes, and value.
    pub flags: Vec<(&'static str, String)>,
    /// Where the output of the app goes. Default file and console.
    pub app_log: LogDestination,
    /// Where the output of the sidecar goes. Default file.
    pub sidecar_log: LogDestination,
}

/// Where the lines of an output go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogDestination {
    /// `console`
    Console,
    /// `file`: below `.dapr/logs` in the app's folder.
    File,
    /// `fileAndConsole`
    FileAndConsole,
}

/// Fields that are a flag of the sidecar, in both parts.
const SHARED_FLAGS: &[(&str, &str)] = &[
    ("appProtocol", "app-protocol"),
    ("apiListenAddresses", "dapr-listen-addresses"),
    ("enableProfiling", "enable-profiling"),
    ("logLevel", "log-level"),
    ("appMaxConcurrency", "app-max-concurrency"),
    ("placementHostAddress", "placement-host-address"),
    ("schedulerHostAddress", "scheduler-host-address"),
    ("appSSL", "app-ssl"),
    ("maxBodySize", "max-body-size"),
    ("readBufferSize", "read-buffer-size"),
    ("enableAppHealthCheck", "enable-app-health-check"),
    ("appHealthCheckPath", "app-health-check-path"),
    ("appHealthProbeInterval", "app-health-probe-interval"),
    ("appHealthProbeTimeout", "app-health-probe-timeout"),
    ("appHealthThreshold", "app-health-threshold"),
    ("enableApiLogging", "enable-api-logging"),
];

/// Fields that are a flag of the sidecar, of an app only. Of ports `-1` says nothing.
const APP_FLAGS: &[(&str, &str)] = &[
    ("appChannelAddress", "app-channel-address"),
    ("appPort", "app-port"),
    ("daprHTTPPort", "dapr-http-port"),
    ("daprGRPCPort", "dapr-grpc-port"),
    ("daprInternalGRPCPort", "dapr-internal-grpc-port"),
    ("metricsPort", "metrics-port"),
    ("profilePort", "profile-port"),
    ("unixDomainSocket", "unix-domain-socket"),
];

/// The other fields of both parts.
const SHARED: &[&str] = &[
    "configFilePath",
    "resourcesPath",
    "resourcesPaths",
    "env",
    "daprdLogDestination",
    "appLogDestination",
    "runtimePath",
];

/// The other fields of an app.
const APP: &[&str] = &["appID", "appDirPath", "command", "containerImage", "containerImagePullPolicy", "createService"];

/// Fields without an effect, and why.
const NO_EFFECT: &[(&str, &str)] = &[
    ("runtimePath", "the sidecar is this program"),
    ("containerImage", "it is for Kubernetes"),
    ("containerImagePullPolicy", "it is for Kubernetes"),
    ("createService", "it is for Kubernetes"),
];

/// Reads a template. Relative paths of the common part and `appDirPath` begin at the folder of the file, those of an app
/// at its `appDirPath`; `~/` is what `lookup` gives for `HOME`.
///
/// # Errors
/// Every mistake in it.
pub fn load(source: &Source, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Loaded<Vec<App>>, Mistakes> {
    let mut reader = Reader::new(Arc::clone(&source.name));
    let folder = Path::new(&*source.name).parent().map(Path::to_path_buf).unwrap_or_default();
    let apps = file(&mut reader, source, &Paths { folder, home: lookup("HOME") });
    if reader.mistakes.kept().is_empty() {
        return Ok(Loaded { value: apps, warnings: reader.warnings });
    }
    let mut mistakes = Mistakes::default();
    mistakes.append(reader.mistakes);
    Err(mistakes)
}

struct Paths {
    folder: PathBuf,
    home: Option<String>,
}

impl Paths {
    fn at(&self, folder: &Path, text: &str) -> PathBuf {
        match (text.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => Path::new(home).join(rest),
            _ => folder.join(text),
        }
    }
}

fn file(reader: &mut Reader, source: &Source, paths: &Paths) -> Vec<App> {
    let Some(text) = load_text(reader, source) else { return Vec::new() };
    let (documents, error) = yaml::documents(text);
    if let Some(error) = error {
        reader.mistake(error.line, "", MistakeKind::Syntax { reason: error.reason });
    }
    let Some(document) = documents.first() else {
        reader.mistake(0, "apps", MistakeKind::Missing { fix: "apps: with one item an app below it".to_owned() });
        return Vec::new();
    };
    let top = [F::supported("version"), F::supported("name"), F::supported("common"), F::supported("apps")];
    let at = At { node: document, path: String::new() };
    let Some(fields) = reader.fields(&at, &top) else { return Vec::new() };
    if let Some(version) = fields.required(reader, "version", "version: 1") {
        reader.parsed(&version, |text| if text == "1" { Ok(()) } else { Err("write 1") });
    }
    let common = fields.get("common").and_then(|at| reader.fields(&at, &known(&[SHARED], &[SHARED_FLAGS])));
    let Some(list) = fields.required(reader, "apps", "apps: with one item an app below it") else { return Vec::new() };
    let mut apps: Vec<App> = Vec::new();
    for item in reader.list(&list) {
        let Some(app) = app(reader, &item, common.as_ref(), paths) else { continue };
        if let Some(other) = apps.iter().find(|other| other.app_id == app.app_id) {
            let kind = MistakeKind::Duplicate { first: other.place.line };
            reader.mistake(item.node.line, format!("{}.appID", item.path), kind);
        }
        apps.push(app);
    }
    apps
}

fn known(names: &[&[&'static str]], flags: &[&[(&'static str, &'static str)]]) -> Vec<Field> {
    let names = names.iter().flat_map(|names| names.iter().copied());
    let flags = flags.iter().flat_map(|flags| flags.iter().map(|(name, _)| *name));
    names.chain(flags).map(F::supported).collect()
}

fn app(reader: &mut Reader, at: &At<'_>, common: Option<&Fields<'_>>, paths: &Paths) -> Option<App> {
    let fields = reader.fields(at, &known(&[SHARED, APP], &[SHARED_FLAGS, APP_FLAGS]))?;
    for (name, why) in NO_EFFECT {
        if let Some(at) = fields.get(name).or_else(|| common.and_then(|common| common.get(name))) {
            reader.warn(at.node.line, at.path, format!("has no effect: {why}"));
        }
    }
    let folder = fields.required(reader, "appDirPath", "the folder of the app, for example ./orders")?;
    let folder = paths.at(&paths.folder, reader.text(&folder)?);
    let name = folder.components().next_back().map(|name| name.as_os_str().to_string_lossy().into_owned());
    let app_id = match fields.get("appID") {
        Some(at) => reader.text(&at)?.to_owned(),
        None => name.unwrap_or_default(),
    };
    let mut command = Vec::new();
    for word in fields.get("command").map(|at| reader.list(&at)).unwrap_or_default() {
        command.extend(reader.text(&word).map(str::to_owned));
    }
    let mut environment = BTreeMap::new();
    for part in [common, Some(&fields)].into_iter().flatten() {
        environment.extend(part.get("env").map(|at| texts(reader, &at)).unwrap_or_default());
    }
    // What the app says goes over what is common.
    let either = |name: &str| fields.get(name).or_else(|| common.and_then(|common| common.get(name)));
    let mut flags = vec![("app-id", app_id.clone())];
    for (name, flag) in SHARED_FLAGS.iter().chain(APP_FLAGS) {
        let Some(at) = either(name) else { continue };
        let Some(text) = reader.text(&at).filter(|text| !text.is_empty()) else { continue };
        if !(name.ends_with("Port") && text == "-1") {
            flags.push((flag, text.to_owned()));
        }
    }
    let resources = resources(reader, &fields, &folder, paths);
    let resources = match common {
        _ if !resources.is_empty() => resources,
        _ if folder.join(".dapr/resources").is_dir() => vec![folder.join(".dapr/resources")],
        Some(common) => self::resources(reader, common, &paths.folder, paths),
        None => Vec::new(),
    };
    flags.extend(resources.into_iter().map(|path| ("resources-path", path.to_string_lossy().into_owned())));
    let own = fields.get("configFilePath").and_then(|at| reader.text(&at)).map(|text| paths.at(&folder, text));
    let local = Some(folder.join(".dapr/config.yaml")).filter(|path| path.is_file());
    let shared = common.and_then(|common| common.get("configFilePath"));
    let shared = shared.and_then(|at| reader.text(&at)).map(|text| paths.at(&paths.folder, text));
    if let Some(path) = own.or(local).or(shared) {
        flags.push(("config", path.to_string_lossy().into_owned()));
    }
    let app_log = either("appLogDestination").and_then(|at| reader.parsed(&at, destination));
    let sidecar_log = either("daprdLogDestination").and_then(|at| reader.parsed(&at, destination));
    Some(App {
        place: reader.place(at.node.line, at.path.clone()),
        app_id,
        folder,
        command,
        environment,
        flags,
        app_log: app_log.unwrap_or(LogDestination::FileAndConsole),
        sidecar_log: sidecar_log.unwrap_or(LogDestination::File),
    })
}

/// `resourcesPaths`, and the older `resourcesPath`.
fn resources(reader: &mut Reader, fields: &Fields<'_>, folder: &Path, paths: &Paths) -> Vec<PathBuf> {
    let mut items = fields.get("resourcesPaths").map(|at| reader.list(&at)).unwrap_or_default();
    items.extend(fields.get("resourcesPath"));
    items.iter().filter_map(|at| reader.text(at)).map(|text| paths.at(folder, text)).collect()
}

/// A map of texts.
fn texts(reader: &mut Reader, at: &At<'_>) -> Vec<(String, String)> {
    let yaml::Value::Map(entries) = &at.node.value else {
        reader.wrong(at, "write variables, each as `NAME: value`");
        return Vec::new();
    };
    let mut texts = Vec::new();
    for entry in entries {
        let at = At { node: &entry.node, path: format!("{}.{}", at.path, crate::mistake::shown(&entry.key)) };
        let value = if entry.node.is_empty() { Some("") } else { reader.text(&at) };
        texts.extend(value.map(|value| (entry.key.clone(), value.to_owned())));
    }
    texts
}

fn destination(text: &str) -> Result<LogDestination, &'static str> {
    match text {
        "console" => Ok(LogDestination::Console),
        "file" => Ok(LogDestination::File),
        "fileAndConsole" => Ok(LogDestination::FileAndConsole),
        _ => Err("write console, file or fileAndConsole"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Loaded<Vec<App>>, Vec<String>> {
        load(&Source::new("/shop/dapr.yaml", text), &|name| (name == "HOME").then(|| "/home/me".to_owned()))
            .map_err(|mistakes| mistakes.kept().iter().map(ToString::to_string).collect())
    }

    const TEMPLATE: &str = r#"
version: 1
common:
  resourcesPath: ./common
  configFilePath: ~/config.yaml
  logLevel: debug
  env: {A: "1", B: "2"}
  appLogDestination: console
apps:
- appID: orders
  appDirPath: ./orders/
  appPort: 3000
  daprHTTPPort: -1
  resourcesPaths: [./own, /abs]
  logLevel: warn
  env: {B: "3"}
  command: [python3, app.py]
- appDirPath: /srv/checkout
  configFilePath: ./conf.yaml
  daprdLogDestination: fileAndConsole
"#;

    #[test]
    fn an_app_has_what_it_says_and_else_what_is_common() {
        let apps = read(TEMPLATE).unwrap().value;

        let flags = |index: usize| -> Vec<String> {
            apps[index].flags.iter().map(|(name, value)| format!("{name}={value}")).collect()
        };
        assert_eq!(
            flags(0),
            [
                "app-id=orders",
                "log-level=warn",
                "app-port=3000",
                "resources-path=/shop/./orders/./own",
                "resources-path=/abs",
                "config=/home/me/config.yaml",
            ]
        );
        assert_eq!(
            flags(1),
            ["app-id=checkout", "log-level=debug", "resources-path=/shop/./common", "config=/srv/checkout/./conf.yaml",]
        );
        assert_eq!(apps[0].command, ["python3", "app.py"]);
        let environment: Vec<_> = apps[0].environment.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(environment, ["A=1", "B=3"]);
        assert_eq!((apps[0].app_log, apps[0].sidecar_log), (LogDestination::Console, LogDestination::File));
        assert_eq!(apps[1].sidecar_log, LogDestination::FileAndConsole);
    }

    #[test]
    fn all_mistakes_are_told_each_with_its_line() {
        let told = read(
            "version: 2\ncommon: {appPort: 1}\napps:\n- appID: a\n- {appDirPath: ., appID: b, comand: [x]}\n- {appDirPath: ., appID: b, appLogDestination: nowhere, env: [A]}\n",
        )
        .unwrap_err();

        assert_eq!(
            told,
            [
                "/shop/dapr.yaml:1: version `2` is wrong: write 1",
                "/shop/dapr.yaml:2: common.appPort is an unknown field",
                "/shop/dapr.yaml:4: apps[0].appDirPath is missing; write the folder of the app, for example ./orders",
                "/shop/dapr.yaml:5: apps[1].comand is an unknown field; did you mean `command`?",
                "/shop/dapr.yaml:6: apps[2].env `a list` is wrong: write variables, each as `NAME: value`",
                "/shop/dapr.yaml:6: apps[2].appLogDestination `nowhere` is wrong: write console, file or fileAndConsole",
                "/shop/dapr.yaml:6: apps[2].appID is there twice; the first is on line 5",
            ]
        );
        assert_eq!(read("").unwrap_err().len(), 1);
    }
}
