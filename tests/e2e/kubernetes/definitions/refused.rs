//! What the API server refuses, and the words in which it says so.

use ringfence_core::api::Kind;
use serde_json::{Value, json};

use super::{object, start, whole_policy};

/// An edit of the whole policy, and what is said of it.
struct Bad {
    /// Where, and what is put there; null takes it away.
    edits: &'static [(&'static str, &'static str)],
    said: &'static str,
}

const BAD: &[Bad] = &[
    Bad { edits: &[("/match", "null")], said: "spec.match: Required value" },
    Bad { edits: &[("/match/hosts", "[]")], said: "spec.match.hosts: Invalid value: 0: spec.match.hosts in body should have at least 1 items" },
    Bad {
        edits: &[("/match/hosts", r#"["https://a.example/"]"#)],
        said: r#"spec.match.hosts[0]: Invalid value: "https://a.example/": is no host name; write it without scheme, port, path"#,
    },
    Bad { edits: &[("/match/hosts", r#"["a.example."]"#)], said: "is no host name" },
    Bad { edits: &[("/match/hosts", r#"["b\u00fccher.example"]"#)], said: "in ASCII (punycode, `xn--...`)" },
    Bad { edits: &[("/match/hosts", r#"["*"]"#)], said: "`*` is for a ClusterCallbackPolicy with `applies: Always`; name the host, or `*.suffix`" },
    Bad { edits: &[("/match/hosts", r#"["a.example", "a.example"]"#)], said: r#"spec.match.hosts[1]: Duplicate value: "a.example""# },
    Bad {
        edits: &[("/match/paths/0", "{}")],
        said: "spec.match.paths[0]: Invalid value: a path is either a `prefix` or `exact`: exactly one of the two",
    },
    Bad { edits: &[("/match/paths/0/exact", r#""/b""#)], said: "exactly one of the two" },
    Bad { edits: &[("/match/paths/0/prefix", r#""api""#)], said: r#"spec.match.paths[0].prefix: Invalid value: "api": a path starts with `/`"# },
    Bad { edits: &[("/match/paths/0/prefix", r#""/api?x=1""#)], said: "is matched without its query" },
    Bad { edits: &[("/mode", r#""Off""#)], said: r#"spec.mode: Unsupported value: "Off": supported values: "Enforce", "Shadow""# },
    Bad { edits: &[("/senders", "[]")], said: "spec.senders in body should have at least 1 items" },
    Bad { edits: &[("/senders/1/name", r#""webhook""#)], said: r#"spec.senders[1]: Duplicate value: {"name":"webhook"}"# },
    Bad { edits: &[("/senders/0/name", r#""Web Hook""#)], said: "a sender's name is 1 to 63 lower-case letters, digits and `-`" },
    Bad { edits: &[("/senders/0/type", r#""Webhook""#)], said: r#"supported values: "CallAutomation", "EventGrid", "JWT", "NoToken""# },
    Bad {
        edits: &[("/senders/0/callAutomation", "null")],
        said: "spec.senders[0]: Invalid value: a sender of type `CallAutomation` needs `callAutomation`",
    },
    Bad { edits: &[("/senders/1/eventGrid", "null")], said: "a sender of type `EventGrid` needs `eventGrid`" },
    Bad { edits: &[("/senders/2/jwt", "null")], said: "a sender of type `JWT` needs `jwt`" },
    Bad { edits: &[("/senders/0/noToken", "{}")], said: "`noToken` belongs to a sender of type `NoToken` and to no other; take it out" },
    Bad {
        edits: &[("/senders/0/type", r#""EventGrid""#)],
        said: "`callAutomation` belongs to a sender of type `CallAutomation` and to no other; take it out",
    },
    Bad { edits: &[("/senders/3/apiKey", "null")], said: "a sender without a token needs an `apiKey`, `sources`, or both" },
    Bad {
        edits: &[("/senders/3/apiKey", "null"), ("/senders/3/sources", r#"{"sets": ["x"], "onMismatch": "Deny"}"#)],
        said: "an address alone is no identity",
    },
    Bad {
        edits: &[
            ("/senders/3/apiKey", "null"),
            ("/senders/3/sources", r#"{"sets": ["x"], "onMismatch": "Observe"}"#),
            ("/senders/3/noToken/acknowledgeWeak", "true"),
        ],
        said: "`sources.onMismatch` must be `Deny` for a sender that is known by its address alone",
    },
    Bad { edits: &[("/senders/0/sources/onMismatch", "null")], said: "spec.senders[0].sources.onMismatch: Required value" },
    Bad {
        edits: &[("/senders/0/sources/sets", "null"), ("/senders/0/sources/cidrs", "null")],
        said: "spec.senders[0].sources: Invalid value: name `sets` or `cidrs`",
    },
    Bad { edits: &[("/senders/0/sources/cidrs", r#"["203.0.113.7"]"#)], said: "must be of type cidr" },
    Bad { edits: &[("/senders/0/sources/cidrs", r#"["010.0.0.0/8"]"#)], said: "leading zeros are not read" },
    Bad { edits: &[("/senders/0/sources/cidrs", r#"["::ffff:10.0.0.0/104"]"#)], said: "IPv4 is written as such" },
    Bad {
        edits: &[("/senders/0/sources/cidrs", r#"["203.0.113.7/24"]"#)],
        said: "has bits beyond its length; write the address that the range begins with",
    },
    Bad {
        edits: &[(
            "/senders/0/callAutomation/audiences",
            r#"["/subscriptions/1/resourceGroups/x/providers/Microsoft.Communication/communicationServices/acs"]"#,
        )],
        said: "an ARM id is in no token; name the resource's immutableResourceId, a GUID (`az communication list",
    },
    Bad {
        edits: &[("/senders/0/callAutomation/audiences", "null"), ("/senders/0/callAutomation/audiencesFrom", "null")],
        said: "there is no audience; name the resource's immutableResourceId",
    },
    Bad {
        edits: &[("/senders/0/callAutomation/openIdConfiguration", r#""https://a.example/""#)],
        said: "keys come from `openIdConfiguration` or from `jwks`: at most one of the two",
    },
    Bad {
        edits: &[("/senders/0/callAutomation/jwks", "null"), ("/senders/0/callAutomation/issuer", r#""https://a.example""#)],
        said: "ACS's keys are of ACS's issuer",
    },
    Bad {
        edits: &[("/senders/0/callAutomation/clockSkew", r#""6m""#)],
        said: r#"spec.senders[0].callAutomation.clockSkew: Invalid value: "6m": is too long: at most 5m"#,
    },
    Bad {
        edits: &[("/senders/0/callAutomation/clockSkew", r#""5 minutes""#)],
        said: "is no duration; write a number and a unit, such as `30s`, `5m` or `1h30m`",
    },
    Bad { edits: &[("/senders/0/callAutomation/maxLifetime", r#""0s""#)], said: "no token lives for `0s`" },
    Bad { edits: &[("/senders/0/callAutomation/tokenReuse", r#""Refuse""#)], said: r#"supported values: "Allow", "Observe", "Deny""# },
    Bad { edits: &[("/senders/1/eventGrid/tenantId", r#""common""#)], said: r#"Invalid value: "common": is no GUID; name your own tenant's"# },
    Bad { edits: &[("/senders/1/eventGrid/tenantId", "null")], said: "there is no `tenantId`" },
    Bad { edits: &[("/senders/1/eventGrid/token", r#""None""#)], said: "without a token anybody may deliver; add an `apiKey`" },
    Bad { edits: &[("/senders/1/eventGrid/cloud", r#""China""#)], said: "name it in `applicationIds`" },
    Bad {
        edits: &[("/senders/2/jwt/jwks", "null")],
        said: "keys come from `openIdConfiguration`, from `jwksUri` or from `jwks`: exactly one of the three",
    },
    Bad { edits: &[("/senders/2/jwt/jwksUri", r#""https://a.example/""#)], said: "exactly one of the three" },
    Bad {
        edits: &[("/senders/2/jwt/algorithms", r#"["HS256"]"#)],
        said: r#"spec.senders[2].jwt.algorithms[0]: Unsupported value: "HS256": supported values: "RS256""#,
    },
    Bad { edits: &[("/senders/2/jwt/methods", r#"["post"]"#)], said: r#"Invalid value: "post": is no method; write it in capitals"# },
    Bad { edits: &[("/senders/2/jwt/audiences", "null")], said: "spec.senders[2].jwt.audiences: Required value" },
    Bad {
        edits: &[("/senders/0/apiKey/header", r#""x-key""#)],
        said: "a key travels in a `query` parameter or in a `header`: exactly one of the two",
    },
    Bad { edits: &[("/senders/0/apiKey/secretRefs", "null")], said: "there is no key; name `secretRefs` or `sha256`" },
    Bad { edits: &[("/senders/0/apiKey/sha256", r#"["cafe"]"#)], said: "is no SHA-256 digest: 64 hexadecimal digits" },
    Bad { edits: &[("/senders/3/apiKey/query", r#""key""#)], said: "`signed` stands alone: a request carries a key or a signature" },
    Bad { edits: &[("/senders/3/apiKey/signed/maxAge", r#""0""#)], said: "no URL is good for `0s`" },
    Bad { edits: &[("/forward/headers/0/name", r#""x_user""#)], said: "a header's name is at most 64 letters, digits and `-`" },
];

/// Puts what an edit says in its place.
fn edit(spec: &mut Value, (pointer, value): (&str, &str)) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = spec.pointer_mut(parent).unwrap();
    let value: Value = serde_json::from_str(value).unwrap();
    match parent {
        Value::Object(members) if value.is_null() => drop(members.remove(name)),
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = value,
        parent => parent[name] = value,
    }
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_in_words() {
    let kubernetes = start().await;
    let refuse = async |kind: Kind, spec: &Value, said: &str| {
        let refused = kubernetes.post(kind, &object(kind, "bad", spec)).await.unwrap_err();
        assert!(refused.contains(said), "{refused}\nwithout: {said}");
        assert!(!refused.contains("evaluating rule"), "{refused}");
    };
    for Bad { edits, said } in BAD {
        let mut spec = whole_policy();
        edits.iter().for_each(|change| edit(&mut spec, *change));
        refuse(Kind::CallbackPolicy, &spec, said).await;
    }
    let floor = |more: &str| {
        let mut floor = json!({"applies": "Always", "match": {"hosts": ["*"]}, "sources": {"cidrs": ["203.0.113.0/24"], "onMismatch": "Deny"}});
        floor.as_object_mut().unwrap().extend(serde_json::from_str::<serde_json::Map<_, _>>(more).unwrap());
        floor
    };
    refuse(
        Kind::ClusterCallbackPolicy,
        &floor(r#"{"applies": "Fallback"}"#),
        "`sources` is for `applies: Always`; a Fallback has them in its senders",
    )
    .await;
    refuse(Kind::ClusterCallbackPolicy, &floor(r#"{"applies": "Fallback"}"#), "`*` is for `applies: Always`").await;
    refuse(Kind::ClusterCallbackPolicy, &floor(r#"{"sources": null}"#), "a floor needs `sources`").await;
    refuse(Kind::ClusterCallbackPolicy, &floor(r#"{"forward": {}}"#), "`forward` has no place where `applies: Always` is").await;
    refuse(
        Kind::ClusterCallbackPolicy,
        &json!({"match": {"hosts": ["a.example"]}}),
        "there is no sender; name at least one, or say `applies: Always`",
    )
    .await;
    refuse(Kind::HostGrant, &json!({"hosts": ["*"], "namespaces": ["a"]}), "`*` would grant every host there is").await;
    refuse(Kind::HostGrant, &json!({"hosts": ["a.example"], "namespaces": ["Contoso"]}), r#"Invalid value: "Contoso": is no namespace"#).await;
    refuse(Kind::HostGrant, &json!({"hosts": ["a.example"]}), "spec.namespaces: Required value").await;
    refuse(Kind::SourceRangeSet, &json!({}), "the set is empty; give it `cidrs` or a `configMapRef`").await;
    let built_in = kubernetes.post(Kind::SourceRangeSet, &object(Kind::SourceRangeSet, "acs-media", &json!({"cidrs": ["203.0.113.0/24"]}))).await;
    assert!(built_in.unwrap_err().contains("`acs-callbacks` and `acs-media` are built in; choose another name"));
}
