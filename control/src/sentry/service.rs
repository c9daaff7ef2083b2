//! Answers `SignCertificate`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use outrigger_certs::ca::Issued;
use outrigger_certs::ca::signer::{Signer, SignerError};
use outrigger_certs::{Clock, unix_now};
use outrigger_identity::SpiffeId;
use outrigger_proto::sentry::ca_server::Ca;
use outrigger_proto::sentry::{SignCertificateRequest, SignCertificateResponse};
use pem::{EncodeConfig, LineEnding, Pem};
use tonic::{Request, Response, Status};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::facts::{self, Domains, Proof};
use crate::embedded::SignerWatch;
use crate::rate::Bucket;

/// Certificates signed at once after a rest, by one door; then one each `EACH`.
const BURST: u32 = 200;
const EACH: Duration = Duration::from_millis(20);

/// The authority behind one door.
#[derive(Clone)]
pub(crate) struct SentryService {
    signer: SignerWatch,
    domains: Domains,
    proof: Proof,
    clock: Clock,
    rate: Arc<Mutex<Bucket>>,
}

impl SentryService {
    /// Signs for callers that bring `proof`.
    pub(crate) fn new(signer: SignerWatch, domains: Domains, proof: Proof, clock: Clock) -> Self {
        let rate = Arc::new(Mutex::new(Bucket::new(BURST, EACH, Instant::now())));
        Self { signer, domains, proof, clock, rate }
    }

    fn sign(&self, request: &SignCertificateRequest, now: Instant) -> Result<SignCertificateResponse, Status> {
        let id = facts::identity(request, &self.proof, &self.domains).map_err(|refusal| {
            tracing::info!(app = shown(&request.id), namespace = shown(&request.namespace), reason = %refusal, "refused a certificate");
            refusal.status()
        })?;
        // Behind the proof: who has none cannot use up what the others need.
        if !self.rate.lock().unwrap_or_else(PoisonError::into_inner).take(now) {
            tracing::warn!(%id, "too many certificates are asked for");
            return Err(Status::resource_exhausted("too many certificates are asked for; try again in a second"));
        }
        let signer = Arc::clone(&self.signer.borrow());
        let issued = signer
            .sign(&id, &request.certificate_signing_request, unix_now(&self.clock))
            .map_err(|error| failed(&id, &error))?;
        let response = response(&signer, &issued).ok_or_else(|| {
            tracing::error!(%id, "the certificate just signed cannot be read");
            Status::internal("the certificate just signed cannot be read")
        })?;
        tracing::info!(%id, "signed a certificate");
        Ok(response)
    }
}

#[tonic::async_trait]
impl Ca for SentryService {
    async fn sign_certificate(
        &self,
        request: Request<SignCertificateRequest>,
    ) -> Result<Response<SignCertificateResponse>, Status> {
        self.sign(request.get_ref(), Instant::now()).map(Response::new)
    }
}

fn response(signer: &Signer, issued: &Issued) -> Option<SignCertificateResponse> {
    let leaf = issued.chain.first()?;
    let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
    let seconds = leaf.validity().not_after.timestamp();
    let chain: Vec<_> = issued.chain.iter().map(|der| Pem::new("CERTIFICATE", der.to_vec())).collect();
    let lines = EncodeConfig::new().set_line_ending(LineEnding::LF);
    Some(SignCertificateResponse {
        workload_certificate: pem::encode_many_config(&chain, lines).into_bytes(),
        trust_chain_certificates: vec![signer.roots_pem().as_bytes().to_vec()],
        valid_until: Some(prost_types::Timestamp { seconds, nanos: 0 }),
        ..Default::default()
    })
}

/// A fault of the request is the caller's to know; one of ours is for the log.
fn failed(id: &SpiffeId, error: &SignerError) -> Status {
    match error {
        SignerError::Request(_) | SignerError::Signature | SignerError::KeyKind => {
            tracing::info!(%id, %error, "refused a certificate");
            Status::invalid_argument(error.to_string())
        }
        SignerError::NoApp { .. } | SignerError::Reserved { .. } => {
            tracing::info!(%id, %error, "refused a certificate");
            Status::permission_denied(error.to_string())
        }
        _ => {
            tracing::error!(%id, %error, "cannot sign a certificate");
            Status::internal("the authority cannot sign; its log says why")
        }
    }
}

/// A name as it may stand in a log: short, and nothing that steers a terminal.
fn shown(name: &str) -> String {
    name.chars().take(80).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::join_token::JoinToken;
    use outrigger_certs::ca::signer::SignerConfig;
    use outrigger_certs::{CertificateRequest, Key, KeyAlgorithm, system_clock};
    use outrigger_identity::{AppId, TrustDomain};

    fn service(proof: Proof) -> SentryService {
        let domain = |name| TrustDomain::parse(name).unwrap();
        let clock = system_clock();
        let signer = Signer::create(SignerConfig::new(domain("localhost"), "default"), unix_now(&clock)).unwrap();
        let (_, signer) = tokio::sync::watch::channel(Arc::new(signer));
        SentryService::new(signer, Domains { apps: domain("public") }, proof, clock)
    }

    fn request() -> SignCertificateRequest {
        let key = Key::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let app = AppId::new("default", "orders").unwrap();
        SignCertificateRequest {
            id: app.app_id().to_owned(),
            namespace: app.namespace().to_owned(),
            certificate_signing_request: CertificateRequest::new(app, None, &key).unwrap().pem.into_bytes(),
            ..Default::default()
        }
    }

    #[test]
    fn the_answer_is_the_chain_the_roots_and_the_end_of_validity() {
        let service = service(Proof::SameUser);
        let answer = service.sign(&request(), Instant::now()).unwrap();
        let chain = pem::parse_many(&answer.workload_certificate).unwrap();
        assert_eq!(chain.len(), 2);
        let (_, leaf) = X509Certificate::from_der(chain.first().unwrap().contents()).unwrap();
        assert_eq!(leaf.validity().not_after.timestamp(), answer.valid_until.unwrap().seconds);
        assert_eq!(answer.trust_chain_certificates, [service.signer.borrow().roots_pem().as_bytes()]);
    }

    #[test]
    fn who_asks_for_jwt_audiences_gets_the_certificate_and_no_token() {
        let asked = SignCertificateRequest { jwt_audiences: vec!["a".into()], ..request() };
        let answer = service(Proof::SameUser).sign(&asked, Instant::now()).unwrap();
        assert!(!answer.workload_certificate.is_empty());
        assert!(answer.jwt.is_none() && answer.per_audience_jwts.is_empty());
    }

    #[test]
    fn past_the_rate_a_certificate_is_refused_and_a_moment_later_given() {
        let service = service(Proof::SameUser);
        let (request, now) = (request(), Instant::now());
        for _ in 0..BURST {
            service.sign(&request, now).unwrap();
        }
        let refused = service.sign(&request, now).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        service.sign(&request, now + EACH).unwrap();
    }

    #[test]
    fn who_has_no_token_cannot_use_up_the_rate() {
        let dir = tempfile::tempdir().unwrap();
        let token = JoinToken::load_or_create(&dir.path().join("join-token")).unwrap();
        let service = service(Proof::Token(token.clone()));
        let (request, now) = (request(), Instant::now());
        for _ in 0..=BURST {
            let refused = service.sign(&request, now).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::Unauthenticated);
        }
        service.sign(&SignCertificateRequest { token: token.text().to_owned(), ..request }, now).unwrap();
    }
}
