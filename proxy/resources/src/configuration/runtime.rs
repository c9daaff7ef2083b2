//! `spec.api`, `spec.logging`, `spec.components`, `spec.secrets`, and what asks for blocks that do not exist yet.

use crate::configuration::load::each;
use crate::configuration::settings::{Api, ApiLogging, ApiProtocol, ApiRule, Configuration, SecretAccess, SecretScope};
use crate::fields::{self, Field};
use crate::mistake::MistakeKind;
use crate::reader::{At, Fields, Reader};

pub(super) fn read(reader: &mut Reader, spec: &Fields<'_>, configuration: &mut Configuration) {
    each(reader, spec, "api", |reader, at| api(reader, at, &mut configuration.api));
    each(reader, spec, "logging", |reader, at| logging(reader, at, &mut configuration.logging));
    each(reader, spec, "components", |reader, at| {
        let Some(fields) = reader.fields(at, fields::COMPONENTS) else { return };
        each(reader, &fields, "deny", |reader, at| configuration.denied_components = denied(reader, at));
    });
    each(reader, spec, "secrets", |reader, at| {
        let Some(fields) = reader.fields(at, fields::SECRETS) else { return };
        each(reader, &fields, "scopes", |reader, at| configuration.secret_scopes = secret_scopes(reader, at));
        if !configuration.secret_scopes.is_empty() {
            reader.warn(at.node.line, at.path.clone(), "has no effect yet: this build has no secret stores");
        }
    });
    each(reader, spec, "features", features);
    each(reader, spec, "wasm", |reader, at| {
        let Some(fields) = reader.fields(at, fields::WASM) else { return };
        each(reader, &fields, "strictSandbox", |reader, at| {
            if reader.boolean(at) == Some(true) {
                reader.warn(at.node.line, at.path.clone(), "has no effect: this build has no WebAssembly components");
            }
        });
    });
    each(reader, spec, "workflow", workflow);
}

fn api(reader: &mut Reader, at: &At<'_>, api: &mut Api) {
    let Some(fields) = reader.fields(at, fields::API) else { return };
    each(reader, &fields, "allowed", |reader, at| api.allowed = rules(reader, at));
    each(reader, &fields, "denied", |reader, at| api.denied = rules(reader, at));
}

fn rules(reader: &mut Reader, at: &At<'_>) -> Vec<ApiRule> {
    reader.list(at).iter().filter_map(|item| rule(reader, item)).collect()
}

fn rule(reader: &mut Reader, at: &At<'_>) -> Option<ApiRule> {
    let fields = reader.fields(at, fields::API_RULE)?;
    let name = fields.required(reader, "name", "the group of the API, for example invoke");
    let version = fields.required(reader, "version", "the version of the group, for example v1");
    let protocol = fields.required(reader, "protocol", "http or grpc");
    let name = name.and_then(|at| reader.text(&at));
    let version = version.and_then(|at| reader.text(&at));
    let protocol = protocol.and_then(|at| {
        reader.parsed(&at, |text| match text.to_ascii_lowercase().as_str() {
            "http" => Ok(ApiProtocol::Http),
            "grpc" => Ok(ApiProtocol::Grpc),
            _ => Err("write http or grpc"),
        })
    });
    Some(ApiRule { name: name?.to_owned(), version: version?.to_owned(), protocol: protocol? })
}

fn logging(reader: &mut Reader, at: &At<'_>, logging: &mut ApiLogging) {
    let Some(fields) = reader.fields(at, fields::LOGGING) else { return };
    let Some(at) = fields.get("apiLogging") else { return };
    let Some(fields) = reader.fields(&at, fields::API_LOGGING) else { return };
    each(reader, &fields, "enabled", |reader, at| logging.enabled = reader.boolean(at).or(logging.enabled));
    each(reader, &fields, "obfuscateURLs", |reader, at| {
        logging.obfuscate_urls = reader.boolean(at).unwrap_or(logging.obfuscate_urls);
    });
    each(reader, &fields, "omitHealthChecks", |reader, at| {
        logging.omit_health_checks = reader.boolean(at).unwrap_or(logging.omit_health_checks);
    });
}

