//! Whether traffic should be sent here: named conditions, each held by the room that knows.

use std::sync::Arc;

use tokio::sync::watch;

/// All conditions of this process. Ready = every one of them holds. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<watch::Sender<Vec<Condition>>>);

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
        let missing = Some(missing.into());
        self.0.send_modify(|conditions| conditions.push(Condition { name, missing }));
        Guard { readiness: self.clone(), name }
    }

    /// Whether every condition holds.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        all_hold(&self.0.borrow())
    }

    /// Waits until every condition holds.
    pub async fn ready(&self) {
        // The sender lives as long as this borrow of it: the wait cannot fail.
        let _ = self.0.subscribe().wait_for(|conditions| all_hold(conditions)).await;
    }

    /// Every condition's name, and why it does not hold if it does not.
    #[must_use]
    pub fn report(&self) -> Vec<(&'static str, Option<String>)> {
        self.0.borrow().iter().map(|condition| (condition.name, condition.missing.clone())).collect()
    }
}

fn all_hold(conditions: &[Condition]) -> bool {
    conditions.iter().all(|condition| condition.missing.is_none())
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
        self.set(Some(&why.into()));
    }

    /// Tells nobody when nothing changes.
    fn set(&self, missing: Option<&str>) {
        self.readiness.0.send_if_modified(|conditions| {
            let mut changed = false;
            for condition in conditions.iter_mut().filter(|condition| condition.name == self.name && condition.missing.as_deref() != missing) {
                condition.missing = missing.map(str::to_owned);
                changed = true;
            }
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ready_is_when_every_condition_holds() {
        let readiness = Readiness::default();
        assert!(readiness.is_ready());
        let (one, other) = (readiness.condition("one", "not yet"), readiness.condition("other", "not yet"));
        one.met();
        assert!(!readiness.is_ready());
        other.met();
        assert!(readiness.is_ready());
        one.missing("lost");
        assert_eq!(readiness.report(), [("one", Some("lost".to_owned())), ("other", None)]);
    }

    #[tokio::test]
    async fn whoever_waits_is_told() {
        let readiness = Readiness::default();
        let guard = readiness.condition("one", "not yet");
        let waiting = readiness.clone();
        let waiter = tokio::spawn(async move { waiting.ready().await });
        assert!(tokio::time::timeout(Duration::from_millis(10), readiness.ready()).await.is_err());
        guard.met();
        assert!(waiter.await.is_ok());
    }
}
