//! Which cores who runs on, so that who is measured has one for itself.

use std::sync::OnceLock;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where this thread, and what it starts, runs until this is dropped.
#[derive(Debug)]
pub struct Cores(CpuSet);

impl Cores {
    /// On the first core alone, of those that this process may use.
    pub fn the_first() -> Self {
        let mut first = CpuSet::new();
        first.set(first_core());
        Self::only(&first)
    }

    /// On any other core, if there is one.
    pub fn but_the_first() -> Self {
        let mut others = all_cores();
        if others.count() > 1 {
            others.unset(first_core());
        }
        Self::only(&others)
    }

    /// Does `work` there.
    pub fn during<T>(self, work: impl FnOnce() -> T) -> T {
        work()
    }

    fn only(wanted: &CpuSet) -> Self {
        let before = sched_getaffinity(None).unwrap();
        sched_setaffinity(None, wanted).unwrap();
        Self(before)
    }
}

/// The first core that this process may use.
fn first_core() -> usize {
    let allowed = all_cores();
    (0..CpuSet::MAX_CPU).find(|core| allowed.is_set(*core)).unwrap()
}

/// Those that this process may use, wherever this thread is just now.
fn all_cores() -> CpuSet {
    static ALL: OnceLock<CpuSet> = OnceLock::new();
    *ALL.get_or_init(|| sched_getaffinity(None).unwrap())
}

impl Drop for Cores {
    fn drop(&mut self) {
        sched_setaffinity(None, &self.0).unwrap();
    }
}
