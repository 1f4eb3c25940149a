//! Tests.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use http_body_util::BodyExt;
use ringfence_core::decide::{About, Allow, AllowReason, Answer, Forward};

use super::*;

fn header<'a>(response: &'a Response<Full<Bytes>>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn every_reason_has_a_status_that_the_proxy_relays_or_that_closes() {
    for dialect in Dialect::ALL {
        for reason in Reason::ALL {
            let response = Renderer::new(false).render(*dialect, &Verdict::deny(*reason));
            let expected = match (dialect, reason.status()) {
                (Dialect::Nginx | Dialect::IngressNginx, 400) => 403,
                (Dialect::Envoy, 503) => 429,
                (_, status) => status,
            };
            assert_eq!(response.status(), expected, "{dialect:?} {reason}");
            assert_eq!(header(&response, "www-authenticate").is_some(), expected == 401, "{dialect:?} {reason}");
            assert_eq!(header(&response, "retry-after").is_some(), reason.is_undecided(), "{dialect:?} {reason}");
            assert_eq!(header(&response, "x-ringfence-reason"), None);
            assert_eq!(header(&response, "content-type"), Some("application/problem+json"));
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).unwrap().get("status").unwrap(), expected);
        }
    }
}

#[test]
fn the_reason_is_told_only_when_asked_for() {
    for dialect in Dialect::ALL {
        for reason in Reason::ALL {
            assert_eq!(header(&Renderer::new(true).denial(*dialect, *reason), "x-ringfence-reason"), Some(reason.code()));
        }
    }
}

#[test]
fn a_denial_can_be_answered_as_unavailable_whatever_its_reason() {
    let about = || About { answer_unavailable: true, ..About::default() };
    let render = |dialect| Renderer::new(false).render(dialect, &Verdict { decision: Decision::Deny(Reason::NoPolicy), about: about() });
    for dialect in [Dialect::Nginx, Dialect::IngressNginx, Dialect::Traefik, Dialect::Caddy, Dialect::Haproxy] {
        assert_eq!(render(dialect).status(), 503, "{dialect:?}");
    }
    assert_eq!(render(Dialect::Envoy).status(), 429);
}

#[test]
fn an_answer_at_the_edge_is_forbidden_over_http() {
    let answer = || Answer { headers: vec![("content-type", "application/json".to_owned())], body: b"{}".to_vec() };
    for dialect in Dialect::ALL {
        let verdict = Verdict { decision: Decision::Answer(answer()), about: About::default() };
        assert_eq!(Renderer::new(true).render(*dialect, &verdict).status(), 403, "{dialect:?}");
    }
}

fn allow(dialect: Dialect, names: &[&str], values: &[Option<&str>], remove: &[&str]) -> Response<Full<Bytes>> {
    allow_and_strip(dialect, names, values, remove, &[])
}

fn allow_and_strip(dialect: Dialect, names: &[&str], values: &[Option<&str>], remove: &[&str], strip: &[&str]) -> Response<Full<Bytes>> {
    let forward = Forward {
        headers: names.iter().map(|name| (Arc::from(*name), Box::from("claim"))).collect(),
        remove: remove.iter().map(|name| Arc::from(*name)).collect(),
        strip_query: strip.iter().map(|name| Arc::from(*name)).collect(),
    };
    let mutations = Mutations::new(Arc::new(forward), values.iter().map(|value| value.map(Into::into)).collect());
    let decision = Decision::Allow(Allow { reason: AllowReason::Allowed, mutations });
    Renderer::new(true).render(dialect, &Verdict { decision, about: About::default() })
}

#[test]
fn nginx_is_told_every_name_and_an_empty_value_removes() {
    let response = allow(Dialect::Nginx, &["x-acs-audience", "x-acs-issuer"], &[Some("contoso"), None], &["x_acs_audience", "authorization"]);
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "x-acs-audience"), Some("contoso"));
    assert_eq!(header(&response, "x-acs-issuer"), Some(""));
    assert_eq!(header(&response, "authorization"), Some(""));
    assert_eq!(header(&response, "x_acs_audience"), None, "nginx would join it to the other spelling");
}

#[test]
fn caddy_is_told_every_name_that_it_may_copy() {
    let response = allow(Dialect::Caddy, &["x-acs-audience", "x-acs-issuer"], &[Some("contoso"), None], &["x_acs_audience"]);
    assert_eq!((header(&response, "x-acs-audience"), header(&response, "x-acs-issuer")), (Some("contoso"), Some("")));
    assert_eq!(header(&response, "x_acs_audience"), None);
}

#[test]
fn traefik_is_told_what_to_set_and_nothing_else() {
    let response = allow(Dialect::Traefik, &["x-acs-audience", "x-acs-issuer"], &[Some("contoso"), None], &["x_acs_audience", "authorization"]);
    let names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
    assert_eq!((names.as_slice(), header(&response, "x-acs-audience")), (&["x-acs-audience"][..], Some("contoso")));
}

#[test]
fn haproxy_is_told_what_to_set_to_remove_and_to_strip() {
    let response = allow(Dialect::Haproxy, &["x-acs-audience", "x-acs-issuer"], &[Some("contoso"), None], &["x_acs_audience", "authorization"]);
    assert_eq!((header(&response, "x-ringfence-set"), header(&response, "x-acs-audience")), (Some("x-acs-audience"), Some("contoso")));
    assert_eq!(header(&response, "x-ringfence-remove"), Some("x-acs-issuer,x_acs_audience,authorization"));
    let strip = |dialect| allow_and_strip(dialect, &[], &[], &[], &["key", "k"]);
    assert_eq!(header(&strip(Dialect::Haproxy), "x-ringfence-strip-query"), Some("key,k"));
    assert_eq!(header(&strip(Dialect::Caddy), "x-ringfence-strip-query"), None);
    let nothing = allow(Dialect::Haproxy, &[], &[], &[]);
    assert!(nothing.headers().is_empty(), "{nothing:?}");
}

#[test]
fn envoy_is_told_what_to_set_and_what_to_remove() {
    let response = allow(Dialect::Envoy, &["x-acs-audience", "x-acs-issuer"], &[Some("contoso"), None], &["x_acs_audience", "x-acs-audience"]);
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "x-acs-audience"), Some("contoso"));
    assert_eq!(header(&response, "x-acs-issuer"), None);
    assert_eq!(header(&response, "x-envoy-auth-headers-to-remove"), Some("x-acs-issuer,x_acs_audience"), "never what is set");
    assert_eq!(header(&allow(Dialect::Envoy, &[], &[], &[]), "x-envoy-auth-headers-to-remove"), None);
}

#[test]
fn an_allow_that_cannot_be_written_is_a_denial() {
    assert_eq!(allow(Dialect::Nginx, &["x-a"], &[Some("line\nbreak")], &[]).status(), 503);
    assert_eq!(allow(Dialect::Envoy, &["not a name"], &[Some("1")], &[]).status(), 429);
    assert_eq!(allow(Dialect::Envoy, &[], &[], &["line\nbreak"]).status(), 429);
}
