//! The signing authority, and its client over TLS and over a Unix socket.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod forge;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge::{Ca, FixedClock, NOW, leaf_params};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use outrigger_certs::ca::sentry::{SentryAddress, SentryClient, SentryConfig, Token};
use outrigger_certs::ca::signer::{Signer, SignerConfig, SignerError};
use outrigger_certs::{
    CaError, CertificateAuthority, CertificateRequest, Clock, Identity, Key, KeyAlgorithm, Roots, RootsSource, Svid,
    TrustDomains, peer_identity,
};
use outrigger_identity::{AppId, SpiffeId, TrustDomain};
use outrigger_proto::sentry::ca_server::{Ca as CaService, CaServer};
use outrigger_proto::sentry::{SignCertificateRequest, SignCertificateResponse};
use pem::Pem;
use rcgen::{CertificateParams, DnType, IsCa, KeyPair, PKCS_RSA_SHA256, SanType};
use rustls_pki_types::UnixTime;
use rustls_pki_types::pem::PemObject as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status};

const DAY: u64 = 24 * 3_600;

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

fn clock() -> Clock {
    Arc::new(FixedClock(NOW))
}

fn domain(text: &str) -> TrustDomain {
    TrustDomain::parse(text).unwrap()
}

fn config() -> SignerConfig {
    SignerConfig::new(domain("localhost"), "default")
}

fn signer() -> Signer {
    Signer::create(config(), at(NOW)).unwrap()
}

fn app() -> SpiffeId {
    SpiffeId::dapr(&domain("public"), "default", "a").unwrap()
}

fn request(key: &Key) -> CertificateRequest {
    CertificateRequest::new(AppId::new("default", "a").unwrap(), None, key).unwrap()
}

fn csr(key: &Key) -> Vec<u8> {
    request(key).pem.into_bytes()
}

#[test]
fn a_signed_certificate_names_the_workload_and_nothing_of_the_request() {
    let signer = signer();
    let key = KeyPair::generate().unwrap();
    let mut greedy = CertificateParams::new(vec!["admin.example".to_owned()]).unwrap();
    greedy.distinguished_name.push(DnType::CommonName, "admin");
    let uri = "spiffe://public/ns/default/admin".try_into().unwrap();
    greedy.subject_alt_names.push(SanType::URI(uri));
    greedy.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let greedy = greedy.serialize_request(&key).unwrap().pem().unwrap();
    let issued = signer.sign(&app(), greedy.as_bytes(), at(NOW)).unwrap();
    let svid = Svid::new(issued.chain, forge::pkcs8(&key)).unwrap();
    assert_eq!(svid.id(), &app());
    svid.verify(signer.roots(), at(NOW)).unwrap();
    let der = svid.chain()[0].to_vec();
    for word in ["admin", "example"] {
        assert!(!der.windows(word.len()).any(|w| w == word.as_bytes()), "{word}");
    }
}

#[test]
fn both_kinds_of_key_are_signed_and_others_refused() {
    let signer = signer();
    for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Ed25519] {
        let key = Key::generate(algorithm).unwrap();
        let issued = signer.sign(&app(), &csr(&key), at(NOW)).unwrap();
        let svid = Svid::new(issued.chain, key.to_private_key()).unwrap();
        svid.verify(signer.roots(), at(NOW)).unwrap();
    }
    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let rsa = CertificateParams::default().serialize_request(&rsa).unwrap().pem().unwrap();
    let error = signer.sign(&app(), rsa.as_bytes(), at(NOW)).unwrap_err();
    assert!(matches!(error, SignerError::KeyKind), "{error}");
}

