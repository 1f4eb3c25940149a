//! From a `CheckRequest` to a [`RawRequest`].
//!
//! Must not know: how the message is encoded, and what is decided.

use std::{borrow::Cow, net::IpAddr, time::Instant};

use ringfence_core::decide::{Body, Header, Headers, Host, RawRequest, Wire};

use super::wire::{AddressView, CheckView, HeaderView, HttpView};
use crate::listen::client_address::{ClientAddressRule, parse_address};

/// Envoy's own: whether the body it sends is only the beginning. Envoy leaves a client's header of this name out.
const PARTIAL_BODY: &str = "x-envoy-auth-partial-body";

/// The request that `view` asks about; `None` if it lacks what Envoy always sends, or says one thing twice.
pub(super) fn from_check<'a>(view: &CheckView<'a>, arrived: Instant, client_address: &ClientAddressRule) -> Option<RawRequest<'a>> {
    let http = view.http.as_ref()?;
    let headers = from_headers(http)?;
    let source = client_address.resolve(from_address(view.source), &headers);
    Some(RawRequest {
        arrived,
        wire: Wire::Grpc,
        method: http.method.as_bytes(),
        host: from_host(http, &headers),
        target: http.path.as_bytes(),
        source,
        body: from_body(http, &headers),
        pin: view.pin.map(Cow::Borrowed),
        http2: matches!(http.protocol, "HTTP/2" | "HTTP/3"),
        id: (!http.id.is_empty()).then_some(Cow::Borrowed(http.id)),
        headers,
    })
}

/// The peer's address; a pipe has none.
fn from_address(address: AddressView<'_>) -> Option<IpAddr> {
    match address {
        AddressView::Socket(address) => parse_address(address.as_bytes()),
        AddressView::Absent | AddressView::Pipe | AddressView::Internal => None,
    }
}

/// The headers, pseudo-headers apart; `None` if one has two values at once.
fn from_headers<'a>(http: &HttpView<'a>) -> Option<Headers<'a>> {
    // Envoy joins a repeated `Authorization` (and other headers it knows) even where it keeps the rest apart.
    let mut headers = Headers::new(true);
    if !http.header_map.is_empty() {
        for header in &http.header_map {
            if !header.key.starts_with(':') {
                headers.push(header.key, value_of(header)?);
            }
        }
    } else {
        for (name, value) in http.headers.iter().filter(|(name, _)| !name.starts_with(':')) {
            headers.push(name, value);
        }
    }
    Some(headers)
}

fn value_of<'a>(header: &HeaderView<'a>) -> Option<&'a [u8]> {
    match (header.value.as_bytes(), header.raw_value) {
        (value, []) => Some(value),
        ([], raw) => Some(raw),
        (value, raw) => (value == raw).then_some(raw),
    }
}

/// The host Envoy routes by; `None` (`ambiguous_host`) if a header names another.
fn from_host<'a>(http: &HttpView<'a>, headers: &Headers<'a>) -> Option<&'a [u8]> {
    let host = Some(http.host.as_bytes()).filter(|host| !host.is_empty())?;
    let agrees = |other: &[u8]| other == host || Host::parse(other).is_some_and(|other| Host::parse(host) == Some(other));
    let authorities_agree = if http.header_map.is_empty() {
        http.headers.iter().filter(|(name, _)| *name == ":authority").all(|(_, value)| agrees(value))
    } else {
        http.header_map.iter().filter(|header| header.key == ":authority").all(|header| value_of(header).is_some_and(agrees))
    };
    (authorities_agree && headers.all("host").all(agrees)).then_some(host)
}

/// What Envoy sent of the body: nothing, unless it buffers bodies.
fn from_body<'a>(http: &HttpView<'a>, headers: &Headers<'a>) -> Body<'a> {
    let sent = if http.raw_body.is_empty() { http.body.as_bytes() } else { http.raw_body };
    let is_other_length = |length: &[u8]| std::str::from_utf8(length).ok().and_then(|length| length.parse::<u64>().ok()) != Some(sent.len() as u64);
    let is_announced_otherwise = || match headers.one("content-length") {
        Header::Absent => false,
        Header::One(length) => is_other_length(length),
        Header::Many => true,
    };
    let is_longer = || u64::try_from(http.size).is_ok_and(|size| size > sent.len() as u64) || is_announced_otherwise();
    match headers.one(PARTIAL_BODY) {
        Header::One(b"false") if !is_longer() => Body::Complete(sent),
        _ if sent.is_empty() => Body::Absent,
        Header::Absent if !is_longer() => Body::Complete(sent),
        Header::Absent | Header::One(_) | Header::Many => Body::Partial(sent),
    }
}

#[cfg(test)]
mod tests;
