//! Who is measured when: the server under each kind of request, and raw verification between them, in turn.
//!
//! Whoever answers has the first core for itself (but for the server whose memory is looked at), and the load the others: on one core they would
//! push each other out of its caches, and what the load leaves of them differs from run to run.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use ringfence::{
    cli::demo::folder,
    issuer::{Document, Fault, Issuer, IssuerOptions},
};
use ringfence_core::decide::{Algorithm, KeySet, read_key_set};

use crate::{
    allow_all::AllowAll,
    cores::Cores,
    decide::{cpu_time, median, median_ratio},
    load::{self, BUSY},
    questions::{Kind, Questions},
    server::{CpuTime, Server},
    table::{Bound, Figure},
};

/// Starts of the server that are timed.
const STARTS: usize = 7;
/// Rounds in which all take turns; the first does not count.
const ROUNDS: usize = 13;
/// Good checks of a round. In all rounds together there are fewer than the reuse store holds for one policy, so that each is really remembered.
const GOOD: usize = 4_800;
/// Checks of each of the other good kinds in a round. They have a server of their own, whose reuse store they fill likewise.
const GOOD_TOO: usize = 2_400;
/// Checks of each other kind in a round.
const REFUSED: usize = 12_000;
/// Checks after which memory is looked at again, and how many of them have used tokens.
const MILLION: usize = 1_000_000;
const REUSED: usize = 100_000;
/// How long the server is left alone before its memory is called idle.
const IDLE: Duration = Duration::from_secs(2);

/// Everything that is measured of the real server.
pub fn run() -> Vec<Figure> {
    let site = Site::new();
    let program = Server::program();
    eprintln!("starting the server {STARTS} times");
    let ready_ms = median((0..STARTS).map(|_| Server::start(&program, site.folder()).ready_after.as_secs_f64() * 1e3));
    let whole = Server::start(&program, site.folder());
    thread::sleep(IDLE);
    let idle = whole.resident();
    let mut bench = Bench::new(&site, &program, whole);
    for round in 0..ROUNDS {
        eprintln!("round {round} of {}: the server under load", ROUNDS - 1);
        bench.round(round);
    }
    bench.fill_up();
    bench.compare_counts();
    let mut figures = bench.figures();
    figures.extend([
        Figure::new("start.ready", "(e) start to ready, demo folder", ready_ms, "ms").bound(Bound::AtMost(150.0)),
        Figure::new("memory.idle", "(e) resident memory, idle", idle, "MiB").bound(Bound::AtMost(25.0)),
        Figure::new("memory.used", "(e) resident memory after a million checks", bench.whole.resident(), "MiB").bound(Bound::AtMost(60.0)),
    ]);
    figures
}

/// Asks one kind of request again and again, of servers of several builds in turn and of an authorizer that allows all unread: to compare them, or
/// to look into one of them meanwhile.
pub fn compare(kind: Kind, programs: &[PathBuf]) {
    let site = Site::new();
    let start = || programs.iter().map(|program| Server::start(program, site.folder())).collect();
    let servers: Vec<Server> = Cores::the_first().during(start);
    for (program, server) in programs.iter().zip(&servers) {
        println!("{} is process {}", program.display(), server.id());
    }
    let unread = Cores::the_first().during(AllowAll::start);
    let mut allow_all = Vec::new();
    let mut times = vec![Vec::new(); programs.len()];
    for round in 0..ROUNDS {
        let questions = kind.ask(&site.issuer, if kind.is_good() { GOOD } else { REFUSED });
        for (server, times) in servers.iter().zip(&mut times) {
            let time = time_checks(server, kind, &questions);
            if round > 0 {
                times.push(time);
            }
        }
        let time = time_allowed(unread.address, unread.id(), &questions);
        if round > 0 {
            allow_all.push(time);
        }
    }
    println!("{:<60} {:.2} us of CPU per check", "allow-all", median(allow_all.iter().copied()) / 1e3);
    for (program, own) in programs.iter().zip(&times) {
        let (micros, ratio) = (median(own.iter().copied()) / 1e3, median_ratio(own, &times[0]));
        println!("{:<60} {micros:.2} us of CPU per check, {ratio:.3} of the first", program.display());
    }
}

