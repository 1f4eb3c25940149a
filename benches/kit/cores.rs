//! Which cores who runs on, so that who is measured has one for itself.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where this thread, and what it starts, runs until this is dropped.
#[derive(Debug)]
pub struct Cores(CpuSet);

impl Cores {
    /// On the first core alone.
    pub fn the_first() -> Self {
        let mut first = CpuSet::new();
        first.set(0);
        Self::only(&first)
    }

    /// On any other core, if there is one.
    pub fn but_the_first() -> Self {
        let mut others = sched_getaffinity(None).unwrap();
        if others.count() > 1 {
            others.unset(0);
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

impl Drop for Cores {
    fn drop(&mut self) {
        sched_setaffinity(None, &self.0).unwrap();
    }
}
