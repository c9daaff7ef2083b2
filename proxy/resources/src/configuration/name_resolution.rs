//! `spec.nameResolution`: how the replicas of other apps are found.

use std::path::PathBuf;
use std::time::Duration;

use crate::configuration::load::each;
use crate::duration::parse_non_negative;
use crate::fields::{self, Field};
use crate::mistake::MistakeKind;
use crate::reader::{At, Fields, Reader};
use crate::yaml::Value;

/// Port of a sidecar for its peers where a name says none.
pub const PEER_PORT: u16 = 50002;

/// What finds other apps, with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameResolution {
    /// `mdns`
    Mdns,
    /// `sqlite`
    Sqlite(SqliteNames),
    /// `nameformat` and `kubernetes`: a name made of app and namespace, looked up in DNS.
    Names(NameTemplate),
    /// `static`
    Static(Vec<StaticApp>),
}

/// Settings of `sqlite`. Defaults and names are those of the stock component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteNames {
    /// The file; sidecars that share it find each other.
    pub file: PathBuf,
    /// Longest wait for one query. Default 1 s, at least that.
    pub timeout: Duration,
    /// Longest wait for another's lock; zero does not wait. Default 800 ms.
    pub busy_timeout: Duration,
    /// Keep a rollback journal in place of a write-ahead log: for network file systems. Default false.
    pub disable_wal: bool,
    /// Table of the sidecars. Default `hosts`.
    pub table: String,
    /// Table of the schema's version and the last cleanup. Default `metadata`.
    pub metadata_table: String,
    /// Whole seconds after which a sidecar that did not renew its row is gone. Default 5 s.
    pub update_interval: Duration,
    /// How often rows of the gone are deleted; zero never. Default 1 h.
    pub cleanup_interval: Duration,
}

impl SqliteNames {
    /// The defaults, for this file.
    #[must_use]
    pub fn new(file: PathBuf) -> Self {
        Self {
            file,
            timeout: Duration::from_secs(1),
            busy_timeout: Duration::from_millis(800),
            disable_wal: false,
            table: "hosts".to_owned(),
            metadata_table: "metadata".to_owned(),
            update_interval: Duration::from_secs(5),
            cleanup_interval: Duration::from_secs(3600),
        }
    }
}

/// One app of `static`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticApp {
    /// Its ID, with `.<namespace>` where it is in another namespace than ours.
    pub app: String,
    /// `host:port` of each replica's sidecar.
    pub addresses: Vec<String>,
}

/// A `host:port` with places for the app, its namespace and the port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameTemplate(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    App,
    Namespace,
    Port,
}

impl NameTemplate {
    /// The `host:port` of an app. The port is [`PEER_PORT`] where the template names none.
    #[must_use]
    pub fn name(&self, app: &str, namespace: &str) -> String {
        let mut name = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::App => name.push_str(app),
                Part::Namespace => name.push_str(namespace),
                Part::Port => name.push_str(&PEER_PORT.to_string()),
            }
        }
        let has_port = name.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if !has_port {
            name.push_str(&format!(":{PEER_PORT}"));
        }
        name
    }

    /// The headless service that stock's operator makes for an app.
    #[must_use]
    pub fn kubernetes(cluster_domain: &str) -> Self {
        Self(vec![
            Part::App,
            Part::Text("-dapr.".to_owned()),
            Part::Namespace,
            Part::Text(format!(".svc.{cluster_domain}:")),
            Part::Port,
        ])
    }

    /// A format with `{appid}` in it.
    fn format(text: &str) -> Result<Self, &'static str> {
        let mut parts = Vec::new();
        for (index, between) in text.split("{appid}").enumerate() {
            if index > 0 {
                parts.push(Part::App);
            }
            if !between.is_empty() {
                parts.push(Part::Text(between.to_owned()));
            }
        }
        if !parts.contains(&Part::App) {
            return Err("write a host name, with {appid} where the app's ID stands");
        }
        Ok(Self(parts))
    }

    /// What is used of Go's templates: `{{.ID}}`, `{{.Namespace}}`, `{{.Port}}`.
    fn go(text: &str) -> Result<Self, &'static str> {
        const FIX: &str =
            "write a host name with {{.ID}}, {{.Namespace}} and {{.Port}} in it and nothing else in {{ }}";
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (action, after) = after.split_once("}}").ok_or(FIX)?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(match action.trim() {
                ".ID" => Part::App,
                ".Namespace" => Part::Namespace,
                ".Port" => Part::Port,
                _ => return Err(FIX),
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if parts.contains(&Part::App) { Ok(Self(parts)) } else { Err(FIX) }
    }
}

