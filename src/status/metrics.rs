//! What is counted of the writing of statuses.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// How one attempt to write a status ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteResult {
    /// It stands there.
    Written,
    /// The object was changed at the same time; it is read and tried again.
    Conflict,
    /// The object is there no more.
    Gone,
    /// The API server refuses it: a right is missing, or the definitions are other ones.
    Refused,
    /// The API server could not be reached, or could not answer.
    Failed,
}

impl WriteResult {
    pub(super) const ALL: &'static [Self] = &[Self::Written, Self::Conflict, Self::Gone, Self::Refused, Self::Failed];

    const fn label(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Conflict => "conflict",
            Self::Gone => "gone",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// The metrics of this room.
#[derive(Clone, Debug)]
pub struct StatusMetrics {
    writes: IntCounterVec,
    leader: IntGauge,
}

impl StatusMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let writes = Opts::new("ringfence_status_writes_total", "Attempts to write an object's status, by how they ended.");
        let writes = IntCounterVec::new(writes, &["result"])?;
        let leader = IntGauge::new("ringfence_status_leader", "1 on the replica that writes the statuses, 0 on the others.")?;
        registry.register(Box::new(writes.clone()))?;
        registry.register(Box::new(leader.clone()))?;
        WriteResult::ALL.iter().for_each(|result| drop(writes.with_label_values(&[result.label()])));
        Ok(Self { writes, leader })
    }

    pub(super) fn wrote(&self, result: WriteResult) {
        self.writes.with_label_values(&[result.label()]).inc();
    }

    /// Says that this replica writes, until what is returned is dropped.
    pub(super) fn leads(&self) -> Leads {
        self.leader.set(1);
        Leads(self.leader.clone())
    }
}

/// Held by the replica that writes, for as long as it does.
#[derive(Debug)]
pub(super) struct Leads(IntGauge);

impl Drop for Leads {
    fn drop(&mut self) {
        self.0.set(0);
    }
}
