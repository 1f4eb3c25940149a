//! A process that a test started: its output is kept, it ends with the test, and a failing test shows what it said.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::wait_for;

/// Lines of output that a failing test shows of each process.
const SHOWN: usize = 40;

/// A running process. Killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    has_children: bool,
    output: Output,
    readers: [JoinHandle<()>; 2],
}

/// What a process has written so far, both streams, line by line.
#[derive(Clone, Default)]
pub struct Output(Arc<Mutex<Vec<String>>>);

impl Output {
    /// The lines from number `from` on.
    pub fn lines_from(&self, from: usize) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().skip(from).cloned().collect()
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn follow(&self, stream: impl Read + Send + 'static) -> JoinHandle<()> {
        let lines = Arc::clone(&self.0);
        thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                line.clear();
            }
        })
    }
}

impl Process {
    /// Starts `command`; `name` is what messages call it.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started ({command:?}): {error}"));
        let output = Output::default();
        let readers = [output.follow(child.stdout.take().unwrap()), output.follow(child.stderr.take().unwrap())];
        Self { name: name.to_owned(), child, has_children: false, output, readers }
    }

    /// Says that it has children, which only it can end: it is asked to end before it is killed.
    pub fn with_children(mut self) -> Self {
        self.has_children = true;
        self
    }

    /// What it has written so far.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Fails when it has ended.
    pub fn must_run(&mut self) {
        let ended = self.ended();
        assert!(ended.is_none(), "{} ended with {}", self.name, ended.unwrap());
    }

    /// Waits until `find` finds something in a line of its output. Fails when it ends before.
    pub async fn wait_for_line<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let mut read = 0;
        let what = format!("{}: {what}", self.name);
        wait_for(&what, async || {
            let silent = self.readers.iter().all(JoinHandle::is_finished);
            let lines = self.output.lines_from(read);
            read += lines.len();
            let found = lines.iter().find_map(|line| find(line));
            assert!(found.is_some() || !silent, "{what}: it ended before");
            found
        })
        .await
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends it this signal.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status().unwrap();
        assert!(sent.success(), "{} could not be sent SIG{name}", self.name);
    }

    /// Waits until it has ended by itself, at most `patience`.
    pub async fn wait_for_end(&mut self, patience: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        super::wait_within(patience, &what, async || self.ended()).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ended = self.ended();
        if self.has_children && ended.is_none() {
            self.terminate();
            let deadline = Instant::now() + Duration::from_secs(5);
            while self.ended().is_none() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let from = self.output.len().saturating_sub(SHOWN);
            eprintln!("--- {} ({})", self.name, ended.map_or_else(|| "was running".to_owned(), |status| status.to_string()));
            for line in self.output.lines_from(from) {
                eprintln!("{line}");
            }
        }
    }
}
