//! Who signs our identity, from flags and environment.

use std::path::PathBuf;
use std::sync::Arc;

use outrigger_certs::ca::sentry::SentryAddress;
use outrigger_certs::{Roots, RootsSource};
use outrigger_identity::{SpiffeId, TrustDomain};
use outrigger_resources::configuration::Mtls;

use super::Mistakes;
use super::env::Variables;
use super::flags::Flags;
use super::sidecar::Authority;
use super::table::{self, Flag, Persona};

/// App ID of the stock certificate authority in its SPIFFE ID.
const SENTRY: &str = "dapr-sentry";

/// The authority, or `None` without mutual TLS (or after a mistake).
///
/// A flag beats the Configuration. As `daprd` only flags count: there it is
/// `dapr run` that reads `spec.mtls` and turns it into flags.
pub(crate) fn authority(
    flags: &Flags,
    variables: &Variables,
    mtls: &Mtls,
    mistakes: &mut Mistakes,
) -> Option<Authority> {
    let unsaid = Mtls::default();
    let mtls = match flags.persona() {
        Persona::Daprd => &unsaid,
        Persona::Outrigger => mtls,
    };
    let flagged = flags.boolean(&table::ENABLE_MTLS);
    let enabled = match mtls.enabled {
        Some(said) if !flags.is_given(&table::ENABLE_MTLS) => said,
        _ => flagged,
    };
    if !enabled {
        return None;
    }
    let address = given_or(flags, &table::SENTRY_ADDRESS, &mtls.sentry_address);
    if address.is_empty() {
        if flags.persona() == Persona::Daprd && variables.control_socket.is_none() {
            mistakes.add(
                "--sentry-address",
                None,
                "is required by --enable-mtls",
                "write --sentry-address=<host:port>, or set OUTRIGGER_CONTROL_SOCKET for the embedded one",
            );
            return None;
        }
        return Some(Authority::Embedded);
    }
    let parsed = SentryAddress::parse(&address).map_err(|_| {
        mistakes.add("--sentry-address", Some(&address), "is no host:port", "write it as localhost:50001");
    });
    let said = mtls.control_plane_trust_domain.as_ref().map(|domain| domain.as_str().to_owned());
    let domain =
        given_or(flags, &table::CONTROL_PLANE_TRUST_DOMAIN, &variables.control_plane_trust_domain.clone().or(said));
    let trust_domain = TrustDomain::parse(&domain).map_err(|error| {
        mistakes.add(
            "--control-plane-trust-domain",
            Some(&domain),
            error.to_string(),
            "use lower-case letters, digits, `.`, `-` and `_`",
        );
    });
    let namespace = given_or(flags, &table::CONTROL_PLANE_NAMESPACE, &variables.control_plane_namespace);
    let identity = trust_domain.and_then(|domain| {
        SpiffeId::dapr(&domain, &namespace, SENTRY).map_err(|error| {
            mistakes.add(
                "--control-plane-namespace",
                Some(&namespace),
                error.to_string(),
                "use letters, digits, `-` and `_`",
            );
        })
    });
    let roots = roots(flags, variables, mistakes);
    Some(Authority::Sentry {
        address: parsed.ok()?,
        identity: identity.ok()?,
        roots: roots?,
        token_file: variables.sentry_token_file.clone(),
    })
}

fn roots(flags: &Flags, variables: &Variables, mistakes: &mut Mistakes) -> Option<RootsSource> {
    let file = Some(flags.text(&table::TRUST_ANCHORS_FILE))
        .filter(|text| !text.is_empty())
        .map(PathBuf::from)
        .or_else(|| variables.trust_anchors_file.clone());
    match (file, &variables.trust_anchors) {
        (Some(file), None) => Some(RootsSource::File(file)),
        (None, Some(pem)) => match Roots::from_pem(pem.as_bytes()) {
            Ok(roots) => Some(RootsSource::Fixed(Arc::new(roots))),
            Err(error) => {
                mistakes.add("DAPR_TRUST_ANCHORS", None, error.to_string(), "set it to the PEM of the roots");
                None
            }
        },
        (Some(file), Some(_)) => {
            mistakes.add(
                "DAPR_TRUST_ANCHORS",
                None,
                format!("is set beside the file {}", file.display()),
                "keep one of the two",
            );
            None
        }
        (None, None) => {
            mistakes.add(
                "DAPR_TRUST_ANCHORS",
                None,
                "is required by --enable-mtls with --sentry-address",
                "set it to the PEM of the roots, or DAPR_TRUST_ANCHORS_FILE to a file that holds it",
            );
            None
        }
    }
}

/// A flag beats its variable, a variable beats the flag's default.
fn given_or(flags: &Flags, flag: &Flag, variable: &Option<String>) -> String {
    match variable {
        Some(value) if !flags.is_given(flag) => value.clone(),
        _ => flags.text(flag),
    }
}
