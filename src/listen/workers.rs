//! One thread and one single-threaded runtime per core; connections are dealt to them in turn, so that no core idles while another queues.
//!
//! Must not know: what a connection speaks.

use std::{
    future::Future,
    io,
    num::NonZeroUsize,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    thread::{self, JoinHandle},
};

use tokio::{
    runtime::{Builder, LocalOptions, LocalRuntime},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::spawn_local,
};

use crate::check;

/// Work that stays on the thread it is dealt to.
pub(super) type Job = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// The threads. Dropping it ends them, whatever they are doing.
#[derive(Debug)]
pub(super) struct Workers {
    hands: Vec<UnboundedSender<Job>>,
    next: AtomicUsize,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// The system's, when it gives no thread or no reactor.
    pub(super) fn start(count: NonZeroUsize) -> io::Result<Self> {
        let mut workers = Self { hands: Vec::new(), next: AtomicUsize::new(0), threads: Vec::new() };
        for number in 0..count.get() {
            let (hand, jobs) = unbounded_channel();
            let (started, start) = std::sync::mpsc::sync_channel(1);
            let thread = thread::Builder::new().name(format!("check-{number}")).spawn(move || {
                let mut builder = Builder::new_current_thread();
                builder.enable_all().on_thread_park(check::rests).on_thread_unpark(check::works);
                match builder.build_local(LocalOptions::default()) {
                    Ok(runtime) => {
                        let _ = started.send(Ok(()));
                        run(&runtime, jobs);
                    }
                    Err(error) => {
                        let _ = started.send(Err(error));
                    }
                }
            })?;
            start.recv().map_err(|_| io::Error::other("a worker thread ended at its start"))??;
            workers.hands.push(hand);
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// Gives `job` to the next thread in turn.
    pub(super) fn deal(&self, job: Job) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let mut job = Some(job);
        for offset in 0..self.hands.len() {
            let hand = self.hands.get(turn.wrapping_add(offset) % self.hands.len());
            let Some((hand, dealt)) = hand.zip(job.take()) else { return };
            match hand.send(dealt) {
                Ok(()) => return,
                Err(refused) => job = Some(refused.0), // that thread has died: the next one takes it
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.hands.clear();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a worker thread had panicked");
            }
        }
    }
}

/// Runs jobs until nobody can deal any more; what still runs then is dropped with the runtime.
fn run(runtime: &LocalRuntime, mut jobs: UnboundedReceiver<Job>) {
    runtime.block_on(async {
        while let Some(job) = jobs.recv().await {
            spawn_local(job());
        }
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use std::{collections::HashMap, sync::mpsc};

    use super::*;

    #[test]
    fn jobs_are_dealt_in_turn() {
        let workers = Workers::start(NonZeroUsize::new(3).unwrap()).unwrap();
        let (sender, receiver) = mpsc::channel();
        for _ in 0..9 {
            let sender = sender.clone();
            workers.deal(Box::new(move || Box::pin(async move { sender.send(thread::current().name().unwrap().to_owned()).unwrap() })));
        }
        drop(sender);
        let mut counts = HashMap::new();
        for name in receiver {
            *counts.entry(name).or_insert(0) += 1;
        }
        assert_eq!(counts, ["check-0", "check-1", "check-2"].map(|name| (name.to_owned(), 3)).into());
    }

    #[test]
    fn a_panicking_job_harms_no_other() {
        let workers = Workers::start(NonZeroUsize::MIN).unwrap();
        let (sender, receiver) = mpsc::channel();
        workers.deal(Box::new(|| Box::pin(async { panic!("on purpose") })));
        workers.deal(Box::new(move || Box::pin(async move { sender.send(()).unwrap() })));
        receiver.recv().unwrap();
    }

    #[test]
    fn dropping_the_workers_ends_what_they_do() {
        let workers = Workers::start(NonZeroUsize::MIN).unwrap();
        let (sender, receiver) = mpsc::channel::<()>();
        workers.deal(Box::new(move || {
            Box::pin(async move {
                let _held = sender;
                std::future::pending::<()>().await;
            })
        }));
        drop(workers);
        assert_eq!(receiver.recv(), Err(mpsc::RecvError));
    }
}
