//! What an issuer can do wrong when it is asked for a document.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use serde_json::{Value, json};

/// A body of any kind.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// How a document is answered instead of properly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not at all: the connection is closed.
    Down,
    /// Properly, but after this time.
    Slow(Duration),
    /// With the beginning of an answer, and then a space every 100 ms for ever.
    Trickle,
    /// With this status and no body.
    Status(u16),
    /// With a redirect to this URL.
    Redirect(String),
    /// With this body.
    Body(String),
    /// With a page for people.
    Html,
    /// With spaces without end; with `announced`, as the part of a body of that many bytes.
    Endless {
        /// `Content-Length`; `None` = chunked.
        announced: Option<u64>,
    },
    /// Only for the OpenID configuration: properly, but it names this issuer.
    WrongIssuer(String),
    /// With this many keys, none of which can be used.
    UnusableKeys(usize),
}

impl Fault {
    /// The answer; `None` where it is the proper one or none at all.
    pub(super) fn answer(self, discovery: impl FnOnce(&str) -> Value) -> Option<Response<Body>> {
        match self {
            Self::Down | Self::Slow(_) => None,
            Self::Trickle => Some(respond(StatusCode::OK, &[], trickle())),
            Self::Status(status) => Some(respond(StatusCode::from_u16(status).unwrap_or_default(), &[], full(""))),
            Self::Redirect(url) => Some(respond(StatusCode::FOUND, &[(header::LOCATION, url)], full(""))),
            Self::Body(body) => Some(respond(StatusCode::OK, &[], full(body))),
            Self::Html => Some(respond(
                StatusCode::OK,
                &[(header::CONTENT_TYPE, "text/html".to_owned())],
                full("<!DOCTYPE html>\n<html><body>Please sign in.</body></html>"),
            )),
            Self::Endless { announced } => {
                let length = announced.map(|length| (header::CONTENT_LENGTH, length.to_string()));
                Some(respond(StatusCode::OK, length.as_slice(), endless()))
            }
            Self::WrongIssuer(issuer) => Some(json_response(&discovery(&issuer))),
            Self::UnusableKeys(count) => Some(json_response(&json!({ "keys": vec![json!({"kty": "oct"}); count] }))),
        }
    }
}

pub(super) fn respond(status: StatusCode, headers: &[(header::HeaderName, String)], body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

pub(super) fn json_response(document: &Value) -> Response<Body> {
    respond(StatusCode::OK, &[(header::CONTENT_TYPE, "application/json; charset=utf-8".to_owned())], full(document.to_string()))
}

pub(super) fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).boxed_unsync()
}

fn endless() -> Body {
    let chunk = Bytes::from(vec![b' '; 64 * 1024]);
    StreamBody::new(stream::repeat_with(move || Ok(Frame::data(chunk.clone())))).boxed_unsync()
}

fn trickle() -> Body {
    let spaces = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some((Ok(Frame::data(Bytes::from_static(b" "))), ()))
    });
    StreamBody::new(spaces).boxed_unsync()
}
