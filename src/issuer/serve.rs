//! The issuer's HTTP server: its two documents, and what a pipeline drives it with (`POST /mint`, `POST /rotate`).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{
    DISCOVERY_PATH, Document, ENTRA_KEYS_PATH, Fault, KEYS_PATH, Rotation, State, TokenSpec,
    fault::{Body, full, json_response, respond},
};

/// The largest request body that is read, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("down")]
struct Down;

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve_connection(stream, Arc::clone(&state)))),
                // Out of file descriptors: some connection will end.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve_connection(stream: TcpStream, state: Arc<State>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&state)));
    // A connection that breaks off is the client's affair.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Body>, Down> {
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::GET, DISCOVERY_PATH) => answer_document(&state, Document::Discovery).await,
        (&Method::GET, KEYS_PATH) => answer_document(&state, Document::Keys).await,
        (&Method::GET, path) if is_entra_keys(path) => answer_document(&state, Document::Keys).await,
        (&Method::POST, "/mint") => Ok(mint(request, state).await),
        (&Method::POST, "/rotate") => Ok(rotate(&request, state).await),
        (_, DISCOVERY_PATH | KEYS_PATH | "/mint" | "/rotate") => Ok(problem(StatusCode::METHOD_NOT_ALLOWED, "another method is needed")),
        _ => Ok(problem(
            StatusCode::NOT_FOUND,
            format!(
                "there are GET {DISCOVERY_PATH}, GET {KEYS_PATH}, GET /<tenant>{ENTRA_KEYS_PATH}, POST /mint and POST /rotate?how=publish|sign|withdraw"
            ),
        )),
    }
}

/// The path of a tenant's keys: one segment, and then Entra's own.
fn is_entra_keys(path: &str) -> bool {
    let tenant = path.strip_suffix(ENTRA_KEYS_PATH).and_then(|rest| rest.strip_prefix('/'));
    tenant.is_some_and(|tenant| !tenant.is_empty() && !tenant.contains('/'))
}

async fn answer_document(state: &State, document: Document) -> Result<Response<Body>, Down> {
    let fault = state.fault(document);
    match &fault {
        Some(Fault::Down) => return Err(Down),
        Some(Fault::Slow(delay)) => tokio::time::sleep(*delay).await,
        _ => {}
    }
    if let Some(response) = fault.and_then(|fault| fault.answer(|issuer| state.discovery(issuer))) {
        return Ok(response);
    }
    let mut response = json_response(&match document {
        Document::Discovery => state.discovery(&state.names.acs),
        Document::Keys => state.key_set(),
    });
    let cache_control = state.max_age.and_then(|max_age| format!("public, max-age={}", max_age.as_secs()).parse().ok());
    response.headers_mut().extend(cache_control.map(|value| (header::CACHE_CONTROL, value)));
    Ok(response)
}

/// A [`TokenSpec`] in, a token out.
async fn mint(request: Request<Incoming>, state: Arc<State>) -> Response<Body> {
    let Ok(body) = Limited::new(request.into_body(), MAX_BODY).collect().await else {
        return problem(StatusCode::PAYLOAD_TOO_LARGE, "the body must be complete and small");
    };
    let spec: TokenSpec = match serde_json::from_slice(&body.to_bytes()) {
        Ok(spec) => spec,
        Err(error) => return problem(StatusCode::BAD_REQUEST, format!("the body must be JSON like {{\"audience\": \"...\"}}: {error}")),
    };
    in_background(move || state.mint(&spec)).await
}

async fn rotate(request: &Request<Incoming>, state: Arc<State>) -> Response<Body> {
    let how = request.uri().query().and_then(|query| query.strip_prefix("how="));
    let rotation = match how {
        None => Some(Rotation::default()),
        Some(how) => Rotation::ALL.iter().copied().find(|rotation| rotation.name() == how),
    };
    match rotation {
        Some(rotation) => in_background(move || state.rotate(rotation)).await,
        None => problem(StatusCode::BAD_REQUEST, "`how` must be `publish`, `sign` or `withdraw`"),
    }
}

/// RSA takes its time, and the other connections need not wait for it.
async fn in_background(work: impl FnOnce() -> Result<String, super::IssuerError> + Send + 'static) -> Response<Body> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(text)) => respond(StatusCode::OK, &[(header::CONTENT_TYPE, "text/plain".to_owned())], full(text)),
        Ok(Err(error @ super::IssuerError::Kind(_))) => problem(StatusCode::BAD_REQUEST, error.to_string()),
        Ok(Err(error)) => problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "a fault inside the issuer"),
    }
}

fn problem(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    respond(status, &[(header::CONTENT_TYPE, "text/plain".to_owned())], full(text))
}
