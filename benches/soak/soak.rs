//! What the soak does, and what came of it. A test runs a small one.
//!
//! A signature costs the issuer many times what its verification costs, so tokens are minted beforehand: a pool of them for each key, used
//! again and again until the next rotation. Every use of a token but the first is counted as reuse, which is what the policy asks for. Answers
//! are judged by their status, each of them; connections last for a few thousand checks, so that many come and go.

use std::{
    fmt, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt, future, stream};
use ringfence::{
    cases::CaseRequest,
    client::{self, GrpcClient},
    issuer::{Broken, DISCOVERY_PATH, Issuer, IssuerOptions, Rotation, TokenSpec},
};
use serde_json::Value;
use tokio::{sync::watch, task, time::sleep};

const AUDIENCE: &str = "7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11";
const HOST: &str = "callbacks.contoso.com";
const KEY: &str = "soak-callback-key-0001";
/// Connections at a time, and calls under way on each.
const CONNECTIONS: usize = 8;
const CALLS: usize = 32;
/// Checks over one connection.
const BATCH: usize = 4_096;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Besides the rotation that it is made for, a token lives through the one before it, in which it is minted, and then the clocks' skew.
const SKEW: Duration = Duration::from_secs(30);
/// By how much memory may grow after the warm-up.
const GROWTH: f64 = 0.05;
/// One answer in so many may be shed.
const SHED: usize = 100;
/// Samples after the warm-up, one per second, without which nothing is said about growth.
const SAMPLES: usize = 30;

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub checks: usize,
    pub rotate_every: Duration,
    pub reload_every: Duration,
    /// Different good tokens of each key.
    pub pool: usize,
}

impl Plan {
    /// How long a token is remembered at most, and so how long memory grows.
    fn warm_up(&self) -> Duration {
        self.token_lifetime() + SKEW + self.rotate_every
    }

    fn token_lifetime(&self) -> Duration {
        2 * self.rotate_every + SKEW
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    pub answers: usize,
    /// The first few wrong answers, and how many there were.
    pub wrong: Vec<String>,
    pub wrong_count: usize,
    /// Answers 503 to the first token of a new key, which was then sent again.
    pub undecided: usize,
    /// Answers 503 that the server says it gave for want of time (`overloaded`): the load never lets it rest.
    pub shed: usize,
    pub rotations: usize,
    pub reloads: usize,
    pub reused: usize,
    pub took: Duration,
    /// MiB and open descriptors, once per second, with the second.
    samples: Vec<(Duration, f64, usize)>,
    warm_up: Duration,
    hardware: String,
}

impl Report {
    /// Samples after the warm-up, if there are enough of them.
    fn judged(&self) -> Option<Vec<&(Duration, f64, usize)>> {
        let after: Vec<_> = self.samples.iter().filter(|(at, ..)| *at >= self.warm_up).collect();
        (after.len() >= SAMPLES).then_some(after)
    }

    /// Medians of memory in the first and the last quarter after the warm-up, in MiB.
    pub fn memory(&self) -> Option<(f64, f64)> {
        let after = self.judged()?;
        let quarter = after.len() / 4;
        let median_of = |samples: &[&(Duration, f64, usize)]| {
            let mut memory: Vec<f64> = samples.iter().map(|(_, memory, _)| *memory).collect();
            memory.sort_by(f64::total_cmp);
            memory[memory.len() / 2]
        };
        Some((median_of(&after[..quarter]), median_of(&after[after.len() - quarter..])))
    }

    /// The most descriptors that were open in the first and the last quarter of all.
    pub fn descriptors(&self) -> (usize, usize) {
        let quarter = (self.samples.len() / 4).max(1);
        let most = |samples: &[(Duration, f64, usize)]| samples.iter().map(|(.., open)| *open).max().unwrap_or_default();
        (most(&self.samples[..quarter.min(self.samples.len())]), most(&self.samples[self.samples.len() - quarter.min(self.samples.len())..]))
    }

