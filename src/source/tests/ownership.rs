use std::{borrow::Cow, time::Instant};

use ringfence_core::decide::{Body, Decided, Headers, KeyRing, NoTrace, Now, RawRequest, Reason, Request, Unmatched, Wire, decide};

use super::*;

/// A policy that asks for a key only.
fn simple(namespace: &str, name: &str, hosts: &str, paths: &str) -> String {
    format!(
        "---\napiVersion: ringfence.dev/v1alpha1\nkind: CallbackPolicy\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  match: {{hosts: \
         [{hosts}]{paths}}}\n  senders:\n    - {{name: key, type: NoToken, apiKey: {{query: k, sha256: [{SHA}]}}}}\n"
    )
}

fn grant(name: &str, hosts: &str, namespaces: &str) -> String {
    format!(
        "---\napiVersion: ringfence.dev/v1alpha1\nkind: HostGrant\nmetadata: {{name: {name}}}\nspec: {{hosts: [{hosts}], namespaces: [{namespaces}]}}\n"
    )
}

fn granted() -> Options {
    Options { hosts_are_granted: true, ..Options::default() }
}

/// What a request without any credential meets.
fn ask(compiled: &Compiled, host: &str, path: &str, pin: Option<&str>) -> Option<Reason> {
    let raw = RawRequest {
        arrived: Instant::now(),
        wire: Wire::Grpc,
        method: b"POST",
        http2: true,
        host: Some(host.as_bytes()),
        target: path.as_bytes(),
        headers: Headers::new(false),
        source: None,
        body: Body::Absent,
        pin: pin.map(Cow::Borrowed),
        id: None,
    };
    let request = Request::new(&raw).unwrap();
    match decide(&request, &compiled.policies, &KeyRing::default(), Now::settled(0), &mut NoTrace) {
        Decided::Final(verdict) => verdict.denied(),
        other => panic!("{other:?}"),
    }
}

fn labels(policies: &[Policy]) -> Vec<&str> {
    policies.iter().map(|policy| &*policy.id.label).collect()
}

#[test]
fn of_two_that_tie_the_first_by_name_wins_and_the_other_keeps_the_rest() {
    let files = [
        simple("b", "x", "a.example, b.example", ", paths: [{prefix: /api}, {exact: /x}]"),
        simple("a", "x", "b.example", ", paths: [{prefix: /API/}]"),
    ]
    .concat();
    let compiled = compile(&[("a.yaml", &files)], &Options::default());
    let parts = compiled.policies.parts();
    assert_eq!((labels(&parts.holders), labels(&parts.pinnable)), (vec!["a/x", "b/x", "b/x"], vec!["b/x"]));
    let said = said(&compiled);
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("error Conflicted spec.match: `a/x` already has what is below `/api` of `b.example` (in any case)"), "{said:?}");
    assert!(said[0].contains("; this one keeps what it has for itself; a route may still pin this one"), "{said:?}");
    let asked = |host, path, pin, key: &str| ask(&compiled, host, &format!("{path}?{key}=x"), pin);
    assert_eq!(asked("b.example", "/API", None, "k"), Some(Reason::ApiKeyInvalid), "the winner's");
    for (host, path) in [("a.example", "/api"), ("a.example", "/x"), ("b.example", "/x")] {
        assert_eq!(asked(host, path, None, "k"), Some(Reason::ApiKeyInvalid), "{host}{path} is the loser's own");
    }
    assert_eq!(asked("b.example", "/api", None, "k"), Some(Reason::AmbiguousPath));
    assert_eq!(asked("b.example", "/api", Some("b/x"), "k"), Some(Reason::ApiKeyInvalid), "it may still be pinned to all of its own");
}

#[test]
fn the_older_one_wins() {
    let mut objects =
        load(&[("a.yaml", &[simple("a", "x", "a.example", ""), simple("b", "x", "a.example", ", paths: [{prefix: /}]")].concat())]).objects;
    objects[0].created = Some(1_700_000_001);
    objects[1].created = Some(1_700_000_000);
    let compiled = compile::compile(&objects, &Options::default());
    assert_eq!(labels(&compiled.policies.parts().holders), ["b/x"]);
    assert!(said(&compiled)[0].contains("`b/x` already has every path of `a.example`"));
}

#[test]
fn places_that_only_overlap_are_no_conflict() {
    let files = [
        simple("a", "p1", "a.example", ", paths: [{prefix: /api}]"),
        simple("a", "p2", "a.example", ", paths: [{exact: /api}]"),
        simple("a", "p3", "a.example", ", paths: [{prefix: /api/x}]"),
        simple("a", "p4", "a.example", ""),
        simple("a", "p5", "'*.example'", ", paths: [{prefix: /api}]"),
    ];
    let compiled = compile(&[("a.yaml", &files.concat())], &Options::default());
    assert_eq!((compiled.policies.parts().holders.len(), said(&compiled)), (5, vec![]));
}

