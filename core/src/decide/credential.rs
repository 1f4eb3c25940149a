//! The API key of a request: where it is looked for, and when it counts as given twice.

use std::{borrow::Cow, fmt};

use aws_lc_rs::{constant_time, digest};

use super::{
    ApiKeyCarrier, ApiKeyRule, Few, Header, Now, Reason, Request, Target, UrlSigning, explain::ExpiryNote, path::percent_decode, scan, signed_url,
};

/// Longest API key, in bytes once decoded.
const MAX_KEY: usize = 256;

/// The keys that are good now; any one matches. At least one.
#[derive(Clone)]
pub enum ActiveKeys {
    /// The request carries the key itself; these are SHA-256 digests.
    Digests(Few<[u8; 32]>),
    /// The request carries a signature over its own URL.
    Signing(UrlSigning),
}

impl ActiveKeys {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Digests(digests) => digests.len(),
            Self::Signing(UrlSigning { keys, .. }) => keys.len(),
        }
    }
}

/// Says how many: who has a digest can try keys against it.
impl fmt::Debug for ActiveKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Digests(_) => "Digests",
            Self::Signing(_) => "Signing",
        };
        write!(f, "{kind}({})", self.count())
    }
}

/// Where a key is looked for, in words, and until when a signed URL says that it is good.
pub(super) struct KeyNote<'r> {
    pub(super) request: &'r Request<'r>,
    pub(super) rule: &'r ApiKeyRule,
    pub(super) now: Now,
}

impl fmt::Display for KeyNote<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, rule, now } = self;
        match &rule.carrier {
            ApiKeyCarrier::Query(name) => write!(f, "looked for in query parameter `{name}`")?,
            ApiKeyCarrier::Header(name) => write!(f, "looked for in header `{name}`")?,
        }
        let ActiveKeys::Signing(signing) = &rule.active else { return Ok(()) };
        let expires_ms = match find(request, &rule.carrier) {
            Found::One(value) => signed_url::expiry_of(&value),
            Found::Absent | Found::Ambiguous => None,
        };
        match expires_ms {
            Some(expires_ms) => ExpiryNote { expires_ms, longest_ms: signing.max_age_ms, now: *now }.fmt(f),
            None => f.write_str(", where there is no signature of the form `v1.EXPIRY.MAC`"),
        }
    }
}

/// What a request holds under one name.
#[derive(PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(super) enum Found<'r> {
    Absent,
    One(Cow<'r, [u8]>),
    /// More than once, or spelled so that two readers would disagree: nobody can say which one the upstream reads or the proxy strips.
    Ambiguous,
}

/// A key, where a sender looks for it: several senders mostly look in one place.
pub(super) struct Sought<'r> {
    carrier: &'r ApiKeyCarrier,
    found: Found<'r>,
}

impl<'r> Sought<'r> {
    /// Looks for the key in `carrier`.
    pub(super) fn new(request: &'r Request<'_>, carrier: &'r ApiKeyCarrier) -> Self {
        Self { carrier, found: find(request, carrier) }
    }

    pub(super) fn is_in(&self, carrier: &ApiKeyCarrier) -> bool {
        self.carrier == carrier
    }

    pub(super) fn is_ambiguous(&self) -> bool {
        self.found == Found::Ambiguous
    }
}

/// Whether the query has a parameter of this name more than once, or in another spelling.
pub(super) fn is_ambiguous_parameter(request: &Request<'_>, name: &str) -> bool {
    find_in_query(&request.target, name) == Found::Ambiguous
}

/// What `carrier` carries.
fn find<'r>(request: &'r Request<'_>, carrier: &ApiKeyCarrier) -> Found<'r> {
    match carrier {
        ApiKeyCarrier::Query(name) => find_in_query(&request.target, name),
        ApiKeyCarrier::Header(name) => match request.headers.one(name) {
            _ if has_underscore_alias(request, name) => Found::Ambiguous,
            Header::Absent => Found::Absent,
            Header::Many => Found::Ambiguous,
            Header::One(value) => Found::One(Cow::Borrowed(value)),
        },
    }
}

/// Whether the header also comes with underscores, which some servers read as the same name (CVE-2025-64484 and its kin).
fn has_underscore_alias(request: &Request<'_>, name: &str) -> bool {
    let folded = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    let is_alias = |given: &[u8]| given.contains(&b'_') && given.len() == name.len() && given.iter().map(folded).eq(name.bytes());
    name.contains('-') && request.headers.iter().any(|(given, _)| is_alias(given))
}

