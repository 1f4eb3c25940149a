//! The project's own table cases, each through `decide` and through every listener, so that the three cannot drift apart.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use prometheus::{IntGaugeVec, Opts};
use ringfence::{
    cases::{Case, CaseFile, Expectation, Outcome, Rehearsal},
    client::{self, GrpcClient},
    listen::{
        ClientAddress, ConnectionSettings, Dialect, GrpcListener, GrpcListenerSettings, HttpListener, HttpListenerSettings, ListenAddress, Server,
        ToldDecisions,
    },
    ready::Readiness,
};
use ringfence_core::decide::Wire;

/// The header in which the Envoy dialect is told the client's address here.
const CLIENT_HEADER: &str = "x-client-address";
/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(10);

fn case_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(files.len() >= 6, "{files:?}");
    files
}

/// The listeners of one rehearsal.
struct Listeners {
    grpc: GrpcClient,
    http: SocketAddr,
    envoy: SocketAddr,
    _server: Server,
}

impl Listeners {
    async fn start(rehearsal: &Rehearsal) -> Self {
        let expiry = IntGaugeVec::new(Opts::new("expiry", "x"), &["listener"]).unwrap();
        let address = || ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
        let server = Server::start(NonZeroUsize::MIN).unwrap();
        let grpc = GrpcListenerSettings {
            address: address(),
            connections: ConnectionSettings::default(),
            client_address: ClientAddress::Wire,
            trusted_proxies: Vec::new(),
            reason_header: true,
            metadata: ToldDecisions::default(),
        };
        let grpc = GrpcListener::bind(grpc, &expiry).unwrap();
        let grpc_address = tcp(&grpc.address());
        server.serve_grpc(grpc, rehearsal.checker(), &Readiness::default()).unwrap();
        let mut http = Vec::new();
        let own: Vec<Dialect> = Dialect::ALL.iter().copied().filter(|dialect| *dialect != Dialect::Envoy).collect();
        let named = ClientAddress::from_http_flag(&format!("header:{CLIENT_HEADER}")).unwrap();
        for (dialects, client_address) in [(own, ClientAddress::Wire), (vec![Dialect::Envoy], named)] {
            let settings = HttpListenerSettings {
                address: address(),
                connections: ConnectionSettings::default(),
                dialects,
                client_address,
                trusted_proxies: Vec::new(),
                reason_header: true,
            };
            let listener = HttpListener::bind(settings, &expiry).unwrap();
            http.push(tcp(&listener.address()));
            server.serve_http(listener, rehearsal.checker()).unwrap();
        }
        let grpc = GrpcClient::connect(grpc_address, LIMIT).await.unwrap();
        Self { grpc, http: http[0], envoy: http[1], _server: server }
    }

    async fn ask(&self, case: &Case, token: Option<&str>, wire: Wire, raw_headers: bool) -> Outcome {
        let lines = case.request.header_lines(token);
        let request = &case.request;
        match wire {
            Wire::Grpc => client::outcome(&self.grpc.check(&client::check_request(&case.request, &lines, raw_headers)).await.unwrap()),
            Wire::Nginx | Wire::Haproxy => {
                let source = request.client().map_or_else(|| "unix:".to_owned(), |source| source.to_string());
                let asked = format!("{source}/{}/{}{}", request.method_name(), request.authority(), request.target());
                exchange(self.http, "GET", &format!("/auth/{}/{}/{asked}/.end", wire.label(), pin(case)), "ringfence", &lines).await
            }
            Wire::IngressNginx => {
                let url = format!("https://{}{}", request.authority(), request.target());
                let own = [("x-original-method", request.method_name().to_owned()), ("x-original-url", url)];
                let own = own.into_iter().chain(request.client().map(|client| ("x-real-ip", client.to_string())));
                exchange(self.http, "GET", &format!("/auth/ingress-nginx/{}", pin(case)), "ringfence", &with(lines, own)).await
            }
            Wire::Caddy | Wire::Traefik => {
                let own = [
                    ("x-forwarded-method", request.method_name().to_owned()),
                    ("x-forwarded-host", request.authority().to_owned()),
                    ("x-forwarded-uri", request.target().to_owned()),
                ];
                let own = own.into_iter().chain(request.client().map(|client| ("x-forwarded-for", client.to_string())));
                let host = if wire == Wire::Caddy { request.authority() } else { "ringfence" };
                exchange(self.http, "GET", &format!("/auth/{}/{}", wire.label(), pin(case)), host, &with(lines, own)).await
            }
            Wire::Envoy => {
                let client = request.client().map(|client| (CLIENT_HEADER.to_owned(), client.to_string()));
                let lines: Vec<_> = lines.into_iter().filter(|(name, _)| name != "connection" && name != "upgrade").chain(client).collect();
                exchange(self.envoy, request.method_name(), &format!("/auth/envoy/{}{}", pin(case), request.target()), request.authority(), &lines)
                    .await
            }
        }
    }
}

