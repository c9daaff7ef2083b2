use std::sync::Arc;

use rustls::crypto::aws_lc_rs::kx_group::{X25519, X25519MLKEM768};
use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// aws-lc with the key exchanges we offer: X25519MLKEM768 first, then X25519.
///
/// Every configuration of this crate names it, so none depends on
/// [`install_provider`] having run.
pub fn crypto_provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { kx_groups: vec![X25519MLKEM768, X25519], ..aws_lc_rs::default_provider() })
}

/// Makes [`crypto_provider`] the process's default and starts its entropy early.
///
/// The first random bytes of a process cost aws-lc tens of milliseconds of CPU; they
/// are drawn on a thread of its own here, so that the first handshake does not wait
/// for all of it. Calling it again does no harm.
pub fn install_provider() {
    // A second call, or another library that was quicker, leaves a default in place.
    let _already_installed = CryptoProvider::install_default((*crypto_provider()).clone());
    let warm_up = || {
        let mut bytes = [0_u8; 32];
        let _unavailable = aws_lc_rs::default_provider().secure_random.fill(&mut bytes);
    };
    // Without the thread the first handshake pays, and nothing else changes.
    let _no_thread = std::thread::Builder::new().name("entropy".to_owned()).spawn(warm_up);
}
