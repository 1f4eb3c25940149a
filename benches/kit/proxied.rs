//! Through a real Envoy with one worker: what asking costs its clients, beside an authorizer that allows everything unread, beside Envoy's own
//! `jwt_authn`, and beside an Envoy that asks nobody.
//!
//! What Envoy is told to do costs it time, whoever tells it. An authorizer that allows all tells it nothing, and so does a Ringfence whose policy
//! changes nothing in the request: these two are compared. Beside them are the demo's policy, an authorizer that gives that one's answer unread,
//! and that policy with a Ringfence that tells Envoy of what it allows, too.
//!
//! Envoy has one core for itself. Whoever is asked has the others, together with the load: were all on the same cores, the rate would only say
//! what everything costs together.
//!
//! Envoy answers allowed requests itself, so that no application is measured with it. `RINGFENCE_TEST_ENVOY` names its program.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use ringfence::{
    cli::demo::folder::{self, AUDIENCE},
    issuer::Issuer,
};
use serde_json::{Value, json};

use crate::{
    allow_all::{self, AllowAll},
    cores::Cores,
    decide::{median, median_ratio},
    http, load,
    questions::Kind,
    rounds::Site,
    server::{CpuTime, Server},
    table::{Bound, Figure},
};

/// Rounds in which all take turns, many and short, as the machine's speed changes within seconds; the first does not count.
const ROUNDS: usize = 15;
/// Requests of a round, of which the first 16 of each connection are warm-up. In all rounds together there are fewer than the reuse store holds for one policy.
const REQUESTS: usize = 4_000;
/// Connections of clients, with one request under way on each.
const CONNECTIONS: usize = 128;
/// How long Envoy may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// What stands before the requests of one Envoy.
struct Candidate {
    envoy: Envoy,
    /// The process it asks.
    asks: Option<u32>,
    rates: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    envoy_cpu: Vec<f64>,
    cpu: Vec<f64>,
}

impl Candidate {
    fn new(filter: Option<Value>, authorizer: Option<SocketAddr>, asks: Option<u32>) -> Self {
        let envoy = Envoy::start(filter, authorizer);
        Self { envoy, asks, rates: Vec::new(), p50: Vec::new(), p99: Vec::new(), envoy_cpu: Vec::new(), cpu: Vec::new() }
    }

    fn round(&mut self, requests: &[Vec<u8>], counts: bool) {
        let cpu = || (CpuTime::of(self.envoy.child.id()), self.asks.map(CpuTime::of));
        let mut outcome = http::run(self.envoy.address, requests, 200, CONNECTIONS, cpu);
        if !counts {
            return;
        }
        outcome.times.sort_unstable();
        let count = outcome.times.len();
        let rate = count as f64 / outcome.elapsed.as_secs_f64();
        let (before, after) = outcome.marks;
        let asked = after.1.zip(before.1).map_or(0.0, |(after, before)| after.since(&before));
        self.rates.push(rate);
        self.p50.push(outcome.times[count / 2].as_secs_f64() * 1e6);
        self.p99.push(outcome.times[count * 99 / 100].as_secs_f64() * 1e6);
        self.envoy_cpu.push(after.0.since(&before.0) / count as f64 / 1e3);
        self.cpu.push((after.0.since(&before.0) + asked) / count as f64 / 1e3);
    }
}