#[test]
fn a_request_must_be_signed_by_its_own_key() {
    let key = Key::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let der = rustls_pki_types::CertificateSigningRequestDer::from_pem_slice(&csr(&key)).unwrap();
    let good = der.to_vec();
    assert!(signer().sign(&app(), &good, at(NOW)).is_ok(), "DER is taken too");
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    let error = signer().sign(&app(), &forged, at(NOW)).unwrap_err();
    assert!(matches!(error, SignerError::Signature | SignerError::Request(_)), "{error}");
    for bad in [&b""[..], b"hello", b"\x30\x00", &[0x30; 20_000], &[good.as_slice(), b"x"].concat()] {
        let error = signer().sign(&app(), bad, at(NOW)).unwrap_err();
        assert!(matches!(error, SignerError::Request(_)), "{error}");
    }
}

#[test]
fn nobody_gets_a_certificate_of_the_control_plane() {
    let signer = signer();
    let key = Key::generate(KeyAlgorithm::EcdsaP256).unwrap();
    for service in ["dapr-sentry", "dapr-placement", "dapr-scheduler", "dapr-operator"] {
        for namespace in ["default", "other"] {
            let id = SpiffeId::dapr(&domain("localhost"), namespace, service).unwrap();
            let error = signer.sign(&id, &csr(&key), at(NOW)).unwrap_err();
            assert!(matches!(error, SignerError::Reserved { .. }), "{error}");
        }
    }
    let other = SpiffeId::parse("spiffe://public/ns/default/a/b").unwrap();
    assert!(matches!(signer.sign(&other, &csr(&key), at(NOW)), Err(SignerError::NoApp { .. })));
}

#[test]
fn a_lifetime_is_clamped_and_begins_a_little_back() {
    let key = Key::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let lifetime = |days: u64, now: u64| {
        let lifetime = Duration::from_secs(days * DAY);
        let signer = Signer::create(SignerConfig { lifetime, ..config() }, at(NOW)).unwrap();
        let issued = signer.sign(&app(), &csr(&key), at(now)).unwrap();
        let svid = Svid::new(issued.chain, key.to_private_key()).unwrap();
        (svid.not_before().as_secs(), svid.not_after().as_secs())
    };
    assert_eq!(lifetime(1, NOW + DAY), (NOW + DAY - 900, NOW + 2 * DAY));
    assert_eq!(lifetime(1_000, NOW).1, NOW + 7 * DAY);
    assert_eq!(lifetime(7, NOW + 364 * DAY).1, NOW + 365 * DAY, "never past the issuer");
    let late = signer().sign(&app(), &csr(&key), at(NOW + 366 * DAY));
    assert!(matches!(late, Err(SignerError::Expired { .. })));
}

#[test]
fn a_short_certificate_is_not_half_over_when_it_is_made() {
    let short = SignerConfig { lifetime: Duration::from_secs(60), ..config() };
    let svid = Signer::create(short, at(NOW)).unwrap().own_svid(at(NOW + DAY)).unwrap();
    assert_eq!((svid.not_before().as_secs(), svid.not_after().as_secs()), (NOW + DAY - 30, NOW + DAY + 60));
}

#[test]
fn an_authority_is_kept_in_private_files_and_opened_again() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("ca");
    let first = Signer::open(&folder, config(), at(NOW)).unwrap();
    let again = Signer::open(&folder, config(), at(NOW + DAY)).unwrap();
    assert_eq!(first.roots_pem(), again.roots_pem());
    again.own_svid(at(NOW)).unwrap().verify(first.roots(), at(NOW)).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in ["ca.crt", "issuer.crt", "issuer.key"] {
        assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 3, "no drafts are left");
}

#[test]
fn an_authority_in_its_last_days_is_replaced_when_opened_and_its_root_kept() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("ca");
    let old = Signer::open(&folder, config(), at(NOW)).unwrap();
    let early = Signer::open(&folder, config(), at(NOW + 362 * DAY)).unwrap();
    assert_eq!(early.roots_pem(), old.roots_pem(), "there is time to do it with an overlap");
    let now = at(NOW + 364 * DAY);
    let old_svid = old.own_svid(now).unwrap();
    let new = Signer::open(&folder, config(), now).unwrap();
    assert_eq!(new.roots().anchors().len(), 2);
    old_svid.verify(new.roots(), now).unwrap();
    new.own_svid(now).unwrap().verify(new.roots(), now).unwrap();
    let later = Signer::open(&folder, config(), at(NOW + 728 * DAY)).unwrap();
    assert_eq!(later.roots().anchors().len(), 2, "the first root has expired and is gone");
}

