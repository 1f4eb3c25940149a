//! How often each policy answers at the edge: a handshake costs no token, so that anybody with the API key might ask for answers without end.
//!
//! Must not know what is answered.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use ringfence_core::decide::PolicyId;

/// Answers of one policy in [`WINDOW`].
const MOST: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);
/// Policies whose answers are counted at a time; beyond that those are forgotten whose window is over.
const POLICIES: usize = 4096;

/// The answers of every policy in its current window.
#[derive(Debug)]
pub(super) struct Turns {
    most: u32,
    windows: Mutex<HashMap<Box<str>, Window>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { most: MOST, windows: Mutex::default() }
    }
}

#[derive(Debug)]
struct Window {
    began: Instant,
    answers: u32,
}

impl Window {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= WINDOW
    }
}

impl Turns {
    /// As many answers as are asked for.
    pub(super) fn without_bound() -> Self {
        Self { most: u32::MAX, windows: Mutex::default() }
    }

    /// Whether `policy` may give one more answer at `now`, which then counts.
    pub(super) fn take(&self, policy: &PolicyId, now: Instant) -> bool {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= POLICIES && !windows.contains_key(&policy.uid) {
            windows.retain(|_, window| !window.is_over(now));
            // FAIL-CLOSED: more policies than are counted answer within one second: the next one waits.
            if windows.len() >= POLICIES {
                return false;
            }
        }
        let window = windows.entry(policy.uid.clone()).or_insert(Window { began: now, answers: 0 });
        if window.is_over(now) {
            *window = Window { began: now, answers: 0 };
        }
        window.answers = window.answers.saturating_add(1);
        window.answers <= self.most
    }
}

#[cfg(test)]
mod tests {
    use ringfence_core::decide::PolicyKind;

    use super::*;

    fn policy(name: &str) -> PolicyId {
        PolicyId::new(PolicyKind::CallbackPolicy, "contoso", name, name)
    }

    #[test]
    fn ten_a_second_and_each_policy_for_itself() {
        let (turns, start) = (Turns::default(), Instant::now());
        let taken = |name: &str, after: u64| (0..100).filter(|_| turns.take(&policy(name), start + Duration::from_millis(after))).count();
        assert_eq!(taken("a", 0), 10);
        assert_eq!(taken("a", 999), 0);
        assert_eq!(taken("b", 999), 10);
        assert_eq!(taken("a", 1000), 10);
        assert_eq!(taken("a", 1999), 0);
        assert_eq!(taken("a", 60_000), 10);
    }

    #[test]
    fn an_answer_too_many_is_no_answer_however_many_policies_there_are() {
        let (turns, start) = (Turns::default(), Instant::now());
        let taken = (0..POLICIES + 10).filter(|number| turns.take(&policy(&number.to_string()), start)).count();
        assert_eq!(taken, POLICIES);
        assert!(turns.take(&policy("late"), start + WINDOW));
        assert_eq!(turns.windows.lock().map(|windows| windows.len()).ok(), Some(1));
    }
}
