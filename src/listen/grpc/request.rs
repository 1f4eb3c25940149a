//! From a `CheckRequest` to a [`RawRequest`].
//!
//! Must not know: how the message is encoded, and what is decided.

use std::{borrow::Cow, net::IpAddr, time::Instant};

use ringfence_core::decide::{Body, Header, Headers, Host, RawRequest, Wire};

use super::wire::{AddressView, CheckView};
use crate::listen::client_address::{ClientAddressRule, parse_address};

/// Envoy's own: whether the body it sends is only the beginning. Envoy leaves a client's header of this name out.
const PARTIAL_BODY: &str = "x-envoy-auth-partial-body";

/// The request that `view` asks about; `None` if it lacks what Envoy always sends, or says one thing twice.
pub(super) fn from_check<'a>(view: CheckView<'a>, arrived: Instant, client_address: &ClientAddressRule) -> Option<RawRequest<'a>> {
    let http = view.http.filter(|http| !http.is_contradictory)?;
    // Envoy joins a repeated `Authorization` (and other headers it knows) even where it keeps the rest apart.
    let headers = Headers::of(if http.header_map.is_empty() { http.headers } else { http.header_map }, true);
    let sent = if http.raw_body.is_empty() { http.body } else { http.raw_body };
    Some(RawRequest {
        arrived,
        wire: Wire::Grpc,
        method: http.method,
        host: from_host(http.host, &headers),
        target: http.path,
        source: client_address.resolve(from_address(view.source), &headers),
        body: from_body(sent, http.size, &headers),
        pin: view.pin.map(Cow::Borrowed),
        http2: matches!(http.protocol, b"HTTP/2" | b"HTTP/3"),
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

/// The host Envoy routes by; `None` (`ambiguous_host`) if a header names another.
fn from_host<'a>(host: &'a [u8], headers: &Headers<'a>) -> Option<&'a [u8]> {
    let agrees = |other: &[u8]| other == host || Host::parse(other).is_some_and(|other| Host::parse(host) == Some(other));
    (!host.is_empty() && headers.all(":authority").chain(headers.all("host")).all(agrees)).then_some(host)
}

/// What Envoy sent of a body of this size, if it knows it: nothing, unless it buffers bodies.
fn from_body<'a>(sent: &'a [u8], size: i64, headers: &Headers<'a>) -> Body<'a> {
    let is_other_length = |length: &[u8]| std::str::from_utf8(length).ok().and_then(|length| length.parse::<u64>().ok()) != Some(sent.len() as u64);
    let is_announced_otherwise = || match headers.one("content-length") {
        Header::Absent => false,
        Header::One(length) => is_other_length(length),
        Header::Many => true,
    };
    let is_longer = || u64::try_from(size).is_ok_and(|size| size > sent.len() as u64) || is_announced_otherwise();
    match headers.one(PARTIAL_BODY) {
        Header::One(b"false") if !is_longer() => Body::Complete(sent),
        _ if sent.is_empty() => Body::Absent,
        Header::Absent if !is_longer() => Body::Complete(sent),
        Header::Absent | Header::One(_) | Header::Many => Body::Partial(sent),
    }
}

#[cfg(test)]
mod tests;
