//! Tests.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{fs, path::Path, sync::Arc};

use envoy_types::pb::envoy::service::auth::v3::OkHttpResponse;
use proptest::{collection::vec, option, prelude::*};
use ringfence_core::decide::{About, Allow, AllowReason, Forward, PolicyId, PolicyKind, SharedId};

use super::*;

fn decode(framed: &[u8]) -> CheckResponse {
    let (prefix, message) = framed.split_at(5);
    assert_eq!(prefix, [vec![0], u32::try_from(message.len()).unwrap().to_be_bytes().to_vec()].concat());
    CheckResponse::decode(message).unwrap()
}

fn denied_part(response: &CheckResponse) -> &DeniedHttpResponse {
    match &response.http_response {
        Some(HttpResponse::DeniedResponse(denied)) => denied,
        other => panic!("not a denial: {other:?}"),
    }
}

fn header<'a>(headers: &'a [HeaderValueOption], name: &str) -> Option<&'a str> {
    headers.iter().filter_map(|option| option.header.as_ref()).find(|header| header.key == name).map(|header| header.value.as_str())
}

#[test]
fn every_reason_is_an_explicit_denial() {
    let renderer = Renderer::new(false, ToldDecisions::All);
    for reason in Reason::ALL {
        let response = decode(&renderer.render(&Verdict::deny(*reason), None));
        let code = match reason.status() {
            400 => 3,
            401 => 16,
            403 => 7,
            503 => 14,
            other => panic!("{other}"),
        };
        assert_eq!(response.status.as_ref().unwrap().code, code, "{reason}");
        let denied = denied_part(&response);
        assert_eq!(denied.status.as_ref().unwrap().code, i32::from(reason.status()), "{reason}");
        assert_eq!(header(&denied.headers, "content-type"), Some("application/problem+json"));
        assert_eq!(header(&denied.headers, "www-authenticate").is_some(), reason.status() == 401, "{reason}");
        assert_eq!(header(&denied.headers, "x-ringfence-reason"), None);
        assert!(!format!("{denied:?}").contains(reason.code()), "{reason} leaks to the client");
    }
}

#[test]
fn the_reason_is_told_only_when_asked_for() {
    for reason in Reason::ALL {
        let response = decode(&Renderer::new(true, ToldDecisions::All).denial(*reason));
        assert_eq!(header(&denied_part(&response).headers, "x-ringfence-reason"), Some(reason.code()));
    }
}

#[test]
fn a_denial_can_be_answered_as_unavailable_whatever_its_reason() {
    let about = About { answer_unavailable: true, ..About::default() };
    let response = decode(&Renderer::new(true, ToldDecisions::All).render(&Verdict { decision: Decision::Deny(Reason::NoPolicy), about }, None));
    assert_eq!(response.status.as_ref().unwrap().code, 14);
    let denied = denied_part(&response);
    assert_eq!(denied.status.as_ref().unwrap().code, 503);
    assert_eq!(header(&denied.headers, "retry-after"), Some("1"));
    assert_eq!(header(&denied.headers, "x-ringfence-reason"), Some("no_policy"));
}

fn allow(mutations: Mutations) -> CheckResponse {
    let decision = Decision::Allow(Allow { reason: AllowReason::Allowed, mutations });
    decode(&Renderer::new(true, ToldDecisions::All).render(&Verdict { decision, about: About::default() }, None))
}

fn forward(names: &[&str], remove: &[&str], strip: &[&str]) -> Arc<Forward> {
    Arc::new(Forward {
        headers: names.iter().map(|name| (Arc::from(*name), Box::from("claim"))).collect(),
        remove: remove.iter().map(|name| Arc::from(*name)).collect(),
        strip_query: strip.iter().map(|name| Arc::from(*name)).collect(),
    })
}

#[test]
fn an_allow_overwrites_removes_and_strips() {
    let forward = forward(&["x-acs-audience", "x-acs-issuer"], &["x_acs_audience", "authorization"], &["key"]);
    let response = allow(Mutations::new(forward, vec![Some("contoso".into()), None]));
    assert_eq!(response.status.unwrap().code, 0);
    let Some(HttpResponse::OkResponse(ok)) = response.http_response else { panic!("not an allow") };
    assert_eq!(ok.headers, [overwrite("x-acs-audience", "contoso")]);
    assert_eq!(ok.headers_to_remove, ["x-acs-issuer", "x_acs_audience", "authorization"]);
    assert_eq!(ok.query_parameters_to_remove, ["key"]);
    assert!(ok.response_headers_to_add.is_empty());
}

proptest! {
    /// What is written is what the generated types write.
    #[test]
    fn an_allow_is_written_as_the_library_writes_it(
        set in vec((".{0,40}", option::of(".{0,200}")), 0..4),
        remove in vec(".{0,140}", 0..4),
        strip in vec(".{0,40}", 0..3),
    ) {
        let names = |names: &[String]| names.iter().map(|name| Arc::from(name.as_str())).collect();
        let headers = set.iter().map(|(name, _)| (Arc::from(name.as_str()), Box::from("claim"))).collect();
        let forward = Forward { headers, remove: names(&remove), strip_query: names(&strip) };
        let mutations = Mutations::new(Arc::new(forward), set.iter().map(|(_, value)| value.as_deref().map(Box::from)).collect());
        let is_set = |name: &str| set.iter().any(|(set, value)| set == name && value.is_some());
        let ok = OkHttpResponse {
            headers: set.iter().filter_map(|(name, value)| Some(overwrite(name, value.as_deref()?))).collect(),
            headers_to_remove: mutations.remove_headers().filter(|name| !is_set(name)).map(str::to_owned).collect(),
            query_parameters_to_remove: strip,
            ..OkHttpResponse::default()
        };
        prop_assert_eq!(allow(mutations).http_response, Some(HttpResponse::OkResponse(ok)));
    }
}

