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
use crate::rate::Bucket;

/// Certificates signed at once after a rest, by one door; then one each `EACH`.
const BURST: u32 = 200;
const EACH: Duration = Duration::from_millis(20);

/// The authority behind one door.
#[derive(Clone)]
pub(crate) struct SentryService {
    signer: Arc<Signer>,
    domains: Domains,
    proof: Proof,
    clock: Clock,
    rate: Arc<Mutex<Bucket>>,
}

impl SentryService {
    /// Signs for callers that bring `proof`.
    pub(crate) fn new(signer: Arc<Signer>, domains: Domains, proof: Proof, clock: Clock) -> Self {
        let rate = Arc::new(Mutex::new(Bucket::new(BURST, EACH, Instant::now())));
        Self { signer, domains, proof, clock, rate }
    }

    fn sign(&self, request: &SignCertificateRequest) -> Result<SignCertificateResponse, Status> {
        let id = facts::identity(request, &self.proof, &self.domains).map_err(|refusal| {
            tracing::info!(app = shown(&request.id), namespace = shown(&request.namespace), reason = %refusal, "refused a certificate");
            refusal.status()
        })?;
        // Behind the proof: who has none cannot use up what the others need.
        if !self.rate.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now()) {
            tracing::warn!(%id, "too many certificates are asked for");
            return Err(Status::resource_exhausted("too many certificates are asked for; try again in a second"));
        }
        let issued = self
            .signer
            .sign(&id, &request.certificate_signing_request, unix_now(&self.clock))
            .map_err(|error| failed(&id, &error))?;
        let response = self.response(&issued).ok_or_else(|| {
            tracing::error!(%id, "the certificate just signed cannot be read");
            Status::internal("the certificate just signed cannot be read")
        })?;
        tracing::info!(%id, "signed a certificate");
        Ok(response)
    }

    fn response(&self, issued: &Issued) -> Option<SignCertificateResponse> {
        let leaf = issued.chain.first()?;
        let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
        let seconds = leaf.validity().not_after.timestamp();
        let chain: Vec<_> = issued.chain.iter().map(|der| Pem::new("CERTIFICATE", der.to_vec())).collect();
        let lines = EncodeConfig::new().set_line_ending(LineEnding::LF);
        Some(SignCertificateResponse {
            workload_certificate: pem::encode_many_config(&chain, lines).into_bytes(),
            trust_chain_certificates: vec![self.signer.roots_pem().as_bytes().to_vec()],
            valid_until: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            ..Default::default()
        })
    }
}

#[tonic::async_trait]
impl Ca for SentryService {
    async fn sign_certificate(
        &self,
        request: Request<SignCertificateRequest>,
    ) -> Result<Response<SignCertificateResponse>, Status> {
        self.sign(request.get_ref()).map(Response::new)
    }
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
