use ringfence_core::decide::{HostPattern, MethodRule, Mode};

use super::*;

/// What replaces what, where the one error stands, and what it says.
type Case = ((&'static str, &'static str), &'static str, &'static str);

/// Compiles the policy with one change; there must be this one error.
fn expect_one((from, to): (&str, &str), field: &str, message: &str) -> Compiled {
    let text = policy().replacen(from, to, 1);
    assert_ne!(text, policy(), "{from}");
    let compiled = compile(&[("a.yaml", &text), ("b.yaml", SECRET)], &Options::default());
    let said = said(&compiled);
    assert_eq!(said.len(), 1, "{to}: {said:?}");
    let expected = format!(" {field}: ");
    assert!(said[0].starts_with("error ") && said[0].contains(&expected) && said[0].contains(message), "{to}: {said:?}");
    compiled
}

#[test]
fn an_error_in_one_sender_leaves_the_others_alone() {
    let audience = "[7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11]\n";
    let (calls, sources, key) = ("spec.senders[0].callAutomation", "spec.senders[0].sources", "spec.senders[0].apiKey");
    let cases: &[Case] = &[
        (("clockSkew: 1m", "clokSkew: 1m"), "spec.senders[0].callAutomation.clokSkew", "unknown field `clokSkew`, expected one of `audiences`"),
        (("clockSkew: 1m", "clockSkew: null"), "spec.senders[0].callAutomation.clockSkew", "null is no value; leave the field out"),
        (("clockSkew: 1m", "clockSkew: 6m"), "spec.senders[0].callAutomation.clockSkew", "`6m` is too long: at most 5m"),
        (("clockSkew: 1m", "clockSkew: -1m"), "spec.senders[0].callAutomation.clockSkew", "`-1m` is not a duration; write a number and a unit"),
        (("clockSkew: 1m", "clockSkew: 60"), "spec.senders[0].callAutomation.clockSkew", "expected a string; put it in quotes"),
        (("clockSkew: 1m", "maxLifetime: 0s"), "spec.senders[0].callAutomation.maxLifetime", "no token lives for `0s`"),
        (
            ("clockSkew: 1m", "transport: Websocket"),
            "spec.senders[0].callAutomation.transport",
            "unknown variant `Websocket`, expected `Webhook` or `WebSocket`",
        ),
        (("clockSkew: 1m", "issuer: https://x.example"), calls, "name its `openIdConfiguration` or `jwks`"),
        (
            ("clockSkew: 1m", "issuer: ''\n        openIdConfiguration: https://x.example/"),
            "spec.senders[0].callAutomation.issuer",
            "printable ASCII",
        ),
        (
            ("clockSkew: 1m", "openIdConfiguration: x.example"),
            "spec.senders[0].callAutomation.openIdConfiguration",
            "must be a URL that starts with `https://`",
        ),
        ((audience, "[]\n"), "spec.senders[0].callAutomation.audiences", "an empty list means nothing"),
        ((audience, "[null, a]\n"), "spec.senders[0].callAutomation.audiences[0]", "null is no value"),
        (
            (audience, "[/subscriptions/1/resourceGroups/a/providers/Microsoft.Communication/CommunicationServices/b]\n"),
            "spec.senders[0].callAutomation.audiences[0]",
            "is an ARM id, which no token carries; name the resource's immutableResourceId",
        ),
        ((audience, "['']\n"), "spec.senders[0].callAutomation.audiences[0]", "an audience is 1 to 256 printable ASCII characters"),
        (
            ("audiences: [7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11]\n", "requireIssuedAt: true\n"),
            calls,
            "there is no audience; every ACS customer's tokens have the same issuer",
        ),
        (("sets: [acs-callbacks], cidrs: [203.0.113.0/24], ", ""), sources, "name `sets` or `cidrs`"),
        ((", onMismatch: Observe", ""), sources, "missing field `onMismatch`"),
        (("onMismatch: Observe", "onMismatch: Allow"), "spec.senders[0].sources.onMismatch", "unknown variant `Allow`, expected `Deny` or `Observe`"),
        (
            ("203.0.113.0/24", "203.0.113.7/24"),
            "spec.senders[0].sources.cidrs[0]",
            "`203.0.113.7/24`: there are bits beyond the length; write `203.0.113.0/24`",
        ),
        (
            ("sets: [acs-callbacks]", "sets: [acs]"),
            "spec.senders[0].sources.sets[0]",
            "there is no SourceRangeSet `acs`; `acs-callbacks` and `acs-media` are built in",
        ),
        (("{prefix: /api/callbacks/calls}", "{prefix: /api/callback}"), "spec.senders[0].paths[0]", "lies outside the policy's `match.paths`"),
        (
            ("{prefix: /api/callbacks/calls}", "{prefix: /api/callbacks/../x}"),
            "spec.senders[0].paths[0].prefix",
            "can never match: it holds a dot segment",
        ),
        (("query: key", "query: k%65y"), "spec.senders[0].apiKey.query", "`k%65y` is no name for a query parameter"),
        (("query: key", "query: key\n        header: x-key"), key, "exactly one of the two"),
        (("query: key", "upstream: Strip"), key, "exactly one of the two"),
        (("query: key", "query: key\n        sha256: [abc]"), "spec.senders[0].apiKey.sha256[0]", "`abc` is no SHA-256 digest"),
    ];
    for (change, field, message) in cases {
        let compiled = expect_one(*change, field, message);
        let policy = holder(&compiled);
        assert_eq!(policy.mode, Mode::Shadow);
        let states: Vec<_> = senders(policy).iter().map(|sender| sender.checks.is_ok()).collect();
        assert_eq!(states, [false, true, true], "{change:?}");
        assert_eq!(senders(policy)[0].methods == MethodRule::Any, change.1.contains("Websocket"), "{change:?}");
        assert_eq!(senders(policy)[0].paths.len(), usize::from(!change.1.contains("..")), "{change:?}");
        let problem = senders(policy)[0].checks.as_ref().unwrap_err();
        assert!(problem.contains(message), "{change:?}: {problem}");
    }
}