/// Everything in turn, with the same tokens.
pub fn run() -> Vec<Figure> {
    eprintln!("through a real Envoy");
    let (site, program) = (Site::new(), Server::program());
    let _cores = Cores::but_the_first();
    // The client's address is what a balancer before Envoy says.
    let flags = |told| ["--grpc-listen=127.0.0.1:0", "--grpc-client-address=xff:1", told];
    let unchanging_folder = tempfile::tempdir().unwrap();
    fs::write(unchanging_folder.path().join(folder::FILE), changing_nothing(&folder::policies(&site.issuer))).unwrap();
    let start = |folder, told| Server::start_with(&program, folder, &flags(told));
    let unchanging = start(unchanging_folder.path(), "--grpc-metadata=denied");
    let [demo, telling] = ["--grpc-metadata=denied", "--grpc-metadata=all"].map(|told| start(site.folder(), told));
    assert_eq!(answer(&Server::start(&program, unchanging_folder.path()), &site.issuer), allow_all::plain());
    let allow_all = AllowAll::start();
    let same_answer = AllowAll::answering(&answer(&Server::start(&program, site.folder()), &site.issuer));
    let asking = |address, process| Candidate::new(Some(ext_authz()), Some(address), Some(process));
    let mut candidates = [
        Candidate::new(None, None, None),
        Candidate::new(Some(jwt_authn(&site.issuer)), None, None),
        asking(allow_all.address, allow_all.id()),
        asking(unchanging.grpc(), unchanging.id()),
        asking(demo.grpc(), demo.id()),
        asking(same_answer.address, same_answer.id()),
        asking(telling.grpc(), telling.id()),
    ];
    for round in 0..ROUNDS {
        let requests = Kind::Good.client_lines(&site.issuer, REQUESTS);
        // Another one begins each time: what drifts within a round falls to all of them.
        let order = (0..candidates.len()).map(|number| (round + number) % candidates.len());
        order.collect::<Vec<_>>().into_iter().for_each(|number| candidates[number].round(&requests, round > 0));
    }
    let [nobody, jwt, allow_all, unchanging, demo, same_answer, telling] = &candidates;
    let names = [NOBODY, JWT, ALLOW_ALL, UNCHANGING, RINGFENCE, SAME_ANSWER, TELLING];
    let mut figures: Vec<_> = candidates.iter().zip(names).flat_map(|(candidate, names)| own_figures(candidate, names)).collect();
    let added = |candidate: &Candidate| candidate.p50.iter().zip(&nobody.p50).map(|(with, without)| with - without).collect::<Vec<_>>();
    figures.extend([
        Figure::micros("envoy.added", "added to p50 of 128 busy connections by Ringfence", median(added(demo))),
        Figure::micros("envoy.added_allow_all", "added to it by an authorizer that allows all", median(added(allow_all))),
        Figure::ratio(
            "envoy.unchanging_throughput",
            "requests/s, Ringfence that changes nothing / allow-all",
            median_ratio(&unchanging.rates, &allow_all.rates),
        )
        .bound(Bound::AtLeast(0.95)),
        Figure::ratio("envoy.answer_throughput", "requests/s, Ringfence / its answer given unread", median_ratio(&demo.rates, &same_answer.rates))
            .bound(Bound::AtLeast(0.95)),
        Figure::ratio("envoy.throughput", "requests/s, Ringfence / allow-all", median_ratio(&demo.rates, &allow_all.rates)),
        Figure::ratio("envoy.same_answer", "requests/s, its answer given unread / allow-all", median_ratio(&same_answer.rates, &allow_all.rates)),
        Figure::ratio("envoy.telling_throughput", "requests/s, Ringfence that tells all / allow-all", median_ratio(&telling.rates, &allow_all.rates)),
        Figure::ratio("envoy.jwt_throughput", "requests/s, Ringfence / Envoy's jwt_authn", median_ratio(&demo.rates, &jwt.rates)),
    ]);
    figures
}

/// The demo's policies without what they change in an allowed request.
fn changing_nothing(policies: &str) -> String {
    let lines =
        policies.lines().filter(|line| !line.trim_start().starts_with("forward:") && !line.trim_start().starts_with("headers: [{name: x-acs"));
    let policies = lines.collect::<Vec<_>>().join("\n");
    let kept = policies.replace("apiKey: {query: key,", "apiKey: {query: key, upstream: Forward,");
    assert!(kept.matches("upstream: Forward").count() == 2 && !kept.contains("x-acs-audience"), "{kept}");
    kept
}

/// What a good webhook is answered.
fn answer(server: &Server, issuer: &Issuer) -> Vec<u8> {
    let (answers, _) = load::one_by_one(server.grpc(), &Kind::Good.ask(issuer, 1).messages);
    Kind::Good.expect(&answers);
    answers.into_iter().next().unwrap().0
}

/// Names and texts of a candidate's figures.
type Names = [(&'static str, &'static str); 5];