#[test]
fn a_successor_is_made_in_the_last_month_and_takes_over_when_it_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("ca");
    let old = Signer::open(&folder, config(), at(NOW)).unwrap();
    assert!(old.successor(at(NOW + 330 * DAY)).unwrap().is_none());
    let now = at(NOW + 340 * DAY);
    let next = old.successor(now).unwrap().unwrap();
    let opened = || Signer::open(&folder, config(), now).unwrap();
    assert_eq!(opened().roots_pem(), old.roots_pem(), "nothing is written yet");
    assert_eq!(next.roots().anchors().len(), 2);
    old.own_svid(now).unwrap().verify(next.roots(), now).unwrap();
    next.save(&folder).unwrap();
    assert_eq!(opened().roots_pem(), next.roots_pem());
    assert!(opened().successor(now).unwrap().is_none());
    opened().own_svid(now).unwrap().verify(next.roots(), now).unwrap();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 3);
}

#[test]
fn an_authority_whose_key_others_may_read_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("ca");
    Signer::open(&folder, config(), at(NOW)).unwrap();
    let chmod = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let open = || Signer::open(&folder, config(), at(NOW));
    chmod(&folder.join("issuer.key"), 0o644);
    assert!(matches!(open(), Err(SignerError::Exposed { mode: 0o644, .. })));
    chmod(&folder.join("issuer.key"), 0o600);
    chmod(&folder, 0o755);
    assert!(matches!(open(), Err(SignerError::Exposed { mode: 0o755, .. })));
    chmod(&folder, 0o700);
    std::fs::remove_file(folder.join("issuer.crt")).unwrap();
    assert!(matches!(open(), Err(SignerError::Authority(_))));
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let (one, two) = (home.path().join("one"), home.path().join("two"));
    Signer::open(&one, config(), at(NOW)).unwrap();
    Signer::open(&two, config(), at(NOW)).unwrap();
    std::fs::copy(one.join("issuer.key"), two.join("issuer.key")).unwrap();
    let error = Signer::open(&two, config(), at(NOW)).unwrap_err();
    assert!(error.to_string().contains("belongs to another certificate"), "{error}");
}

// The service over a signer, as an embedded authority would be; keeps what it was asked.
#[derive(Clone)]
struct Service {
    signer: Arc<Signer>,
    asked: Arc<Mutex<Vec<SignCertificateRequest>>>,
    answer: Answer,
}

#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Signs,
    Denies,
    Garbage,
    Huge,
    Never,
}

#[async_trait::async_trait]
impl CaService for Service {
    async fn sign_certificate(
        &self,
        request: Request<SignCertificateRequest>,
    ) -> Result<Response<SignCertificateResponse>, Status> {
        let request = request.into_inner();
        self.asked.lock().unwrap().push(request.clone());
        let mut answer = SignCertificateResponse::default();
        match self.answer {
            Answer::Denies => return Err(Status::permission_denied("no token, no certificate")),
            Answer::Never => std::future::pending().await,
            Answer::Garbage => answer.workload_certificate = b"no certificate".to_vec(),
            Answer::Huge => answer.workload_certificate = vec![b' '; 5 << 20],
            Answer::Signs => {
                let id = SpiffeId::dapr(&domain("public"), &request.namespace, &request.id);
                let issued = self.signer.sign(&id.unwrap(), &request.certificate_signing_request, at(NOW)).unwrap();
                let pem: String =
                    issued.chain.iter().map(|der| pem::encode(&Pem::new("CERTIFICATE", der.to_vec()))).collect();
                answer.workload_certificate = pem.into_bytes();
            }
        }
        Ok(Response::new(answer))
    }
}