#[test]
fn fallbacks_conflict_among_themselves() {
    let cluster = |name: &str| simple("x", name, "a.example", "").replace("CallbackPolicy", "ClusterCallbackPolicy").replace(", namespace: x", "");
    let compiled = compile(&[("a.yaml", &[cluster("b"), cluster("a"), simple("x", "p", "a.example", "")].concat())], &Options::default());
    let parts = compiled.policies.parts();
    assert_eq!((labels(&parts.fallbacks), labels(&parts.holders), parts.pinnable.len()), (vec!["a"], vec!["x/p"], 0));
    assert!(
        said(&compiled)[0].starts_with("error Conflicted spec.match: `a` already has every path of `a.example`, and no two policies can; change")
    );
}

#[test]
fn an_object_that_is_there_twice_counts_once() {
    let (one, two) = (simple("a", "x", "a.example", ""), simple("a", "x", "b.example", ""));
    let compiled = compile(&[("a.yaml", &one), ("b.yaml", &two)], &Options::default());
    assert_eq!(ask(&compiled, "a.example", "/", None), Some(Reason::ApiKeyMissing));
    assert_eq!(ask(&compiled, "b.example", "/", None), Some(Reason::NoPolicy));
    let expected = "error Duplicate metadata.name: `CallbackPolicy/a/x` is there twice, first at a.yaml:2 (document 1) and again at b.yaml:2 (document 1); the \
                    first one counts: rename or remove the other (line 4)";
    assert_eq!(said(&compiled), [expected]);
}

#[test]
fn a_policy_speaks_for_the_hosts_it_is_granted() {
    let policies = [simple("a", "x", "a.example, b.example", ""), simple("b", "x", "b.example", "")].concat();
    let grants = [grant("g1", "a.example", "a"), grant("g2", "'*.example'", "b")].concat();
    let compiled = compile(&[("a.yaml", &policies), ("b.yaml", &grants)], &granted());
    assert_eq!(labels(&compiled.policies.parts().holders), ["a/x", "b/x"]);
    let said = said(&compiled);
    assert!(
        said.len() == 1 && said[0].starts_with("error HostNotGranted spec.match.hosts[1]: namespace `a` may not speak for this host"),
        "{said:?}"
    );
    assert!(said[0].contains("{name: a-b.example}, spec: {hosts: [\"b.example\"], namespaces: [a]}"), "{said:?}");
    assert_eq!(ask(&compiled, "a.example", "/", None), Some(Reason::ApiKeyMissing));
    assert_eq!(ask(&compiled, "b.example", "/", Some("b/x")), Some(Reason::ApiKeyMissing));
    assert_eq!(ask(&compiled, "b.example", "/", Some("a/x")), Some(Reason::PinMismatch));
    let none = compile(&[("a.yaml", &policies)], &granted());
    assert_eq!((none.policies.parts().holders.len(), none.policies.parts().pinnable.len()), (0, 0));
}

#[test]
fn a_grant_that_cannot_be_read_is_not_replaced_by_a_wider_one() {
    let policies = [simple("a", "x", "'*.example'", ""), simple("b", "x", "api.example", "")].concat();
    let wide = grant("wide", "'*.example'", "a");
    for (broken, message) in [
        (grant("narrow", "api.example", "b").replace("namespaces:", "namespace:"), "spec.namespace: unknown field `namespace`"),
        (grant("narrow", "api.example", "B"), "spec.namespaces[0]: `B` is no namespace"),
        (grant("narrow", "api.example", "b").replace("{name: narrow}", "{name: narrow, x: z}"), "metadata.x: unknown field `x`"),
        (grant("narrow", "api.example", ""), "spec.namespaces: an empty list means nothing"),
        (grant("narrow", "api.example", "b").replace("[api.example]", "api.example"), "spec.hosts: invalid type: string"),
        (grant("narrow", "api.example.", "b"), "spec.hosts[0]: `api.example.` is no host name"),
        (grant("narrow", "'https://api.example:443/'", "b"), "is no host name; write it without scheme"),
    ] {
        let compiled = compile(&[("a.yaml", &policies), ("b.yaml", &format!("{wide}{broken}"))], &granted());
        assert!(said(&compiled).iter().any(|said| said.contains(message)), "{message}: {:?}", said(&compiled));
        assert_eq!(ask(&compiled, "other.example", "/", None), Some(Reason::ApiKeyMissing), "{message}");
        assert_eq!(ask(&compiled, "api.example", "/", None), Some(Reason::PolicyInvalid), "{message}");
        assert_eq!(ask(&compiled, "elsewhere.org", "/", None), Some(Reason::NoPolicy), "{message}");
    }
    let partly = format!("{wide}{}", grant("narrow", "'api.*', api.example", "b"));
    let compiled = compile(&[("a.yaml", &policies), ("b.yaml", &partly)], &granted());
    assert!(said(&compiled)[0].contains("spec.hosts[0]: `api.*`: a `*` may only stand first"), "{:?}", said(&compiled));
    assert_eq!(ask(&compiled, "api.example", "/", None), Some(Reason::ApiKeyMissing), "what can be read of it counts");
}