pub(super) fn read(reader: &mut Reader, at: &At<'_>, resolution: &mut Option<NameResolution>) {
    let Some(spec) = reader.fields(at, fields::NAME_RESOLUTION) else { return };
    const NAMES: &str = "write mdns, sqlite, kubernetes, nameformat or static";
    let Some(component) = spec.required(reader, "component", NAMES) else { return };
    if let Some(version) = spec.get("version") {
        reader.parsed(&version, |text| match text {
            "v1" | "" => Ok(()),
            _ => Err("write v1, the only version there is"),
        });
    }
    let Some(name) = reader.text(&component) else { return };
    let configuration = spec.get("configuration");
    let read = match name.to_lowercase().as_str() {
        "mdns" => settings(reader, configuration, &[]).map(|_| NameResolution::Mdns),
        "sqlite" => settings(reader, configuration, fields::NAMES_SQLITE)
            .and_then(|fields| sqlite(reader, at, fields))
            .map(NameResolution::Sqlite),
        "kubernetes" => settings(reader, configuration, fields::NAMES_KUBERNETES)
            .and_then(|fields| kubernetes(reader, fields))
            .map(NameResolution::Names),
        "nameformat" => settings(reader, configuration, fields::NAMES_FORMAT).and_then(|fields| {
            let format = required(reader, at, fields.as_ref(), "format", "a host name with {appid} in it")?;
            reader.parsed(&format, NameTemplate::format).map(NameResolution::Names)
        }),
        "static" => settings(reader, configuration, fields::NAMES_STATIC)
            .and_then(|fields| apps(reader, at, fields))
            .map(NameResolution::Static),
        "consul" | "hashicorp.consul" | "aws.cloudmap" => {
            reader.mistake(component.node.line, component.path.clone(), MistakeKind::NotSupported);
            None
        }
        _ => {
            reader.wrong(&component, NAMES);
            None
        }
    };
    if read.is_some() {
        *resolution = read;
    }
}

/// The fields of `configuration`; `Some(None)` when it is not there, `None` after a mistake.
#[expect(clippy::option_option, reason = "a mistake and nothing said are two things")]
fn settings<'a>(reader: &mut Reader, at: Option<At<'a>>, known: &[Field]) -> Option<Option<Fields<'a>>> {
    match at {
        None => Some(None),
        Some(at) => reader.fields(&at, known).map(Some),
    }
}

fn required<'a>(
    reader: &mut Reader,
    at: &At<'_>,
    fields: Option<&Fields<'a>>,
    name: &str,
    fix: &str,
) -> Option<At<'a>> {
    if let Some(fields) = fields {
        return fields.required(reader, name, fix);
    }
    let kind = MistakeKind::Missing { fix: fix.to_owned() };
    reader.mistake(at.node.line, format!("{}.configuration.{name}", at.path), kind);
    None
}

fn kubernetes(reader: &mut Reader, fields: Option<Fields<'_>>) -> Option<NameTemplate> {
    let mut domain = Some("cluster.local".to_owned());
    let mut template = None;
    let Some(fields) = fields else { return domain.map(|domain| NameTemplate::kubernetes(&domain)) };
    each(reader, &fields, "clusterDomain", |reader, at| {
        domain =
            reader.parsed(at, |text| match text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)) {
                true => Ok(if text.is_empty() { "cluster.local" } else { text }.to_owned()),
                false => Err("write the cluster's domain, such as cluster.local"),
            });
    });
    let mut right = true;
    each(reader, &fields, "template", |reader, at| {
        if !matches!(&at.node.value, Value::Scalar { text, .. } if text.is_empty()) {
            template = reader.parsed(at, NameTemplate::go);
            right = template.is_some();
        }
    });
    let domain = domain.filter(|_| right)?;
    Some(template.unwrap_or_else(|| NameTemplate::kubernetes(&domain)))
}