fn denied(reader: &mut Reader, at: &At<'_>) -> Vec<String> {
    texts(reader, at).into_iter().map(|text| text.trim_end_matches('/').to_ascii_lowercase()).collect()
}

fn secret_scopes(reader: &mut Reader, at: &At<'_>) -> Vec<SecretScope> {
    let mut scopes: Vec<(SecretScope, usize)> = Vec::new();
    for item in reader.list(at) {
        let Some(fields) = reader.fields(&item, fields::SECRET_SCOPE) else { continue };
        let Some(store) = fields.required(reader, "storeName", "the name of the secret store") else { continue };
        let Some(store_name) = reader.text(&store).map(str::to_owned) else { continue };
        let access = fields.get("defaultAccess").filter(|at| !at.is_blank());
        let default_access = access.and_then(|at| {
            reader.parsed(&at, |text| match text.to_ascii_lowercase().as_str() {
                "allow" => Ok(SecretAccess::Allow),
                "deny" => Ok(SecretAccess::Deny),
                _ => Err("write allow or deny"),
            })
        });
        if let Some((_, first)) = scopes.iter().find(|(other, _)| other.store_name == store_name) {
            let kind = MistakeKind::Duplicate { first: *first };
            reader.mistake(item.node.line, store.path, kind);
            continue;
        }
        let mut list = |name| fields.get(name).map(|at| texts(reader, &at)).unwrap_or_default();
        let (allowed_secrets, denied_secrets) = (list("allowedSecrets"), list("deniedSecrets"));
        let default_access = default_access.unwrap_or_default();
        scopes.push((SecretScope { store_name, default_access, allowed_secrets, denied_secrets }, item.node.line));
    }
    scopes.into_iter().map(|(scope, _)| scope).collect()
}

fn features(reader: &mut Reader, at: &At<'_>) {
    for item in reader.list(at) {
        let Some(fields) = reader.fields(&item, fields::FEATURE) else { continue };
        let Some(name) = fields.required(reader, "name", "the name of the feature") else { continue };
        let Some(name) = reader.text(&name).map(crate::mistake::shown) else { continue };
        let enabled = fields.get("enabled").and_then(|at| reader.boolean(&at)).unwrap_or(false);
        if enabled {
            reader.warn(item.node.line, item.path, format!("has no effect: this build has no feature `{name}`"));
        }
    }
}

/// Nothing of it has an effect yet, but a mistake in it is one all the same.
fn workflow(reader: &mut Reader, at: &At<'_>) {
    let Some(fields) = reader.fields(at, fields::WORKFLOW) else { return };
    let counts = [
        "maxConcurrentWorkflowInvocations",
        "maxConcurrentActivityInvocations",
        "globalMaxConcurrentWorkflowInvocations",
        "globalMaxConcurrentActivityInvocations",
    ];
    for name in counts {
        each(reader, &fields, name, |reader, at| {
            let _count = reader.parsed(at, count);
        });
    }
    for name in ["workflowConcurrencyLimits", "activityConcurrencyLimits"] {
        each(reader, &fields, name, |reader, at| {
            for item in reader.list(at) {
                let Some(limit) = reader.fields(&item, fields::CONCURRENCY_LIMIT) else { continue };
                let _named = limit.required(reader, "name", "the name of the workflow or activity");
                let most = limit.required(reader, "maxConcurrent", "how many may run at once");
                let _count = most.and_then(|at| reader.parsed(&at, count));
            }
        });
    }
    each(reader, &fields, "stateRetentionPolicy", |reader, at| {
        let Some(policy) = reader.fields(at, fields::RETENTION) else { return };
        for Field { name, .. } in fields::RETENTION {
            each(reader, &policy, name, |reader, at| {
                let _duration = reader.parsed(at, crate::duration::parse_non_negative);
            });
        }
    });
    if !at.node.is_empty() {
        reader.warn(at.node.line, at.path.clone(), "has no effect yet: this build has no workflows");
    }
}

fn count(text: &str) -> Result<i32, &'static str> {
    text.parse().map_err(|_| "write a whole number")
}

fn texts(reader: &mut Reader, at: &At<'_>) -> Vec<String> {
    reader.list(at).iter().filter_map(|item| reader.text(item).map(str::to_owned)).collect()
}
