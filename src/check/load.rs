//! Whether this thread has more to decide than it can, and which client takes more than its share of it.
//!
//! Every thread that answers checks keeps its own account, without a lock: a flood comes over the connections of all threads alike. A thread is
//! pressed when it has had no rest for a while. Then whoever has used more than a fair share of its time is answered `overloaded` before anything
//! is read of the request, which costs a fraction of a signature, until the thread has caught up and rests. Whoever has waited for half of the
//! time that its caller gives it is answered so, too. A thread that is not pressed refuses nobody.
//!
//! Must not know what a request asks for.

use std::{
    cell::RefCell,
    hash::BuildHasher,
    net::IpAddr,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;

/// A pause this short is none: what came meanwhile was there before.
const REST: Duration = Duration::from_micros(20);
/// How long a thread works without rest before it is pressed.
const PRESSED: Duration = Duration::from_millis(5);
/// Time is accounted for in windows of this length.
const WINDOW: Duration = Duration::from_millis(100);
/// Whoever has used less of a window than this part of it has its fair share, however many others there are: many addresses with a little each
/// shall not make one with some more look like a flood.
const NEVER_MORE_THAN: u32 = 8;
/// Time for what was allowed counts this much less: whoever shows good tokens is trusted more.
const TRUST: u32 = 4;
/// Counters in a window; a power of two.
const CELLS: usize = 1_024;
/// How long a caller waits that does not say.
const USUAL_PATIENCE: Duration = Duration::from_secs(1);

/// Why a check is not decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    /// As many as may be decided at a time are.
    InFlight,
    /// Its client has had more than its share.
    SourceShare,
    /// It has waited too long.
    Waited,
}

impl Shed {
    /// The `cause` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::InFlight => "in_flight",
            Self::SourceShare => "source_share",
            Self::Waited => "waited",
        }
    }
}

thread_local! {
    /// `None` on threads that do not say when they rest.
    static LOAD: RefCell<Option<Box<Load>>> = const { RefCell::new(None) };
}

/// This thread has nothing to do from now on. A runtime's hook calls it, and from then on the thread keeps an account.
pub fn rests() {
    with(|load| load.get_or_insert_with(|| Box::new(Load::new(Instant::now()))).slept = Some(Instant::now()));
}

/// It has something to do again.
pub fn works() {
    with(|load| {
        if let Some(load) = load {
            load.wake(Instant::now());
        }
    });
}

/// Whether a check of `source` that arrived at `arrived` should be left undecided at `now`.
pub(super) fn judge(source: Option<IpAddr>, arrived: Instant, deadline: Option<Instant>, now: Instant) -> Option<Shed> {
    with(|load| load.as_mut()?.judge(class(source), arrived, deadline, now))
}

/// A check of `source` has used `spent`.
pub(super) fn charge(source: Option<IpAddr>, spent: Duration, was_allowed: bool, now: Instant) {
    with(|load| {
        if let Some(load) = load {
            load.charge(class(source), spent, was_allowed, now);
        }
    });
}

/// Nothing in here calls back, so that the account is never in use already.
fn with<T: Default>(work: impl FnOnce(&mut Option<Box<Load>>) -> T) -> T {
    LOAD.with(|load| load.try_borrow_mut().map_or_else(|_| T::default(), |mut load| work(&mut load)))
}

/// Who counts as one client: an IPv4 address, an IPv6 network of 64 bits, and all whose address is unknown.
type Class = Option<(bool, u64)>;

fn class(source: Option<IpAddr>) -> Class {
    source.map(|source| match source {
        IpAddr::V4(address) => (false, u64::from(address.to_bits())),
        IpAddr::V6(address) => (true, (address.to_bits() >> 64) as u64),
    })
}

/// The account of one thread.
#[derive(Debug)]
struct Load {
    /// Since when it has not rested.
    busy_since: Instant,
    /// When it went to sleep, if it sleeps.
    slept: Option<Instant>,
    began: Instant,
    current: Window,
    last: Window,
}

