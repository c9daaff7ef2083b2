//! The environment: read once, typed, never looked at again.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use super::Mistakes;

/// A snapshot of the process's environment.
#[derive(Debug, Default)]
pub(crate) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// The environment of this process.
    pub(crate) fn of_process() -> Self {
        Environment(std::env::vars_os().collect())
    }

    /// An environment of these variables only.
    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        Environment(variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect())
    }

    /// A variable's text; `None` when it is not set or empty, which mean the
    /// same here. One that is not UTF-8 is a mistake.
    pub(crate) fn text(&self, name: &str, mistakes: &mut Mistakes) -> Option<String> {
        let value = self.0.get(std::ffi::OsStr::new(name))?;
        match value.to_str() {
            Some("") => None,
            Some(text) => Some(text.to_owned()),
            None => {
                mistakes.add(name, None, "is not UTF-8", "set it to plain text or unset it");
                None
            }
        }
    }

    /// A variable as it stands, empty or not; `None` when it is not set or no
    /// UTF-8.
    pub(crate) fn lookup(&self, name: &str) -> Option<String> {
        self.0.get(std::ffi::OsStr::new(name))?.to_str().map(str::to_owned)
    }

    /// A variable that holds a path; `None` when it is not set or empty.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.0.get(std::ffi::OsStr::new(name)).filter(|value| !value.is_empty()).map(PathBuf::from)
    }
}

/// What a secret prints as.
const HIDDEN: &str = "(hidden)";

/// A token: compared and sent, never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// The variables that the sidecar reads.
#[derive(Debug)]
pub(crate) struct Variables {
    /// `NAMESPACE`: namespace of the app; default `default`.
    pub(crate) namespace: String,
    /// `DAPR_API_TOKEN`: what callers of the API must send.
    pub(crate) api_token: Option<Token>,
    /// `APP_API_TOKEN`: what we send to the app.
    pub(crate) app_token: Option<Token>,
    /// `DAPR_TRUST_ANCHORS`: PEM of the roots.
    pub(crate) trust_anchors: Option<String>,
    /// `DAPR_TRUST_ANCHORS_FILE`: a file of the same (ours).
    pub(crate) trust_anchors_file: Option<PathBuf>,
    /// `DAPR_CONTROLPLANE_NAMESPACE`.
    pub(crate) control_plane_namespace: Option<String>,
    /// `DAPR_CONTROLPLANE_TRUST_DOMAIN`.
    pub(crate) control_plane_trust_domain: Option<String>,
    /// `DAPR_SENTRY_TOKEN_FILE`: a token shown to the CA.
    pub(crate) sentry_token_file: Option<PathBuf>,
    /// `OUTRIGGER_CONTROL_SOCKET`: as `--control-socket` (ours).
    pub(crate) control_socket: Option<PathBuf>,
    /// `DAPR_HOST_IP`: our address as other machines know it.
    pub(crate) host_ip: Option<IpAddr>,
}

/// Variables of stock whose feature is not here yet: set, they are refused.
const NOT_YET: &[&str] = &["DAPR_SCHEDULER_HOST_ADDRESS_DNS_A", "SENTRY_LOCAL_IDENTITY"];

/// Types the variables; what is wrong goes to `mistakes`.
pub(crate) fn read(environment: &Environment, mistakes: &mut Mistakes) -> Variables {
    for name in NOT_YET {
        if let Some(value) = environment.text(name, mistakes) {
            mistakes.add(
                *name,
                Some(&value),
                "asks for a feature that is not supported yet",
                "unset it; docs/not-supported.md says what to do instead",
            );
        }
    }
    if let Some(value) = environment.text("DAPR_HTTP_DISABLE_H2C", mistakes)
        && matches!(value.to_ascii_lowercase().as_str(), "y" | "yes" | "true" | "t" | "on" | "1")
    {
        mistakes.add(
            "DAPR_HTTP_DISABLE_H2C",
            Some(&value),
            "the HTTP API always speaks h2c beside HTTP/1.1",
            "unset it",
        );
    }
    Variables {
        namespace: environment.text("NAMESPACE", mistakes).unwrap_or_else(|| "default".to_owned()),
        api_token: token(environment, "DAPR_API_TOKEN", mistakes),
        app_token: token(environment, "APP_API_TOKEN", mistakes),
        trust_anchors: environment.text("DAPR_TRUST_ANCHORS", mistakes),
        trust_anchors_file: environment.path("DAPR_TRUST_ANCHORS_FILE"),
        control_plane_namespace: environment.text("DAPR_CONTROLPLANE_NAMESPACE", mistakes),
        control_plane_trust_domain: environment.text("DAPR_CONTROLPLANE_TRUST_DOMAIN", mistakes),
        sentry_token_file: environment.path("DAPR_SENTRY_TOKEN_FILE"),
        control_socket: environment.path("OUTRIGGER_CONTROL_SOCKET"),
        host_ip: host_ip(environment, mistakes),
    }
}

fn host_ip(environment: &Environment, mistakes: &mut Mistakes) -> Option<IpAddr> {
    let text = environment.text("DAPR_HOST_IP", mistakes)?;
    let address = text.parse().ok();
    if address.is_none() {
        mistakes.add("DAPR_HOST_IP", Some(&text), "is no IP address", "write one, or unset it to have it found");
    }
    address
}

/// A token must be able to stand in a header.
fn token(environment: &Environment, name: &str, mistakes: &mut Mistakes) -> Option<Token> {
    let text = environment.text(name, mistakes)?;
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Some(Token(text));
    }
    mistakes.add(
        name,
        None,
        "holds a byte that cannot stand in a header",
        "use printable ASCII, without a line break at its end",
    );
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(set: &[(&str, &str)]) -> Result<Variables, Mistakes> {
        let mut mistakes = Mistakes::default();
        let variables = read(&Environment::of(set), &mut mistakes);
        mistakes.into_result(variables)
    }

    #[test]
    fn nothing_set_gives_the_defaults() {
        let read = variables(&[]).unwrap();
        assert_eq!(read.namespace, "default");
        assert_eq!(read.api_token, None);
        assert_eq!(read.control_plane_namespace, None);
    }

    #[test]
    fn an_empty_variable_is_one_that_is_not_set() {
        let read = variables(&[("NAMESPACE", ""), ("DAPR_API_TOKEN", "")]).unwrap();
        assert_eq!(read.namespace, "default");
        assert_eq!(read.api_token, None);
    }

    #[test]
    fn a_token_is_never_printed() {
        let read = variables(&[("DAPR_API_TOKEN", "s3cret"), ("APP_API_TOKEN", "t0ken")]).unwrap();
        assert_eq!(read.api_token, Some(Token("s3cret".into())));
        let printed = format!("{read:?}");
        assert!(!printed.contains("s3cret") && !printed.contains("t0ken"));
        let mistakes = variables(&[("DAPR_API_TOKEN", "s3cret\n")]).unwrap_err();
        let printed = mistakes.to_string();
        assert!(printed.contains("DAPR_API_TOKEN") && !printed.contains("s3cret"));
    }

    #[test]
    fn variables_of_features_to_come_are_refused_together() {
        let mistakes =
            variables(&[("DAPR_SCHEDULER_HOST_ADDRESS_DNS_A", "dapr-scheduler"), ("DAPR_HTTP_DISABLE_H2C", "true")])
                .unwrap_err();
        assert_eq!(mistakes.iter().count(), 2, "{mistakes}");
        assert!(variables(&[("DAPR_HTTP_DISABLE_H2C", "false")]).is_ok());
    }
}
