//! `outrigger invoke`

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use outrigger_identity::AppId;
use outrigger_mesh::discovery::registry::Announcement;

use super::cli::Invoke;
use super::registered;
use crate::loopback;

/// Longest wait for the app's answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Calls an app through a sidecar on this machine and prints its answer.
///
/// The exit code is 0 for a status below 400, else 1.
///
/// # Errors
///
/// No sidecar to call through, a verb or body that is none, or no answer.
pub(crate) async fn invoke(arguments: Invoke) -> anyhow::Result<u8> {
    let app = AppId::parse(&arguments.app_id, "default").context("--app-id")?;
    let method: Method = arguments
        .verb
        .to_ascii_uppercase()
        .parse()
        .with_context(|| format!("--verb={:?} is no HTTP verb; use GET, POST, PUT or another", arguments.verb))?;
    let body = match (&arguments.data, &arguments.data_file) {
        (Some(text), _) => Bytes::from(text.clone()),
        (None, Some(file)) => {
            Bytes::from(std::fs::read(file).with_context(|| format!("--data-file={}: cannot be read", file.display()))?)
        }
        (None, None) => Bytes::new(),
    };
    let home = registered::home()?;
    let found = registered::sidecars(&home).await?;
    let through = match &arguments.from {
        Some(from) => AppId::parse(from, "default").context("--from")?,
        None => app.clone(),
    };
    let address = api(&found, &through)?;
    let path = format!("/v1.0/invoke/{app}/method/{}", arguments.method.trim_start_matches('/'));
    let mut headers = HeaderMap::new();
    if !body.is_empty() {
        headers.insert(header::CONTENT_TYPE, content_type(&body));
    }
    if let Some(token) = std::env::var_os("DAPR_API_TOKEN").filter(|token| !token.is_empty()) {
        let token = token.into_encoded_bytes();
        let mut value = HeaderValue::from_bytes(&token).context("DAPR_API_TOKEN cannot stand in a header")?;
        value.set_sensitive(true);
        headers.insert("dapr-api-token", value);
    }
    let client = loopback::client(address);
    let answer = loopback::call(&client, address, method, &path, headers, body, PATIENCE).await?;
    let mut out = std::io::stdout().lock();
    out.write_all(&answer.body)?;
    if !answer.body.ends_with(b"\n") && !answer.body.is_empty() {
        out.write_all(b"\n")?;
    }
    if answer.status.as_u16() < 400 {
        return Ok(0);
    }
    eprintln!("{app} answered {}", answer.status);
    Ok(1)
}

/// The HTTP API of the first sidecar of `app` that is not on its way out.
fn api(found: &[Announcement], app: &AppId) -> anyhow::Result<SocketAddr> {
    found
        .iter()
        .find(|sidecar| sidecar.app == *app && !sidecar.draining && sidecar.description.http_port != 0)
        .map(|sidecar| SocketAddr::from((Ipv4Addr::LOCALHOST, sidecar.description.http_port)))
        .ok_or_else(|| {
            anyhow::anyhow!(
                "no sidecar of {app} is running on this machine; `outrigger list` shows which are, \
                 and --from=<app> calls through another"
            )
        })
}

/// JSON when it is, else plain text: what most apps expect of a command line.
fn content_type(body: &Bytes) -> HeaderValue {
    let json = serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
    HeaderValue::from_static(if json { "application/json" } else { "text/plain" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_follows_the_body() {
        assert_eq!(content_type(&Bytes::from("{\"a\":1}")), "application/json");
        assert_eq!(content_type(&Bytes::from("hello")), "text/plain");
    }

    #[test]
    fn without_a_sidecar_the_reason_names_the_app() {
        let app = AppId::new("default", "shop").unwrap();
        let error = api(&[], &app).unwrap_err().to_string();
        assert!(error.contains("shop.default"), "{error}");
    }
}