const NOBODY: Names = [
    ("envoy.nobody.rate", "Envoy alone: requests/s"),
    ("envoy.nobody.p50", "Envoy alone: p50 of 128 connections"),
    ("envoy.nobody.p99", "Envoy alone: p99"),
    ("envoy.nobody.envoy_cpu", "Envoy alone: CPU of Envoy per request"),
    ("envoy.nobody.cpu", "Envoy alone: CPU of both per request"),
];
const JWT: Names = [
    ("envoy.jwt.rate", "Envoy's jwt_authn: requests/s"),
    ("envoy.jwt.p50", "Envoy's jwt_authn: p50 of 128 connections"),
    ("envoy.jwt.p99", "Envoy's jwt_authn: p99"),
    ("envoy.jwt.envoy_cpu", "Envoy's jwt_authn: CPU of Envoy per request"),
    ("envoy.jwt.cpu", "Envoy's jwt_authn: CPU of both per request"),
];
const ALLOW_ALL: Names = [
    ("envoy.allow_all.rate", "Envoy + allow-all: requests/s"),
    ("envoy.allow_all.p50", "Envoy + allow-all: p50 of 128 connections"),
    ("envoy.allow_all.p99", "Envoy + allow-all: p99"),
    ("envoy.allow_all.envoy_cpu", "Envoy + allow-all: CPU of Envoy per request"),
    ("envoy.allow_all.cpu", "Envoy + allow-all: CPU of both per request"),
];
const RINGFENCE: Names = [
    ("envoy.ringfence.rate", "Envoy + Ringfence: requests/s"),
    ("envoy.ringfence.p50", "Envoy + Ringfence: p50 of 128 connections"),
    ("envoy.ringfence.p99", "Envoy + Ringfence: p99"),
    ("envoy.ringfence.envoy_cpu", "Envoy + Ringfence: CPU of Envoy per request"),
    ("envoy.ringfence.cpu", "Envoy + Ringfence: CPU of both per request"),
];
const SAME_ANSWER: Names = [
    ("envoy.same.rate", "Envoy + its answer given unread: requests/s"),
    ("envoy.same.p50", "Envoy + its answer given unread: p50 of 128 connections"),
    ("envoy.same.p99", "Envoy + its answer given unread: p99"),
    ("envoy.same.envoy_cpu", "Envoy + its answer given unread: CPU of Envoy per request"),
    ("envoy.same.cpu", "Envoy + its answer given unread: CPU of both per request"),
];
const TELLING: Names = [
    ("envoy.telling.rate", "Envoy + Ringfence that tells all: requests/s"),
    ("envoy.telling.p50", "Envoy + Ringfence that tells all: p50 of 128 connections"),
    ("envoy.telling.p99", "Envoy + Ringfence that tells all: p99"),
    ("envoy.telling.envoy_cpu", "Envoy + Ringfence that tells all: CPU of Envoy per request"),
    ("envoy.telling.cpu", "Envoy + Ringfence that tells all: CPU of both per request"),
];
const UNCHANGING: Names = [
    ("envoy.unchanging.rate", "Envoy + Ringfence that changes nothing: requests/s"),
    ("envoy.unchanging.p50", "Envoy + Ringfence that changes nothing: p50 of 128 connections"),
    ("envoy.unchanging.p99", "Envoy + Ringfence that changes nothing: p99"),
    ("envoy.unchanging.envoy_cpu", "Envoy + Ringfence that changes nothing: CPU of Envoy per request"),
    ("envoy.unchanging.cpu", "Envoy + Ringfence that changes nothing: CPU of both per request"),
];

fn own_figures(candidate: &Candidate, names: Names) -> [Figure; 5] {
    let of = |values: &[f64]| median(values.iter().copied());
    let [rate, p50, p99, envoy_cpu, cpu] = names;
    [
        Figure::new(rate.0, rate.1, of(&candidate.rates), "/s"),
        Figure::micros(p50.0, p50.1, of(&candidate.p50)),
        Figure::micros(p99.0, p99.1, of(&candidate.p99)),
        Figure::micros(envoy_cpu.0, envoy_cpu.1, of(&candidate.envoy_cpu)),
        Figure::micros(cpu.0, cpu.1, of(&candidate.cpu)),
    ]
}

