//! Asking whoever runs whether it answers.

use std::path::Path;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use outrigger_proto::registry::ListRequest;
use outrigger_proto::registry::registry_client::RegistryClient;
use tokio::net::UnixStream;
use tonic::transport::Endpoint;

const TIMEOUT: Duration = Duration::from_secs(2);

/// Whether the registry behind `socket` answers a call, within two seconds.
pub(crate) async fn answers(socket: &Path) -> bool {
    let asked = async {
        let path = socket.to_path_buf();
        // The name is not looked up: the connector knows the one place.
        let channel = Endpoint::from_static("http://localhost")
            .connect_with_connector(tower::service_fn(move |_| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            }))
            .await
            .ok()?;
        RegistryClient::new(channel).list(ListRequest {}).await.ok()
    };
    matches!(tokio::time::timeout(TIMEOUT, asked).await, Ok(Some(_)))
}
