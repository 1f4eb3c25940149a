use ringfence_core::{
    compile::{ACS_ISSUER, ACS_OPENID_CONFIGURATION},
    decide::{ActiveKeys, ApiKeyCarrier, HostPattern, Issuers, KeySource, MethodRule, Mode, OnMismatch, PathPattern, ReuseMode},
};

use super::*;

#[test]
fn a_whole_policy_says_what_it_says() {
    let compiled = compile(&[("a.yaml", &policy()), ("b.yaml", SECRET)], &Options::default());
    assert_eq!(said(&compiled), Vec::<String>::new());
    let policy = holder(&compiled);
    assert_eq!((&*policy.id.label, &*policy.id.uid), ("contoso/contact-center", "CallbackPolicy/contoso/contact-center"));
    assert_eq!(policy.mode, Mode::Shadow);
    let hosts = [HostPattern::Exact("callbacks.contoso.com".into()), HostPattern::Suffix("apps.contoso.com".into())];
    assert_eq!(*policy.matches.hosts, hosts);
    assert_eq!(*policy.matches.paths, [PathPattern::prefix("/api/callbacks"), PathPattern::exact("/media")]);
    let methods: Vec<_> = senders(policy).iter().map(|sender| (&*sender.name, format!("{:?}", sender.methods))).collect();
    assert_eq!(methods[0], ("callbacks", format!("{:?}", MethodRule::OneOf(["POST".into()].into()))));
    assert_eq!(methods[1], ("media", format!("{:?}", MethodRule::WebSocketUpgrade)));
    assert_eq!(methods[2], ("tool", format!("{:?}", MethodRule::OneOf(["POST".into(), "PUT".into()].into()))));
    assert_eq!(*senders(policy)[0].paths, [PathPattern::prefix("/api/callbacks/calls")]);
}

#[test]
fn the_built_in_issuer_and_caps_are_acs_own() {
    let compiled = compile(&[("a.yaml", &policy()), ("b.yaml", SECRET)], &Options::default());
    let webhook = checks(holder(&compiled), "callbacks").token.as_ref().unwrap();
    let socket = checks(holder(&compiled), "media").token.as_ref().unwrap();
    assert_eq!(webhook.issuers, Issuers::one("https://acscallautomation.communication.azure.com".into()));
    assert_eq!((webhook.issuers.to_string(), webhook.keys.id().issuer()), (format!("`{ACS_ISSUER}`"), ACS_ISSUER));
    assert_eq!(webhook.keys.id().to_string(), ACS_OPENID_CONFIGURATION);
    assert!(ACS_OPENID_CONFIGURATION.ends_with("/calling/.well-known/acsopenidconfiguration"));
    assert_eq!((webhook.clock_skew_ms, webhook.max_lifetime_ms), (60_000, Some(300_000)));
    assert_eq!((socket.clock_skew_ms, socket.max_lifetime_ms), (30_000, Some(86_400_000)));
    assert_eq!((webhook.reuse, socket.reuse), (ReuseMode::Deny, ReuseMode::Observe));
    assert!(webhook.audiences.find("7F0C2C2E-6D1F-4F0A-9B7E-2F6B8F0D5A11").is_some());
    assert!(matches!(&webhook.keys, KeySource::Fetched(_)));
    assert_eq!(compiled.key_sets.len(), 1);
}

#[test]
fn keys_and_sources_come_out_as_written() {
    let compiled = compile(&[("a.yaml", &policy()), ("b.yaml", SECRET)], &Options::default());
    let policy = holder(&compiled);
    let key = checks(policy, "callbacks").api_key.as_ref().unwrap();
    assert_eq!((&key.carrier, key.active.count(), key.strip), (&ApiKeyCarrier::Query("key".into()), 2, true));
    let tool = checks(policy, "tool").api_key.as_ref().unwrap();
    assert_eq!(tool.carrier, ApiKeyCarrier::Header("x-callback-key".into()));
    let ActiveKeys::Digests(digests) = &tool.active else { panic!("{tool:?}") };
    assert_eq!((digests.len(), digests[0][0], digests[0][31]), (1, 0xdf, 0x11));
    let sources = checks(policy, "callbacks").sources.as_ref().unwrap();
    assert_eq!((sources.ranges.len(), sources.on_mismatch), (2, OnMismatch::Observe));
    for (address, inside) in [("52.112.0.1", true), ("2603:1027::1", true), ("203.0.113.9", true), ("203.0.114.9", false)] {
        assert_eq!(sources.ranges.iter().any(|range| range.contains(address.parse().unwrap())), inside, "{address}");
    }
}