    pub fn is_good(&self) -> bool {
        let is_flat = self.memory().is_none_or(|(first, last)| last <= first * (1.0 + GROWTH));
        let (first, last) = self.descriptors();
        // As many as the connections of the load, give or take.
        self.wrong_count == 0 && self.shed <= self.answers / SHED && is_flat && last <= first + CONNECTIONS
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answers, wrong, wrong_count, undecided, shed, rotations, reloads, reused, took, .. } = self;
        writeln!(f, "{}", self.hardware)?;
        writeln!(f, "checks                     {answers} in {:.0} s, {:.0} a second", took.as_secs_f64(), *answers as f64 / took.as_secs_f64())?;
        writeln!(f, "wrong answers              {wrong_count}")?;
        wrong.iter().try_for_each(|wrong| writeln!(f, "  {wrong}"))?;
        writeln!(f, "overloaded                 {shed}, at most one in {SHED}")?;
        writeln!(f, "rotations                  {rotations}, {undecided} answers 503 until the new key was known")?;
        writeln!(f, "reloads                    {reloads}")?;
        writeln!(f, "reused tokens observed     {reused}")?;
        match self.memory() {
            Some((first, last)) => writeln!(
                f,
                "resident memory            {first:.1} MiB after {:.0} s, {last:.1} MiB at the end: {:+.1} %, at most {:+.0} %",
                self.warm_up.as_secs_f64(),
                (last / first - 1.0) * 100.0,
                GROWTH * 100.0
            )?,
            None => writeln!(f, "resident memory            too short to judge: it grows for {:.0} s", self.warm_up.as_secs_f64())?,
        }
        let (first, last) = self.descriptors();
        write!(f, "open descriptors, at most  {first} in the first quarter, {last} in the last")
    }
}

/// The server as a process of its own. Dropping it ends it.
struct Server {
    child: Child,
    grpc: SocketAddr,
    metrics: SocketAddr,
}

impl Server {
    fn start(program: &Path, folder: &Path) -> Self {
        let mut command = Command::new(program);
        command.args(["serve", "--grpc-listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0", "--insecure-http-issuers", "--allow-private-issuers"]);
        command.args(["--log-format=json", "--config"]).arg(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut address = |listener: &str| {
            let found = lines.by_ref().map_while(Result::ok).find_map(|line| {
                let event: Value = serde_json::from_str(&line).ok()?;
                let is_it = event["message"] == "listening" && event["listener"] == *listener;
                is_it.then(|| event["address"].as_str()?.parse().ok())?
            });
            found.unwrap_or_else(|| panic!("the server does not listen for {listener}"))
        };
        let (metrics, grpc) = (address("metrics"), address("grpc"));
        // It must never wait for somebody to read what it says.
        thread::spawn(move || lines.for_each(drop));
        let server = Self { child, grpc, metrics };
        let began = Instant::now();
        while !server.get("/readyz").starts_with("HTTP/1.1 200") {
            assert!(began.elapsed() < PATIENCE, "the server is not ready: {}", server.get("/readyz?verbose"));
            thread::sleep(Duration::from_millis(5));
        }
        server
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.metrics).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The sum of a metric's series with `label`.
    fn metric(&self, name: &str, label: &str) -> usize {
        let metrics = self.get("/metrics");
        let series = metrics.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')) && line.contains(label));
        series.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() as usize).sum()
    }

    /// MiB of resident memory, and open descriptors.
    fn sample(&self) -> (f64, usize) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let memory = line.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap() / 1024.0;
        (memory, fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folder; each generation differs.
fn policies(issuer: &Issuer, generation: usize) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1
kind: CallbackPolicy
metadata: {{name: contact-center, namespace: contoso}}
spec:
  match: {{hosts: [{HOST}, generation-{generation}.contoso.com]}}
  senders:
    - name: callbacks
      type: CallAutomation
      callAutomation:
        audiences: [{AUDIENCE}]
        issuer: '{}'
        openIdConfiguration: '{}{DISCOVERY_PATH}'
        tokenReuse: Observe
      sources: {{sets: [acs-callbacks], onMismatch: Deny}}
      apiKey: {{query: key, secretRefs: [{{name: callback-key, key: current}}]}}
---
apiVersion: v1
kind: Secret
type: ringfence.dev/callback-key
metadata: {{name: callback-key, namespace: contoso}}
stringData: {{current: {KEY}}}
",
        issuer.issuer(),
        issuer.url()
    )
}

fn put(folder: &Path, text: &str) {
    fs::write(folder.join(".new"), text).unwrap();
    fs::rename(folder.join(".new"), folder.join("policies.yaml")).unwrap();
}

