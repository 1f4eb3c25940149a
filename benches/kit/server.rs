//! The real server as a process of its own: how long it takes to be ready, what CPU time it uses, what memory it holds.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long a start may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// `None` for a Unix socket.
    grpc: Option<SocketAddr>,
    http: Option<SocketAddr>,
    metrics: SocketAddr,
    /// From the start of the process until `/readyz` said yes.
    pub ready_after: Duration,
}

impl Server {
    /// The program of this build.
    pub fn program() -> PathBuf {
        env!("CARGO_BIN_EXE_ringfence").into()
    }

    /// Starts the server with the policies in `folder`, with every setting as it comes but for the addresses and the local issuer.
    pub fn start(program: &Path, folder: &Path) -> Self {
        Self::start_with(program, folder, &["--grpc-listen=127.0.0.1:0"])
    }

    /// The same with these flags; one of them says where it listens for gRPC.
    pub fn start_with(program: &Path, folder: &Path, flags: &[&str]) -> Self {
        let began = Instant::now();
        let mut child = Command::new(program)
            .args(["serve", "--metrics-listen=127.0.0.1:0", "--insecure-http-issuers", "--allow-private-issuers"])
            .args(flags)
            .arg("--config")
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let listeners: &[&str] =
            if flags.iter().any(|flag| flag.starts_with("--http-listen")) { &["grpc", "http", "metrics"] } else { &["grpc", "metrics"] };
        let addresses = addresses(child.stderr.take().unwrap(), listeners);
        let address = |listener: &str| addresses.get(listener).and_then(|address| address.parse().ok());
        let mut server =
            Self { child, grpc: address("grpc"), http: address("http"), metrics: address("metrics").unwrap(), ready_after: Duration::ZERO };
        while !server.get("/readyz").starts_with("HTTP/1.1 200") {
            assert!(began.elapsed() < PATIENCE, "the server is not ready: {}", server.get("/readyz?verbose"));
            thread::sleep(Duration::from_millis(1));
        }
        server.ready_after = began.elapsed();
        server
    }

    /// Where it answers checks over gRPC.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc.expect("it listens for gRPC at an address")
    }

    /// Where it answers checks over HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http.expect("it was started with `--http-listen`")
    }

    /// What its health and metrics listener answers, as it comes over the wire.
    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.metrics).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How many checks it has counted under each reason.
    pub fn counted(&self) -> HashMap<String, usize> {
        let metrics = self.get("/metrics");
        let mut counted = HashMap::new();
        for line in metrics.lines().filter(|line| line.starts_with("ringfence_checks_total{")) {
            let reason = line.split_once("reason=\"").and_then(|(_, rest)| rest.split_once('"')).unwrap().0;
            let count: usize = line.rsplit_once(' ').unwrap().1.parse().unwrap();
            *counted.entry(reason.to_owned()).or_default() += count;
        }
        counted
    }

    /// CPU time that its threads have used, user and system, in nanoseconds: what `utime` and `stime` say in ticks.
    pub fn cpu(&self) -> CpuTime {
        CpuTime::of(self.child.id())
    }

    /// Resident memory in MiB.
    pub fn resident(&self) -> f64 {
        self.memory("VmRSS:")
    }

    /// The most that was resident at a time, in MiB.
    pub fn most_resident(&self) -> f64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time by thread.
#[derive(Debug)]
pub struct CpuTime(HashMap<u32, u64>);

impl CpuTime {
    /// That of this process.
    pub fn of(process: u32) -> Self {
        // The scheduler writes a thread's time down when it stops running.
        thread::sleep(Duration::from_millis(5));
        let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
        Self(tasks.filter_map(|task| Some((task.as_ref().ok()?.file_name().to_str()?.parse().ok()?, thread_time(&task.ok()?.path())?))).collect())
    }

    /// Nanoseconds since `earlier`. A thread that has ended since is not seen: none that answers checks does.
    pub fn since(&self, earlier: &Self) -> f64 {
        self.0.iter().map(|(thread, time)| time - earlier.0.get(thread).copied().unwrap_or_default()).sum::<u64>() as f64
    }
}

/// Nanoseconds that a thread has run.
fn thread_time(task: &Path) -> Option<u64> {
    fs::read_to_string(task.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
}

/// The addresses that the server says these listeners have. Whatever else it says is read and dropped, for as long as it runs.
fn addresses(stderr: impl Read + Send + 'static, listeners: &[&str]) -> HashMap<String, String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let mut addresses = HashMap::new();
    let mut said = Vec::new();
    while !listeners.iter().all(|listener| addresses.contains_key(*listener)) {
        let Ok(line) = lines.recv_timeout(PATIENCE) else { panic!("the server does not listen:\n{}", said.join("\n")) };
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        let text = |name: &str| event.get(name).or_else(|| event.get("fields")?.get(name)).and_then(Value::as_str);
        if let Some((listener, address)) = text("listener").zip(text("address")).filter(|_| text("message") == Some("listening")) {
            addresses.insert(listener.to_owned(), address.to_owned());
        }
        said.push(line);
    }
    addresses
}