/// Microseconds that each class has used of one window.
///
/// Classes share a counter by chance, and by another chance in each window: who shares one with a flood does so for a moment.
#[derive(Debug)]
struct Window {
    cells: Box<[u32; CELLS]>,
    /// The sum of all.
    total: u32,
    /// How many are in use.
    used: u32,
    chance: RandomState,
}

impl Window {
    fn new() -> Self {
        Self { cells: Box::new([0; CELLS]), total: 0, used: 0, chance: RandomState::default() }
    }

    fn cell(&mut self, class: Class) -> Option<&mut u32> {
        let place = self.chance.hash_one(class) as usize & (CELLS - 1);
        self.cells.get_mut(place)
    }

    fn add(&mut self, class: Class, micros: u32) {
        let Some(cell) = self.cell(class) else { return };
        let is_new = *cell == 0 && micros > 0;
        *cell = cell.saturating_add(micros);
        self.used += u32::from(is_new);
        self.total = self.total.saturating_add(micros);
    }
}

impl Load {
    fn new(now: Instant) -> Self {
        Self { busy_since: now, slept: None, began: now, current: Window::new(), last: Window::new() }
    }

    fn wake(&mut self, now: Instant) {
        if self.slept.take().is_some_and(|slept| now.saturating_duration_since(slept) >= REST) {
            self.busy_since = now;
        }
    }

    fn judge(&mut self, class: Class, arrived: Instant, deadline: Option<Instant>, now: Instant) -> Option<Shed> {
        if now.saturating_duration_since(self.busy_since) < PRESSED {
            return None;
        }
        self.turn(now);
        let patience = deadline.map_or(USUAL_PATIENCE, |deadline| deadline.saturating_duration_since(arrived)) / 2;
        if now.saturating_duration_since(arrived) > patience {
            return Some(Shed::Waited);
        }
        self.has_had_its_share(class, now).then_some(Shed::SourceShare)
    }

    /// Over about one window: all of the current one, and so much of the last one as is missing.
    fn has_had_its_share(&mut self, class: Class, now: Instant) -> bool {
        let gone = micros(now.saturating_duration_since(self.began)).min(micros(WINDOW));
        let faded = |value: u32| (u64::from(value) * u64::from(micros(WINDOW) - gone) / u64::from(micros(WINDOW))) as u32;
        let own = self.current.cell(class).map_or(0, |cell| *cell) + faded(self.last.cell(class).map_or(0, |cell| *cell));
        let all = self.current.total + faded(self.last.total);
        let classes = self.current.used.max(self.last.used);
        classes > 1 && own > all / classes && own > micros(WINDOW) / NEVER_MORE_THAN
    }

    fn charge(&mut self, class: Class, spent: Duration, was_allowed: bool, now: Instant) {
        self.turn(now);
        let spent = micros(spent);
        self.current.add(class, if was_allowed { spent / TRUST } else { spent });
    }