#[test]
fn an_error_outside_the_senders_makes_the_policy_deny_and_keep_its_place() {
    let cases: &[Case] = &[
        (("mode: Shadow", "mode: Shadw"), "spec.mode", "unknown variant `Shadw`, expected `Enforce` or `Shadow`"),
        (("mode: Shadow", "mode: null"), "spec.mode", "null is no value"),
        (("mode: Shadow", "mod: Shadow"), "spec.mod", "unknown field `mod`, expected one of `mode`, `match`"),
        (("spec:", "specs: {}\nspec:"), "specs", "unknown field `specs`, expected one of `apiVersion`"),
        (("labels:", "lables:"), "metadata.lables", "unknown field `lables`"),
        (("authorization: Remove", "authorization: Drop"), "spec.forward.authorization", "unknown variant `Drop`"),
        (("authorization: Remove", "auth: Remove"), "spec.forward.auth", "unknown field `auth`"),
        (("name: X-ACS-Audience", "name: Authorization"), "spec.forward.headers[0].name", "`Authorization` is reserved"),
        (("name: X-ACS-Audience", "name: X_ACS"), "spec.forward.headers[0].name", "write `-`"),
        (("name: X-ACS-Audience", "name: x-callback-key"), "spec.forward.headers[0].name", "`x-callback-key` carries an API key"),
        (("{name: X-ACS-Audience, claim: aud}", "{name: a, claim: aud}, {name: A, claim: b}"), "spec.forward.headers[1].name", "`a` is listed twice"),
        (("claim: aud", "claim: ''"), "spec.forward.headers[0].claim", "a claim's name is 1 to 256 bytes"),
        (("headers: [{name: X-ACS-Audience, claim: aud}]", "headers: []"), "spec.forward.headers", "an empty list means nothing"),
        (("name: media", "name: callbacks"), "spec.senders", "senders 0 and 1 have the same name `callbacks`"),
    ];
    for (change, field, message) in cases {
        let compiled = expect_one(*change, field, message);
        let policy = holder(&compiled);
        assert_eq!(policy.matches.hosts.len(), 2, "{change:?}");
        assert_eq!(policy.mode == Mode::Enforce, change.0 == "mode: Shadow", "{change:?}");
        match &policy.rules {
            Rules::Invalid { problem, .. } => assert!(problem.contains(message), "{change:?}: {problem}"),
            Rules::Senders { .. } => panic!("{change:?}"),
        }
        assert!(compiled.policies.parts().unreadable.is_empty());
    }
    let start = policy().find("  senders:").unwrap();
    let end = policy().find("  forward:").unwrap();
    for (senders, message) in [("", "there is no sender"), ("  senders: []\n", "there is no sender"), ("  senders: {}\n", "`senders` must be a list")]
    {
        let text = format!("{}{senders}{}", &policy()[..start], &policy()[end..]);
        let compiled = compile(&[("a.yaml", &text)], &Options::default());
        assert!(said(&compiled).iter().any(|said| said.contains(message)), "{senders}: {:?}", said(&compiled));
        assert!(matches!(holder(&compiled).rules, Rules::Invalid { .. }), "{senders}");
    }
}

