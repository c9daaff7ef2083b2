use outrigger_identity::SpiffeId;
use rustls::{CertificateError, CommonState};

use crate::leaf::{self, LeafError};

/// The identity that the peer of a finished handshake proved.
///
/// # Errors
/// The peer sent no certificate (a connection not made by [`crate::Identity`]), or
/// one that is no workload's.
pub fn peer_identity(connection: &CommonState) -> Result<SpiffeId, PeerError> {
    let first = connection.peer_certificates().and_then(|chain| chain.first()).ok_or(PeerError::NoCertificate)?;
    Ok(leaf::read(first)?.id)
}

/// Why a connection proves no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The peer sent no certificate, or the handshake is not finished.
    #[error("the peer sent no certificate")]
    NoCertificate,
    /// The certificate is no workload's.
    #[error(transparent)]
    Leaf(#[from] LeafError),
}

/// How a finished handshake is protected, such as `TLSv1.3 X25519MLKEM768`.
pub fn connection_facts(connection: &CommonState) -> String {
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3".to_owned(),
        Some(other) => format!("{other:?}"),
        None => "unknown".to_owned(),
    };
    match connection.negotiated_key_exchange_group() {
        Some(group) => format!("{version} {:?}", group.name()),
        None => version,
    }
}

/// Why a handshake failed, in the words of the rule that was broken.
///
/// For the error that a TLS acceptor, connector or stream gives; other errors are
/// shown as they are.
pub fn handshake_reason(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) => other.to_string(),
        Some(other) => other.to_string(),
        None => error.to_string(),
    }
}