/// Whether the request carries one of the active keys, or a signature of one over its own URL. `sought` may hold what was looked for before.
///
/// # Errors
/// `api_key_missing`, `api_key_invalid`, `duplicate_credential`, `url_signature_invalid`, `url_expired`, `clock_unsettled`.
pub(super) fn check_api_key(request: &Request<'_>, rule: &ApiKeyRule, sought: Option<&Sought<'_>>, now: Now) -> Result<(), Reason> {
    let anew;
    let found = match sought.filter(|sought| sought.is_in(&rule.carrier)) {
        Some(sought) => &sought.found,
        None => {
            anew = find(request, &rule.carrier);
            &anew
        }
    };
    let key = match found {
        Found::Absent => return Err(Reason::ApiKeyMissing),
        Found::Ambiguous => return Err(Reason::DuplicateCredential),
        Found::One(key) if key.is_empty() => return Err(Reason::ApiKeyMissing),
        Found::One(key) => key,
    };
    match &rule.active {
        ActiveKeys::Digests(digests) => check_digest(key, digests),
        ActiveKeys::Signing(signing) => signed_url::check_signature(key, signing, request, now),
    }
}

fn check_digest(key: &[u8], digests: &[[u8; 32]]) -> Result<(), Reason> {
    if key.len() > MAX_KEY {
        return Err(Reason::ApiKeyInvalid);
    }
    let given = digest::digest(&digest::SHA256, key);
    // Every digest is compared, so that the time says nothing about which one matched.
    let matches = digests.iter().fold(false, |found, active| constant_time::verify_slices_are_equal(given.as_ref(), active).is_ok() | found);
    if matches { Ok(()) } else { Err(Reason::ApiKeyInvalid) }
}

/// What the query holds under `name`.
fn find_in_query<'q>(target: &Target<'q>, name: &str) -> Found<'q> {
    match target.query {
        None => Found::Absent,
        Some(query) if target.is_one_parameter => match split_at_byte(query, b'=') {
            (spelled, value) if spelled == name.as_bytes() => Found::One(Cow::Borrowed(value.unwrap_or_default())),
            (spelled, _) if spelled.eq_ignore_ascii_case(name.as_bytes()) => Found::Ambiguous,
            _ => Found::Absent,
        },
        Some(query) => find_parameter(query, name),
    }
}

/// Looks for `name` in a query. Parameters are separated by `&`; servers that also split at `;`, decode names or ignore their case must
/// not see another key than we do, so whatever reads as `name` that way is ambiguous. `+` stays a plus.
fn find_parameter<'q>(query: &'q [u8], name: &str) -> Found<'q> {
    let mut found = Found::Absent;
    let mut rest = Some(query);
    while let Some(text) = rest {
        let (parameter, others) = split_at_byte(text, b'&');
        rest = others;
        if scan::find(b';', parameter).is_some() {
            if parameter.split(|byte| *byte == b';').any(|piece| reads_as(split_at_byte(piece, b'=').0, name)) {
                return Found::Ambiguous;
            }
            continue;
        }
        let (spelled, value) = split_at_byte(parameter, b'=');
        if reads_as(spelled, name) {
            if spelled != name.as_bytes() || found != Found::Absent {
                return Found::Ambiguous;
            }
            let value = value.unwrap_or_default();
            found = Found::One(if scan::find(b'%', value).is_some() { Cow::Owned(percent_decode(value)) } else { Cow::Borrowed(value) });
        }
    }
    found
}

/// What stands before the first `byte`, and what stands after it, if it is there.
fn split_at_byte(text: &[u8], byte: u8) -> (&[u8], Option<&[u8]>) {
    match scan::find(byte, text).and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?))) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// Whether `spelled` is `name` once decoded and case-folded.