#[test]
fn what_can_be_read_of_a_match_keeps_its_place() {
    let cases: &[(Case, usize)] = &[
        ((("Callbacks.contoso.com", "b\u{fc}ro.contoso.com"), "spec.match.hosts[0]", "ASCII form (punycode"), 1),
        ((("Callbacks.contoso.com", "https://contoso.com"), "spec.match.hosts[0]", "is no host name; write it without scheme"), 1),
        ((("Callbacks.contoso.com", "contoso.com:443"), "spec.match.hosts[0]", "is no host name"), 1),
        ((("Callbacks.contoso.com", "contoso.com."), "spec.match.hosts[0]", "is no host name"), 1),
        ((("Callbacks.contoso.com", "'a.*.com'"), "spec.match.hosts[0]", "a `*` may only stand first"), 1),
        ((("Callbacks.contoso.com", "'*'"), "spec.match.hosts[0]", "`*` is for a ClusterCallbackPolicy"), 1),
        ((("Callbacks.contoso.com", "null"), "spec.match.hosts[0]", "null is no value"), 1),
        ((("Callbacks.contoso.com", "12"), "spec.match.hosts[0]", "expected a string; put it in quotes"), 1),
        ((("      - exact: /media\n", "      - exact: media\n"), "spec.match.paths[1].exact", "`media` must start with `/`"), 2),
        ((("      - exact: /media\n", "      - {exact: /a, prefix: /b}\n"), "spec.match.paths[1]", "exactly one of the two"), 2),
        ((("      - exact: /media\n", "      - exact: /media?a=b\n"), "spec.match.paths[1].exact", "a path is matched without its query"), 2),
        ((("      - exact: /media\n", "      - exact: /me%64ia\n"), "spec.match.paths[1].exact", "an encoded letter"), 2),
        ((("      - exact: /media\n", "      - regex: /media\n"), "spec.match.paths[1].regex", "unknown field `regex`"), 2),
        ((("paths:\n", "ignorePathCase: maybe\n    paths:\n"), "spec.match.ignorePathCase", "expected a boolean"), 2),
        ((("paths:\n", "methods: [GET]\n    paths:\n"), "spec.match.methods", "unknown field `methods`"), 2),
    ];
    for ((change, field, message), hosts) in cases {
        let compiled = expect_one(*change, field, message);
        assert_eq!(holder(&compiled).matches.hosts.len(), *hosts, "{change:?}");
        assert!(matches!(holder(&compiled).rules, Rules::Invalid { .. }), "{change:?}");
        assert_eq!(compiled.policies.parts().unreadable.len(), 1, "{change:?}");
    }
}

#[test]
fn a_match_of_which_nothing_can_be_read_is_remembered() {
    let hosts = "hosts: [Callbacks.contoso.com, \"*.apps.contoso.com\"]";
    let cases = [
        (hosts, "hosts: []"),
        (hosts, "ignorePathCase: true"),
        (hosts, "hosts: null"),
        (hosts, "hosts: callbacks.contoso.com"),
        (hosts, "host: [callbacks.contoso.com]"),
        (hosts, ""),
        ("match:", "matches:"),
        ("paths:\n      - prefix: /api/callbacks\n      - exact: /media\n", "paths: []\n"),
        ("paths:\n      - prefix: /api/callbacks\n      - exact: /media\n", "paths: /api\n"),
        ("paths:\n      - prefix: /api/callbacks\n      - exact: /media\n", "paths: [{prefix: api}]\n"),
    ];
    for (from, to) in cases {
        let text = policy().replacen(from, to, 1);
        let compiled = compile(&[("a.yaml", &text), ("b.yaml", SECRET)], &Options::default());
        let parts = compiled.policies.parts();
        assert_eq!((parts.holders.len(), parts.unreadable.len()), (0, 1), "{to}: {:?}", said(&compiled));
        assert_eq!(&*parts.unreadable[0].label, "contoso/contact-center");
        assert!(said(&compiled).iter().any(|said| said.starts_with("error ")), "{to}");
    }
    for spec in ["", "spec: null\n", "spec: []\n", "spec: x\n", "spec: {}\n"] {
        let text = format!("{}{spec}", &policy()[..policy().find("spec:").unwrap()]);
        let compiled = compile(&[("a.yaml", &text)], &Options::default());
        assert_eq!(compiled.policies.parts().unreadable.len(), 1, "{spec}");
        assert!(!said(&compiled).is_empty(), "{spec}");
    }
}

