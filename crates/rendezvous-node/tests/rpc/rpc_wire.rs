//! The bytes of calls, as the module's documentation has them.

use rendezvous_node::rpc::{ClientConfig, Rpc, ServerConfig, Services};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_util::compat::TokioAsyncReadCompatExt;

use crate::support::{Net, arith, serve_raw, services_with};

/// {"service": "Arith", "method": "Sum"}, 1, 2, end.
const REQUEST: &[u8] = b"\x1b\x01\xa2\x67service\x65Arith\x66method\x63Sum\x02\x02\x01\x02\x02\x02\x01\x03";
/// 3, end.
const ANSWER: &[u8] = b"\x02\x02\x03\x01\x03";
/// The same with {"service": "Arith", "method": "Non"}: {"status": 3}.
const NO_METHOD: &[u8] = b"\x0a\x04\xa1\x66status\x03";

async fn answer_to(request: &[u8]) -> Vec<u8> {
    let (mut stream, serving) = serve_raw(&services_with(arith()));
    stream.write_all(request).await.unwrap();
    serving.await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_server_reads_and_writes_the_documented_bytes() {
    assert_eq!(answer_to(REQUEST).await, ANSWER);
    let mut request = REQUEST.to_vec();
    request[25..28].copy_from_slice(b"Non");
    assert_eq!(answer_to(&request).await, NO_METHOD);
}

#[tokio::test]
async fn what_later_versions_add_to_a_request_is_passed_over() {
    let request = [b"\x04\x90abc", REQUEST, b"\x01\xf0"].concat();
    assert_eq!(answer_to(&request).await, ANSWER);
}

#[tokio::test]
async fn frames_in_the_wrong_place_are_refused_with_their_number() {
    let header = &REQUEST[..28];
    for (request, kind) in [
        (b"\x01\x03".to_vec(), 3),
        ([header, b"\x01\x03", b"\x02\x02\x01"].concat(), 2),
        ([header, b"\x01\x04"].concat(), 4),
        ([header, header].concat(), 1),
        ([header, b"\x01\x77"].concat(), 0x77),
    ] {
        let answer = answer_to(&request).await;
        let text = String::from_utf8_lossy(&answer[2..]).into_owned();
        assert_eq!(answer[1], 4);
        assert!(text.contains(&format!("kind {kind} ")) || text.ends_with(&format!("kind {kind}")), "{text}");
    }
}

#[tokio::test]
async fn a_client_writes_and_reads_the_documented_bytes() {
    use futures::FutureExt as _;
    use rendezvous_node::rpc::{OpenError, Opener, Pipe};
    use std::sync::{Arc, Mutex};

    struct One(libp2p_identity::PeerId, Mutex<Option<Pipe>>);
    impl Opener for One {
        fn local_peer(&self) -> libp2p_identity::PeerId {
            self.0
        }
        fn open(&self, _: libp2p_identity::PeerId) -> futures::future::BoxFuture<'static, Result<Pipe, OpenError>> {
            let pipe = self.1.lock().unwrap().take();
            async { pipe.ok_or(OpenError::Unsupported) }.boxed()
        }
    }

    let (near, mut far) = duplex(1_024);
    let opener = One(Net::new().client().local_peer(), Mutex::new(Some(Pipe::new(near.compat()))));
    let services = Services::new(ServerConfig::default());
    let rpc = Rpc::new(Arc::new(opener), services, ClientConfig::default()).with_timeout(None);
    let peer = libp2p_identity::PeerId::random();
    let (mut requests, answer) = rpc.client_streaming::<i64, i64>(peer, "Arith", "Sum").await.unwrap();
    requests.send(1).await.unwrap();
    requests.send(2).await.unwrap();
    requests.finish().await.unwrap();
    let mut request = vec![0; REQUEST.len()];
    far.read_exact(&mut request).await.unwrap();
    assert_eq!(request, REQUEST);
    far.write_all(ANSWER).await.unwrap();
    assert_eq!(answer.await.unwrap(), 3);
    // The end of the answer is the end of the stream.
    assert_eq!(far.read(&mut request).await.unwrap(), 0);
}