/// An issuer, and the demo's policies for it.
pub struct Site {
    pub issuer: Issuer,
    dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Site {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let issuer = runtime.block_on(Issuer::start(IssuerOptions::default())).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(folder::FILE), folder::policies(&issuer)).unwrap();
        Self { issuer, dir, runtime }
    }

    /// Another issuer, which answers `document` like this.
    pub fn issuer_with(&self, document: Document, fault: Fault) -> Issuer {
        let issuer = self.runtime.block_on(Issuer::start(IssuerOptions::default())).unwrap();
        issuer.fail(document, Some(fault));
        issuer
    }

    pub fn folder(&self) -> &Path {
        self.dir.path()
    }
}

/// Servers, what they are asked, and what was measured so far. All but `whole` have the first core alone.
struct Bench<'i> {
    issuer: &'i Issuer,
    keys: KeySet,
    /// One with every core, whose memory is looked at.
    whole: Server,
    server: Server,
    /// The same again, for good kinds beside the webhook.
    another: Server,
    /// The same program, which lets everything by that no policy covers.
    open: Server,
    /// One that reads nothing.
    unread: AllowAll,
    /// Requests that are refused, made once.
    refused: Vec<(Kind, Questions)>,
    /// Requests sent, by the reason they are counted under.
    sent: HashMap<String, usize>,
    /// Those of them that the server with every core got.
    asked_whole: usize,
    /// Nanoseconds of CPU per call, round by round.
    raw: Vec<f64>,
    raw_everywhere: Vec<f64>,
    checks: Vec<(Kind, Vec<f64>)>,
    let_by: Vec<f64>,
    allow_all: Vec<f64>,
}

impl<'i> Bench<'i> {
    fn new(site: &'i Site, program: &Path, whole: Server) -> Self {
        let (issuer, folder) = (&site.issuer, site.folder());
        let _core = Cores::the_first();
        let open = Server::start_with(program, folder, &["--grpc-listen=127.0.0.1:0", "--unmatched=allow"]);
        let [server, another] = [(); 2].map(|()| Server::start(program, folder));
        let keys = read_key_set(issuer.key_set().to_string().as_bytes()).unwrap().keys;
        let refused = Kind::ALL.into_iter().filter(|kind| !kind.is_good()).map(|kind| (kind, kind.ask(issuer, REFUSED))).collect();
        let checks = Kind::ALL.map(|kind| (kind, Vec::new())).into();
        Self {
            issuer,
            keys,
            whole,
            server,
            another,
            open,
            unread: AllowAll::start(),
            refused,
            sent: HashMap::new(),
            asked_whole: 0,
            raw: Vec::new(),
            raw_everywhere: Vec::new(),
            checks,
            let_by: Vec::new(),
            allow_all: Vec::new(),
        }
    }

    /// Raw verification, then each kind of check; another kind begins each time, as what was done before leaves its traces.
    fn round(&mut self, round: usize) {
        let good = Kind::Good.ask(self.issuer, GOOD);
        let verifier = Verifier::new(&self.keys, &good.tokens);
        let raw = Cores::the_first().during(|| verifier.time());
        let raw_everywhere = verifier.time_everywhere();
        self.ask_whole(Kind::Good.reason(), &good.messages);
        let mut times = vec![0.0; self.checks.len()];
        let (mut let_by, mut allow_all) = (0.0, 0.0);
        for number in (0..times.len()).map(|number| (round + number) % self.checks.len()) {
            let kind = &self.checks[number].0;
            let fresh;
            let questions = match self.refused.iter().find(|(refused, _)| refused == kind) {
                Some((_, questions)) => questions,
                None if *kind == Kind::Good => &good,
                None => {
                    fresh = kind.ask(self.issuer, GOOD_TOO);
                    &fresh
                }
            };
            let server = if kind.is_good() && *kind != Kind::Good { &self.another } else { &self.server };
            times[number] = time_checks(server, *kind, questions);
            *self.sent.entry(kind.reason().to_owned()).or_default() += questions.messages.len();
            if *kind == Kind::NoPolicy {
                let_by = time_allowed(self.open.grpc(), self.open.id(), questions);
                allow_all = time_allowed(self.unread.address, self.unread.id(), questions);
            }
        }
        if round > 0 {
            self.let_by.push(let_by);
            self.allow_all.push(allow_all);
            self.raw.push(raw);
            self.raw_everywhere.push(raw_everywhere);
            self.checks.iter_mut().zip(times).for_each(|((_, all), time)| all.push(time));
        }
    }