#[test]
fn set_headers_replace_what_the_client_sent_in_old_and_new_envoys() {
    #[expect(deprecated, reason = "older Envoys read it")]
    let HeaderValueOption { header, append, append_action, keep_empty_value } = overwrite("x-a", "b");
    assert_eq!(append, Some(BoolValue { value: false }));
    assert_eq!(append_action, HeaderAppendAction::OverwriteIfExistsOrAdd as i32);
    assert!(!keep_empty_value);
    let header = header.unwrap();
    assert_eq!((header.key.as_str(), header.value.as_str(), header.raw_value.is_empty()), ("x-a", "b", true));
}

#[test]
fn no_name_is_both_set_and_removed() {
    let response = allow(Mutations::new(forward(&["x-a"], &["x-a", "x-b"], &[]), vec![Some("1".into())]));
    let Some(HttpResponse::OkResponse(ok)) = response.http_response else { panic!("not an allow") };
    assert_eq!(ok.headers_to_remove, ["x-b"]);
}

#[test]
fn an_answer_at_the_edge_is_a_denial_with_status_200() {
    let answer = Answer { headers: vec![("content-type", "application/json".to_owned())], body: br#"{"validationResponse":"a"}"#.to_vec() };
    let response =
        decode(&Renderer::new(true, ToldDecisions::All).render(&Verdict { decision: Decision::Answer(answer), about: About::default() }, None));
    assert_ne!(response.status.as_ref().unwrap().code, 0, "code 0 would let the request pass");
    let denied = denied_part(&response);
    assert_eq!((denied.status.as_ref().unwrap().code, denied.body.as_str()), (200, r#"{"validationResponse":"a"}"#));
    assert_eq!(header(&denied.headers, "content-type"), Some("application/json"));
}

#[test]
fn an_answer_that_is_no_text_is_a_denial() {
    let answer = Answer { headers: vec![], body: vec![0xff] };
    let response =
        decode(&Renderer::new(true, ToldDecisions::All).render(&Verdict { decision: Decision::Answer(answer), about: About::default() }, None));
    assert_eq!(denied_part(&response).status.as_ref().unwrap().code, 503);
}

#[test]
fn exactly_two_functions_build_a_check_response() {
    let mut builders = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("core/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
                let source = fs::read_to_string(&path).unwrap();
                let built = ["CheckResponse {", "CheckResponse::default", "CheckResponse::new", "open(OK_RESPONSE, "]
                    .iter()
                    .map(|text| source.matches(text).count());
                let returned = source.matches("-> CheckResponse {").count();
                builders.extend(std::iter::repeat_n(path, built.sum::<usize>() - returned));
            }
        }
    }
    assert_eq!(builders, vec![root.join("src/listen/grpc/render.rs"); 2]);
}

#[test]
fn every_answer_tells_its_decision_and_who_gave_it() {
    let told = |verdict: &Verdict| {
        let response = decode(&Renderer::new(false, ToldDecisions::All).render(verdict, None));
        let mut names: Vec<_> = response.dynamic_metadata.unwrap().fields.into_keys().collect();
        names.sort_unstable();
        (response.status.unwrap().code, names.join(" "))
    };
    for reason in Reason::ALL {
        let (code, names) = told(&Verdict::deny(*reason));
        assert!(code != 0 && names == "decision reason", "{reason}: {code}, {names}");
        let policy: SharedId = PolicyId::new(PolicyKind::CallbackPolicy, "contoso", "calls", "uid").into();
        for answer_unavailable in [false, true] {
            let about = About { policy: Some(policy.clone()), sender: Some("acs".into()), answer_unavailable, ..About::default() };
            // FAIL-CLOSED: what is told besides never makes an allow of a denial.
            let (code, names) = told(&Verdict { decision: Decision::Deny(*reason), about });
            assert!(code != 0 && names == "decision policy reason sender", "{reason}: {code}, {names}");
        }
    }
}

#[test]
fn what_is_told_is_what_was_chosen() {
    let allow = |reason| Verdict { decision: Decision::Allow(Allow { reason, mutations: Mutations::default() }), about: About::default() };
    let answer = Answer { headers: vec![], body: vec![] };
    let verdicts = [
        allow(AllowReason::Allowed),
        allow(AllowReason::Unmatched),
        allow(AllowReason::Shadowed(Reason::TokenExpired)),
        Verdict::deny(Reason::NoPolicy),
        Verdict { decision: Decision::Answer(answer), about: About::default() },
    ];
    for (told, expected) in [
        (ToldDecisions::Off, [false, false, false, false, false]),
        (ToldDecisions::Denied, [false, false, true, true, true]),
        (ToldDecisions::All, [true, true, true, true, true]),
    ] {
        let renderer = Renderer::new(false, told);
        let told_of = |verdict| decode(&renderer.render(verdict, None)).dynamic_metadata.is_some();
        assert_eq!(verdicts.each_ref().map(told_of), expected, "{told:?}");
    }
}