async fn serve<S>(service: Service, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(CaServer::new(service));
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let _ended = server.serve_connection(TokioIo::new(stream), service).await;
}

struct Running {
    client: SentryClient,
    asked: Arc<Mutex<Vec<SignCertificateRequest>>>,
    // Ends the service when dropped.
    _tasks: JoinSet<()>,
}

// What stands at the other end, and what the client expects there.
struct Scene {
    signer: Arc<Signer>,
    served_as: Option<Identity>,
    roots: Arc<Roots>,
    answer: Answer,
    token: Token,
}

impl Scene {
    fn new() -> Self {
        let signer = Arc::new(signer());
        let roots = Arc::clone(signer.roots());
        Self { signer, served_as: None, roots, answer: Answer::Signs, token: Token::None }
    }

    fn service(&self) -> Service {
        Service { signer: Arc::clone(&self.signer), asked: Arc::default(), answer: self.answer }
    }

    fn client(&self, address: SentryAddress) -> SentryClient {
        SentryClient::new(SentryConfig {
            address,
            identity: self.signer.id().clone(),
            roots: RootsSource::Fixed(Arc::clone(&self.roots)),
            token: self.token.clone(),
            timeout: Duration::from_millis(500),
            clock: clock(),
        })
    }

    async fn over_tls(mut self) -> Running {
        let served_as = self.served_as.take().unwrap_or_else(|| {
            let svid = Arc::new(self.signer.own_svid(at(NOW)).unwrap());
            Identity::new(svid, Arc::clone(self.signer.roots()), 1, clock())
        });
        let tls = served_as.server_config_without_client_auth(&[b"h2"]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let service = self.service();
        let asked = Arc::clone(&service.asked);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                serve(service, stream).await;
            }
        });
        let client = self.client(SentryAddress::parse(&address).unwrap());
        Running { client, asked, _tasks: tasks }
    }

    fn over_socket(self, folder: &Path) -> Running {
        let path = folder.join("ca.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let service = self.service();
        let asked = Arc::clone(&service.asked);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            serve(service, stream).await;
        });
        Running { client: self.client(SentryAddress::Unix(path)), asked, _tasks: tasks }
    }
}

async fn issue(running: &Running) -> Result<Svid, CaError> {
    let key = Key::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let issued = running.client.issue(&request(&key)).await?;
    Ok(Svid::new(issued.chain, key.to_private_key()).unwrap())
}

#[tokio::test]
async fn a_certificate_comes_over_tls_from_the_authority_asked_for() {
    let scene = Scene::new();
    let roots = Arc::clone(&scene.roots);
    let running = scene.over_tls().await;
    let svid = issue(&running).await.unwrap();
    assert_eq!(svid.id(), &app());
    svid.verify(&roots, at(NOW)).unwrap();
    let asked = running.asked.lock().unwrap().clone();
    assert_eq!((asked[0].id.as_str(), asked[0].namespace.as_str()), ("a", "default"));
    assert_eq!((asked[0].trust_domain.as_str(), asked[0].token_validator), ("", 0));
}

#[tokio::test]
async fn a_certificate_comes_over_a_socket_of_our_own_user() {
    let folder = tempfile::tempdir().unwrap();
    let running = Scene::new().over_socket(folder.path());
    assert_eq!(issue(&running).await.unwrap().id(), &app());
}