    /// Begins a new window when the current one is over.
    fn turn(&mut self, now: Instant) {
        let gone = now.saturating_duration_since(self.began);
        if gone >= 2 * WINDOW {
            (self.last, self.current) = (Window::new(), Window::new());
            self.began = now;
        } else if gone >= WINDOW {
            self.last = std::mem::replace(&mut self.current, Window::new());
            self.began += WINDOW;
        }
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const FLOOD: Class = Some((false, 1));
    const GOOD: Class = Some((false, 2));

    /// A thread that has worked for `busy`, mostly for the flood.
    fn pressed(busy: Duration) -> (Load, Instant) {
        let start = Instant::now();
        let mut load = Load::new(start);
        let mut now = start;
        while now < start + busy {
            now += MS;
            load.charge(FLOOD, MS, false, now);
            load.charge(GOOD, MS / 20, true, now);
        }
        (load, now)
    }

    #[test]
    fn nobody_is_refused_by_a_thread_that_rests_now_and_then() {
        let (mut load, mut now) = pressed(50 * MS);
        load.slept = Some(now);
        now += REST;
        load.wake(now);
        for class in [FLOOD, GOOD, None] {
            assert_eq!(load.judge(class, now, None, now + PRESSED / 2), None);
        }
        // Half of a rest is none.
        load.slept = Some(now + PRESSED);
        load.wake(now + PRESSED + REST / 2);
        assert_eq!(load.judge(FLOOD, now + PRESSED, None, now + PRESSED), Some(Shed::SourceShare));
    }

    #[test]
    fn a_pressed_thread_refuses_who_takes_most_and_nobody_else() {
        for busy in [20, 99, 101, 150, 199, 201, 1_000] {
            let (mut load, now) = pressed(busy * MS);
            assert_eq!(load.judge(FLOOD, now, None, now), Some(Shed::SourceShare), "after {busy} ms");
            assert_eq!(load.judge(GOOD, now, None, now), None, "after {busy} ms");
            assert_eq!(load.judge(None, now, None, now), None, "after {busy} ms");
        }
    }

    #[test]
    fn one_client_alone_has_no_share_to_exceed() {
        let start = Instant::now();
        let mut load = Load::new(start);
        load.charge(FLOOD, 90 * MS, false, start);
        assert_eq!(load.judge(FLOOD, start, None, start + 90 * MS), None);
        load.charge(GOOD, MS, false, start + 90 * MS);
        assert_eq!(load.judge(FLOOD, start + 90 * MS, None, start + 90 * MS), Some(Shed::SourceShare));
    }

    #[test]
    fn what_is_allowed_counts_a_quarter_and_many_with_little_make_none_of_some_a_flood() {
        let start = Instant::now();
        let mut load = Load::new(start);
        for address in 10..510 {
            load.charge(Some((false, address)), MS / 10, false, start);
        }
        load.charge(GOOD, 40 * MS, true, start);
        assert_eq!(load.judge(GOOD, start + 90 * MS, None, start + 90 * MS), None);
        load.charge(FLOOD, 40 * MS, false, start);
        assert_eq!(load.judge(FLOOD, start + 90 * MS, None, start + 90 * MS), Some(Shed::SourceShare));
    }

    #[test]
    fn half_of_the_callers_time_may_be_waited_and_no_more() {
        let (mut load, now) = pressed(20 * MS);
        let deadline = |wait: u32| Some(now - wait * MS + 200 * MS);
        assert_eq!(load.judge(GOOD, now - 99 * MS, deadline(99), now), None);
        assert_eq!(load.judge(GOOD, now - 101 * MS, deadline(101), now), Some(Shed::Waited));
        assert_eq!(load.judge(GOOD, now - USUAL_PATIENCE, None, now), Some(Shed::Waited));
    }

    #[test]
    fn a_flood_that_is_over_is_forgotten() {
        let (mut load, now) = pressed(500 * MS);
        let later = now + 2 * WINDOW;
        load.busy_since = now;
        load.charge(GOOD, MS, true, later);
        assert_eq!(load.judge(FLOOD, later, None, later), None);
    }

    #[test]
    fn who_shares_a_counter_is_another_chance_in_each_window() {
        let used = |window: &Window| window.cells.iter().position(|cell| *cell > 0);
        let places: std::collections::HashSet<_> = (0..32)
            .map(|_| {
                let mut window = Window::new();
                window.add(FLOOD, 1);
                used(&window)
            })
            .collect();
        assert!(places.len() > 16, "{places:?}");
    }

    #[test]
    fn a_client_is_an_address_or_a_network() {
        let class = |text: &str| class(Some(text.parse().unwrap()));
        assert_eq!(class("2001:db8::1"), class("2001:db8::ffff"));
        assert_ne!(class("2001:db8::1"), class("2001:db8:0:1::1"));
        assert_ne!(class("192.0.2.1"), class("192.0.2.2"));
        assert_ne!(class("0.0.0.1"), class("0:0:0:1::"));
    }

    #[test]
    fn a_thread_that_never_says_that_it_rests_refuses_nobody() {
        let old = Instant::now();
        charge(None, 90 * MS, false, old);
        assert_eq!(judge(None, old, Some(old), old + 10 * WINDOW), None);
        std::thread::spawn(move || {
            rests();
            assert_eq!(judge(None, old, Some(old), Instant::now() + 10 * WINDOW), Some(Shed::Waited));
        })
        .join()
        .unwrap();
    }
}
