//! What the compilation of one policy needs of everything else, and what policies share so that many of them stay small.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::Arc,
};

use crate::decide::{Forward, Grants, KeySetId, PathPattern, RangeSet};

use super::{Options, ranges::NamedRanges, references::References, url};

/// What is known while policies are compiled.
#[derive(Debug)]
pub(super) struct Context<'o> {
    pub(super) options: &'o Options,
    pub(super) references: References<'o>,
    pub(super) ranges: NamedRanges,
    /// `None` = host ownership is off.
    pub(super) grants: Option<Grants>,
    /// `--issuer-origins`, normalised; `None` = any.
    issuer_origins: Option<HashSet<String>>,
    key_set_ids: HashSet<Arc<KeySetId>>,
    forwards: HashSet<Arc<Forward>>,
    texts: HashSet<Arc<str>>,
    methods: HashMap<Vec<Box<str>>, Arc<[Box<str>]>>,
    /// By the addresses of the sets.
    ranges_lists: HashMap<Vec<usize>, Arc<[Arc<RangeSet>]>>,
}

impl<'o> Context<'o> {
    pub(super) fn new(options: &'o Options, references: References<'o>, ranges: NamedRanges, grants: Option<Grants>) -> Self {
        let normalise = |origin: &str| url::origin(origin, true).unwrap_or_else(|_| origin.to_owned());
        let issuer_origins = options.issuer_origins.as_ref().map(|origins| origins.iter().map(|origin| normalise(origin)).collect());
        Self {
            options,
            references,
            ranges,
            grants,
            issuer_origins,
            key_set_ids: HashSet::new(),
            forwards: HashSet::new(),
            texts: HashSet::new(),
            methods: HashMap::new(),
            ranges_lists: HashMap::new(),
        }
    }

    /// Whether keys may be fetched from `origin`, normalised.
    pub(super) fn allows_origin(&self, origin: &str) -> bool {
        self.issuer_origins.as_ref().is_none_or(|origins| origins.contains(origin))
    }

    /// The one copy of this id.
    pub(super) fn share_key_set(&mut self, id: KeySetId) -> Arc<KeySetId> {
        share(&mut self.key_set_ids, id)
    }

    /// The one copy of this.
    pub(super) fn share_forward(&mut self, forward: Forward) -> Arc<Forward> {
        share(&mut self.forwards, forward)
    }

    /// The one copy of this text.
    pub(super) fn share_text(&mut self, text: &str) -> Arc<str> {
        if let Some(shared) = self.texts.get(text) {
            return Arc::clone(shared);
        }
        let shared: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&shared));
        shared
    }

    /// The one copy of this list of the same sets.
    pub(super) fn share_ranges(&mut self, ranges: Vec<Arc<RangeSet>>) -> Arc<[Arc<RangeSet>]> {
        let addresses = ranges.iter().map(|set| Arc::as_ptr(set).addr()).collect();
        Arc::clone(self.ranges_lists.entry(addresses).or_insert_with(|| ranges.into()))
    }

    /// The same patterns, with the one copy of each text.
    pub(super) fn share_paths<L: FromIterator<PathPattern>>(&mut self, paths: &[PathPattern]) -> L {
        paths
            .iter()
            .map(|pattern| match pattern {
                PathPattern::Exact { path, folded } => PathPattern::Exact { path: self.share_text(path), folded: self.share_text(folded) },
                PathPattern::Prefix { path, folded } => PathPattern::Prefix { path: self.share_text(path), folded: self.share_text(folded) },
            })
            .collect()
    }

    /// The one copy of this list of methods.
    pub(super) fn share_methods(&mut self, methods: Vec<Box<str>>) -> Arc<[Box<str>]> {
        Arc::clone(self.methods.entry(methods).or_insert_with_key(|methods| methods.as_slice().into()))
    }
}

fn share<T: Eq + Hash>(known: &mut HashSet<Arc<T>>, value: T) -> Arc<T> {
    if let Some(shared) = known.get(&value) {
        return Arc::clone(shared);
    }
    let shared = Arc::new(value);
    known.insert(Arc::clone(&shared));
    shared
}