    /// Asks the server with every core these, which are all counted under `reason`.
    fn ask_whole(&mut self, reason: &str, messages: &[Bytes]) {
        load::run(self.whole.grpc(), messages, BUSY, || ());
        *self.sent.entry(reason.to_owned()).or_default() += messages.len();
        self.asked_whole += messages.len();
    }

    /// Goes on asking it until a million checks and more are answered: with good tokens, which are used again and again and so refused, and with every
    /// kind that is refused.
    fn fill_up(&mut self) {
        eprintln!("on to a million checks");
        let once = Kind::Good.ask(self.issuer, 1_000);
        self.ask_whole(Kind::Good.reason(), &once.messages);
        // Another id for each: the same one would make it a check that is tried again.
        self.ask_whole("token_reused", &Kind::Good.again(&once.tokens, REUSED).collect::<Vec<_>>());
        let refused = std::mem::take(&mut self.refused);
        for (kind, questions) in refused.iter().cycle() {
            if self.asked_whole >= MILLION {
                break;
            }
            self.ask_whole(kind.reason(), &questions.messages);
        }
    }

    /// Panics unless the servers have counted every check that was sent, under the reason that was meant.
    fn compare_counts(&self) {
        let mut counted = HashMap::<String, usize>::new();
        for (reason, count) in [&self.server, &self.another, &self.whole].into_iter().flat_map(Server::counted) {
            *counted.entry(reason).or_default() += count;
        }
        let pending = counted.remove("key_pending").unwrap_or_default();
        *counted.entry(Kind::UnknownKey.reason().to_owned()).or_default() += pending;
        assert_eq!(counted, self.sent, "what the servers have counted is not what was sent");
    }

    fn of(&self, kind: Kind) -> &[f64] {
        &self.checks.iter().find(|(other, _)| *other == kind).unwrap().1
    }

