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
    F::not("api"),
    F::not("appHttpPipeline"),
    F::not("components"),
    F::not("features"),
    F::not("httpPipeline"),
    F::not("logging"),
    F::supported("metric"),
    F::supported("metrics"),
    F::supported("mtls"),
    F::not("nameResolution"),
    F::not("secrets"),
    F::supported("tracing"),
    F::not("wasm"),
    F::not("workflow"),
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
    &[F::supported("samplingRate"), F::supported("stdout"), F::supported("otel"), F::not("zipkin")];

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

/// `spec.mtls`
pub(crate) const MTLS: &[Field] = &[
    F::supported("enabled"),
    F::supported("workloadCertTTL"),
    F::supported("allowedClockSkew"),
    F::supported("sentryAddress"),
    F::supported("controlPlaneTrustDomain"),
    F::not("tokenValidators"),
];

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
    ("spec.tracing.otel.headers[]", HEADER),
    ("spec.metrics", METRICS),
    ("spec.metrics.http", HTTP_METRICS),
    ("spec.mtls", MTLS),
];
