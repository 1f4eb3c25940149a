#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::{io, sync::mpsc, time::Duration};

use ringfence_core::decide::{
    About, Allow, AllowReason, Body, Decision, Few, Forward, Headers, Match, Mode, Mutations, PathPattern, Policy, PolicyId, PolicyKind,
    PolicySetParts, Reason, Rules, TokenFacts,
};
use serde_json::{Value, json};

use super::*;

const TIME: i64 = 1_790_000_000_000;

/// A sink whose lines can be awaited.
struct Lines(mpsc::Sender<String>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for line in String::from_utf8_lossy(bytes).lines() {
            let _ = self.0.send(line.to_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log(options: DecisionLogOptions) -> (DecisionLog, mpsc::Receiver<String>) {
    let (sender, lines) = mpsc::channel();
    (DecisionLog::new(options, Box::new(Lines(sender)), Clock::manual(TIME).0).unwrap(), lines)
}

fn raw<'a>(target: &'a [u8], headers: Headers<'a>, body: Body<'a>) -> RawRequest<'a> {
    RawRequest {
        arrived: Instant::now(),
        wire: Wire::Grpc,
        method: b"POST",
        host: Some(b"Callbacks.Contoso.com:443"),
        target,
        headers,
        source: Some([52, 112, 0, 1].into()),
        body,
        pin: None,
        http2: false,
        id: None,
    }
}

fn policy() -> Policy {
    Policy {
        id: PolicyId::new(PolicyKind::CallbackPolicy, "contoso", "center", "uid").into(),
        mode: Mode::Enforce,
        matches: Match {
            hosts: Few::default(),
            paths: [PathPattern::prefix("/api"), PathPattern::prefix("/api/callbacks/")].into(),
            ignore_path_case: false,
        },
        rules: Rules::Senders { senders: Few::default(), forward: Arc::new(Forward::default()) },
    }
}

fn denied(reason: Reason) -> Verdict {
    let token = TokenFacts::new(Some("iss"), Some("aud"), Some("k1"));
    let about = About { policy: Some(policy().id), sender: Some("callbacks".into()), token: Some(token), verified: true, ..About::default() };
    Verdict { decision: Decision::Deny(reason), about }
}

fn allowed(reason: AllowReason) -> Verdict {
    Verdict { decision: Decision::Allow(Allow { reason, mutations: Mutations::default() }), about: About::default() }
}

/// The line of one verdict about one request.
fn line(options: DecisionLogOptions, verdict: &Verdict, raw: Option<&RawRequest<'_>>) -> String {
    let (log, lines) = log(options);
    let policies = PolicySet::new(PolicySetParts { holders: vec![policy()], ..PolicySetParts::default() });
    let arrived = Instant::now();
    let subject = Subject { wire: Wire::Grpc, arrived, raw };
    assert_eq!(log.offer(verdict, &subject, &policies, arrived + Duration::from_micros(42), TIME), Logged::Queued);
    log.close();
    lines.recv().unwrap()
}

fn json_line(verdict: &Verdict, raw: &RawRequest<'_>) -> Value {
    serde_json::from_str(&line(DecisionLogOptions::default(), verdict, Some(raw))).unwrap()
}

#[test]
fn a_line_has_the_documented_fields_in_their_order() {
    let mut headers = Headers::new(false);
    headers.push("authorization", b"Bearer eyJ.secret.token".as_slice());
    headers.push("x-ms-call-connection-id", b"conn-1".as_slice());
    headers.push("x-ms-call-correlation-id", b"corr-1".as_slice());
    let request = raw(b"/api/callbacks/7?key=0123456789abcdef", headers, Body::Absent);
    let line = line(DecisionLogOptions::default(), &denied(Reason::AudienceMismatch), Some(&request));
    assert_eq!(
        line,
        concat!(
            r#"{"time":"2026-09-21T14:13:20.000Z","policy":"contoso/center","sender":"callbacks","decision":"denied","reason":"audience_mismatch","#,
            r#""verified":true,"method":"POST","host":"callbacks.contoso.com","path":"/api/callbacks/7","source":"52.112.0.1","issuer":"iss","#,
            r#""audience":"aud","kid":"k1","call_connection_id":"conn-1","call_correlation_id":"corr-1","latency_us":42,"listener":"grpc"}"#
        )
    );
}

#[test]
fn text_says_the_same() {
    let request = raw(b"/api/a%20b \x1b[31m\"", Headers::new(false), Body::Absent);
    let options = DecisionLogOptions { format: LogFormat::Text, ..DecisionLogOptions::default() };
    let line = line(options, &denied(Reason::SourceDenied), Some(&request));
    assert_eq!(
        line,
        concat!(
            r"time=2026-09-21T14:13:20.000Z policy=contoso/center sender=callbacks decision=denied reason=source_denied verified=true method=POST ",
            r#"host=callbacks.contoso.com path="/api/a%20b \u001b[31m\"" source=52.112.0.1 issuer=iss audience=aud kid=k1 latency_us=42 listener=grpc"#
        )
    );
}

#[test]
fn what_could_not_be_read_has_a_line_as_well() {
    let line = line(DecisionLogOptions::default(), &Verdict::deny(Reason::MalformedRequest), None);
    let value: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&value["reason"], &value["path"]), (&json!("malformed_request"), &Value::Null));
}

