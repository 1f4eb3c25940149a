//! Tests: the view against prost, on sound, mutated and cut messages.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use envoy_types::pb::envoy::{
    config::core::v3::{self as core, Address, HeaderMap, HeaderValue, Pipe, SocketAddress, address},
    service::auth::v3::{
        AttributeContext, CheckRequest,
        attribute_context::{HttpRequest, Peer, Request},
    },
};
use proptest::{collection::vec, option, prelude::*};
use prost::Message;

use super::{
    model::{assert_agrees, said_by_envoy, said_by_view},
    *,
};

fn text() -> impl Strategy<Value = String> {
    // Lengths up to 127 take one byte and longer ones two.
    prop_oneof!["[a-c:-]{0,3}", "[ -~]{0,20}", "\\PC{0,8}", "[ -~é]{120,150}", Just(PIN.to_owned()), Just("authorization".to_owned())]
}

fn some_address() -> impl Strategy<Value = Address> {
    let socket = (text(), any::<u32>()).prop_map(|(address, port)| {
        address::Address::SocketAddress(SocketAddress {
            address,
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port)),
            ..SocketAddress::default()
        })
    });
    let pipe = text().prop_map(|path| address::Address::Pipe(Pipe { path, mode: 0 }));
    let internal = Just(address::Address::EnvoyInternalAddress(core::EnvoyInternalAddress::default()));
    prop_oneof![4 => socket, 1 => pipe, 1 => internal].prop_map(|address| Address { address: Some(address) })
}

prop_compose! {
    fn some_http()(
        texts in prop::array::uniform6(text()),
        scheme in text(),
        size in any::<i64>(),
        raw_body in vec(any::<u8>(), 0..20),
        headers in prop::collection::hash_map(text(), text(), 0..6),
        header_map in option::of(vec((text(), text(), vec(any::<u8>(), 0..8)), 0..6)),
    ) -> HttpRequest {
        let [id, method, path, host, protocol, body] = texts;
        let header_map = header_map.map(|headers| HeaderMap {
            headers: headers.into_iter().map(|(key, value, raw_value)| HeaderValue { key, value, raw_value }).collect(),
        });
        HttpRequest { id, method, headers, header_map, path, host, scheme, size, protocol, body, raw_body, ..HttpRequest::default() }
    }
}

prop_compose! {
    fn some_request()(
        source in option::of(option::of(some_address())),
        service in text(),
        http in option::of(option::of(some_http())),
        context_extensions in prop::collection::hash_map(text(), text(), 0..4),
    ) -> CheckRequest {
        let source = source.map(|address| Peer { address, service, ..Peer::default() });
        let request = http.map(|http| Request { time: None, http });
        CheckRequest { attributes: Some(AttributeContext { source: source.clone(), destination: source, request, context_extensions, ..AttributeContext::default() }) }
    }
}