#[test]
fn every_error_is_named_at_its_line() {
    let text = policy()
        .replace("mode: Shadow", "mode: shadow")
        .replace("clockSkew: 1m", "clockSkew: 10m\n        skew: 1m")
        .replace("onMismatch: Observe", "onMismatch: null")
        .replace("transport: WebSocket", "transport: 7")
        .replace("SHA", SHA)
        .replace("claim: aud", "claim: ''");
    let said = said(&compile(&[("a.yaml", &text), ("b.yaml", SECRET)], &Options::default()));
    let starts: Vec<(String, String)> =
        said.iter().map(|said| (said.split(": ").next().unwrap().to_owned(), said.rsplit("(line ").next().unwrap().to_owned())).collect();
    let expected = [
        ("error Invalid spec.mode", "6)"),
        ("error Invalid spec.senders[0].callAutomation.skew", "18)"),
        ("error Invalid spec.senders[0].sources.onMismatch", "21)"),
        ("error Invalid spec.senders[0].sources", "21)"),
        ("error Invalid spec.senders[1].callAutomation.transport", "27)"),
        ("error Invalid spec.forward.headers[0].claim", "33)"),
    ];
    for (field, line) in expected {
        assert!(starts.iter().any(|(start, at)| start == field && at == line), "{field} {line} is not in {said:#?}");
    }
}

#[test]
fn a_sender_whose_path_cannot_be_read_denies_on_every_path() {
    for path in ["{prefix: api}", "{prefix: /a//b}", "{exact: /a, prefix: /a}", "/api"] {
        let text = policy().replacen("clockSkew: 1m", "transport: Websocket", 1).replacen("{prefix: /api/callbacks/calls}", path, 1);
        let compiled = compile(&[("a.yaml", &text), ("b.yaml", SECRET)], &Options::default());
        let sender = &senders(holder(&compiled))[0];
        assert!(sender.paths.is_empty() && sender.checks.is_err(), "{path}: {sender:?}");
    }
}

#[test]
fn unsound_senders_deny_with_their_own_methods() {
    let jwt =
        "type: JWT\n      jwt: {issuer: https://i.example, jwksUri: https://i.example/k, audiences: [b], algorithms: [HS256], methods: [PATCH]}";
    let text = policy().replacen("type: NoToken\n      noToken: {methods: [POST, PUT]}", jwt, 1);
    let compiled = compile(&[("a.yaml", &text), ("b.yaml", SECRET)], &Options::default());
    assert!(said(&compiled)[0].contains("`HS256`: whoever can check such a token can also make one"), "{:?}", said(&compiled));
    assert_eq!(senders(holder(&compiled))[2].methods, MethodRule::OneOf(["PATCH".into()].into()));
}

#[test]
fn a_sender_without_a_token_must_be_known_by_something() {
    let start = "type: NoToken\n      noToken: {methods: [POST, PUT]}\n      apiKey: {header: X-Callback-Key, sha256: [";
    let change = |to: &str| {
        let text = policy().replacen(&format!("{start}{SHA}]}}"), to, 1);
        assert_ne!(text, policy());
        let compiled = compile(&[("a.yaml", &text), ("b.yaml", SECRET)], &Options::default());
        (said(&compiled), senders(holder(&compiled))[2].checks.is_ok())
    };
    let (said, sound) = change("type: NoToken");
    assert!(!sound && said[0].contains("needs an `apiKey`, `sources`, or both"), "{said:?}");
    let (said, sound) = change("type: NoToken\n      sources: {sets: [acs-callbacks], onMismatch: Deny}");
    assert!(!sound && said[0].contains("spec.senders[2].noToken.acknowledgeWeak: an address alone is no identity"), "{said:?}");
    let (said, sound) = change("type: NoToken\n      noToken: {acknowledgeWeak: true}\n      sources: {sets: [acs-callbacks], onMismatch: Observe}");
    assert!(!sound && said[0].contains("spec.senders[2].sources.onMismatch: must be `Deny`"), "{said:?}");
    let (said, sound) = change("type: NoToken\n      noToken: {acknowledgeWeak: true}\n      sources: {sets: [acs-callbacks], onMismatch: Deny}");
    assert!(sound && said.is_empty(), "{said:?}");
    let (said, sound) =
        change("type: NoToken\n      noToken: {methods: [post]}\n      apiKey: {query: k, secretRefs: [{name: callback-key, key: current}]}");
    assert!(!sound && said[0].contains("`post` is no method; write it in capitals"), "{said:?}");
}