#[tokio::test]
async fn an_authority_that_is_not_the_one_asked_for_gets_no_request() {
    let scene = Scene::new;
    let other_root = Ca::root("other");
    let stranger = other_root.sign(&leaf_params(&["spiffe://localhost/ns/default/dapr-sentry"]));
    let ours = |id: &str| {
        let mut scene = scene();
        let key = Key::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let id = SpiffeId::parse(id).unwrap();
        let issued = scene.signer.sign(&id, &csr(&key), at(NOW)).unwrap();
        let svid = Arc::new(Svid::new(issued.chain, key.to_private_key()).unwrap());
        scene.served_as = Some(Identity::new(svid, Arc::clone(&scene.roots), 1, clock()));
        scene
    };
    let mut wrong_root = scene();
    wrong_root.served_as = Some(stranger.identity(other_root.roots()));
    for scene in [
        wrong_root,
        ours("spiffe://localhost/ns/default/a"),
        ours("spiffe://public/ns/default/dapr-sentry"),
        ours("spiffe://localhost/ns/other/a"),
        ours("spiffe://localhost.evil/ns/default/dapr-sentry"),
    ] {
        let running = scene.over_tls().await;
        let error = issue(&running).await.unwrap_err();
        assert!(matches!(error, CaError::Identity { .. }), "{error}");
        assert!(running.asked.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_an_error_and_no_panic() {
    for (answer, reason) in [
        (Answer::Denies, "sign"),
        (Answer::Garbage, "sentry_answer"),
        (Answer::Huge, "sign"),
        (Answer::Never, "sentry_timeout"),
    ] {
        let running = Scene { answer, ..Scene::new() }.over_tls().await;
        let error = issue(&running).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
    }
}

#[tokio::test]
async fn an_authority_that_is_not_there_is_said_to_be_so() {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene::new();
    let address = SentryAddress::Unix(folder.path().join("none.sock"));
    let key = Key::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let error = scene.client(address).issue(&request(&key)).await.unwrap_err();
    assert!(error.to_string().contains("none.sock"), "{error}");
    assert_eq!(error.reason(), "sentry_conn");

    // Something that accepts and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = SentryAddress::Tcp(listener.local_addr().unwrap().to_string());
    let error = scene.client(address).issue(&request(&key)).await.unwrap_err();
    assert_eq!(error.reason(), "sentry_timeout");
}

#[tokio::test]
async fn a_token_is_read_anew_from_its_file_for_every_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "a.b.c\n").unwrap();
    for (token, validator) in [(Token::Jwks(path.clone()), 3), (Token::Kubernetes(path.clone()), 2)] {
        let running = Scene { token, ..Scene::new() }.over_tls().await;
        issue(&running).await.unwrap();
        let asked = running.asked.lock().unwrap().clone();
        assert_eq!((asked[0].token.as_str(), asked[0].token_validator), ("a.b.c", validator));
    }
    std::fs::write(&path, "\n").unwrap();
    let running = Scene { token: Token::Jwks(path), ..Scene::new() }.over_tls().await;
    assert_eq!(issue(&running).await.unwrap_err().reason(), "sentry_token");
    let token = Token::Jwks(folder.path().join("none"));
    let running = Scene { token, ..Scene::new() }.over_tls().await;
    assert_eq!(issue(&running).await.unwrap_err().reason(), "sentry_token");
}

#[tokio::test]
async fn two_workloads_of_one_authority_meet() {
    let signer = signer();
    let workload = |name: &str| {
        let key = Key::generate(KeyAlgorithm::Ed25519).unwrap();
        let id = SpiffeId::dapr(&domain("public"), "default", name).unwrap();
        let issued = signer.sign(&id, &csr(&key), at(NOW)).unwrap();
        let svid = Arc::new(Svid::new(issued.chain, key.to_private_key()).unwrap());
        Identity::new(svid, Arc::clone(signer.roots()), 1, clock())
    };
    let (a, b) = (workload("a"), workload("b"));
    let client = a.client_config(b.id(), &[]).unwrap();
    let server = b.server_config(&[], &TrustDomains::Any).unwrap();
    let (client, server) = forge::handshake(client, server).await;
    assert_eq!(&peer_identity(client.unwrap().get_ref().1).unwrap(), b.id());
    assert_eq!(&peer_identity(server.unwrap().get_ref().1).unwrap(), a.id());
}
