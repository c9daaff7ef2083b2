//! Who may have which certificate.

use outrigger_identity::{AppId, AppIdError, SpiffeId, TrustDomain, TrustDomainError};
use outrigger_proto::sentry::SignCertificateRequest;
use outrigger_proto::sentry::sign_certificate_request::TokenValidator;
use tonic::{Code, Status};

use crate::join_token::JoinToken;

/// How a caller at a door shows that it may ask at all.
#[derive(Clone, Debug)]
pub(crate) enum Proof {
    /// The door let in our own user only, and that is enough.
    SameUser,
    /// The request carries the join token.
    Token(JoinToken),
}

/// The trust domains in which certificates are given.
#[derive(Clone, Debug)]
pub(crate) struct Domains {
    /// Of the apps; also meant by a request that names none.
    pub(crate) apps: TrustDomain,
}

/// Why a certificate was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the token is missing or wrong: set DAPR_SENTRY_TOKEN_FILE to the file `join-token` in Outrigger's folder")]
    Token,
    #[error("the token validator {found} is not offered; leave it out, or send the join token as `JWKS`")]
    Validator { found: &'static str },
    #[error("the certificate signing request is missing")]
    NoRequest,
    #[error(transparent)]
    App(#[from] AppIdError),
    #[error(transparent)]
    TrustDomain(#[from] TrustDomainError),
    #[error("the trust domain {asked:?} is not served: this authority signs for {served:?}")]
    OtherDomain { asked: String, served: String },
}

impl Refusal {
    pub(crate) fn status(&self) -> Status {
        let code = match self {
            Self::Token => Code::Unauthenticated,
            Self::OtherDomain { .. } => Code::PermissionDenied,
            Self::Validator { .. } | Self::NoRequest | Self::App(_) | Self::TrustDomain(_) => Code::InvalidArgument,
        };
        Status::new(code, self.to_string())
    }
}

/// The identity that this request may have.
///
/// The proof is judged first, so that a caller without one learns nothing else. JWT audiences
/// are no part of it: as a stock authority without JWT we give the certificate and no token.
pub(crate) fn identity(
    request: &SignCertificateRequest,
    proof: &Proof,
    domains: &Domains,
) -> Result<SpiffeId, Refusal> {
    match proof {
        Proof::Token(token) if !token.matches(&request.token) => return Err(Refusal::Token),
        Proof::Token(_) | Proof::SameUser => {}
    }
    // A stock sidecar names JWKS when it has a token from a file, and nothing when it has none.
    match request.token_validator() {
        TokenValidator::Unknown | TokenValidator::Insecure | TokenValidator::Jwks => {}
        TokenValidator::Kubernetes => return Err(Refusal::Validator { found: "KUBERNETES" }),
    }
    if request.certificate_signing_request.is_empty() {
        return Err(Refusal::NoRequest);
    }
    let app = AppId::new(&request.namespace, &request.id)?;
    if !request.trust_domain.is_empty() && TrustDomain::parse(&request.trust_domain)? != domains.apps {
        return Err(Refusal::OtherDomain {
            asked: request.trust_domain.clone(),
            served: domains.apps.as_str().to_owned(),
        });
    }
    Ok(app.spiffe_id(&domains.apps))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains() -> Domains {
        Domains { apps: TrustDomain::parse("public").unwrap() }
    }

    fn request() -> SignCertificateRequest {
        SignCertificateRequest {
            id: "orders".into(),
            namespace: "shop".into(),
            certificate_signing_request: b"x".to_vec(),
            ..Default::default()
        }
    }

    fn asked(request: SignCertificateRequest) -> Result<String, Refusal> {
        identity(&request, &Proof::SameUser, &domains()).map(|id| id.as_str().to_owned())
    }

    #[test]
    fn the_identity_is_composed_from_id_namespace_and_trust_domain() {
        let expected = Ok("spiffe://public/ns/shop/orders".to_owned());
        assert_eq!(asked(request()), expected);
        assert_eq!(asked(SignCertificateRequest { trust_domain: "public".into(), ..request() }), expected);
    }

    #[test]
    fn a_name_that_would_mean_another_identity_is_refused() {
        for id in ["", ".", "..", "a.b", "a/b", "../dapr-sentry", "orders/../x", "a%2fb", "a b", "ä", "a\0"] {
            let refused = asked(SignCertificateRequest { id: id.into(), ..request() });
            assert!(matches!(refused, Err(Refusal::App(_))), "{id:?}: {refused:?}");
        }
        for namespace in ["", "a/b", "..", "shop/admin"] {
            let refused = asked(SignCertificateRequest { namespace: namespace.into(), ..request() });
            assert!(matches!(refused, Err(Refusal::App(_))), "{namespace:?}: {refused:?}");
        }
    }

    #[test]
    fn another_trust_domain_is_refused() {
        for domain in ["localhost", "other", "cluster.local"] {
            let refused = asked(SignCertificateRequest { trust_domain: domain.into(), ..request() });
            assert!(matches!(refused, Err(Refusal::OtherDomain { .. })), "{domain:?}: {refused:?}");
        }
        for domain in ["Public", "a/b", "a b", "spiffe://public"] {
            let refused = asked(SignCertificateRequest { trust_domain: domain.into(), ..request() });
            assert!(matches!(refused, Err(Refusal::TrustDomain(_))), "{domain:?}: {refused:?}");
        }
    }

    #[test]
    fn where_a_token_is_asked_for_only_the_token_opens() {
        let dir = tempfile::tempdir().unwrap();
        let token = JoinToken::load_or_create(&dir.path().join("t")).unwrap();
        let proof = Proof::Token(token.clone());
        let validators = [TokenValidator::Unknown, TokenValidator::Insecure, TokenValidator::Jwks];
        for validator in validators {
            let with = |token: &str| SignCertificateRequest {
                token: token.into(),
                token_validator: validator.into(),
                ..request()
            };
            assert_eq!(identity(&with(""), &proof, &domains()), Err(Refusal::Token));
            assert_eq!(identity(&with("x"), &proof, &domains()), Err(Refusal::Token));
            assert!(identity(&with(token.text()), &proof, &domains()).is_ok());
        }
    }

    #[test]
    fn without_the_token_nothing_else_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let proof = Proof::Token(JoinToken::load_or_create(&dir.path().join("t")).unwrap());
        let wrong = SignCertificateRequest { id: "a/b".into(), trust_domain: "x".into(), ..request() };
        assert_eq!(identity(&wrong, &proof, &domains()), Err(Refusal::Token));
    }

    #[test]
    fn audiences_of_a_jwt_change_nothing_as_with_a_stock_authority_that_has_none() {
        let with = SignCertificateRequest { jwt_audiences: vec!["a".into()], ..request() };
        assert_eq!(asked(with), asked(request()));
    }

    #[test]
    fn what_is_not_supported_is_refused_and_not_ignored() {
        let kubernetes = TokenValidator::Kubernetes.into();
        let refused = asked(SignCertificateRequest { token_validator: kubernetes, ..request() });
        assert_eq!(refused, Err(Refusal::Validator { found: "KUBERNETES" }));
        let refused = asked(SignCertificateRequest { certificate_signing_request: vec![], ..request() });
        assert_eq!(refused, Err(Refusal::NoRequest));
    }
}
