//! Which fields of a Configuration exist, and which of them this build supports.
//!
//! These tables are the one place that says so: reading follows them, and a test holds
//! `docs/configuration.md` and `docs/not-supported.md` to them.

/// One field of a map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) support: Support,
}

/// Whether this build does what the field asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Support {
    Yes,
    Not,
}

impl Field {
    pub(crate) const fn supported(name: &'static str) -> Self {
        Self { name, support: Support::Yes }
    }

    pub(crate) const fn not(name: &'static str) -> Self {
        Self { name, support: Support::Not }
    }
}

use Field as F;

/// The resource itself.
pub(crate) const RESOURCE: &[Field] =
    &[F::supported("apiVersion"), F::supported("kind"), F::supported("metadata"), F::supported("spec")];

/// `metadata`: what Kubernetes writes there is taken and left alone.
pub(crate) const METADATA: &[Field] = &[
    F::supported("name"),
    F::supported("namespace"),
    F::supported("labels"),
    F::supported("annotations"),
    F::supported("creationTimestamp"),
    F::supported("deletionTimestamp"),
    F::supported("finalizers"),
    F::supported("generation"),
    F::supported("managedFields"),
    F::supported("ownerReferences"),
    F::supported("resourceVersion"),
    F::supported("uid"),
];

/// `spec`
pub(crate) const SPEC: &[Field] = &[
    F::supported("accessControl"),
    F::supported("api"),
    F::not("appHttpPipeline"),
    F::supported("components"),
    F::supported("features"),
    F::not("httpPipeline"),
    F::supported("logging"),
    F::supported("metric"),
    F::supported("metrics"),
    F::supported("mtls"),
    F::supported("nameResolution"),
    F::supported("secrets"),
    F::supported("tracing"),
    F::supported("wasm"),
    F::supported("workflow"),
];

/// `spec.accessControl`
pub(crate) const ACCESS_CONTROL: &[Field] =
    &[F::supported("defaultAction"), F::supported("trustDomain"), F::supported("policies")];

/// `spec.accessControl.policies[]`
pub(crate) const APP_POLICY: &[Field] = &[
    F::supported("appId"),
    F::supported("defaultAction"),
    F::supported("trustDomain"),
    F::supported("namespace"),
    F::supported("operations"),
];

/// `spec.accessControl.policies[].operations[]`
pub(crate) const OPERATION: &[Field] = &[F::supported("name"), F::supported("httpVerb"), F::supported("action")];

/// `spec.tracing`
pub(crate) const TRACING: &[Field] =
    &[F::supported("samplingRate"), F::supported("stdout"), F::supported("otel"), F::supported("zipkin")];

/// `spec.tracing.zipkin`
pub(crate) const ZIPKIN: &[Field] = &[F::supported("endpointAddress")];

/// `spec.tracing.otel`
pub(crate) const OTEL: &[Field] = &[
    F::supported("endpointAddress"),
    F::supported("protocol"),
    F::supported("isSecure"),
    F::supported("headers"),
    F::supported("timeout"),
];

/// `spec.tracing.otel.headers[]`
pub(crate) const HEADER: &[Field] =
    &[F::supported("name"), F::supported("value"), F::not("secretKeyRef"), F::not("envRef")];

/// `spec.metric` and `spec.metrics`
pub(crate) const METRICS: &[Field] = &[
    F::supported("enabled"),
    F::supported("http"),
    F::supported("latencyDistributionBuckets"),
    F::not("recordErrorCodes"),
    F::not("rules"),
    F::not("workflow"),
];

/// `spec.metric.http` and `spec.metrics.http`
pub(crate) const HTTP_METRICS: &[Field] =
    &[F::supported("increasedCardinality"), F::supported("pathMatching"), F::supported("excludeVerbs")];

/// `spec.nameResolution`
pub(crate) const NAME_RESOLUTION: &[Field] =
    &[F::supported("component"), F::supported("version"), F::supported("configuration")];

/// `spec.nameResolution.configuration` of `sqlite`
pub(crate) const NAMES_SQLITE: &[Field] = &[
    F::supported("connectionString"),
    F::supported("url"),
    F::supported("timeout"),
    F::supported("timeoutInSeconds"),
    F::supported("busyTimeout"),
    F::supported("disableWAL"),
    F::supported("tableName"),
    F::supported("metadataTableName"),
    F::supported("updateInterval"),
    F::supported("cleanupInterval"),
    F::supported("cleanupIntervalInSeconds"),
];

/// The same of `kubernetes`
pub(crate) const NAMES_KUBERNETES: &[Field] = &[F::supported("clusterDomain"), F::supported("template")];

/// The same of `nameformat`
pub(crate) const NAMES_FORMAT: &[Field] = &[F::supported("format")];

/// The same of `static`
pub(crate) const NAMES_STATIC: &[Field] = &[F::supported("apps")];

/// `spec.nameResolution.configuration.apps[]` of `static`
pub(crate) const NAMES_STATIC_APP: &[Field] = &[F::supported("app"), F::supported("addresses")];

/// `spec.mtls`
pub(crate) const MTLS: &[Field] = &[
    F::supported("enabled"),
    F::supported("workloadCertTTL"),
    F::supported("allowedClockSkew"),
    F::supported("sentryAddress"),
    F::supported("controlPlaneTrustDomain"),
    F::supported("tokenValidators"),
];

/// `spec.api`
pub(crate) const API: &[Field] = &[F::supported("allowed"), F::supported("denied")];