fn question(host: &str, source: &str, key: &str, token: Option<&str>) -> Bytes {
    let request = CaseRequest::new(&format!("https://{host}/api/callbacks/42?key={key}")).source(source.parse().ok());
    client::frame(&client::check_request(&request, &request.header_lines(token), true))
}

/// Requests of one key's time, each with its only right status: nine good ones to three bad ones.
fn questions(issuer: &Issuer, plan: &Plan) -> Vec<(Bytes, u16)> {
    let genuine = TokenSpec { lifetime_seconds: Some(plan.token_lifetime().as_secs()), ..TokenSpec::callback(AUDIENCE) };
    let tokens = issuer.mint_many(&genuine, plan.pool).unwrap();
    let broken = [Broken::Tampered, Broken::ForeignKey, Broken::WrongAudience, Broken::Expired, Broken::AlgNone];
    let broken = broken.map(|broken| issuer.mint(&genuine.clone().broken(broken)).unwrap());
    // From many addresses, each with a little: one that asked for all of it would be held to its share.
    let acs = |number: usize| format!("52.112.{}.{}", number / 250 % 64, number % 250 + 1);
    let bad = |number: usize| match number % 9 {
        0 => (question(HOST, &acs(number), KEY, None), 401),
        1 => (question(HOST, &acs(number), "not-the-key-0123456789", Some(&tokens[0])), 401),
        2 => (question(HOST, &format!("203.0.113.{}", number % 250), KEY, Some(&tokens[0])), 403),
        3 => (question("elsewhere.contoso.com", &acs(number), KEY, Some(&tokens[0])), 403),
        other => (question(HOST, &acs(number), KEY, Some(&broken[other - 4])), 401),
    };
    let good = tokens.iter().enumerate().map(|(number, token)| (question(HOST, &acs(number), KEY, Some(token)), 200));
    good.enumerate().flat_map(|(number, good)| if number % 3 == 2 { vec![good, bad(number / 3)] } else { vec![good] }).collect()
}

/// What all parts of a run share.
struct Shared {
    plan: Plan,
    server: Server,
    issuer: Issuer,
    began: Instant,
    asked: AtomicUsize,
    shed: AtomicUsize,
    over: AtomicBool,
    report: Mutex<Report>,
}