#[test]
fn no_query_is_ever_written() {
    let secret = "0123456789abcdef";
    for (target, path) in [
        ("/a?key=0123456789abcdef", "/a"),
        ("/a%3Fkey=0123456789abcdef", "/a"),
        ("/a%3fkey=0123456789abcdef", "/a"),
        ("/a#key=0123456789abcdef", "/a"),
        ("https://user:0123456789abcdef@callbacks.contoso.com/a?b", "/a"),
        ("https://callbacks.contoso.com?key=0123456789abcdef", ""),
        ("?key=0123456789abcdef", ""),
        ("*", "*"),
        ("/a%3", "/a%3"),
        ("/a%", "/a%"),
    ] {
        let value = json_line(&denied(Reason::NoPolicy), &raw(target.as_bytes(), Headers::new(false), Body::Absent));
        assert_eq!(value["path"], path, "{target}");
        assert!(!value.to_string().contains(secret), "{value}");
    }
}

#[test]
fn what_the_client_chose_is_cut() {
    let long = format!("/{}", "a".repeat(1_000));
    let mut verdict = denied(Reason::IssuerMismatch);
    verdict.about.token = Some(TokenFacts::new(Some(&"i".repeat(1_000)), None, None));
    let value = json_line(&verdict, &raw(long.as_bytes(), Headers::new(false), Body::Absent));
    for field in ["path", "issuer"] {
        assert_eq!(value[field].as_str().unwrap().chars().count(), 256);
    }
    assert_eq!(value.get("audience"), None);
}

#[test]
fn a_path_can_be_reduced_to_the_policy_s_pattern_or_left_out() {
    for (log_path, target, expected) in [
        (LogPath::Matched, "/api/callbacks/someone@example.com", json!("/api/callbacks")),
        (LogPath::Matched, "/api/other", json!("/api")),
        (LogPath::Matched, "/elsewhere", Value::Null),
        (LogPath::Matched, "/api/../etc", Value::Null),
        (LogPath::Off, "/api/other", Value::Null),
    ] {
        let options = DecisionLogOptions { path: log_path, ..DecisionLogOptions::default() };
        let line = line(options, &denied(Reason::TokenExpired), Some(&raw(target.as_bytes(), Headers::new(false), Body::Absent)));
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["path"], expected, "{target}");
    }
}

#[test]
fn a_call_s_ids_come_from_the_body_where_it_is_complete() {
    let events = br#"[{"data":{"callConnectionId":"conn-2","correlationId":"corr-2","more":[1]},"type":"x"},{"data":{"callConnectionId":"no"}}]"#;
    let value = json_line(&denied(Reason::TokenExpired), &raw(b"/", Headers::new(false), Body::Complete(events)));
    assert_eq!((&value["call_connection_id"], &value["call_correlation_id"]), (&json!("conn-2"), &json!("corr-2")));
    for body in [Body::Partial(events), Body::Complete(b"not json"), Body::Complete(b"{}"), Body::Complete(b"[]"), Body::Absent] {
        let value = json_line(&denied(Reason::TokenExpired), &raw(b"/", Headers::new(false), body));
        assert_eq!(value.get("call_connection_id"), None, "{body:?}");
    }
}

#[test]
fn what_does_not_look_like_an_id_is_not_written() {
    let long = "a".repeat(65);
    for id in ["", "a b", "../../etc", "<script>", "é", &long] {
        let mut headers = Headers::new(false);
        headers.push("x-ms-call-connection-id", id.as_bytes());
        let value = json_line(&denied(Reason::TokenExpired), &raw(b"/", headers, Body::Absent));
        assert_eq!(value.get("call_connection_id"), None, "{id}");
    }
    let mut twice = Headers::new(false);
    twice.push("x-ms-call-connection-id", b"a".as_slice());
    twice.push("x-ms-call-connection-id", b"b".as_slice());
    assert_eq!(json_line(&denied(Reason::TokenExpired), &raw(b"/", twice, Body::Absent)).get("call_connection_id"), None);
}

