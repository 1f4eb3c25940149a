//! How many key sets are kept: nobody may make this service fetch from everywhere.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::decide::{KeySetId, KeySource, Rules, Sender};

use super::{
    call_automation::acs_key_set,
    context::Context,
    findings::{Field, reasons},
    policies::Draft,
};

/// Most key sets of one namespace.
const PER_NAMESPACE: usize = 8;
/// Most key sets in all.
const IN_ALL: usize = 256;

/// Which key sets are kept fetched.
#[derive(Debug)]
pub(super) struct KeySets {
    kept: BTreeSet<Arc<KeySetId>>,
    by_namespace: HashMap<Box<str>, BTreeSet<Arc<KeySetId>>>,
    acs: Arc<KeySetId>,
}

impl KeySets {
    /// ACS's own, which is always kept and counts for nobody.
    pub(super) fn new(context: &mut Context<'_>) -> Self {
        let acs = context.share_key_set(acs_key_set());
        Self { kept: BTreeSet::from([Arc::clone(&acs)]), by_namespace: HashMap::new(), acs }
    }

    /// Keeps what the senders of `draft`, which holds its places, need; those for which there is no room become unsound.
    pub(super) fn reserve(&mut self, draft: &mut Draft<'_>) {
        let namespace = draft.policy.id.namespace.clone();
        let Rules::Senders { senders, .. } = &mut draft.policy.rules else { return };
        let at = Field::SPEC.key("senders");
        for (index, sender) in senders.iter_mut().enumerate() {
            let Some(id) = fetched(sender) else { continue };
            if let Err(message) = self.reserve_one(&namespace, &id) {
                draft.findings.error(&at.index(index), reasons::KEY_SET_QUOTA, message.clone());
                sender.checks = Err(message.into());
            }
        }
    }

    fn reserve_one(&mut self, namespace: &str, id: &Arc<KeySetId>) -> Result<(), String> {
        if *id == self.acs {
            return Ok(());
        }
        let own = self.by_namespace.entry(namespace.into()).or_default();
        if own.contains(id) {
            return Ok(());
        }
        if own.len() == PER_NAMESPACE && !namespace.is_empty() {
            return Err(format!(
                "namespace `{namespace}` already uses {PER_NAMESPACE} key sets, the most there may be; this sender's is not fetched"
            ));
        }
        if self.kept.len() == IN_ALL && !self.kept.contains(id) {
            return Err(format!("there are {IN_ALL} key sets in use, the most there may be; this sender's is not fetched"));
        }
        own.insert(Arc::clone(id));
        self.kept.insert(Arc::clone(id));
        Ok(())
    }

    /// The key sets to keep fetched.
    pub(super) fn into_kept(self) -> BTreeSet<Arc<KeySetId>> {
        self.kept
    }
}

/// The key set that a sound sender needs fetched.
fn fetched(sender: &Sender) -> Option<Arc<KeySetId>> {
    match &sender.checks.as_ref().ok()?.token.as_ref()?.keys {
        KeySource::Fetched(id) => Some(Arc::clone(id)),
        KeySource::Given(..) => None,
    }
}
