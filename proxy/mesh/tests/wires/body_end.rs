//! When a body that came by HTTP/2 says that it has ended.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use outrigger_wire::{Body, Failure, OnEnd};

use crate::wait::within;

/// How a body ended; `None` when its reader went away before the end.
#[derive(Clone, Default)]
struct Ending(Arc<Mutex<Option<Result<(), String>>>>);

impl OnEnd for Ending {
    fn data(&mut self, _length: usize) {}

    fn end(self: Box<Self>, result: Result<(), &Failure>) {
        *self.0.lock().unwrap() = Some(result.map_err(ToString::to_string));
    }
}

#[tokio::test]
async fn a_body_that_ended_with_its_last_piece_says_so() {
    let ending = Ending::default();
    let mut body = Body::h2(answer_of_one_piece().await, None).with_on_end(Box::new(ending.clone()));
    within("the piece", body.frame()).await.unwrap().unwrap();
    assert!(body.is_end_stream());
    // Every writer stops asking there.
    drop(body);
    assert_eq!(*ending.0.lock().unwrap(), Some(Ok(())), "a record would say `cancelled`");
}

/// The body of an answer whose one DATA frame ends the stream.
async fn answer_of_one_piece() -> h2::RecvStream {
    let (near, far) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move {
        let mut connection = h2::server::handshake(far).await.unwrap();
        while let Some(Ok((_request, mut respond))) = connection.accept().await {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from_static(b"all"), true).unwrap();
        }
    });
    let (mut sender, connection) = h2::client::handshake(near).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().uri("http://app/").body(()).unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    within("the head", response).await.unwrap().into_body()
}