#[test]
fn what_is_remarkable_is_said() {
    let mut verdict = denied(Reason::SourceDenied);
    verdict.about.hidden_client = Some([10, 0, 0, 1].into());
    verdict.about.source_mismatch = true;
    verdict.about.token_reused = true;
    let floor = PolicyId::new(PolicyKind::ClusterCallbackPolicy, "", "floor", "uid").into();
    verdict.about.shadow_floors.push((floor, Reason::SourceUnknown));
    let value = json_line(&verdict, &raw(b"/", Headers::new(false), Body::Absent));
    assert!(value["hint"].as_str().unwrap().contains("load balancer"));
    assert_eq!((&value["source_mismatch"], &value["token_reused"]), (&json!(true), &json!(true)));
    assert_eq!(value["shadow_floors"], json!(["floor: source_unknown"]));
}

#[test]
fn only_what_is_asked_for_is_logged() {
    let shadowed = allowed(AllowReason::Shadowed(Reason::TokenExpired));
    let handshake =
        Verdict { decision: Decision::Answer(ringfence_core::decide::Answer { headers: Vec::new(), body: Vec::new() }), about: About::default() };
    for (decisions, expected) in [
        (LoggedDecisions::Off, [false, false, false, false, false]),
        (LoggedDecisions::Denied, [true, true, true, false, false]),
        (LoggedDecisions::All, [true, true, true, true, true]),
    ] {
        let (log, _lines) = log(DecisionLogOptions { decisions, ..DecisionLogOptions::default() });
        let subject = Subject { wire: Wire::Grpc, arrived: Instant::now(), raw: None };
        let verdicts = [&denied(Reason::NoPolicy), &shadowed, &handshake, &allowed(AllowReason::Allowed), &allowed(AllowReason::Unmatched)];
        let logged = verdicts.map(|verdict| log.offer(verdict, &subject, &PolicySet::default(), Instant::now(), TIME) == Logged::Queued);
        assert_eq!(logged, expected, "{decisions}");
    }
}

#[test]
fn too_many_of_a_kind_are_counted_and_summed_up() {
    let (log, lines) = log(DecisionLogOptions { rate: 2, ..DecisionLogOptions::default() });
    let now = Instant::now();
    let subject = Subject { wire: Wire::Grpc, arrived: now, raw: None };
    let logged: Vec<_> = (0..5).map(|_| log.offer(&denied(Reason::NoPolicy), &subject, &PolicySet::default(), now, TIME)).collect();
    assert_eq!(logged, [Logged::Queued, Logged::Queued, Logged::Suppressed, Logged::Suppressed, Logged::Suppressed]);
    assert_eq!(log.offer(&denied(Reason::TokenExpired), &subject, &PolicySet::default(), now, TIME), Logged::Queued);
    let all: Vec<String> = (0..4).map(|_| lines.recv_timeout(Duration::from_secs(10)).unwrap()).collect();
    // The log still runs: what was left out is said without waiting for another line.
    assert_eq!(all[3], r#"{"time":"2026-09-21T14:13:20.000Z","reason":"no_policy","suppressed":3}"#);
    drop(log);
    assert!(lines.recv().is_err());
}

/// A sink that takes nothing until it is let go.
struct Stuck(mpsc::Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_is_stuck_holds_nobody_up() {
    let (let_go, stuck) = mpsc::channel();
    let options = DecisionLogOptions { decisions: LoggedDecisions::All, ..DecisionLogOptions::default() };
    let log = DecisionLog::new(options, Box::new(Stuck(stuck)), Clock::manual(TIME).0).unwrap();
    let now = Instant::now();
    let subject = Subject { wire: Wire::Grpc, arrived: now, raw: None };
    // More than the queue and the writer's buffer hold.
    let suppressed = (0..3 * QUEUE)
        .filter(|_| log.offer(&allowed(AllowReason::Allowed), &subject, &PolicySet::default(), now, TIME) == Logged::Suppressed)
        .count();
    assert!(suppressed > QUEUE, "{suppressed}");
    drop(let_go);
    log.close();
}

#[test]
fn a_closed_log_writes_nothing_and_fails_nobody() {
    let (log, lines) = log(DecisionLogOptions::default());
    log.close();
    let subject = Subject { wire: Wire::Grpc, arrived: Instant::now(), raw: None };
    assert_eq!(log.offer(&denied(Reason::NoPolicy), &subject, &PolicySet::default(), Instant::now(), TIME), Logged::Unwanted);
    assert!(lines.recv().is_err());
}
