//! An authority that gives the sidecars of a case their identities.

use std::sync::Arc;

use outrigger_certs::ca::signer::{Signer, SignerConfig};
use outrigger_certs::{CertificateRequest, IdentityStore, Key, KeyAlgorithm, Svid, system_clock, unix_now};
use outrigger_identity::{AppId, TrustDomain};

/// A signing authority with roots of its own.
pub(crate) struct Ca(Signer);

impl Ca {
    pub(crate) fn new() -> Self {
        let config = SignerConfig::new(TrustDomain::parse("localhost").unwrap(), "default");
        Self(Signer::create(config, unix_now(&system_clock())).unwrap())
    }

    /// A first identity for the app's sidecar.
    pub(crate) fn identity(&self, app: &AppId) -> IdentityStore {
        let mut store = IdentityStore::new(system_clock());
        store.publish(Arc::new(self.svid(app, KeyAlgorithm::EcdsaP256)), Arc::clone(self.0.roots()));
        store
    }

    /// The same identity anew, by a key of another kind.
    pub(crate) fn renew(&self, app: &AppId, store: &mut IdentityStore) {
        store.publish(Arc::new(self.svid(app, KeyAlgorithm::Ed25519)), Arc::clone(self.0.roots()));
    }

    fn svid(&self, app: &AppId, algorithm: KeyAlgorithm) -> Svid {
        let key = Key::generate(algorithm).unwrap();
        let request = CertificateRequest::new(app.clone(), Some(trust_domain()), &key).unwrap();
        let id = app.spiffe_id(&trust_domain());
        let issued = self.0.sign(&id, request.pem.as_bytes(), unix_now(&system_clock())).unwrap();
        Svid::new(issued.chain, key.to_private_key()).unwrap()
    }
}

/// The trust domain of every app here.
pub(crate) fn trust_domain() -> TrustDomain {
    TrustDomain::parse("public").unwrap()
}
