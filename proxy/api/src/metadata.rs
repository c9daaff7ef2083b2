//! What the sidecar says of itself: `GET /v1.0/metadata`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use outrigger_blocks::app::AppProtocol;
use outrigger_proto::runtime::actor_runtime::ActorRuntimeStatus;
use outrigger_proto::runtime::{
    ActorRuntime, AppConnectionHealthProperties, AppConnectionProperties, GetMetadataResponse, MetadataHttpEndpoint,
    RegisteredComponents,
};
use outrigger_wire::{Failure, Limits};
use serde_json::{Map, Value, json};

/// Stock's word for an actor runtime without placement.
const NO_PLACEMENT: &str = "placement: disconnected";

/// The app as metadata shows it.
#[derive(Debug, Clone)]
pub struct AppConnection {
    /// Its port; `None` when it has none.
    pub port: Option<u16>,
    /// What it speaks.
    pub protocol: AppProtocol,
    /// Host that it listens on.
    pub channel_address: String,
    /// Most calls at a time; 0 for no bound.
    pub max_concurrency: u32,
    /// How its health is asked; `None` when it is not.
    pub health: Option<AppHealthProbe>,
}

/// The probe of the app's health as metadata shows it. Times are Go's durations, such as `5s`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppHealthProbe {
    /// Path of the probe; empty for a gRPC app.
    pub path: String,
    /// Time between two probes.
    pub interval: String,
    /// Longest time of one.
    pub timeout: String,
    /// Failures until the app counts as unhealthy.
    pub threshold: u32,
}

/// A component as metadata shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredComponent {
    /// Its name.
    pub name: String,
    /// Its type, such as `state.sqlite`.
    pub component_type: String,
    /// Its version.
    pub version: String,
    /// What it can do, in stock's words, such as `TRANSACTIONAL`.
    pub capabilities: Vec<String>,
}

/// The sidecar's metadata, with what the app and the CLI have added to it.
#[derive(Debug)]
pub struct Metadata {
    app_id: String,
    version: String,
    features: Vec<String>,
    components: Vec<RegisteredComponent>,
    http_endpoints: Vec<String>,
    app: AppConnection,
    extended: Mutex<BTreeMap<String, String>>,
}

impl Metadata {
    /// Metadata of the sidecar of `app_id`; `version` as `daprd --version` prints it, and
    /// the names of the features switched on.
    pub fn new(app_id: &str, version: &str, features: Vec<String>, app: AppConnection) -> Self {
        Self {
            app_id: app_id.into(),
            version: version.into(),
            features,
            components: Vec::new(),
            http_endpoints: Vec::new(),
            app,
            extended: Mutex::default(),
        }
    }

    /// The same with the resources that are loaded: components, and names of HTTP endpoints.
    #[must_use]
    pub fn with_resources(self, components: Vec<RegisteredComponent>, http_endpoints: Vec<String>) -> Self {
        Self { components, http_endpoints, ..self }
    }

    /// The app ID, for health checks that ask for it.
    pub(crate) fn app_id(&self) -> &str {
        &self.app_id
    }

    /// Keeps a value under a key, replacing an earlier one; an empty key does nothing, as
    /// in the stock runtime.
    ///
    /// # Errors
    /// [`Limit`](outrigger_wire::Cause::Limit) when the value is too long or the key one too many.
    pub fn set(&self, key: &str, value: String, limits: &Limits) -> Result<(), Failure> {
        if key.is_empty() {
            return Ok(());
        }
        if value.len() as u64 > limits.metadata_value_bytes {
            return Err(Failure::limit(limits.metadata_value_bytes()));
        }
        let mut extended = self.extended.lock().unwrap_or_else(PoisonError::into_inner);
        if !extended.contains_key(key) && extended.len() as u64 >= limits.metadata_entries {
            return Err(Failure::limit(limits.metadata_entries()));
        }
        extended.insert(key.to_owned(), value);
        Ok(())
    }

    /// The JSON of `GET /v1.0/metadata`. As in the stock runtime, what is empty is left out.
    pub(crate) fn json(&self) -> Bytes {
        let mut extended = self.extended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        extended.insert("daprRuntimeVersion".into(), self.version.clone());
        let mut metadata = Map::new();
        metadata.insert("id".into(), self.app_id.as_str().into());
        metadata.insert("runtimeVersion".into(), self.version.as_str().into());
        if !self.features.is_empty() {
            metadata.insert("enabledFeatures".into(), self.features.clone().into());
        }
        if !self.components.is_empty() {
            metadata.insert("components".into(), self.components.iter().map(component).collect());
        }
        metadata.insert("extended".into(), json!(extended));
        if !self.http_endpoints.is_empty() {
            let named = self.http_endpoints.iter().map(|name| json!({ "name": name })).collect();
            metadata.insert("httpEndpoints".into(), named);
        }
        metadata.insert("appConnectionProperties".into(), self.connection());
        metadata.insert(
            "actorRuntime".into(),
            json!({ "runtimeStatus": "DISABLED", "hostReady": false, "placement": NO_PLACEMENT }),
        );
        Value::Object(metadata).to_string().into()
    }

