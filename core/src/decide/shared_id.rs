//! The ids of policies, as verdicts carry them.
//!
//! Every decision names its policy. Were each id counted for itself, a decision among a hundred thousand policies would wait for memory only
//! to count that it holds one. So the ids of a set lie together and are held together: one count, which is always at hand.

use std::{fmt, ops::Deref, sync::Arc};

use super::PolicyId;

/// A policy's id, shared. Cloning it costs one count and reads nothing of the id.
#[derive(Clone)]
pub struct SharedId {
    all: Arc<Ids>,
    /// 0 = the first.
    at: u32,
}

struct Ids {
    first: PolicyId,
    others: Box<[PolicyId]>,
}

impl SharedId {
    /// One that shares nothing with others.
    #[must_use]
    pub fn new(id: PolicyId) -> Self {
        Self { all: Arc::new(Ids { first: id, others: Box::default() }), at: 0 }
    }

    /// Puts the ids in `places` together.
    pub(super) fn unite<'i>(places: impl Iterator<Item = &'i mut Self>) {
        let places: Vec<&mut Self> = places.collect();
        let mut ids = places.iter().map(|id| PolicyId::clone(id));
        let Some(first) = ids.next() else { return };
        let all = Arc::new(Ids { first, others: ids.collect() });
        for (place, at) in places.into_iter().zip(0..) {
            *place = Self { all: Arc::clone(&all), at };
        }
    }
}

impl Deref for SharedId {
    type Target = PolicyId;

    fn deref(&self) -> &PolicyId {
        debug_assert!(self.at as usize <= self.all.others.len(), "made by `new` or `unite`");
        let other = (self.at as usize).checked_sub(1).and_then(|at| self.all.others.get(at));
        other.unwrap_or(&self.all.first)
    }
}

impl From<PolicyId> for SharedId {
    fn from(id: PolicyId) -> Self {
        Self::new(id)
    }
}

/// By what the ids say.
impl PartialEq for SharedId {
    fn eq(&self, other: &Self) -> bool {
        (self.at == other.at && Arc::ptr_eq(&self.all, &other.all)) || **self == **other
    }
}

impl Eq for SharedId {}

impl fmt::Debug for SharedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl fmt::Display for SharedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::PolicyKind, *};

    fn id(name: &str) -> SharedId {
        PolicyId::new(PolicyKind::CallbackPolicy, "n", name, name).into()
    }

    #[test]
    fn ids_say_the_same_alone_and_together() {
        for count in 0..4 {
            let names: Vec<String> = (0..count).map(|number| number.to_string()).collect();
            let alone: Vec<SharedId> = names.iter().map(|name| id(name)).collect();
            let mut together = alone.clone();
            SharedId::unite(together.iter_mut());
            assert_eq!(together, alone);
            for (id, name) in together.iter().zip(&names) {
                assert_eq!((&*id.name, id.to_string(), format!("{id:?}")), (&**name, format!("n/{name}"), format!("{:?}", **id)));
                assert_eq!(together.iter().filter(|other| *other == id).count(), 1, "{name}");
                assert!(*id == id.clone());
                assert!(together.iter().all(|other| Arc::ptr_eq(&other.all, &id.all)), "they are counted together");
            }
        }
    }
}