    fn figures(&self) -> Vec<Figure> {
        let micros = |times: &[f64]| median(times.iter().copied()) / 1e3;
        let (good, no_policy) = (self.of(Kind::Good), self.of(Kind::NoPolicy));
        let least: Vec<f64> = self.raw_everywhere.iter().zip(no_policy).map(|(raw, no_policy)| raw + no_policy).collect();
        let beside_no_policy = |name, what, kind| Figure::ratio(name, what, median_ratio(self.of(kind), no_policy)).bound(Bound::AtMost(1.15));
        let cpu = |name, what, kind| Figure::micros(name, what, micros(self.of(kind)));
        let ratio = |name, what, of: &[f64], to: &[f64]| Figure::ratio(name, what, median_ratio(of, to));
        vec![
            Figure::micros("cpu.raw", "raw verification, one core busy", micros(&self.raw)),
            Figure::micros("cpu.raw_everywhere", "raw verification, every core busy", micros(&self.raw_everywhere)),
            Figure::micros("cpu.allow_all", "CPU of an authorizer that allows all unread", micros(&self.allow_all)),
            Figure::micros("cpu.let_by", "server CPU, let by where no policy covers it", micros(&self.let_by)),
            cpu("cpu.no_policy", "server CPU, no policy", Kind::NoPolicy),
            cpu("cpu.good", "server CPU, good webhook", Kind::Good),
            cpu("cpu.websocket", "server CPU, WebSocket upgrade", Kind::WebSocket),
            cpu("cpu.event_grid", "server CPU, Event Grid delivery", Kind::EventGrid),
            cpu("cpu.audience", "server CPU, wrong audience", Kind::WrongAudience),
            cpu("cpu.expired", "server CPU, expired token", Kind::Expired),
            cpu("cpu.source", "server CPU, denied source", Kind::SourceDenied),
            cpu("cpu.missing", "server CPU, no token", Kind::TokenMissing),
            cpu("cpu.signature", "server CPU, bad signature", Kind::BadSignature),
            cpu("cpu.unknown_key", "server CPU, unknown key", Kind::UnknownKey),
            ratio("ratio.good", "(b) good / (raw + no policy)", good, &least).bound(Bound::AtMost(1.25)),
            ratio("ratio.good_raw", "good / raw", good, &self.raw_everywhere).bound(Bound::AtMost(1.8)),
            ratio("ratio.signature", "bad signature / good", self.of(Kind::BadSignature), good).bound(Bound::AtMost(1.0)),
            ratio("ratio.no_policy", "no policy / allow-all", no_policy, &self.allow_all).bound(Bound::AtMost(1.25)),
            beside_no_policy("ratio.audience", "(c) wrong audience / no policy", Kind::WrongAudience),
            beside_no_policy("ratio.expired", "(c) expired token / no policy", Kind::Expired),
            beside_no_policy("ratio.source", "(c) denied source / no policy", Kind::SourceDenied),
            beside_no_policy("ratio.missing", "(c) no token / no policy", Kind::TokenMissing),
        ]
    }
}

/// Nanoseconds of CPU per check, of a process that allows everything.
fn time_allowed(address: SocketAddr, process: u32, questions: &Questions) -> f64 {
    let outcome = Cores::but_the_first().during(|| load::run(address, &questions.messages, BUSY, || CpuTime::of(process)));
    // Allowed, as a good webhook is.
    Kind::Good.expect(&outcome.answers);
    outcome.cpu_per_call()
}

/// Nanoseconds of the server's CPU per check.
fn time_checks(server: &Server, kind: Kind, questions: &Questions) -> f64 {
    let outcome = Cores::but_the_first().during(|| load::run(server.grpc(), &questions.messages, BUSY, || server.cpu()));
    kind.expect(&outcome.answers);
    outcome.cpu_per_call()
}

/// Raw verification of the same tokens.
struct Verifier<'t> {
    keys: &'t KeySet,
    signed: Vec<(&'t [u8], Vec<u8>)>,
}

impl<'t> Verifier<'t> {
    fn new(keys: &'t KeySet, tokens: &'t [String]) -> Self {
        let split = |token: &'t String| {
            let (signed, signature) = token.rsplit_once('.').unwrap();
            (signed.as_bytes(), URL_SAFE_NO_PAD.decode(signature).unwrap())
        };
        Self { keys, signed: tokens.iter().map(split).collect() }
    }

    /// Nanoseconds of CPU per verification, on one thread.
    fn time(&self) -> f64 {
        let kid = self.keys.kids().next().unwrap();
        let key = self.keys.get(kid).unwrap();
        let began = cpu_time();
        self.signed.iter().for_each(|(signed, signature)| assert!(key.verifies(Algorithm::RS256, signed, signature)));
        (cpu_time() - began).as_nanos() as f64 / self.signed.len() as f64
    }

    /// The same on the first core while the others verify, too: where the server is, and as the load keeps them busy.
    fn time_everywhere(&self) -> f64 {
        let others = thread::available_parallelism().map_or(1, usize::from) - 1;
        thread::scope(|scope| {
            (0..others).for_each(|_| drop(scope.spawn(|| Cores::but_the_first().during(|| self.time()))));
            Cores::the_first().during(|| self.time())
        })
    }
}