/// `lines` with the proxy's own headers in place of what a client sent under their names.
fn with(lines: Vec<(String, String)>, own: impl Iterator<Item = (&'static str, String)>) -> Vec<(String, String)> {
    let own: Vec<_> = own.map(|(name, value)| (name.to_owned(), value)).collect();
    let mut all: Vec<_> = lines.into_iter().filter(|(name, _)| own.iter().all(|(own, _)| own != name)).collect();
    all.extend(own);
    all
}

fn pin(case: &Case) -> String {
    case.request.pinned().map_or_else(|| "any".to_owned(), |pin| format!("by/{pin}"))
}

fn tcp(address: &ListenAddress) -> SocketAddr {
    match address {
        ListenAddress::Tcp(address) => *address,
        other => panic!("{other:?}"),
    }
}

/// One HTTP/1.1 exchange, written byte for byte: an HTTP library would refuse or tidy up what a proxy passes on.
async fn exchange(address: SocketAddr, method: &str, target: &str, host: &str, lines: &[(String, String)]) -> Outcome {
    let mut request = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n");
    for (name, value) in lines.iter().filter(|(name, _)| name != "connection") {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    // What a case says of `Connection` is to be seen, and the connection is to end.
    let nominated = lines.iter().find(|(name, _)| name == "connection").map(|(_, value)| format!(", {value}")).unwrap_or_default();
    request.push_str(&format!("connection: close{nominated}\r\n\r\n"));
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    });
    read_answer(&answer.await.unwrap())
}

fn read_answer(answer: &str) -> Outcome {
    let head = answer.split("\r\n\r\n").next().unwrap();
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers: BTreeMap<String, String> =
        lines.map(|line| line.split_once(':').unwrap()).map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
    let reason = headers.remove("x-ringfence-reason").unwrap_or_default();
    for own in ["date", "content-length", "connection", "content-type"] {
        headers.remove(own);
    }
    let listed =
        [headers.remove("x-envoy-auth-headers-to-remove"), headers.remove("x-ringfence-remove")].into_iter().flatten().next().unwrap_or_default();
    let stripped = headers.remove("x-ringfence-strip-query").unwrap_or_default();
    headers.remove("x-ringfence-set");
    let mut removed: BTreeSet<String> = listed.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    removed.extend(headers.iter().filter(|(_, value)| value.is_empty()).map(|(name, _)| name.clone()));
    headers.retain(|_, value| !value.is_empty());
    let decision = if status == 200 { "allowed" } else { "denied" };
    let stripped = stripped.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Outcome { decision: decision.to_owned(), reason, status, headers, removed, stripped, ..Outcome::default() }
}

/// What is expected, as far as `wire` shows it.
fn as_seen_on(wire: Wire, expect: &Expectation, outcome: &Outcome) -> Expectation {
    let mut seen = Expectation { policy: None, sender: None, ..expect.clone() };
    if !matches!(seen.decision.as_str(), "denied" | "handshake") {
        seen.decision = "allowed".to_owned();
        seen.reason = None;
        seen.status = None;
    }
    match wire {
        Wire::Grpc => {}
        Wire::Nginx | Wire::IngressNginx | Wire::Caddy => {
            seen.stripped = None;
            if wire != Wire::Caddy {
                seen.status = seen.status.map(|status| if status == 400 { 403 } else { status });
            }
            // Names with underscores are dropped by nginx itself, and by Caddy's configuration.
            seen.removed = seen.removed.map(|names| names.into_iter().filter(|name| !name.contains('_')).collect());
        }
        // Its configuration says what it removes.
        Wire::Traefik => (seen.stripped, seen.removed) = (None, None),
        Wire::Haproxy => {}
        Wire::Envoy => {
            seen.stripped = None;
            seen.status = seen.status.map(|status| if status == 503 { 429 } else { status });
        }
    }
    // A request that the HTTP parser refuses is refused without a reason.
    if wire != Wire::Grpc && outcome.status == 400 && outcome.reason.is_empty() && seen.decision == "denied" {
        seen.reason = Some(String::new());
        seen.status = None;
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_holds_in_decide_and_over_every_wire() {
    let mut failures = Vec::new();
    let mut asked = 0;
    for path in case_files() {
        let file = CaseFile::read(&path).unwrap();
        let rehearsal = Rehearsal::of(&file).await.unwrap();
        let listeners = Listeners::start(&rehearsal).await;
        for case in &file.cases {
            for wire in &case.wires {
                let label = format!("{}:{} {} ({})", path.display(), case.line, case.name, wire.label());
                let decided = rehearsal.run(case, *wire).await.unwrap();
                failures.extend(case.expect.mismatches(&decided).iter().map(|mismatch| format!("{label} in decide: {mismatch}")));
                // Its host may be another than the one that it routes by, so it has no URL without a pin.
                if *wire == Wire::IngressNginx && case.request.pinned().is_none() {
                    continue;
                }
                for raw_headers in [true, false] {
                    let token = case.request.token.as_ref().map(|spec| rehearsal.mint(spec).unwrap());
                    let mut outcome = Outcome::default();
                    for _ in 0..case.times {
                        outcome = listeners.ask(case, token.as_deref(), *wire, raw_headers).await;
                    }
                    let expect = as_seen_on(*wire, &case.expect, &outcome);
                    failures.extend(expect.mismatches(&outcome).iter().map(|mismatch| format!("{label} raw={raw_headers}: {mismatch}")));
                    asked += 1;
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} of {asked}:\n{}", failures.len(), failures.join("\n"));
    assert!(asked > 500, "{asked}");
}
