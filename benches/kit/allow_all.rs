//! An authorizer that gives one answer to everything, unread: by default an allow that changes nothing, which is the least that a proxy's question
//! can cost. It is this program, started as a process of its own.

use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, OkHttpResponse, check_response};
use h2::server::{SendResponse, handshake};
use prost::Message;
use tokio::net::TcpListener;

/// The argument that makes this program the authorizer; its answer follows in base64url.
pub const ARGUMENT: &str = "--allow-all-authorizer";

/// The authorizer as a process. Dropping it ends it.
pub struct AllowAll {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl AllowAll {
    /// Starts it and waits until it listens. Its answer changes nothing.
    pub fn start() -> Self {
        Self::answering(&plain())
    }

    /// The same with this answer, which has its gRPC prefix.
    pub fn answering(answer: &[u8]) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut child = Command::new(program).args([ARGUMENT, &URL_SAFE_NO_PAD.encode(answer)]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, address: line.trim().parse().unwrap() }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for AllowAll {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Gives the answer that the command line holds until it is killed.
pub fn serve(answer: &str) {
    let answer = Bytes::from(URL_SAFE_NO_PAD.decode(answer).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let answer = answer.clone();
            tokio::task::spawn_local(async move {
                let Ok(mut connection) = handshake(stream).await else { return };
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::task::spawn_local(allow(request.into_body(), respond, answer.clone()));
                }
            });
        }
    });
}

async fn allow(mut body: h2::RecvStream, mut respond: SendResponse<Bytes>, answer: Bytes) {
    while let Some(Ok(chunk)) = body.data().await {
        let _ = body.flow_control().release_capacity(chunk.len());
    }
    let response = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let Ok(mut stream) = respond.send_response(response, false) else { return };
    let _ = stream.send_data(answer, false);
    let _ = stream.send_trailers([(http::HeaderName::from_static("grpc-status"), http::HeaderValue::from_static("0"))].into_iter().collect());
}

/// An allow that changes nothing, with its gRPC prefix.
pub fn plain() -> Vec<u8> {
    let ok = check_response::HttpResponse::OkResponse(OkHttpResponse::default());
    let message = CheckResponse { status: Some(Default::default()), http_response: Some(ok), ..CheckResponse::default() }.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, &message].concat()
}
