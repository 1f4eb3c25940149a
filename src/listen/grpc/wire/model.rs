//! What prost reads of a `CheckRequest`, to hold the view against: for tests and fuzz targets.

use std::collections::HashMap;

use envoy_types::pb::envoy::{config::core::v3::address, service::auth::v3::CheckRequest};
use prost::Message;

use super::{AddressView, CheckView, PIN};

/// `CheckRequest` reduced to the fields that are read: prost's reading of these is the measure.
mod reduced {
    use std::collections::HashMap;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct CheckRequest {
        #[prost(message, optional, tag = "1")]
        pub(super) attributes: Option<AttributeContext>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct AttributeContext {
        #[prost(message, optional, tag = "1")]
        pub(super) source: Option<Peer>,
        #[prost(message, optional, tag = "4")]
        pub(super) request: Option<Request>,
        #[prost(map = "string, string", tag = "10")]
        pub(super) context_extensions: HashMap<String, String>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Peer {
        #[prost(message, optional, tag = "1")]
        pub(super) address: Option<Address>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Address {
        #[prost(oneof = "OneAddress", tags = "1, 2, 3")]
        pub(super) address: Option<OneAddress>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(super) enum OneAddress {
        #[prost(message, tag = "1")]
        Socket(SocketAddress),
        #[prost(message, tag = "2")]
        Pipe(Empty),
        #[prost(message, tag = "3")]
        Internal(Empty),
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct SocketAddress {
        #[prost(string, tag = "2")]
        pub(super) address: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Empty {}

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Request {
        #[prost(message, optional, tag = "2")]
        pub(super) http: Option<HttpRequest>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct HttpRequest {
        #[prost(string, tag = "1")]
        pub(super) id: String,
        #[prost(string, tag = "2")]
        pub(super) method: String,
        #[prost(map = "string, string", tag = "3")]
        pub(super) headers: HashMap<String, String>,
        #[prost(string, tag = "4")]
        pub(super) path: String,
        #[prost(string, tag = "5")]
        pub(super) host: String,
        #[prost(int64, tag = "9")]
        pub(super) size: i64,
        #[prost(string, tag = "10")]
        pub(super) protocol: String,
        #[prost(string, tag = "11")]
        pub(super) body: String,
        #[prost(bytes = "vec", tag = "12")]
        pub(super) raw_body: Vec<u8>,
        #[prost(message, optional, tag = "13")]
        pub(super) header_map: Option<HeaderMap>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct HeaderMap {
        #[prost(message, repeated, tag = "1")]
        pub(super) headers: Vec<HeaderValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct HeaderValue {
        #[prost(string, tag = "1")]
        pub(super) key: String,
        #[prost(string, tag = "2")]
        pub(super) value: String,
        #[prost(bytes = "vec", tag = "3")]
        pub(super) raw_value: Vec<u8>,
    }
}

/// What a message says, in a form that both readings come to.
#[derive(Debug, PartialEq)]
pub(super) struct Said {
    http: Option<SaidHttp>,
    source: Option<String>,
    pin: Option<String>,
}

#[derive(Debug, PartialEq)]
pub(super) struct SaidHttp {
    texts: [String; 6],
    size: i64,
    raw_body: Vec<u8>,
    /// The last value of each name.
    headers: HashMap<String, String>,
    header_map: Vec<(String, Vec<u8>)>,
    is_contradictory: bool,
}

impl SaidHttp {
    /// What prost says, with the lines of `header_map` as names, values and raw values.
    fn new(texts: [String; 6], size: i64, raw_body: Vec<u8>, headers: HashMap<String, String>, lines: Vec<(String, String, Vec<u8>)>) -> Self {
        let is_contradictory = lines.iter().any(|(_, value, raw)| !value.is_empty() && !raw.is_empty() && value.as_bytes() != raw);
        let header_map = lines.into_iter().map(|(name, value, raw)| (name, if value.is_empty() { raw } else { value.into_bytes() })).collect();
        Self { texts, size, raw_body, headers, header_map, is_contradictory }
    }
}

pub(super) fn said_by_view(view: &CheckView<'_>) -> Said {
    // What is not UTF-8, as prost demands, shows as what prost cannot say.
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said {
        http: view.http.as_ref().map(|http| SaidHttp {
            texts: [http.id.as_bytes(), http.method, http.path, http.host, http.protocol, http.body].map(text),
            size: http.size,
            raw_body: http.raw_body.to_vec(),
            headers: http.headers.iter().map(|(key, value)| (text(key), text(value))).collect(),
            header_map: http.header_map.iter().map(|(key, value)| (text(key), value.to_vec())).collect(),
            is_contradictory: http.is_contradictory,
        }),
        source: match view.source {
            AddressView::Absent => None,
            AddressView::Socket(address) => Some(address.to_owned()),
            AddressView::Pipe => Some("pipe".to_owned()),
            AddressView::Internal => Some("internal".to_owned()),
        },
        pin: view.pin.map(str::to_owned),
    }
}

fn said_by_reduced(request: reduced::CheckRequest) -> Said {
    let attributes = request.attributes.unwrap_or_default();
    Said {
        http: attributes.request.and_then(|request| request.http).map(|http| {
            let lines = http.header_map.unwrap_or_default().headers.into_iter().map(|header| (header.key, header.value, header.raw_value));
            let texts = [http.id, http.method, http.path, http.host, http.protocol, http.body];
            SaidHttp::new(texts, http.size, http.raw_body, http.headers, lines.collect())
        }),
        source: attributes.source.and_then(|peer| peer.address).and_then(|address| address.address).map(|address| match address {
            reduced::OneAddress::Socket(socket) => socket.address,
            reduced::OneAddress::Pipe(_) => "pipe".to_owned(),
            reduced::OneAddress::Internal(_) => "internal".to_owned(),
        }),
        pin: attributes.context_extensions.get(PIN).cloned(),
    }
}

pub(super) fn said_by_envoy(request: CheckRequest) -> Said {
    let attributes = request.attributes.unwrap_or_default();
    Said {
        http: attributes.request.and_then(|request| request.http).map(|http| {
            let lines = http.header_map.unwrap_or_default().headers.into_iter().map(|header| (header.key, header.value, header.raw_value));
            let texts = [http.id, http.method, http.path, http.host, http.protocol, http.body];
            SaidHttp::new(texts, http.size, http.raw_body, http.headers, lines.collect())
        }),
        source: attributes.source.and_then(|peer| peer.address).and_then(|address| address.address).map(|address| match address {
            address::Address::SocketAddress(socket) => socket.address,
            address::Address::Pipe(_) => "pipe".to_owned(),
            address::Address::EnvoyInternalAddress(_) => "internal".to_owned(),
        }),
        pin: attributes.context_extensions.get(PIN).cloned(),
    }
}

/// The same acceptance and the same values as prost for the fields that are read; whatever prost takes of the whole message is taken, too.
pub(in crate::listen) fn assert_agrees(bytes: &[u8]) {
    let view = CheckView::decode(bytes).ok().map(|view| said_by_view(&view));
    assert_eq!(view, reduced::CheckRequest::decode(bytes).ok().map(said_by_reduced), "{bytes:02x?}");
    if let Ok(whole) = CheckRequest::decode(bytes) {
        assert_eq!(view, Some(said_by_envoy(whole)), "{bytes:02x?}");
    }
}
