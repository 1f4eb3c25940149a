//! Whether traffic should be sent here: named conditions, each held by the room that knows.

use std::sync::{Arc, Mutex, PoisonError};

/// All conditions of this process. Ready = every one of them holds. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<Vec<Condition>>>);

#[derive(Clone, Debug)]
struct Condition {
    name: &'static str,
    /// `None` = it holds; else why not, for people.
    missing: Option<String>,
}

impl Readiness {
    /// Adds a condition that does not hold yet, for the reason `missing`.
    #[must_use]
    pub fn condition(&self, name: &'static str, missing: impl Into<String>) -> Guard {
        self.lock().push(Condition { name, missing: Some(missing.into()) });
        Guard { readiness: self.clone(), name }
    }

    /// Whether every condition holds.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.lock().iter().all(|condition| condition.missing.is_none())
    }

    /// Every condition's name, and why it does not hold if it does not.
    #[must_use]
    pub fn report(&self) -> Vec<(&'static str, Option<String>)> {
        self.lock().iter().map(|condition| (condition.name, condition.missing.clone())).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Condition>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One condition, held by the room that knows whether it is met.
#[derive(Debug)]
pub struct Guard {
    readiness: Readiness,
    name: &'static str,
}

impl Guard {
    /// It holds now.
    pub fn met(&self) {
        self.set(None);
    }

    /// It does not hold, for this reason.
    pub fn missing(&self, why: impl Into<String>) {
        self.set(Some(why.into()));
    }

    fn set(&self, missing: Option<String>) {
        for condition in self.readiness.lock().iter_mut().filter(|condition| condition.name == self.name) {
            condition.missing.clone_from(&missing);
        }
    }
}