impl Shared {
    fn note(&self, note: impl FnOnce(&mut Report)) {
        note(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Waits for so long, or until it is over.
    async fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while Instant::now() < until && !self.is_over() {
            sleep(Duration::from_millis(20).min(pause)).await;
        }
    }

    fn wrong(&self, wrong: String) {
        self.note(|report| {
            report.wrong_count += 1;
            if report.wrong.len() < 10 {
                report.wrong.push(wrong);
            }
        });
    }
}

/// Asks what is current, from a place of its own on, until enough was asked.
async fn ask(shared: Arc<Shared>, number: usize, current: watch::Receiver<Arc<Vec<(Bytes, u16)>>>) {
    let mut at = number * 997;
    while shared.asked.fetch_add(BATCH, Ordering::Relaxed) < shared.plan.checks {
        let questions = Arc::clone(&current.borrow());
        let connection = GrpcClient::connect(shared.server.grpc, PATIENCE).await.unwrap();
        let (connection, questions, shed) = (&connection, &questions, &shared.shed);
        let answers = stream::iter(at..at + BATCH).map(|number| async move {
            let (message, right) = &questions[number % questions.len()];
            let answer = connection.check_framed(message.clone()).await;
            match answer.as_ref().map(|response| client::outcome(response).status) {
                Ok(status) if status == *right => None,
                Ok(503) => {
                    shed.fetch_add(1, Ordering::Relaxed);
                    None
                }
                Ok(status) => Some(format!("{status} and not {right}, number {number}")),
                Err(error) => Some(format!("no answer to number {number}: {error}")),
            }
        });
        let wrong: Vec<_> = answers.buffer_unordered(CALLS).filter_map(future::ready).collect().await;
        wrong.into_iter().for_each(|wrong| shared.wrong(wrong));
        shared.note(|report| report.answers += BATCH);
        at += BATCH;
    }
    shared.over.store(true, Ordering::Relaxed);
}

/// Makes the issuer sign with another key again and again, and has everybody ask with its tokens once the server knows it.
async fn rotate(shared: Arc<Shared>, current: watch::Sender<Arc<Vec<(Bytes, u16)>>>) {
    while !shared.is_over() {
        shared.pause(shared.plan.rotate_every).await;
        if shared.is_over() {
            return;
        }
        let minting = Arc::clone(&shared);
        let next = task::spawn_blocking(move || {
            minting.issuer.rotate(Rotation::Sign).unwrap();
            questions(&minting.issuer, &minting.plan)
        });
        let next = next.await.unwrap();
        let connection = GrpcClient::connect(shared.server.grpc, PATIENCE).await.unwrap();
        // The first one finds a key that nobody knows: the server fetches it, and this one may have to come again.
        loop {
            let answer = connection.check_framed(next[0].0.clone()).await.map(|response| client::outcome(&response).status);
            match answer {
                Ok(200) => break,
                Ok(503) => shared.note(|report| report.undecided += 1),
                other => return shared.wrong(format!("{other:?} to the first token of a new key")),
            }
            shared.pause(Duration::from_millis(100)).await;
        }
        shared.note(|report| report.rotations += 1);
        current.send_replace(Arc::new(next));
    }
}

/// Changes the folder again and again; each change must come into force.
async fn reload(shared: Arc<Shared>, folder: &Path) {
    let mut generation = 0;
    while !shared.is_over() {
        shared.pause(shared.plan.reload_every).await;
        if shared.is_over() {
            return;
        }
        let applied = || shared.server.metric("ringfence_config_reloads_total", "result=\"applied\"");
        let before = applied();
        generation += 1;
        put(folder, &policies(&shared.issuer, generation));
        let changed = Instant::now();
        while applied() == before {
            if changed.elapsed() > PATIENCE {
                return shared.wrong(format!("generation {generation} of the folder did not come into force"));
            }
            sleep(Duration::from_millis(50)).await;
        }
        shared.note(|report| report.reloads += 1);
    }
}

async fn watch_memory(shared: Arc<Shared>) {
    while !shared.is_over() {
        let (memory, open) = shared.server.sample();
        shared.note(|report| report.samples.push((shared.began.elapsed(), memory, open)));
        shared.pause(Duration::from_secs(1)).await;
    }
}

/// Runs `program` through `plan`.
pub async fn run(plan: Plan, program: &Path) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    put(folder.path(), &policies(&issuer, 0));
    let (path, program) = (folder.path().to_owned(), program.to_owned());
    let server = task::spawn_blocking(move || Server::start(&program, &path)).await.unwrap();
    let report = Report { warm_up: plan.warm_up(), hardware: hardware(), ..Report::default() };
    let first = Arc::new(questions(&issuer, &plan));
    let (sender, current) = watch::channel(first);
    let (asked, shed, over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let shared = Arc::new(Shared { plan, server, issuer, began: Instant::now(), asked, shed, over, report: Mutex::new(report) });
    let asking = (0..CONNECTIONS).map(|number| task::spawn(ask(Arc::clone(&shared), number, current.clone())));
    let asking: Vec<_> = asking.collect();
    let beside = [task::spawn(rotate(Arc::clone(&shared), sender)), task::spawn(watch_memory(Arc::clone(&shared)))];
    reload(Arc::clone(&shared), folder.path()).await;
    for part in asking.into_iter().chain(beside) {
        part.await.unwrap();
    }
    let (shed, said) = (shared.shed.load(Ordering::Relaxed), shared.server.metric("ringfence_checks_total", "reason=\"overloaded\""));
    // Those to the first tokens of new keys are counted apart.
    if said < shed {
        shared.wrong(format!("{shed} answers 503, of which the server calls {said} overloaded"));
    }
    shared.note(|report| {
        report.shed = shed;
        report.took = shared.began.elapsed();
        report.reused = shared.server.metric("ringfence_token_reuse_total", "");
    });
    std::mem::take(&mut *shared.report.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What this machine is.
fn hardware() -> String {
    let first_of = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
        line.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let memory_kb = first_of("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0.0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let (processor, memory) = (first_of("/proc/cpuinfo", "model name"), memory_kb / 1024.0 / 1024.0);
    format!("{processors} x {processor}, {memory:.0} GiB, Linux {}", kernel.trim())
}