fn reads_as(spelled: &[u8], name: &str) -> bool {
    if scan::find(b'%', spelled).is_some() {
        percent_decode(spelled).eq_ignore_ascii_case(name.as_bytes())
    } else {
        spelled.eq_ignore_ascii_case(name.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::time::Instant;

    use proptest::prelude::*;

    use super::{
        super::{Body, Headers, RawRequest, Wire},
        *,
    };

    #[test]
    fn a_key_is_found_once_or_refused() {
        let one = |value: &'static [u8]| Found::One(Cow::Borrowed(value));
        let cases: &[(&str, Found<'_>)] = &[
            ("", Found::Absent),
            ("a=1&b=2", Found::Absent),
            ("key=good", one(b"good")),
            ("a=1&key=good&b", one(b"good")),
            ("key=a%2Bb+c", Found::One(Cow::Owned(b"a+b+c".to_vec()))),
            ("key=a=b", one(b"a=b")),
            ("key", one(b"")),
            ("key=good&key=good", Found::Ambiguous),
            ("key=good&k%65y=x", Found::Ambiguous),
            ("k%65y=good", Found::Ambiguous),
            ("KEY=good", Found::Ambiguous),
            ("key=good&KEY=x", Found::Ambiguous),
            ("key=good;x=1", Found::Ambiguous),
            ("x=1;key=good", Found::Ambiguous),
            ("key=good&x=1;key=y", Found::Ambiguous),
            ("keys=1&ke=2&key2", Found::Absent),
            ("a=key=good", Found::Absent),
        ];
        for (query, expected) in cases {
            assert_eq!(find_parameter(query.as_bytes(), "key"), *expected, "{query}");
            let target = format!("/?{query}");
            let raw = raw(target.as_bytes(), Headers::new(false));
            assert_eq!(find_in_query(&Request::new(&raw).unwrap().target, "key"), *expected, "{query}");
        }
    }

    fn raw<'a>(target: &'a [u8], headers: Headers<'a>) -> RawRequest<'a> {
        RawRequest {
            arrived: Instant::now(),
            wire: Wire::Grpc,
            method: b"POST",
            host: Some(b"a.example"),
            target,
            headers,
            source: None,
            body: Body::Absent,
            pin: None,
            http2: false,
            id: None,
        }
    }

    proptest! {
        /// Most queries are, and are not taken apart.
        #[test]
        fn a_query_of_one_parameter_holds_what_any_query_would(query in "[kKeEy=]{0,5}([&;%+65]?[=x!a]{0,9}){0,2}", name in "key|k|x") {
            let target = format!("/?{query}");
            let raw = raw(target.as_bytes(), Headers::new(false));
            let request = Request::new(&raw).unwrap();
            prop_assert_eq!(find_in_query(&request.target, &name), find_parameter(query.as_bytes(), &name));
        }
    }

    /// What becomes of a key in `x-callback-key` under these keys, and whether it counts as given twice.
    fn ask(headers: &[(&str, &str)], active: &[&str]) -> (bool, Result<(), Reason>) {
        let mut own = Headers::new(false);
        headers.iter().for_each(|(name, value)| own.push(*name, value.as_bytes()));
        let raw = raw(b"/", own);
        let request = Request::new(&raw).unwrap();
        let digests = active.iter().map(|key| digest::digest(&digest::SHA256, key.as_bytes()).as_ref().try_into().unwrap()).collect();
        let rule = ApiKeyRule { carrier: ApiKeyCarrier::Header("x-callback-key".into()), active: ActiveKeys::Digests(digests), strip: true };
        assert_eq!(rule.active.count(), active.len());
        assert_eq!(format!("{:?}", rule.active), format!("Digests({})", active.len()));
        let sought = Sought::new(&request, &rule.carrier);
        let result = check_api_key(&request, &rule, Some(&sought), Now::settled(0));
        assert_eq!(check_api_key(&request, &rule, None, Now::settled(0)), result);
        let elsewhere = ApiKeyCarrier::Query("x-callback-key".into());
        assert_eq!(check_api_key(&request, &rule, Some(&Sought::new(&request, &elsewhere)), Now::settled(0)), result);
        (sought.is_ambiguous(), result)
    }

    #[test]
    fn a_key_in_a_header_is_any_active_one_and_there_once() {
        let (longest, too_long) = ("k".repeat(256), "k".repeat(257));
        for (headers, is_doubled, result) in [
            (&[("x-callback-key", "one")][..], false, Ok(())),
            (&[("x-callback-key", "two")], false, Ok(())),
            (&[("x-callback-key", &longest)], false, Ok(())),
            (&[("x-callback-key", &too_long)], false, Err(Reason::ApiKeyInvalid)),
            (&[("x-callback-key", "three")], false, Err(Reason::ApiKeyInvalid)),
            (&[("x-callback-key", "")], false, Err(Reason::ApiKeyMissing)),
            (&[], false, Err(Reason::ApiKeyMissing)),
            (&[("x-callback-key", "one"), ("x-callback-key", "one")], true, Err(Reason::DuplicateCredential)),
            (&[("x-callback-key", "one"), ("x_callback-key", "one")], true, Err(Reason::DuplicateCredential)),
            (&[("x_callback_key", "one")], true, Err(Reason::DuplicateCredential)),
            (&[("X-Callback-Key", "one")], false, Ok(())),
            (&[("x-callback-key", "one"), ("X_Callback-KEY", "one")], true, Err(Reason::DuplicateCredential)),
            (&[("x-callback-key", "one"), ("x_callback_keys", "one")], false, Ok(())),
            (&[("x-callback-key", "one"), ("x-other_name", "one")], false, Ok(())),
        ] {
            // The same key twice among the active ones is that key all the same.
            let active = ["one", "two", &longest, &too_long, "one"];
            assert_eq!(ask(headers, &active), (is_doubled, result), "{headers:?}");
        }
    }
}