/// An Envoy of its own. Dropping it ends it.
struct Envoy {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Envoy {
    fn start(filter: Option<Value>, authorizer: Option<SocketAddr>) -> Self {
        let program = std::env::var_os("RINGFENCE_TEST_ENVOY").map(PathBuf::from).expect("RINGFENCE_TEST_ENVOY names Envoy's program");
        let folder = tempfile::tempdir().unwrap();
        let (file, admin) = (folder.path().join("envoy.json"), folder.path().join("admin"));
        fs::write(&file, configuration(filter, authorizer).to_string()).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let _core = Cores::the_first();
        let child = Command::new(program)
            .args(["--concurrency", "1", "--disable-hot-restart", "--use-dynamic-base-id", "--log-level", "warning"])
            .arg("-c")
            .arg(&file)
            .arg("--admin-address-path")
            .arg(&admin)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let began = Instant::now();
        let address = loop {
            if let Some(address) = fs::read_to_string(&admin).ok().and_then(|admin| listener(admin.parse().ok()?)) {
                break address;
            }
            assert!(began.elapsed() < PATIENCE, "Envoy does not listen:\n{}", fs::read_to_string(folder.path().join("log")).unwrap());
            thread::sleep(Duration::from_millis(10));
        };
        Self { child, address, _folder: folder }
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where Envoy's only listener is, once there is one that is warm.
fn listener(admin: SocketAddr) -> Option<SocketAddr> {
    let mut stream = TcpStream::connect(admin).ok()?;
    write!(stream, "GET /listeners?format=json HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    // The one chunk that the body is, without its length.
    let body = answer.split_once("\r\n\r\n")?.1;
    let listeners: Value = serde_json::from_str(body.get(body.find('{')?..=body.rfind('}')?)?).ok()?;
    let port = listeners["listener_statuses"][0]["local_address"]["socket_address"]["port_value"].as_u64()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).ok()?));
    TcpStream::connect(address).ok().map(|_| address)
}

fn typed(name: &str, kind: &str, mut config: Value) -> Value {
    config["@type"] = format!("type.googleapis.com/envoy.extensions.filters.{kind}").into();
    json!({"name": name, "typed_config": config})
}

/// As in deploy/examples/envoy-grpc, which also has an access log, retries and health checks: those cost Envoy the same whoever is asked.
fn ext_authz() -> Value {
    let config = json!({
        "transport_api_version": "V3",
        "grpc_service": {"envoy_grpc": {"cluster_name": "authorizer"}, "timeout": "5s"},
        "encode_raw_headers": true,
        "validate_mutations": true,
    });
    typed("envoy.filters.http.ext_authz", "http.ext_authz.v3.ExtAuthz", config)
}

/// The same issuer, audience and keys, checked by Envoy itself; neither source nor API key.
fn jwt_authn(issuer: &Issuer) -> Value {
    let provider =
        json!({"issuer": issuer.issuer(), "audiences": [AUDIENCE], "forward": true, "local_jwks": {"inline_string": issuer.key_set().to_string()}});
    let config = json!({"providers": {"acs": provider}, "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "acs"}}]});
    typed("envoy.filters.http.jwt_authn", "http.jwt_authn.v3.JwtAuthentication", config)
}

fn configuration(filter: Option<Value>, authorizer: Option<SocketAddr>) -> Value {
    let router = typed("envoy.filters.http.router", "http.router.v3.Router", json!({}));
    let route = json!({"match": {"prefix": "/"}, "direct_response": {"status": 200}});
    let manager = json!({
        "stat_prefix": "callbacks",
        "use_remote_address": true,
        "http_filters": filter.into_iter().chain([router]).collect::<Vec<_>>(),
        "route_config": {"virtual_hosts": [{"name": "callbacks", "domains": ["*"], "routes": [route]}]},
    });
    let manager = typed("envoy.filters.network.http_connection_manager", "network.http_connection_manager.v3.HttpConnectionManager", manager);
    let loopback = |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let cluster = |address: SocketAddr| {
        json!({
            "name": "authorizer",
            "type": "STATIC",
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }},
            "load_assignment": {
                "cluster_name": "authorizer",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": loopback(address.port())}}]}],
            },
        })
    };
    json!({
        "admin": {"address": loopback(0)},
        "static_resources": {
            "listeners": [{"name": "callbacks", "address": loopback(0), "filter_chains": [{"filters": [manager]}]}],
            "clusters": authorizer.map(cluster).into_iter().collect::<Vec<_>>(),
        },
    })
}