    /// The same as a message.
    pub(crate) fn message(&self) -> GetMetadataResponse {
        let mut extended: HashMap<_, _> = {
            let extended = self.extended.lock().unwrap_or_else(PoisonError::into_inner);
            extended.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        extended.insert("daprRuntimeVersion".into(), self.version.clone());
        GetMetadataResponse {
            id: self.app_id.clone(),
            registered_components: self.components.iter().map(registered).collect(),
            extended_metadata: extended,
            http_endpoints: self
                .http_endpoints
                .iter()
                .map(|name| MetadataHttpEndpoint { name: name.clone() })
                .collect(),
            app_connection_properties: Some(AppConnectionProperties {
                port: self.app.port.map_or(0, i32::from),
                protocol: self.app.protocol.as_str().to_owned(),
                channel_address: self.app.channel_address.clone(),
                max_concurrency: i32::try_from(self.app.max_concurrency).unwrap_or(i32::MAX),
                health: self.app.health.as_ref().map(|probe| AppConnectionHealthProperties {
                    health_check_path: probe.path.clone(),
                    health_probe_interval: probe.interval.clone(),
                    health_probe_timeout: probe.timeout.clone(),
                    health_threshold: i32::try_from(probe.threshold).unwrap_or(i32::MAX),
                }),
            }),
            runtime_version: self.version.clone(),
            enabled_features: self.features.clone(),
            actor_runtime: Some(ActorRuntime {
                runtime_status: ActorRuntimeStatus::Disabled.into(),
                host_ready: false,
                placement: NO_PLACEMENT.to_owned(),
            }),
        }
    }

    fn connection(&self) -> Value {
        let app = &self.app;
        let mut connection = Map::new();
        if let Some(port) = app.port {
            connection.insert("port".into(), port.into());
        }
        connection.insert("protocol".into(), app.protocol.as_str().into());
        connection.insert("channelAddress".into(), app.channel_address.as_str().into());
        if app.max_concurrency > 0 {
            connection.insert("maxConcurrency".into(), app.max_concurrency.into());
        }
        if let Some(probe) = &app.health {
            let mut health = Map::new();
            if !probe.path.is_empty() {
                health.insert("healthCheckPath".into(), probe.path.as_str().into());
            }
            health.insert("healthProbeInterval".into(), probe.interval.as_str().into());
            health.insert("healthProbeTimeout".into(), probe.timeout.as_str().into());
            health.insert("healthThreshold".into(), probe.threshold.into());
            connection.insert("health".into(), health.into());
        }
        connection.into()
    }
}

fn component(component: &RegisteredComponent) -> Value {
    let mut shown = Map::new();
    shown.insert("name".into(), component.name.as_str().into());
    shown.insert("type".into(), component.component_type.as_str().into());
    shown.insert("version".into(), component.version.as_str().into());
    if !component.capabilities.is_empty() {
        shown.insert("capabilities".into(), component.capabilities.clone().into());
    }
    shown.into()
}

fn registered(component: &RegisteredComponent) -> RegisteredComponents {
    RegisteredComponents {
        name: component.name.clone(),
        r#type: component.component_type.clone(),
        version: component.version.clone(),
        capabilities: component.capabilities.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(port: Option<u16>) -> Metadata {
        let app = AppConnection {
            port,
            protocol: AppProtocol::Http,
            channel_address: "127.0.0.1".into(),
            max_concurrency: 0,
            health: None,
        };
        Metadata::new("orders", "1.18.3", vec![], app)
    }

    #[test]
    fn metadata_has_the_stock_shape() {
        let metadata = metadata(Some(3000));
        metadata.set("appPID", "17".into(), &Limits::default()).unwrap();
        let shown: Value = serde_json::from_slice(&metadata.json()).unwrap();
        assert_eq!(
            shown,
            json!({
                "id": "orders",
                "runtimeVersion": "1.18.3",
                "extended": { "appPID": "17", "daprRuntimeVersion": "1.18.3" },
                "appConnectionProperties": { "port": 3000, "protocol": "http", "channelAddress": "127.0.0.1" },
                "actorRuntime": {
                    "runtimeStatus": "DISABLED", "hostReady": false, "placement": "placement: disconnected",
                },
            })
        );
    }

    #[test]
    fn resources_and_health_are_shown_over_both_wires() {
        let mut metadata = metadata(Some(3000)).with_resources(
            vec![RegisteredComponent {
                name: "store".into(),
                component_type: "state.sqlite".into(),
                version: "v1".into(),
                capabilities: vec!["ETAG".into()],
            }],
            vec!["github".into()],
        );
        let probe =
            AppHealthProbe { path: "/healthz".into(), interval: "5s".into(), timeout: "500ms".into(), threshold: 3 };
        metadata.app.health = Some(probe);
        let shown: Value = serde_json::from_slice(&metadata.json()).unwrap();
        let component = json!({ "name": "store", "type": "state.sqlite", "version": "v1", "capabilities": ["ETAG"] });
        assert_eq!(shown["components"], json!([component]));
        assert_eq!(shown["httpEndpoints"], json!([{ "name": "github" }]));
        assert_eq!(
            shown["appConnectionProperties"]["health"],
            json!({
                "healthCheckPath": "/healthz", "healthProbeInterval": "5s", "healthProbeTimeout": "500ms",
                "healthThreshold": 3,
            })
        );
        let message = metadata.message();
        assert_eq!(message.registered_components[0].capabilities, ["ETAG"]);
        assert_eq!(message.http_endpoints[0].name, "github");
        assert_eq!(message.app_connection_properties.unwrap().health.unwrap().health_probe_timeout, "500ms");
    }

    #[test]
    fn what_an_app_adds_is_bounded() {
        let (metadata, limits) =
            (metadata(None), Limits { metadata_entries: 2, metadata_value_bytes: 3, ..Limits::default() });
        let set =
            |key: &str, value: &str| metadata.set(key, value.into(), &limits).map_err(|failure| failure.to_string());
        assert_eq!(set("a", "1234"), Err("limit metadata_value_bytes of 3 exceeded".into()));
        assert_eq!((set("a", "123"), set("b", ""), set("", "x")), (Ok(()), Ok(()), Ok(())));
        assert_eq!(set("c", "1"), Err("limit metadata_entries of 2 exceeded".into()));
        assert_eq!(set("a", "2"), Ok(()), "a known key may change");
    }
}