#[test]
fn the_options_must_be_those_of_the_type() {
    let (from, to) = ("type: NoToken\n      noToken: {methods: [POST, PUT]}", "type: CallAutomation\n      noToken: {methods: [POST]}");
    let compiled = compile(&[("a.yaml", &policy().replacen(from, to, 1)), ("b.yaml", SECRET)], &Options::default());
    let said = said(&compiled);
    assert!(said.iter().any(|said| said.contains("spec.senders[2]: a sender of type `CallAutomation` needs `callAutomation`")), "{said:?}");
    assert!(said.iter().any(|said| said.contains("spec.senders[2].noToken: `noToken` does not belong to a sender of type `CallAutomation`")));
}

#[test]
fn lists_are_bounded() {
    let many = |count: usize, item: &dyn Fn(usize) -> String| (0..count).map(item).collect::<Vec<_>>().join(", ");
    let hosts = format!("[{}]", many(17, &|at| format!("h{at}.example")));
    let paths = many(33, &|at| format!("{{prefix: /p{at}}}"));
    let audiences = many(33, &|at| format!("7f0c2c2e-6d1f-4f0a-9b7e-0000000000{at:02}"));
    let cidrs = many(1025, &|at| format!("10.{}.{}.0/24", at / 256, at % 256));
    let refs = many(5, &|_| "{name: callback-key, key: current}".to_owned());
    let cases = [
        ("[Callbacks.contoso.com, \"*.apps.contoso.com\"]".to_owned(), hosts, "17 hosts; at most 16"),
        ("\n      - prefix: /api/callbacks\n      - exact: /media".to_owned(), format!(" [{paths}]"), "33 paths; at most 32"),
        ("[7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11]".to_owned(), format!("[{audiences}]"), "33 audiences; at most 32"),
        ("203.0.113.0/24".to_owned(), cidrs, "1025 ranges; at most 1024"),
        ("{name: callback-key, key: current}, {name: callback-key, key: previous}".to_owned(), refs, "5 keys; at most 4"),
    ];
    for (from, to, message) in cases {
        let text = policy().replacen(&from, &to, 1);
        assert_ne!(text, policy(), "{from}");
        let said = said(&compile(&[("a.yaml", &text), ("b.yaml", SECRET)], &Options::default()));
        assert!(said.iter().any(|said| said.starts_with("error ") && said.contains(message)), "{message}: {said:?}");
    }
    let senders: String = (0..9).map(|at| format!("    - {{name: s{at}, type: NoToken, apiKey: {{query: k, sha256: [{SHA}]}}}}\n")).collect();
    let text = policy().replacen("  senders:\n", &format!("  senders:\n{senders}"), 1);
    let compiled = compile(&[("a.yaml", &text), ("b.yaml", SECRET)], &Options::default());
    assert!(said(&compiled).iter().any(|said| said.contains("12 senders; at most 8")), "{:?}", said(&compiled));
    assert!(matches!(holder(&compiled).rules, Rules::Invalid { .. }));
}

#[test]
fn a_floor_without_hosts_is_one_for_every_host() {
    for matches in ["{}", "{paths: [{prefix: /api}]}", "{hosts: []}", "{host: [a.example]}"] {
        let floor = format!(
            "apiVersion: ringfence.dev/v1alpha1\nkind: ClusterCallbackPolicy\nmetadata: {{name: ground}}\n\
             spec: {{applies: Always, match: {matches}, sources: {{cidrs: [192.0.2.0/24], onMismatch: Deny}}}}\n"
        );
        let compiled = compile(&[("a.yaml", &floor)], &Options::default());
        let floor = &compiled.policies.parts().floors[0];
        assert_eq!(*floor.matches.hosts, [HostPattern::Any], "{matches}");
        assert!(floor.sources.is_err(), "{matches}");
    }
}
