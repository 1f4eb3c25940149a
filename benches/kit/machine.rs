//! What this machine is, and how much else it does meanwhile.

use std::{fmt, fs, thread, time::Instant};

use serde_json::{Value, json};

/// More of the machine than this used by others, and figures are not to be trusted.
const DISTURBED: f64 = 0.05;
/// Ticks per second of `/proc/stat`.
const TICKS: f64 = 100.0;

/// Looks at the machine from its start on.
#[derive(Debug)]
pub struct Watch {
    began: Instant,
    busy: f64,
    stolen: f64,
    load: String,
}

/// What the figures were measured under.
#[derive(Debug)]
pub struct Circumstances {
    processor: String,
    processors: usize,
    memory_gb: f64,
    kernel: String,
    load_before: String,
    /// The part of the machine's time that others used, on average.
    others: f64,
    /// The part that the hypervisor gave to somebody else.
    stolen: f64,
}

impl Watch {
    pub fn start() -> Self {
        let (busy, stolen) = busy_and_stolen();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let watch = Self { began: Instant::now(), busy, stolen, load: load.split(' ').take(3).collect::<Vec<_>>().join(" ") };
        if watch.load.split(' ').next().and_then(|load| load.parse::<f64>().ok()).is_some_and(|load| load > 0.7) {
            eprintln!("the machine is busy (load {}): ratios may be off, absolute figures are", watch.load);
        }
        watch
    }

    pub fn finish(self) -> Circumstances {
        let (busy, stolen) = busy_and_stolen();
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let whole = self.began.elapsed().as_secs_f64() * processors as f64;
        let first_of = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
            line.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory_kb = first_of("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0.0);
        Circumstances {
            processor: first_of("/proc/cpuinfo", "model name"),
            processors,
            memory_gb: memory_kb / 1024.0 / 1024.0,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            load_before: self.load,
            others: ((busy - self.busy - own()) / whole).max(0.0),
            stolen: (stolen - self.stolen) / whole,
        }
    }
}

/// Seconds that all processors were busy, and that were stolen from them, since the start.
fn busy_and_stolen() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<f64> = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0.0)).collect();
    let seconds = |places: &[usize]| places.iter().filter_map(|place| fields.get(*place)).sum::<f64>() / TICKS;
    // user, nice, system, irq and softirq; then steal.
    (seconds(&[0, 1, 2, 5, 6]), seconds(&[7]))
}

/// Seconds of CPU that this process and those it started and saw end have used.
fn own() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // utime, stime, cutime, cstime: fields 14 to 17, counted from the pid; the name before them may hold spaces.
    let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    after_name.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / TICKS
}

impl Circumstances {
    /// What to say if the machine was not ours alone.
    pub fn warning(&self) -> Option<String> {
        let (others, stolen) = (self.others * 100.0, self.stolen * 100.0);
        let disturbed = self.others > DISTURBED || self.stolen > DISTURBED;
        disturbed
            .then(|| format!("the machine was not ours alone: others used {others:.0} % of it, {stolen:.0} % was stolen; run again when it is quiet"))
    }

    pub fn json(&self) -> Value {
        let Self { processor, processors, memory_gb, kernel, load_before, others, stolen } = self;
        json!({
            "processor": processor, "processors": processors, "memoryGiB": memory_gb, "kernel": kernel,
            "loadBefore": load_before, "usedByOthers": others, "stolen": stolen,
        })
    }
}

impl fmt::Display for Circumstances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, processors, memory_gb, kernel, load_before, others, stolen } = self;
        let (others, stolen) = (others * 100.0, stolen * 100.0);
        write!(
            f,
            "{processors} x {processor}, {memory_gb:.0} GiB, Linux {kernel}; load before {load_before}; others used {others:.1} %, stolen {stolen:.1} %"
        )
    }
}