#[derive(Clone, Debug)]
enum Damage {
    Cut(prop::sample::Index),
    Flip(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        place().prop_map(Damage::Cut),
        (place(), any::<u8>()).prop_map(|(place, mask)| Damage::Flip(place, mask)),
        place().prop_map(Damage::Remove),
        (place(), vec(any::<u8>(), 1..4)).prop_map(|(place, bytes)| Damage::Insert(place, bytes)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    if bytes.is_empty() {
        return;
    }
    match damage {
        Damage::Cut(place) => bytes.truncate(place.index(bytes.len())),
        Damage::Flip(place, mask) => {
            let at = place.index(bytes.len());
            bytes[at] ^= mask;
        }
        Damage::Remove(place) => drop(bytes.remove(place.index(bytes.len()))),
        Damage::Insert(place, inserted) => {
            let at = place.index(bytes.len());
            bytes.splice(at..at, inserted.iter().copied());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn sound_messages_say_what_they_say_to_prost(request in some_request()) {
        let bytes = request.encode_to_vec();
        prop_assert_eq!(said_by_view(&CheckView::decode(&bytes).unwrap()), said_by_envoy(request));
        assert_agrees(&bytes);
    }

    #[test]
    fn messages_in_pieces_merge_as_in_prost(requests in vec(some_request(), 2..4)) {
        assert_agrees(&requests.iter().flat_map(Message::encode_to_vec).collect::<Vec<_>>());
    }

    #[test]
    fn damaged_messages_are_taken_or_refused_as_by_prost(request in some_request(), damages in vec(damage(), 1..4)) {
        let mut bytes = request.encode_to_vec();
        for damage in &damages {
            apply(&mut bytes, damage);
        }
        assert_agrees(&bytes);
    }

    #[test]
    fn any_bytes_are_taken_or_refused_as_by_prost(bytes in vec(any::<u8>(), 0..40)) {
        assert_agrees(&bytes);
    }

    #[test]
    fn any_fields_are_taken_or_refused_as_by_prost(fields in vec((1_u8..16, 0_u8..6, vec(0_u8..20, 0..12)), 0..6), levels in 0_usize..4) {
        // Small keys and lengths, wrapped in messages: far more of these are nearly sound than of any bytes.
        let mut bytes = Vec::new();
        for (tag, kind, content) in fields {
            bytes.push(tag << 3 | kind);
            if kind == 2 {
                bytes.push(u8::try_from(content.len()).unwrap());
            }
            bytes.extend(content);
        }
        for tag in [2_u8, 4, 1].iter().take(levels) {
            bytes = [&[tag << 3 | 2, u8::try_from(bytes.len()).unwrap_or(0)], bytes.as_slice()].concat();
        }
        assert_agrees(&bytes);
    }
}

/// `levels` groups within each other, as one unknown field.
fn groups(levels: usize) -> Vec<u8> {
    [vec![15 << 3 | 3; levels], vec![15 << 3 | 4; levels]].concat()
}

#[test]
fn what_prost_finds_hard_is_read_alike() {
    for bytes in [
        vec![],                                         // nothing
        vec![0x02, 0x00],                               // tag zero
        vec![0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x00], // an oversized key
        vec![0xf8, 0xff, 0xff, 0xff, 0x0f, 0x00],       // the largest key
        [vec![0x78], vec![0x80; 10], vec![0]].concat(), // an eleven-byte number
        [vec![0x78], vec![0xff; 9], vec![2]].concat(),  // a number over 64 bits
        [vec![0x78], vec![0xff; 9], vec![1]].concat(),  // the largest number
        vec![0x78, 0x80, 0x80, 0x00],                   // a padded number
        vec![0x0a, 0x05, 0x00],                         // a length beyond the end
        [vec![0x0a], vec![0xff; 9], vec![1]].concat(),  // a length beyond memory
        vec![0x08, 0x01],                               // a number where a message is wanted
        vec![15 << 3 | 4],                              // an end without a beginning
        vec![15 << 3 | 3, 14 << 3 | 4],                 // a group that ends as another
        vec![15 << 3 | 3],                              // a group without end
        vec![15 << 3 | 6],                              // wire types that do not exist
        vec![15 << 3 | 7],
        vec![15 << 3 | 1, 0, 0, 0, 0, 0, 0, 0, 0], // 64 bits, and fewer
        vec![15 << 3 | 1, 0, 0, 0],
        vec![15 << 3 | 5, 0, 0, 0, 0], // 32 bits
    ] {
        assert_agrees(&bytes);
    }
    for levels in 96..=101 {
        assert_agrees(&groups(levels));
        assert_agrees(&within(&[1], groups(levels)));
        assert_agrees(&within(&[10, 1], groups(levels)));
        assert_agrees(&within(&[2, 4, 1], groups(levels)));
    }
    assert!(CheckView::decode(&groups(100)).is_ok());
    assert!(CheckView::decode(&groups(101)).is_err());
}

#[test]
fn entries_of_one_key_are_several_headers_and_another_address_replaces() {
    let http = |key: &str, value: &str| HttpRequest { headers: [(key.to_owned(), value.to_owned())].into(), ..HttpRequest::default() };
    let wrap = |http| CheckRequest {
        attributes: Some(AttributeContext { request: Some(Request { time: None, http: Some(http) }), ..AttributeContext::default() }),
    };
    let bytes = [wrap(http("a", "1")), wrap(http("b", "2")), wrap(http("a", "3"))].iter().flat_map(Message::encode_to_vec).collect::<Vec<_>>();
    let view = CheckView::decode(&bytes).unwrap();
    assert_eq!(view.http.unwrap().headers.iter().collect::<Vec<_>>(), [&(&b"a"[..], &b"1"[..]), &(b"b", b"2"), &(b"a", b"3")]);

    let from = |address| CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(Peer { address: Some(Address { address: Some(address) }), ..Peer::default() }),
            ..AttributeContext::default()
        }),
    };
    let socket = address::Address::SocketAddress(SocketAddress { address: "203.0.113.7".to_owned(), ..SocketAddress::default() });
    let pipe = address::Address::Pipe(Pipe { path: "/p".to_owned(), mode: 0 });
    let bytes = [from(socket), from(pipe)].iter().flat_map(Message::encode_to_vec).collect::<Vec<_>>();
    assert_eq!(CheckView::decode(&bytes).unwrap().source, AddressView::Pipe);
    assert_agrees(&bytes);
}

#[test]
fn text_that_is_not_utf8_is_undecodable_and_raw_bytes_are_not() {
    let with_path = |path: &[u8]| within(&[4, 2, 4, 1], path.to_vec());
    assert!(CheckView::decode(&with_path(b"/ok")).is_ok());
    assert_eq!(CheckView::decode(&with_path(b"/\xff")), Err(Undecodable));
    let raw = HeaderValue { key: "x-name".to_owned(), value: String::new(), raw_value: b"\xff\xfe".to_vec() };
    let bytes = within(&[1, 13, 2, 4, 1], raw.encode_to_vec());
    assert_eq!(CheckView::decode(&bytes).unwrap().http.unwrap().header_map[0].1, b"\xff\xfe");
}

#[test]
fn every_byte_beyond_ascii_is_seen_wherever_it_is() {
    for length in 0..40 {
        let text = vec![b'a'; length];
        assert!(is_ascii(&text), "{length}");
        for at in 0..length {
            for (byte, expected) in [(0, true), (0x7f, true), (0x80, false), (0xff, false)] {
                let mut text = text.clone();
                text[at] = byte;
                assert_eq!(is_ascii(&text), expected, "{byte} at {at} of {length}");
            }
        }
    }
}

#[test]
fn what_is_shown_of_a_request_holds_no_value_of_its_headers() {
    let http = HttpView {
        path: b"/x?key=hush",
        body: b"hush",
        headers: vec![(b"authorization", b"Bearer hush")],
        header_map: vec![(b"cookie", b"hush")],
        ..HttpView::default()
    };
    let shown = format!("{http:?}");
    assert!(shown.contains("authorization") && shown.contains("cookie") && !shown.contains("hush"), "{shown}");
}

/// `content` as the field `tags[0]` of the field `tags[1]` of ...
fn within(tags: &[u8], content: Vec<u8>) -> Vec<u8> {
    tags.iter().fold(content, |content, tag| {
        let length = u8::try_from(content.len() & 0x7f).unwrap() | 0x80;
        [vec![tag << 3 | 2, length, u8::try_from(content.len() >> 7).unwrap()], content].concat()
    })
}

#[test]
fn too_many_headers_are_refused_without_being_kept() {
    let headers = |count: usize| {
        let headers = (0..count).map(|number| (format!("x-{number}"), String::new())).collect();
        let request = Some(Request { time: None, http: Some(HttpRequest { headers, ..HttpRequest::default() }) });
        CheckRequest { attributes: Some(AttributeContext { request, ..AttributeContext::default() }) }.encode_to_vec()
    };
    assert_eq!(CheckView::decode(&headers(MAX_HEADERS)).unwrap().http.unwrap().headers.len(), MAX_HEADERS);
    assert_eq!(CheckView::decode(&headers(MAX_HEADERS + 1)), Err(Undecodable));
    let lines = |count: usize| {
        let header_map = Some(HeaderMap { headers: vec![HeaderValue::default(); count] });
        let request = Some(Request { time: None, http: Some(HttpRequest { header_map, ..HttpRequest::default() }) });
        CheckRequest { attributes: Some(AttributeContext { request, ..AttributeContext::default() }) }.encode_to_vec()
    };
    assert!(CheckView::decode(&lines(MAX_HEADERS)).is_ok());
    assert_eq!(CheckView::decode(&lines(MAX_HEADERS + 1)), Err(Undecodable));
}