#[test]
fn the_upstream_learns_nothing_it_should_not() {
    let compiled = compile(&[("a.yaml", &policy()), ("b.yaml", SECRET)], &Options::default());
    let Rules::Senders { forward, .. } = &holder(&compiled).rules else { panic!() };
    assert_eq!(*forward.headers, [("x-acs-audience".into(), "aud".into())]);
    let removed: Vec<&str> = forward.remove.iter().map(AsRef::as_ref).collect();
    let mut expected = vec!["authorization", "x-callback-key"];
    expected.extend(["x-acs_audience", "x_acs-audience", "x_acs_audience", "x-callback_key", "x_callback-key", "x_callback_key"]);
    expected.sort_unstable();
    assert_eq!(removed, expected);
    assert_eq!(*forward.strip_query, [Arc::<str>::from("key")]);
    let kept = policy().replace("sha256: [", "upstream: Forward, sha256: [").replace("authorization: Remove", "authorization: Keep");
    let compiled = compile(&[("a.yaml", &kept), ("b.yaml", SECRET)], &Options::default());
    let Rules::Senders { forward, .. } = &holder(&compiled).rules else { panic!() };
    let removed: Vec<&str> = forward.remove.iter().map(AsRef::as_ref).collect();
    assert_eq!(removed, ["x-acs_audience", "x_acs-audience", "x_acs_audience"]);
}

#[test]
fn a_policy_may_be_as_short_as_this() {
    let short = "
apiVersion: ringfence.dev/v1alpha1
kind: CallbackPolicy
metadata: {name: a}
spec:
  match: {hosts: [a.example]}
  senders:
    - {name: acs, type: CallAutomation, callAutomation: {audiences: [7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11]}}
";
    let compiled = compile(&[("a.yaml", short)], &Options::default());
    assert_eq!(said(&compiled), Vec::<String>::new());
    assert_eq!((&*holder(&compiled).id.label, holder(&compiled).mode), ("default/a", Mode::Enforce));
}

#[test]
fn an_issuer_of_ones_own_is_taken_verbatim() {
    let own = policy().replace(
        "clockSkew: 1m",
        "issuer: http://127.0.0.1:9/issuer/\n        openIdConfiguration: http://127.0.0.1:9/calling/x?y=1\n        maxLifetime: 10m",
    );
    let options = Options { insecure_http_issuers: true, ..Options::default() };
    let compiled = compile(&[("a.yaml", &own), ("b.yaml", SECRET)], &options);
    assert_eq!(said(&compiled), Vec::<String>::new());
    let token = checks(holder(&compiled), "callbacks").token.as_ref().unwrap();
    assert_eq!(
        (token.issuers.to_string().as_str(), token.keys.id().to_string().as_str()),
        ("`http://127.0.0.1:9/issuer/`", "http://127.0.0.1:9/calling/x?y=1")
    );
    assert_eq!(token.max_lifetime_ms, Some(600_000));
    assert_eq!(compiled.key_sets.len(), 2);
    let refused = said(&compile(&[("a.yaml", &own), ("b.yaml", SECRET)], &Options::default()));
    assert!(refused[0].contains("openIdConfiguration: `http://127.0.0.1:9/calling/x?y=1`: keys are fetched over https only"), "{refused:?}");
}

#[test]
fn issuers_outside_the_operators_list_are_refused() {
    let own = policy().replace("clockSkew: 1m", "openIdConfiguration: https://evil.example/x");
    let options = Options { issuer_origins: Some(vec!["https://ACSCallautomation.communication.azure.com:443".into()]), ..Options::default() };
    let compiled = compile(&[("a.yaml", &own), ("b.yaml", SECRET)], &options);
    let said = said(&compiled);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with(
        "error IssuerNotAllowed spec.senders[0].callAutomation.openIdConfiguration: keys may not be fetched from `https://evil.example`"
    ));
    assert!(senders(holder(&compiled))[0].checks.is_err() && senders(holder(&compiled))[1].checks.is_ok());
    assert_eq!(compiled.key_sets.len(), 1);
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    let cases = [
        (("query: key", "header: x-key"), "warning LikelyMistake spec.senders[0].apiKey.header: ACS callbacks cannot carry headers"),
        (
            ("[7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11]\n", "[my-resource]\n"),
            "warning LikelyMistake spec.senders[0].callAutomation.audiences[0]: `my-resource` is no GUID",
        ),
        (("203.0.113.0/24", "0.0.0.0/0"), "warning LikelyMistake spec.senders[0].sources.cidrs[0]: `0.0.0.0/0` is every address"),
        (
            ("prefix: /api/callbacks\n", "prefix: /api/*\n      - prefix: /api/callbacks\n"),
            "warning LikelyMistake spec.match.paths[0].prefix: the `*` in `/api/*` stands for itself",
        ),
    ];
    for ((from, to), expected) in cases {
        let text = policy().replacen(from, to, 1);
        let compiled = compile(&[("a.yaml", &text), ("b.yaml", SECRET)], &Options::default());
        let said = said(&compiled);
        assert!(said.len() == 1 && said[0].starts_with(expected), "{to}: {said:?}");
        assert!(senders(holder(&compiled)).iter().all(|sender| sender.checks.is_ok()), "{to}");
    }
    let options = Options { reuse_per_replica: true, ..Options::default() };
    let said = said(&compile(&[("a.yaml", &policy()), ("b.yaml", SECRET)], &options));
    assert!(said.len() == 1 && said[0].starts_with("warning ReusePerReplica spec.senders[0].callAutomation.tokenReuse: "), "{said:?}");
}