#[test]
fn a_grant_that_cannot_be_read_lets_nothing_by() {
    let policies = simple("b", "x", "api.example, calls.example", "");
    let allow = Options { unmatched: Unmatched::Allow, ..granted() };
    let sound = grant("calls", "calls.example", "b");
    for (broken, elsewhere) in [
        (grant("narrow", "api.example.", "b"), None),
        (grant("narrow", "api.example", "B"), None),
        (grant("narrow", "api.example", "b").replace("hosts:", "host:"), Some(Reason::PolicyInvalid)),
        (grant("narrow", "'api..example'", "b"), Some(Reason::PolicyInvalid)),
        (grant("narrow", "null, 7", "b"), Some(Reason::PolicyInvalid)),
        ("---\napiVersion: ringfence.dev/v1alpha1\nkind: HostGrant\nmetadata: {name: narrow}\n".to_owned(), Some(Reason::PolicyInvalid)),
    ] {
        let compiled = compile(&[("a.yaml", &policies), ("b.yaml", &format!("{sound}{broken}"))], &allow);
        let met = ["api.example", "calls.example", "elsewhere.org"].map(|host| ask(&compiled, host, "/", None));
        assert_eq!(met, [Some(Reason::PolicyInvalid), Some(Reason::ApiKeyMissing), elsewhere], "{broken}");
    }
}

#[test]
fn what_cannot_be_read_is_never_let_by() {
    let allow = |hosts_are_granted| Options { unmatched: Unmatched::Allow, hosts_are_granted, ..Options::default() };
    let broken = simple("a", "x", "a.example, 'b*'", "");
    let compiled = compile(&[("a.yaml", &broken)], &allow(false));
    assert_eq!(ask(&compiled, "a.example", "/", None), Some(Reason::PolicyInvalid), "the host that can be read keeps its place");
    assert_eq!(ask(&compiled, "other.example", "/", None), Some(Reason::PolicyInvalid));
    assert_eq!(ask(&compiled, "other.example", "/", Some("a/x")), Some(Reason::PolicyInvalid), "the pin may have meant this host");
    let grants = [grant("g1", "a.example, b.example", "a"), grant("g2", "c.example", "c")].concat();
    let compiled = compile(&[("a.yaml", &broken), ("b.yaml", &grants)], &allow(true));
    let met: Vec<_> = ["a.example", "b.example", "c.example"].map(|host| ask(&compiled, host, "/", None)).into();
    assert_eq!(met, [Some(Reason::PolicyInvalid), Some(Reason::PolicyInvalid), None]);
    let fallback = broken.replace("CallbackPolicy", "ClusterCallbackPolicy").replace(", namespace: a", "");
    let compiled = compile(&[("a.yaml", &fallback), ("b.yaml", &grants)], &allow(true));
    assert_eq!(ask(&compiled, "c.example", "/", None), Some(Reason::PolicyInvalid), "the operator's own needs no grant");
}

#[test]
fn key_sets_are_bounded_for_each_namespace_and_in_all() {
    let sender = |at: usize| {
        format!(
            "    - {{name: s{at}, type: CallAutomation, callAutomation: {{audiences: [7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11], issuer: 'https://i{at}.example', openIdConfiguration: 'https://i{at}.example/c'}}}}\n"
        )
    };
    let with_issuers = |namespace: &str, name: &str, from: usize, count: usize| {
        let text = simple(namespace, name, &format!("{name}.{namespace}.example"), "");
        let senders: String = (from..from + count).map(sender).collect();
        format!("{}  senders:\n{senders}", &text[..text.find("  senders:").unwrap()])
    };
    let mut own = with_issuers("a", "one", 0, 6);
    own.push_str(&with_issuers("a", "two", 4, 6));
    let compiled = compile(&[("a.yaml", &own)], &Options::default());
    assert_eq!(compiled.key_sets.len(), 9, "eight of its own, and ACS's");
    let said = said(&compiled);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("error KeySetQuota spec.senders[4]: namespace `a` already uses 8 key sets"), "{said:?}");
    let two = compiled.policies.parts().holders.iter().find(|policy| *policy.id.name == *"two").unwrap();
    assert_eq!(senders(two).iter().map(|sender| sender.checks.is_ok()).collect::<Vec<_>>(), [true, true, true, true, false, false]);

    let many: String = (0..40).map(|at| with_issuers(&format!("n{at:02}"), "x", at * 8, 8)).collect();
    let loser = with_issuers("z", "lost", 1000, 1).replace("lost.z.example", "x.n00.example");
    let compiled = compile(&[("a.yaml", &format!("{many}{loser}"))], &Options::default());
    assert_eq!(compiled.key_sets.len(), 256);
    assert!(compiled.key_sets.iter().any(|id| id.issuer() == compile::ACS_ISSUER), "ACS's own is always kept");
    assert!(compiled.key_sets.iter().all(|id| id.issuer() != "https://i1000.example"), "who holds no place needs no keys");
    assert!(self::said(&compiled).iter().any(|said| said.contains("there are 256 key sets in use")), "{:?}", self::said(&compiled));
}
