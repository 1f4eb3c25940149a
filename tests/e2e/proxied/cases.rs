//! The table: requests, and what must become of them.

mod events;

use std::time::SystemTime;

use ringfence::{
    issuer::{Broken, Issuer, TokenSpec},
    signed_url,
};
use ringfence_core::decide::Reason;
use serde_json::json;

use self::events::{deliveries, handshakes, partners};
use crate::support::{
    doors::{Door, Outcome},
    http::Ask,
    policies::{AUDIENCE, FLOOR, HOST, KEY, PREVIOUS_KEY, SECOND_AUDIENCE, SIGNING_KEY},
    websocket::handshake,
};

/// One request and what must become of it.
pub struct Case {
    /// What it is about.
    pub name: String,
    /// The request.
    pub ask: Ask,
    /// The target that the application sees, if it is another than the client sent.
    pub upstream_target: Option<String>,
    /// The same at doors that put the other parameters in order.
    pub sorted_target: Option<String>,
    /// Headers as the application must see them, aliases included.
    pub upstream_headers: Vec<(&'static str, Vec<String>)>,
    /// The same at doors that remove whatever they are told to.
    pub removed_headers: Vec<(&'static str, Vec<String>)>,
    /// What the documentation's table counts it as.
    pub class: &'static str,
    /// Where policies claim the host, `--unmatched allow` changes nothing.
    pub is_claimed: bool,
    outcome: Outcome,
    key_in_header: bool,
    is_handshake: bool,
    /// It is decided by its body.
    pub needs_body: bool,
}

impl Case {
    /// What must become of it through this door.
    pub fn outcome(&self, door: &Door) -> Outcome {
        if let Some((_, outcome)) = door.exceptions.iter().find(|(name, _)| *name == self.name) {
            return *outcome;
        }
        if self.is_handshake && !door.relays.answers {
            return Outcome::Refused(Reason::HandshakeInvalid);
        }
        if self.needs_body && !door.shows.body {
            return Outcome::Refused(Reason::BodyUnavailable);
        }
        if self.key_in_header && !door.shows.key_header { Outcome::Refused(Reason::ApiKeyMissing) } else { self.outcome }
    }

    /// Whether Ringfence refuses it, or would, if the proxy did not.
    pub fn is_refused(&self, door: &Door) -> bool {
        matches!(self.outcome(door), Outcome::Refused(_) | Outcome::Proxy(_))
    }

    /// The API key is in a header, which not every door shows.
    fn key_in_header(mut self) -> Self {
        self.key_in_header = true;
        self
    }

    /// One that waits for an answer, or passes without a token.
    fn handshake(mut self) -> Self {
        self.is_handshake = true;
        self
    }

    /// The same, told by its body.
    fn handshake_in_body(mut self) -> Self {
        self.needs_body = true;
        self.handshake()
    }

    fn class(mut self, class: &'static str) -> Self {
        self.class = class;
        self
    }

    fn unclaimed(mut self) -> Self {
        self.is_claimed = false;
        self
    }

    fn upstream_target(mut self, target: &str) -> Self {
        self.upstream_target = Some(target.to_owned());
        self
    }

    fn sorted_target(mut self, target: &str) -> Self {
        self.sorted_target = Some(target.to_owned());
        self
    }

    /// Where the door removes what it is told to, the application does not see this header at all.
    fn removed_header(mut self, name: &'static str) -> Self {
        self.removed_headers.push((name, Vec::new()));
        self
    }

    fn upstream_header(mut self, name: &'static str, values: &[&str]) -> Self {
        self.upstream_headers.push((name, values.iter().map(|value| (*value).to_owned()).collect()));
        self
    }
}

/// A callback as ACS sends one, without its token.
fn webhook(target: &str) -> Ask {
    let event = json!([{"specversion": "1.0", "id": "1", "source": "calling/callConnections/1", "type": "Microsoft.Communication.CallConnected", "data": {"callConnectionId": "1"}}]);
    Ask::new("POST", target).header("Host", HOST).header("Content-Type", "application/cloudevents-batch+json; charset=utf-8").body(event.to_string())
}

/// `webhook` to the usual place with the usual key.
fn keyed_webhook() -> Ask {
    webhook(&format!("/api/callbacks/1?key={KEY}"))
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn case(name: impl Into<String>, ask: Ask, outcome: Outcome) -> Case {
    Case {
        name: name.into(),
        ask,
        upstream_target: None,
        sorted_target: None,
        upstream_headers: Vec::new(),
        removed_headers: Vec::new(),
        class: "",
        is_claimed: true,
        outcome,
        key_in_header: false,
        is_handshake: false,
        needs_body: false,
    }
}

fn allowed(name: &str, ask: Ask) -> Case {
    case(name, ask, Outcome::Allowed)
}

fn refused(name: impl Into<String>, reason: Reason, ask: Ask) -> Case {
    case(name, ask, Outcome::Refused(reason))
}

/// Why a reason is not in the table; `None` = it is.
pub fn unreachable(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::PinMismatch => Some("needs a pinned route: proxied/pins.rs"),
        Reason::KeyPending => Some("needs an exhausted budget of key fetches: proxied/keys.rs"),
        Reason::SourceUnknown => Some("needs a client without an address: proxied/sources.rs"),
        Reason::ReuseUnknown => Some("needs a shared reuse store, which is not supported yet"),
        Reason::ClockUnsettled => Some("needs a clock that steps back: tests of src/check"),
        Reason::Overloaded => Some("needs more at once than is taken: program/wire.rs"),
        Reason::DeadlineExceeded | Reason::Internal => Some("needs a fault: tests of src/check and src/listen"),
        _ => None,
    }
}

/// The whole table; tokens are fresh.
pub fn cases(issuer: &Issuer) -> Vec<Case> {
    let token = || issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap();
    let good = |ask: Ask| ask.header("Authorization", bearer(&token()));
    let groups = [
        (GENUINE, GENUINE, genuine(issuer, &good)),
        ("identity headers that the client made up", "a forged address, policy, host or path in headers", spoofed(&good)),
        (GENUINE, BAD_TOKEN, tokens(issuer)),
        (GENUINE, BAD_KEY, keys(&good)),
        (GENUINE, BAD_KEY, signed(&good)),
        (GENUINE, OTHER_PLACE, places(&good)),
        (GENUINE, "a path that can be read in two ways", paths(&good)),
        (GENUINE, OTHER_HOST, hosts(&token)),
        (GENUINE, "more than anybody needs", limits(&good)),
        (GENUINE, "what cannot be decided", others(issuer, &token)),
        (GENUINE, BAD_TOKEN, partners(issuer)),
        ("an Event Grid delivery", BAD_TOKEN, deliveries(issuer)),
        ("", "", handshakes()),
    ];
    let classed = |(passes, refused, cases): (&'static str, &'static str, Vec<Case>)| {
        cases.into_iter().map(move |case| {
            let class = match case.outcome {
                _ if !case.class.is_empty() => case.class,
                Outcome::Allowed | Outcome::AllowedAs(_) | Outcome::Answered(_) | Outcome::Shadowed(_) => passes,
                Outcome::Refused(_) | Outcome::Proxy(_) => refused,
            };
            Case { class, ..case }
        })
    };
    groups.into_iter().flat_map(classed).collect()
}

/// Classes of the documentation's table.
const GENUINE: &str = "a genuine callback";
const BAD_TOKEN: &str = "no token, or one that is not good";
const KEY_IN_HEADER: &str = "a genuine request with its API key in a header";
const OTHER_HOST: &str = "a host that can be read in two ways, or ends in a dot";
const UNDER_FLOOR: &str = "a host under a floor, where all else is Shadow";
const BAD_KEY: &str = "no API key, a wrong one, or two";
const OTHER_PLACE: &str = "another address, method, path, host or claim";

fn genuine(issuer: &Issuer, good: &dyn Fn(Ask) -> Ask) -> Vec<Case> {
    let with_audience = |audience: &str| {
        let token = issuer.mint(&TokenSpec::callback(audience)).unwrap();
        keyed_webhook().header("Authorization", bearer(&token))
    };
    let token = issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap();
    vec![
        allowed("a webhook", good(keyed_webhook())).upstream_target("/api/callbacks/1").upstream_header("x-acs-audience", &[AUDIENCE]),
        allowed("the older key", good(webhook(&format!("/api/callbacks?key={PREVIOUS_KEY}")))).upstream_target("/api/callbacks"),
        allowed("an audience from a ConfigMap", with_audience(SECOND_AUDIENCE))
            .upstream_target("/api/callbacks/1")
            .upstream_header("x-acs-audience", &[SECOND_AUDIENCE]),
        allowed("an audience in upper case", with_audience(&AUDIENCE.to_uppercase())).upstream_target("/api/callbacks/1"),
        allowed("the rest of the query stays as it is", good(webhook(&format!("/api/callbacks?b=%20%26+2&key={KEY}&a=1&b=3"))))
            .upstream_target("/api/callbacks?b=%20%26+2&a=1&b=3")
            .sorted_target("/api/callbacks?a=1&b=%20%26+2&b=3"),
        allowed("a scheme in lower case", keyed_webhook().header("Authorization", format!("bearer {token}"))).upstream_target("/api/callbacks/1"),
    ]
}

/// What proxies say of a request, said by the client: that it is another one, which would pass.
fn forged(ask: Ask, separator: char) -> Ask {
    let lies = [
        ("X-Original-URL", format!("http://{HOST}/watched")),
        ("X-Original-URI", "/watched".to_owned()),
        ("X-Original-Method", "GET".to_owned()),
        ("X-Forwarded-Uri", "/watched".to_owned()),
        ("X-Forwarded-Host", "fabrikam.com".to_owned()),
        ("X-Forwarded-Method", "GET".to_owned()),
        ("X-Forwarded-Prefix", "/watched".to_owned()),
        ("X-Rewrite-URL", "/watched".to_owned()),
        ("X-Envoy-Original-Path", "/watched".to_owned()),
    ];
    lies.iter().fold(ask, |ask, (name, value)| ask.header(&name.replace('-', &separator.to_string()), value.as_str()))
}

fn spoofed(good: &dyn Fn(Ask) -> Ask) -> Vec<Case> {
    let survive = |name: &str, headers: &[(&str, &str)]| {
        let ask = headers.iter().fold(keyed_webhook(), |ask, (name, value)| ask.header(name, *value));
        allowed(name, good(ask)).upstream_target("/api/callbacks/1").upstream_header("x-acs-audience", &[AUDIENCE])
    };
    vec![
        survive("a spoofed identity header", &[("X-Acs-Audience", "evil")]),
        survive("two spoofed identity headers", &[("x-acs-audience", "evil"), ("X-ACS-AUDIENCE", "worse")]),
        survive("a spoofed identity header with underscores", &[("X_Acs_Audience", "evil"), ("x-acs_audience", "worse")]),
        refused("a spoofed client address", Reason::SourceDenied, {
            let lies = ["X-Forwarded-For", "X-Real-IP", "X-Envoy-External-Address", "X-Ringfence-Client-Address", "Forwarded"];
            good(lies.iter().fold(keyed_webhook().from([127, 0, 0, 2]), |ask, header| ask.header(header, "127.0.0.1")))
        }),
        refused("a spoofed policy", Reason::TokenMissing, {
            let ask = webhook(&format!("/api/callbacks?key={KEY}&policy=contoso/watched&ringfence.policy=contoso/watched"));
            let lies = ["X-Ringfence-Policy", "Ringfence.Policy", "X-Ringfence-Allow", "X-Ringfence-Set", "X-Ringfence-Reason"];
            lies.iter().fold(ask, |ask, header| ask.header(header, "contoso/watched"))
        }),
        refused("a spoofed request", Reason::TokenMissing, forged(keyed_webhook(), '-')),
        refused("a spoofed request with underscores", Reason::TokenMissing, forged(keyed_webhook(), '_')),
        refused("a Connection header that takes the token along", Reason::TokenMissing, {
            good(keyed_webhook()).header("Connection", "close, Authorization")
        })
        .class("a `Connection` header that names what decides")
        .upstream_target("/api/callbacks/1"),
        allowed("a Connection header that takes the identity along", good(keyed_webhook()).header("Connection", "X-Acs-Audience, close"))
            .class("a `Connection` header that names what decides")
            .upstream_target("/api/callbacks/1")
            .upstream_header("x-acs-audience", &[AUDIENCE]),
        case(
            "spoofed identity headers under Shadow",
            webhook(&format!("/watched?key={KEY}")).header("X-Acs-Audience", "evil").header("x_acs_audience", "evil"),
            Outcome::Shadowed(Reason::TokenMissing),
        )
        .upstream_target("/watched")
        .upstream_header("x-acs-audience", &[]),
        case(
            "spoofed identity headers under a floor",
            Ask::new("POST", "/").header("Host", FLOOR).header("X-Acs-Audience", "evil").header("x_acs_audience", "evil"),
            Outcome::Shadowed(Reason::TokenMissing),
        )
        .class(UNDER_FLOOR)
        .upstream_header("x-acs-audience", &[]),
        refused("a floor that Shadow does not lift", Reason::SourceDenied, {
            Ask::new("POST", "/").from([127, 0, 0, 2]).header("Host", FLOOR).header("X-Forwarded-For", "127.0.0.1")
        })
        .class(UNDER_FLOOR),
        allowed(
            "identity headers without an identity are removed",
            Ask::new("POST", "/keyed")
                .header("Host", HOST)
                .header("X-Callback-Key", KEY)
                .header("X-Acs-Audience", "evil")
                .header("x_acs_audience", "evil"),
        )
        .upstream_header("x-acs-audience", &[])
        .key_in_header()
        .class(KEY_IN_HEADER),
    ]
}

fn tokens(issuer: &Issuer) -> Vec<Case> {
    // Once: each unknown key may cost one fetch of the keys, and there is a budget.
    let broken = Broken::ALL.iter().filter(|broken| !broken.breaks_entra()).map(|broken| {
        let token = issuer.mint(&TokenSpec::callback(AUDIENCE).broken(*broken)).unwrap();
        refused(format!("a token: {broken}"), broken.reason(), keyed_webhook().header("Authorization", bearer(&token)))
    });
    let with = |name: &str, reason: Reason, value: &[u8]| refused(name, reason, keyed_webhook().header("Authorization", value));
    let token = issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap();
    let twice = keyed_webhook().header("Authorization", bearer(&token)).header("Authorization", bearer(&token));
    broken
        .chain([
            refused("no token", Reason::TokenMissing, keyed_webhook()),
            with("another scheme", Reason::TokenMissing, b"Basic dXNlcjpwYXNz"),
            with("no token after the scheme", Reason::TokenMalformed, b"Bearer x"),
            with("two spaces", Reason::TokenMalformed, format!("Bearer  {token}").as_bytes()),
            with("bytes that are no text", Reason::TokenMalformed, &[b"Bearer ", token.as_bytes(), b"\xff"].concat()),
            refused("two tokens", Reason::DuplicateCredential, twice),
            refused("a token in the WebSocket's sub-protocol", Reason::TokenMissing, {
                let token = issuer.mint(&TokenSpec::websocket(AUDIENCE)).unwrap();
                handshake(Ask::new("GET", "/media").header("Host", HOST)).header("Sec-WebSocket-Protocol", format!("bearer, {token}"))
            }),
        ])
        .collect()
}

fn keys(good: &dyn Fn(Ask) -> Ask) -> Vec<Case> {
    let with = |name: &str, reason: Reason, query: &str| refused(name, reason, good(webhook(&format!("/api/callbacks{query}"))));
    vec![
        with("no key", Reason::ApiKeyMissing, ""),
        with("another key", Reason::ApiKeyInvalid, "?key=wrong-key-0123456789"),
        with("an empty key", Reason::ApiKeyMissing, "?key="),
        with("two keys", Reason::DuplicateCredential, &format!("?key={KEY}&key={KEY}")),
        with("a key in another case", Reason::DuplicateCredential, &format!("?key={KEY}&KEY=x")),
        with("a good key and an encoded one", Reason::DuplicateCredential, &format!("?key={KEY}&k%65y=x")),
        with("a good key and one after a semicolon", Reason::DuplicateCredential, &format!("?key={KEY};key=x")),
        with("an encoded key name", Reason::DuplicateCredential, &format!("?k%65y={KEY}")),
        with("a key after a semicolon", Reason::DuplicateCredential, &format!("?a=b;key={KEY}")),
    ]
}

fn places(good: &dyn Fn(Ask) -> Ask) -> Vec<Case> {
    let at = |method: &str, target: &str| Ask::new(method, target).header("Host", HOST);
    vec![
        refused("another address", Reason::SourceDenied, good(keyed_webhook().from([127, 0, 0, 2]))),
        refused("another method", Reason::MethodDenied, good(at("PUT", &format!("/api/callbacks?key={KEY}")))),
        refused("a request without a policy", Reason::NoPolicy, good(at("POST", "/elsewhere"))),
        refused("half a segment", Reason::NoPolicy, good(at("POST", &format!("/api/callbacksandmore?key={KEY}")))),
        refused("another host", Reason::NoPolicy, good(Ask::new("POST", "/api/callbacks").header("Host", "fabrikam.com"))).unclaimed(),
        refused("a plain GET where a WebSocket belongs", Reason::UpgradeRequired, good(at("GET", "/media"))),
        refused("a POST where a WebSocket belongs", Reason::MethodDenied, good(at("POST", "/media"))),
        refused("an upgrade where a webhook belongs", Reason::MethodDenied, good(handshake(at("GET", &format!("/api/callbacks?key={KEY}"))))),
    ]
}

fn signed(good: &dyn Fn(Ask) -> Ask) -> Vec<Case> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let value = |path: &str, expires: u64| signed_url::sign(&format!("https://{HOST}{path}"), "key", SIGNING_KEY.as_bytes(), expires).unwrap().value;
    let at = |target: String| good(webhook(&target));
    vec![
        allowed("a signed URL", at(format!("/signed/1?key={}", value("/signed/1", now + 3600)))).upstream_target("/signed/1"),
        refused("another path than was signed", Reason::UrlSignatureInvalid, at(format!("/signed/2?key={}", value("/signed/1", now + 3600)))),
        refused("a signed URL that has expired", Reason::UrlExpired, at(format!("/signed/1?key={}", value("/signed/1", now - 3600)))),
        refused("a signed URL for too long", Reason::UrlExpired, at(format!("/signed/1?key={}", value("/signed/1", now + 3 * 3600)))),
        refused("a signed URL without its signature", Reason::ApiKeyMissing, at("/signed/1".to_owned())),
    ]
}

fn paths(good: &dyn Fn(Ask) -> Ask) -> Vec<Case> {
    let at = |path: &str| good(webhook(&format!("{path}?key={KEY}")));
    let tricks = [
        "/API/callbacks",
        "/%61pi/callbacks",
        "//api/callbacks",
        "/api//callbacks",
        "/..;/api/callbacks",
        "/x/../api/callbacks",
        "/./api/callbacks",
        "/api/callbacks/..",
        "/api/callbacks/%2e%2e/x",
        "/api%2fcallbacks",
        "/api%5ccallbacks",
        "/api\\callbacks",
        "/api/callbacks;x=1",
        "/api/callbacks%3bx",
        "/api/callbacks%00",
        "/api/callbacks%252f",
        "/api/callbacks%ff",
        "/api/callbacks%",
    ];
    let tricks = tricks.iter().map(|path| refused(format!("the path {path}"), Reason::AmbiguousPath, at(path)));
    let hidden = good(webhook(&format!("/api/callbacks?key={KEY}#/.end")));
    tricks
        .chain([
            allowed("a path with an encoded space", at("/api/callbacks/a%20b")).upstream_target("/api/callbacks/a%20b"),
            refused("a fragment that hides the end", Reason::AmbiguousPath, hidden),
        ])
        .collect()
}

fn hosts(token: &dyn Fn() -> String) -> Vec<Case> {
    let at = |hosts: &[&str]| {
        let ask = Ask::new("POST", &format!("/api/callbacks?key={KEY}")).header("Authorization", bearer(&token()));
        hosts.iter().fold(ask, |ask, host| ask.header("Host", *host))
    };
    let same = |name: &str, host: &str| allowed(name, at(&[host])).upstream_target("/api/callbacks");
    // Where everything that is not claimed is let by, these must not look like another host.
    let without_token = |host: &str| Ask::new("POST", &format!("/api/callbacks?key={KEY}")).header("Host", host);
    vec![
        same("a host with a port", "callbacks.contoso.com:8443"),
        same("a host with a trailing dot", "callbacks.contoso.com.").class(OTHER_HOST),
        same("a host in upper case", "CALLBACKS.Contoso.com"),
        refused("a host with a port, without a token", Reason::TokenMissing, without_token("callbacks.contoso.com:8443")).class(BAD_TOKEN),
        refused("a host with a trailing dot, without a token", Reason::TokenMissing, without_token("callbacks.contoso.com.")),
        refused("a host in upper case, without a token", Reason::TokenMissing, without_token("CALLBACKS.Contoso.com")).class(BAD_TOKEN),
        refused("two hosts", Reason::AmbiguousHost, at(&[HOST, "fabrikam.com"])),
        refused("a host with a user", Reason::AmbiguousHost, at(&["x@callbacks.contoso.com"])),
        refused("a host with an empty label", Reason::AmbiguousHost, at(&["callbacks..contoso.com"])),
        refused("a target that names another host", Reason::NoPolicy, {
            let ask = Ask::new("POST", &format!("http://fabrikam.com/api/callbacks?key={KEY}")).header("Authorization", bearer(&token()));
            ask.header("Host", HOST)
        })
        .unclaimed(),
        refused("a list of hosts", Reason::AmbiguousHost, at(&["callbacks.contoso.com,fabrikam.com"])),
        case("a host with a path", at(&["callbacks.contoso.com/x"]), Outcome::Proxy(400)),
        case("no host", at(&[]), Outcome::Proxy(400)),
    ]
}

fn limits(good: &dyn Fn(Ask) -> Ask) -> Vec<Case> {
    let long = |length: usize| format!("/api/callbacks?key={KEY}&x={}", "x".repeat(length));
    vec![
        refused("a target of 17 KiB", Reason::MalformedRequest, good(webhook(&long(17 * 1024)))),
        refused("a method of 40 letters", Reason::MalformedRequest, Ask { method: "A".repeat(40), ..good(keyed_webhook()) }),
    ]
}

fn others(issuer: &Issuer, token: &dyn Fn() -> String) -> Vec<Case> {
    let at = |target: &str, token: &str| webhook(target).header("Authorization", bearer(token));
    let with_claims = |claims: serde_json::Value| {
        let claims = claims.as_object().unwrap().clone();
        issuer.mint(&TokenSpec { claims, ..TokenSpec::callback(AUDIENCE) }).unwrap()
    };
    let once = with_claims(json!({"caller": "alice"}));
    let undated = with_claims(json!({"iat": null, "nbf": null}));
    let unprintable = with_claims(json!({"caller": "alice\r\nx-admin: 1"}));
    let unnamed = token();
    vec![
        allowed("a token for the first time", at("/once", &once)).upstream_header("x-acs-audience", &["alice"]).removed_header("authorization"),
        refused("a token for the second time", Reason::TokenReused, at("/once", &once)).class(BAD_TOKEN),
        allowed("a claim that is not there", at("/once", &unnamed).header("X-Acs-Audience", "evil")).upstream_header("x-acs-audience", &[]),
        refused("a token that was made at no time", Reason::TokenMalformed, at("/once", &undated)).class(BAD_TOKEN),
        refused("a claim that is no header", Reason::ClaimMismatch, at("/once", &unprintable)).class(OTHER_PLACE),
        refused("an issuer that does not answer", Reason::KeysUnavailable, at("/dark", &token())),
        refused("an unsound policy", Reason::PolicyInvalid, at("/unsound", &token())),
        case(
            "Shadow lets everything by",
            webhook(&format!("/watched?key={KEY}")).header("X-Acs-Audience", "evil"),
            Outcome::Shadowed(Reason::TokenMissing),
        )
        .class("what Shadow would refuse")
        .upstream_target("/watched")
        .upstream_header("x-acs-audience", &[]),
        allowed("what Shadow would allow", at(&format!("/watched?key={KEY}"), &token()))
            .upstream_target("/watched")
            .upstream_header("x-acs-audience", &[AUDIENCE]),
        allowed("a key in a header", Ask::new("POST", "/keyed").header("Host", "a.b.contoso.com").header("X-Callback-Key", KEY))
            .removed_header("x-callback-key")
            .key_in_header()
            .class(KEY_IN_HEADER),
        refused("two keys in headers", Reason::DuplicateCredential, {
            Ask::new("POST", "/keyed").header("Host", HOST).header("X-Callback-Key", KEY).header("X-Callback-Key", KEY)
        })
        .key_in_header()
        .class(BAD_KEY),
    ]
}