fn sqlite(reader: &mut Reader, at: &At<'_>, fields: Option<Fields<'_>>) -> Option<SqliteNames> {
    const FILE: &str = "the path of a file that the sidecars share";
    // `url` is its other name.
    let by_url = fields.as_ref().and_then(|fields| fields.get("url"));
    let connection = match by_url {
        Some(url) => url,
        None => required(reader, at, fields.as_ref(), "connectionString", FILE)?,
    };
    let mut names = SqliteNames::new(reader.parsed(&connection, file)?);
    let fields = fields?;
    let before = reader.mistakes.kept().len();
    for name in ["timeoutInSeconds", "timeout"] {
        each(reader, &fields, name, |reader, at| {
            names.timeout = reader.parsed(at, seconds).unwrap_or(names.timeout);
            if names.timeout < Duration::from_secs(1) {
                reader.wrong(at, "write a duration of at least 1s");
            }
        });
    }
    each(reader, &fields, "busyTimeout", |reader, at| {
        names.busy_timeout = reader.parsed(at, seconds).unwrap_or(names.busy_timeout);
    });
    each(reader, &fields, "disableWAL", |reader, at| {
        names.disable_wal = reader.parsed(at, boolean).unwrap_or(names.disable_wal);
    });
    each(reader, &fields, "tableName", |reader, at| {
        names.table = reader.parsed(at, identifier).unwrap_or_else(|| names.table.clone());
    });
    each(reader, &fields, "metadataTableName", |reader, at| {
        names.metadata_table = reader.parsed(at, identifier).unwrap_or_else(|| names.metadata_table.clone());
    });
    for name in ["cleanupIntervalInSeconds", "cleanupInterval"] {
        each(reader, &fields, name, |reader, at| {
            names.cleanup_interval = reader.parsed(at, seconds).unwrap_or(names.cleanup_interval);
        });
    }
    let mut interval = connection;
    each(reader, &fields, "updateInterval", |reader, at| {
        names.update_interval = reader.parsed(at, seconds).unwrap_or(names.update_interval);
        if names.update_interval.subsec_nanos() != 0 {
            reader.wrong(at, "write whole seconds");
        }
        interval = at.clone();
    });
    if names.update_interval < names.timeout.saturating_add(Duration::from_secs(1)) {
        let value = format!("{:?}", names.update_interval);
        let fix = "write an updateInterval that is at least 1s longer than timeout".to_owned();
        reader.mistake(interval.node.line, interval.path.clone(), MistakeKind::Value { value, fix });
    }
    (reader.mistakes.kept().len() == before).then_some(names)
}

/// The file of a connection string: a path, or `file:` and a path. Options after `?` are SQLite's and the
/// stock driver's; ours are the other fields.
fn file(text: &str) -> Result<PathBuf, &'static str> {
    let path = text.strip_prefix("file:").unwrap_or(text);
    if path.starts_with(":memory:") {
        return Err("write the path of a file: what is in memory no other sidecar sees");
    }
    match path.split_once('?') {
        Some((_, options)) if !options.is_empty() => Err("write the path alone, without options after `?`"),
        Some(("", _)) => Err("write the path of a file"),
        Some((path, _)) => Ok(path.into()),
        None => Ok(path.into()),
    }
}

fn identifier(text: &str) -> Result<String, &'static str> {
    match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        true => Ok(text.to_owned()),
        false => Err("write letters, digits and `_`"),
    }
}

/// A duration, or a number of seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u32>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds.into())),
        Err(_) => parse_non_negative(text).map_err(|error| error.to_string()),
    }
}

/// A boolean as components take it, quoted or not.
fn boolean(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "t" | "1" => Ok(true),
        "false" | "no" | "off" | "n" | "f" | "0" | "" => Ok(false),
        _ => Err("write true or false"),
    }
}

fn apps(reader: &mut Reader, at: &At<'_>, fields: Option<Fields<'_>>) -> Option<Vec<StaticApp>> {
    let list = required(reader, at, fields.as_ref(), "apps", "a list of apps, each with app and addresses")?;
    let before = reader.mistakes.kept().len();
    let mut apps: Vec<StaticApp> = Vec::new();
    for item in reader.list(&list) {
        let Some(fields) = reader.fields(&item, fields::NAMES_STATIC_APP) else { continue };
        let app = fields.required(reader, "app", "the ID of an app");
        let addresses = fields.required(reader, "addresses", "a list of host:port");
        let (Some(app), Some(addresses)) = (app, addresses) else { continue };
        let Some(name) = reader.text(&app).map(str::to_owned) else { continue };
        if apps.iter().any(|other| other.app == name) {
            reader.wrong(&app, "is there twice; write all its addresses in one place");
        }
        let items = reader.list(&addresses);
        let addresses =
            items.iter().filter_map(|item| reader.parsed(item, crate::configuration::telemetry::host_port)).collect();
        apps.push(StaticApp { app: name, addresses });
    }
    (reader.mistakes.kept().len() == before).then_some(apps)
}
