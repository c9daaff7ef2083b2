//! `kind: HTTPEndpoint`: an external service that can be invoked by name.

use crate::component::{scopes, secret_store};
use crate::fields;
use crate::mistake::Place;
use crate::property::{Property, PropertyValue, Surroundings, properties, value};
use crate::reader::{At, Fields, Reader};

/// An external service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpEndpoint {
    /// Where it is declared.
    pub place: Place,
    /// Its name, which stands where an app ID would.
    pub name: String,
    /// `spec.baseUrl`: `http://` or `https://`, a host, and maybe a path; without query and fragment.
    pub base_url: String,
    /// `spec.headers`, to be sent with every call.
    pub headers: Vec<Property>,
    /// `spec.clientTLS`; `None` when it is not there.
    pub client_tls: Option<ClientTls>,
    /// `auth.secretStore`: who has the secrets that headers and TLS refer to.
    pub secret_store: Option<String>,
    /// `scopes`: the apps that it is for; all when empty.
    pub scopes: Vec<String>,
}

/// `spec.clientTLS`: PEM, each a value or a secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Roots that the service is checked against; the machine's when `None`.
    pub root_ca: Option<PropertyValue>,
    /// Our certificate; there together with the key.
    pub certificate: Option<PropertyValue>,
    /// Its key.
    pub private_key: Option<PropertyValue>,
}

pub(crate) fn read(reader: &mut Reader, at: &At<'_>, name: String, from: &Surroundings<'_>) -> Option<HttpEndpoint> {
    let resource = reader.fields(at, fields::HTTP_ENDPOINT)?;
    let scopes = scopes(reader, &resource);
    let secret_store = secret_store(reader, &resource);
    let spec = resource.required(reader, "spec", "spec: with baseUrl below it")?;
    let spec = reader.fields(&spec, fields::HTTP_ENDPOINT_SPEC)?;
    let base_url = spec.required(reader, "baseUrl", "the URL of the service, for example https://example.com/api");
    let base_url = base_url.and_then(|at| reader.parsed(&at, base_url_of));
    let headers = spec.get("headers").map(|at| properties(reader, &at, from)).unwrap_or_default();
    for header in headers.iter().filter(|header| !is_token(&header.name)) {
        let kind = crate::mistake::MistakeKind::Value {
            value: crate::mistake::shown(&header.name),
            fix: "write the name of an HTTP header".to_owned(),
        };
        reader.mistake(header.place.line, format!("{}.name", header.place.field), kind);
    }
    let client_tls = spec.get("clientTLS").and_then(|at| client_tls(reader, &at, from));
    let place = reader.place(at.node.line, &at.path);
    Some(HttpEndpoint { place, name, base_url: base_url?, headers, client_tls, secret_store, scopes })
}

fn client_tls(reader: &mut Reader, at: &At<'_>, from: &Surroundings<'_>) -> Option<ClientTls> {
    let fields = reader.fields(at, fields::CLIENT_TLS)?;
    let root_ca = document(reader, &fields, "rootCA", from);
    let certificate = document(reader, &fields, "certificate", from);
    let private_key = document(reader, &fields, "privateKey", from);
    if let Some(at) = fields.get("renegotiation").filter(|at| !at.is_blank()) {
        let asked = reader.parsed(&at, |text| match text {
            "Never" => Ok(false),
            "OnceAsClient" | "FreelyAsClient" => Ok(true),
            _ => Err("write Never, OnceAsClient or FreelyAsClient"),
        });
        if asked == Some(true) {
            reader.warn(
                at.node.line,
                at.path,
                "has no effect: TLS is never renegotiated; a service that asks for it is not reached",
            );
        }
    }
    for (there, other, missing) in
        [(&certificate, &private_key, "privateKey"), (&private_key, &certificate, "certificate")]
    {
        if there.is_some() && other.is_none() {
            let fix = "certificate and privateKey together, or neither".to_owned();
            let kind = crate::mistake::MistakeKind::Missing { fix };
            reader.mistake(at.node.line, format!("{}.{missing}", at.path), kind);
        }
    }
    Some(ClientTls { root_ca, certificate, private_key })
}

/// A PEM document; one that says nothing is not there.
fn document(reader: &mut Reader, fields: &Fields<'_>, name: &str, from: &Surroundings<'_>) -> Option<PropertyValue> {
    let at = fields.get(name)?;
    let fields = reader.fields(&at, fields::TLS_DOCUMENT)?;
    value(reader, &fields, from).filter(|value| value.text() != Some(""))
}

fn base_url_of(text: &str) -> Result<String, &'static str> {
    const FIX: &str = "write http:// or https://, a host, and maybe a path; no user, query or fragment";
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).ok_or(FIX)?;
    let host = rest.split('/').next().unwrap_or_default();
    let is_plain = !rest.contains(['?', '#', '\\']) && !rest.contains(|c: char| c.is_whitespace() || c.is_control());
    if host.is_empty() || host.contains('@') || !is_plain {
        return Err(FIX);
    }
    Ok(text.to_owned())
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