/// `spec.api.allowed[]` and `spec.api.denied[]`
pub(crate) const API_RULE: &[Field] = &[F::supported("name"), F::supported("version"), F::supported("protocol")];

/// `spec.logging`
pub(crate) const LOGGING: &[Field] = &[F::supported("apiLogging")];

/// `spec.logging.apiLogging`
pub(crate) const API_LOGGING: &[Field] =
    &[F::supported("enabled"), F::supported("obfuscateURLs"), F::supported("omitHealthChecks")];

/// `spec.components`
pub(crate) const COMPONENTS: &[Field] = &[F::supported("deny")];

/// `spec.secrets`
pub(crate) const SECRETS: &[Field] = &[F::supported("scopes")];

/// `spec.secrets.scopes[]`
pub(crate) const SECRET_SCOPE: &[Field] = &[
    F::supported("storeName"),
    F::supported("defaultAccess"),
    F::supported("allowedSecrets"),
    F::supported("deniedSecrets"),
];

/// `spec.features[]`
pub(crate) const FEATURE: &[Field] = &[F::supported("name"), F::supported("enabled")];

/// `spec.wasm`
pub(crate) const WASM: &[Field] = &[F::supported("strictSandbox")];

/// `spec.workflow`
pub(crate) const WORKFLOW: &[Field] = &[
    F::supported("maxConcurrentWorkflowInvocations"),
    F::supported("maxConcurrentActivityInvocations"),
    F::supported("globalMaxConcurrentWorkflowInvocations"),
    F::supported("globalMaxConcurrentActivityInvocations"),
    F::supported("workflowConcurrencyLimits"),
    F::supported("activityConcurrencyLimits"),
    F::supported("stateRetentionPolicy"),
];

/// `spec.workflow.workflowConcurrencyLimits[]` and `spec.workflow.activityConcurrencyLimits[]`
pub(crate) const CONCURRENCY_LIMIT: &[Field] = &[F::supported("name"), F::supported("maxConcurrent")];

/// `spec.workflow.stateRetentionPolicy`
pub(crate) const RETENTION: &[Field] =
    &[F::supported("anyTerminal"), F::supported("completed"), F::supported("failed"), F::supported("terminated")];

/// `kind: Component`
pub(crate) const COMPONENT: &[Field] = &[
    F::supported("apiVersion"),
    F::supported("kind"),
    F::supported("metadata"),
    F::supported("spec"),
    F::supported("auth"),
    F::supported("scopes"),
];

/// `spec` of a Component.
pub(crate) const COMPONENT_SPEC: &[Field] = &[
    F::supported("type"),
    F::supported("version"),
    F::supported("ignoreErrors"),
    F::supported("metadata"),
    F::supported("initTimeout"),
];

/// `kind: HTTPEndpoint`
pub(crate) const HTTP_ENDPOINT: &[Field] = COMPONENT;

/// `spec` of an HTTPEndpoint.
pub(crate) const HTTP_ENDPOINT_SPEC: &[Field] =
    &[F::supported("baseUrl"), F::supported("headers"), F::supported("clientTLS")];

/// `spec.clientTLS` of an HTTPEndpoint.
pub(crate) const CLIENT_TLS: &[Field] =
    &[F::supported("rootCA"), F::supported("certificate"), F::supported("privateKey"), F::supported("renegotiation")];

/// A document of `spec.clientTLS`.
pub(crate) const TLS_DOCUMENT: &[Field] =
    &[F::supported("value"), F::supported("secretKeyRef"), F::supported("envRef")];

/// A named value.
pub(crate) const PROPERTY: &[Field] =
    &[F::supported("name"), F::supported("value"), F::supported("secretKeyRef"), F::supported("envRef")];

/// `secretKeyRef`
pub(crate) const SECRET_KEY_REF: &[Field] = &[F::supported("name"), F::supported("key")];

/// `auth` of a resource.
pub(crate) const AUTH: &[Field] = &[F::supported("secretStore")];

/// Every table with the path at which it counts.
#[cfg(test)]
pub(crate) const TABLES: &[(&str, &[Field])] = &[
    ("spec", SPEC),
    ("spec.accessControl", ACCESS_CONTROL),
    ("spec.accessControl.policies[]", APP_POLICY),
    ("spec.accessControl.policies[].operations[]", OPERATION),
    ("spec.tracing", TRACING),
    ("spec.tracing.otel", OTEL),
    ("spec.tracing.zipkin", ZIPKIN),
    ("spec.tracing.otel.headers[]", HEADER),
    ("spec.metrics", METRICS),
    ("spec.metrics.http", HTTP_METRICS),
    ("spec.mtls", MTLS),
    ("spec.api", API),
    ("spec.api.allowed[]", API_RULE),
    ("spec.api.denied[]", API_RULE),
    ("spec.logging", LOGGING),
    ("spec.logging.apiLogging", API_LOGGING),
    ("spec.components", COMPONENTS),
    ("spec.secrets", SECRETS),
    ("spec.secrets.scopes[]", SECRET_SCOPE),
    ("spec.features[]", FEATURE),
    ("spec.wasm", WASM),
    ("spec.workflow", WORKFLOW),
    ("spec.workflow.workflowConcurrencyLimits[]", CONCURRENCY_LIMIT),
    ("spec.workflow.activityConcurrencyLimits[]", CONCURRENCY_LIMIT),
    ("spec.workflow.stateRetentionPolicy", RETENTION),
    ("spec.nameResolution", NAME_RESOLUTION),
];
