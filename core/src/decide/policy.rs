//! What is allowed, as compiled: the form in which policies are looked up and evaluated. Immutable and shared.
//!
//! Must not know how policies are written ([`crate::api`]) or how they got here ([`crate::compile`]).

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    sync::Arc,
};

use aws_lc_rs::digest;

use super::{
    AlgorithmSet, ClaimDemand, EntraRule, EventGridRule, Few, HostName, KeySetId, KeySource, RangeSet, SharedId, credential::ActiveKeys,
    path::fold_path,
};

/// Which kind a policy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyKind {
    /// Namespaced, written by an application team.
    CallbackPolicy,
    /// Cluster-scoped, written by the operator.
    ClusterCallbackPolicy,
}

/// Who a policy is, carried into every decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyId {
    /// Its kind.
    pub kind: PolicyKind,
    /// Its namespace; empty for a cluster-scoped one.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// `metadata.uid`, or `kind/namespace/name` in files: what token reuse is counted under.
    pub uid: Box<str>,
    /// `namespace/name`, or `name` for a cluster-scoped one: what pins, logs and metrics say.
    pub label: Box<str>,
}

impl PolicyId {
    /// The id of a policy; `uid` as above.
    #[must_use]
    pub fn new(kind: PolicyKind, namespace: &str, name: &str, uid: &str) -> Self {
        let label = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
        Self { kind, namespace: namespace.into(), name: name.into(), uid: uid.into(), label: label.into() }
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

/// Whether a policy's answer is enforced or only counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// The answer stands.
    #[default]
    Enforce,
    /// The request is allowed, and the answer it would have got is counted.
    Shadow,
}

/// One policy that may hold a match slot.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Who it is.
    pub id: SharedId,
    /// Enforce or Shadow.
    pub mode: Mode,
    /// Which requests it speaks for.
    pub matches: Match,
    /// What it demands of them.
    pub rules: Rules,
}

/// What a policy demands.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "the large one is the common one, and lies with its policy for the sake of speed")]
pub enum Rules {
    /// It cannot be read, or none of it is usable: every request it matches is `policy_invalid`.
    Invalid {
        /// What is wrong, for the operator.
        problem: Box<str>,
        /// What is done to the upstream request where Shadow lets it pass, as far as it can be read.
        forward: Arc<Forward>,
    },
    /// A request must satisfy one of these senders.
    Senders {
        /// At least one.
        senders: Few<Sender>,
        /// What is done to the upstream request on allow.
        forward: Arc<Forward>,
    },
}

impl Rules {
    /// What is done to the upstream request.
    #[must_use]
    pub const fn forward(&self) -> &Arc<Forward> {
        let (Self::Invalid { forward, .. } | Self::Senders { forward, .. }) = self;
        forward
    }
}

/// Which requests a policy or floor speaks for: any of the hosts **and** any of the paths.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// The hosts.
    pub hosts: Few<HostPattern>,
    /// The paths; empty = every path.
    pub paths: Few<PathPattern>,
    /// The upstream routes without regard to case.
    pub ignore_path_case: bool,
}

/// A host in `match.hosts`, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// `callbacks.contoso.com`.
    Exact(HostName),
    /// `*.contoso.com`, kept as `contoso.com`: one or more labels before it.
    Suffix(Box<str>),
    /// `*`: every host (floors only).
    Any,
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => host.fmt(f),
            Self::Suffix(suffix) => write!(f, "*.{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// A path in `match.paths` or in a sender's `paths`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// This path and no other.
    Exact {
        /// As clients send it.
        path: Arc<str>,
        /// What it has in common with other spellings of it; the same text where nothing changes.
        folded: Arc<str>,
    },
    /// This path and everything below it, by whole segments. Kept without a trailing slash; `/` is the empty string.
    Prefix {
        /// As clients send it.
        path: Arc<str>,
        /// What it has in common with other spellings of it; the same text where nothing changes.
        folded: Arc<str>,
    },
}

impl PathPattern {
    /// This path and no other.
    #[must_use]
    pub fn exact(path: &str) -> Self {
        let (path, folded) = spell(path);
        Self::Exact { path, folded }
    }

    /// This path and everything below it; a trailing slash does not matter.
    #[must_use]
    pub fn prefix(path: &str) -> Self {
        let (path, folded) = spell(path.strip_suffix('/').unwrap_or(path));
        Self::Prefix { path, folded }
    }
}

/// A path as clients send it, which is percent-encoded beyond ASCII (RFC 3986), and folded; the two share one text where they are equal.
fn spell(path: &str) -> (Arc<str>, Arc<str>) {
    let encode = |c: char| if c.is_ascii() { c.to_string() } else { c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02X}")).collect() };
    let sent: Arc<str> = if path.is_ascii() { path.into() } else { path.chars().map(encode).collect::<String>().into() };
    let folded = match fold_path(path) {
        folded if *folded == *sent => Arc::clone(&sent),
        folded => folded.into(),
    };
    (sent, folded)
}

/// One sender of a policy.
#[derive(Clone, Debug)]
pub struct Sender {
    /// Its name, unique in the policy.
    pub name: Arc<str>,
    /// The paths it is good for; empty = all of the policy's.
    pub paths: Box<[PathPattern]>,
    /// The methods it takes.
    pub methods: MethodRule,
    /// What it demands, or what is wrong with it (then it answers `policy_invalid`).
    pub checks: Result<SenderChecks, Box<str>>,
}

/// Which methods a sender takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MethodRule {
    /// Any.
    Any,
    /// One of these.
    OneOf(Arc<[Box<str>]>),
    /// `GET` with a WebSocket upgrade (RFC 6455; over HTTP/2 RFC 8441).
    WebSocketUpgrade,
}

/// All that one sender demands; every part must pass.
#[derive(Clone, Debug)]
pub struct SenderChecks {
    /// Where it may come from.
    pub sources: Option<SourceRule>,
    /// The API key it must carry.
    pub api_key: Option<ApiKeyRule>,
    /// What Event Grid does beside delivering; `None` for every other sender.
    pub event_grid: Option<Box<EventGridRule>>,
    /// The token it must carry; `None` for `NoToken`, and for Event Grid where none is asked for.
    pub token: Option<TokenRule>,
}

/// What happens to a request from outside the ranges, or from nobody knows where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMismatch {
    /// Refused.
    Deny,
    /// Counted.
    Observe,
}

/// The addresses a sender may come from: any of the sets.
#[derive(Clone, Debug)]
pub struct SourceRule {
    /// Named sets and the inline ranges.
    pub ranges: Arc<[Arc<RangeSet>]>,
    /// What happens outside of them.
    pub on_mismatch: OnMismatch,
}

/// Where an API key travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiKeyCarrier {
    /// In this query parameter.
    Query(Arc<str>),
    /// In this header, lower case.
    Header(Arc<str>),
}

/// The API key a sender must carry.
#[derive(Clone, Debug)]
pub struct ApiKeyRule {
    /// Where.
    pub carrier: ApiKeyCarrier,
    /// What it is measured against.
    pub active: ActiveKeys,
    /// Whether it is taken out of the upstream request where the proxy can.
    pub strip: bool,
}

/// What is done about a token that was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReuseMode {
    /// Nothing, and nothing is remembered.
    Allow,
    /// It is counted.
    Observe,
    /// It is refused.
    Deny,
}

/// What a token sender demands of its token.
#[derive(Clone, Debug)]
pub struct TokenRule {
    /// `iss`: one of these.
    pub issuers: Issuers,
    /// `aud`: one of these.
    pub audiences: Audiences,
    /// Whose keys.
    pub keys: KeySource,
    /// Which algorithms.
    pub algorithms: AlgorithmSet,
    /// Tolerated difference of the two clocks, in milliseconds.
    pub clock_skew_ms: i64,
    /// Longest life of a token, in milliseconds; `None` = no cap.
    pub max_lifetime_ms: Option<i64>,
    /// A token with neither `iat` nor `nbf` is refused.
    pub require_issued_at: bool,
    /// What its other claims must say.
    pub claims: ClaimRule,
    /// What is done about reuse.
    pub reuse: ReuseMode,
    /// What its tokens are remembered under: [`reuse_scope`] of the policy and the key set.
    pub reuse_scope: [u8; 32],
}

/// What the claims of a token must say that are not measured for every sender.
#[derive(Clone, Debug)]
pub enum ClaimRule {
    /// Nothing.
    Nothing,
    /// It is Entra's, for an application of one tenant.
    Entra(Box<EntraRule>),
    /// Each of these has one of its values.
    Values(Box<[ClaimDemand]>),
}

/// Who may have issued a token, compared byte for byte: one issuer, or one under two names (Entra's, by version of the token).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuers {
    first: Arc<str>,
    second: Option<Arc<str>>,
}

impl Issuers {
    /// This one.
    #[must_use]
    pub const fn one(issuer: Arc<str>) -> Self {
        Self { first: issuer, second: None }
    }

    /// Either of these.
    #[must_use]
    pub const fn either(first: Arc<str>, second: Arc<str>) -> Self {
        Self { first, second: Some(second) }
    }

    /// Whether `issuer`, from a token, is one of them.
    #[must_use]
    pub fn contains(&self, issuer: &str) -> bool {
        *self.first == *issuer || self.second.as_ref().is_some_and(|second| **second == *issuer)
    }
}

/// For people: in backticks.
impl fmt::Display for Issuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.first)?;
        self.second.iter().try_for_each(|second| write!(f, " or `{second}`"))
    }
}

/// SHA-256 over a policy's uid and a key set, each field with its length before it: one token counts once per policy and key set.
#[must_use]
pub fn reuse_scope(policy_uid: &str, key_set: &KeySetId) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    let (second, third, fourth): (&str, &str, &str) = match key_set {
        KeySetId::Discovery { url, .. } | KeySetId::Jwks { url, .. } => (url, "", ""),
        KeySetId::ConfigMap { namespace, name, key, .. } => (namespace, name, key),
    };
    for field in [policy_uid, key_set.issuer(), second, third, fourth] {
        context.update(&(field.len() as u64).to_le_bytes());
        context.update(field.as_bytes());
    }
    let mut scope = [0; 32];
    scope.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    scope
}

/// The audiences that make a token ours. GUIDs are compared as numbers, so without regard to case; everything else byte for byte.
#[derive(Clone, Debug, Default)]
pub struct Audiences {
    own: AudienceSet,
    /// Those of `ConfigMap`s, each kept once however many senders name it. They come before the sender's own.
    shared: Box<[Arc<AudienceSet>]>,
}

/// Audiences that are kept together.
#[derive(Clone, Debug, Default)]
pub struct AudienceSet(Few<(AudienceKey, Audience)>);

/// One audience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    /// As configured: what `forward` passes on.
    pub value: Arc<str>,
    /// The operator's name for it (`audiencesFrom`), if any.
    pub name: Option<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum AudienceKey {
    Guid(u128),
    Text(Arc<str>),
}

impl Audiences {
    /// These audiences.
    pub fn new(audiences: impl IntoIterator<Item = Audience>) -> Self {
        Self::with_shared(audiences, Vec::new())
    }

    /// These audiences, and before them those of `shared`; of equal ones the first counts.
    pub fn with_shared(own: impl IntoIterator<Item = Audience>, shared: Vec<Arc<AudienceSet>>) -> Self {
        Self { own: AudienceSet::new(own), shared: shared.into() }
    }

    /// The configured audience that `audience`, from a token, equals.
    #[must_use]
    pub fn find(&self, audience: &str) -> Option<&Audience> {
        let guid = parse_guid(audience);
        self.shared.iter().find_map(|set| set.find(audience, guid)).or_else(|| self.own.find(audience, guid))
    }

    /// How many there are, each as often as it is listed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.iter().map(|set| set.len()).sum::<usize>() + self.own.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl AudienceSet {
    /// The set of these audiences; of equal ones the first counts.
    pub fn new(audiences: impl IntoIterator<Item = Audience>) -> Self {
        let key = |value: &Arc<str>| parse_guid(value).map_or_else(|| AudienceKey::Text(Arc::clone(value)), AudienceKey::Guid);
        let mut entries: Vec<_> = audiences.into_iter().map(|audience| (key(&audience.value), audience)).collect();
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        entries.dedup_by(|(later, _), (earlier, _)| later == earlier);
        Self(entries.into())
    }

    /// How many there are.
    fn len(&self) -> usize {
        self.0.len()
    }

    /// The one that equals `audience`, whose number is `guid` if it is a GUID.
    fn find(&self, audience: &str, guid: Option<u128>) -> Option<&Audience> {
        let order = |key: &AudienceKey| match (key, guid) {
            (AudienceKey::Guid(known), Some(guid)) => known.cmp(&guid),
            (AudienceKey::Guid(_), None) => std::cmp::Ordering::Less,
            (AudienceKey::Text(_), Some(_)) => std::cmp::Ordering::Greater,
            (AudienceKey::Text(known), None) => (**known).cmp(audience),
        };
        let at = self.0.binary_search_by(|(key, _)| order(key)).ok()?;
        self.0.get(at).map(|(_, audience)| audience)
    }
}

/// The number that a GUID in its 8-4-4-4-12 form stands for; `None` for any other text.
#[must_use]
pub fn parse_guid(text: &str) -> Option<u128> {
    const GROUPS: [std::ops::Range<usize>; 5] = [0..8, 9..13, 14..18, 19..23, 24..36];
    let bytes: &[u8; 36] = text.as_bytes().try_into().ok()?;
    if [bytes.get(8), bytes.get(13), bytes.get(18), bytes.get(23)] != [Some(&b'-'); 4] {
        return None;
    }
    let mut guid: u128 = 0;
    for group in GROUPS {
        let digits = bytes.get(group)?;
        guid = guid << (4 * digits.len()) | u128::from(parse_hex(digits)?);
    }
    Some(guid)
}

/// The number that at most 16 hexadecimal digits stand for.
fn parse_hex(digits: &[u8]) -> Option<u64> {
    // What is no digit is noticed once, at the end, by bits that no digit has.
    let value = |digit: &u8| char::from(*digit).to_digit(16).unwrap_or(u32::MAX);
    let (number, bits) =
        digits.iter().map(value).fold((0, 0), |(number, bits): (u64, u32), value| (number << 4 | u64::from(value & 0xf), bits | value));
    (bits <= 0xf).then_some(number)
}

/// What is done to the upstream request on allow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Forward {
    /// Header name (lower case) and the claim it carries.
    pub headers: Box<[(Arc<str>, Box<str>)]>,
    /// Headers always removed: underscore aliases of the names above, `authorization` under `Remove`, header API keys to strip.
    pub remove: Box<[Arc<str>]>,
    /// Query parameters always removed: the API keys to strip, of all senders.
    pub strip_query: Box<[Arc<str>]>,
}

impl Forward {
    /// Takes out whatever one of `forwards` sets, removes or strips.
    pub(super) fn without_all<'f>(forwards: impl IntoIterator<Item = &'f Arc<Self>>) -> Self {
        let (mut seen, mut remove, mut strip_query) = (HashSet::new(), BTreeSet::new(), BTreeSet::new());
        for forward in forwards.into_iter().filter(|forward| seen.insert(Arc::as_ptr(forward))) {
            remove.extend(forward.headers.iter().map(|(name, _)| name).chain(&forward.remove).map(Arc::clone));
            strip_query.extend(forward.strip_query.iter().map(Arc::clone));
        }
        Self { headers: Box::default(), remove: remove.into_iter().collect(), strip_query: strip_query.into_iter().collect() }
    }
}

/// A floor: a `ClusterCallbackPolicy` with `applies: Always`.
#[derive(Clone, Debug)]
pub struct Floor {
    /// Who it is.
    pub id: SharedId,
    /// A Shadow floor only counts.
    pub mode: Mode,
    /// Which requests it speaks for.
    pub matches: Match,
    /// Where those may come from, or what is wrong with it (then it answers `policy_invalid`).
    pub sources: Result<SourceRule, Box<str>>,
}

/// What happens to a request that no policy covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Unmatched {
    /// 403 `no_policy`.
    #[default]
    Deny,
    /// 503 `no_policy`, for Event Grid, which drops what is refused.
    Unavailable,
    /// Allowed, if no policy claims the host.
    Allow,
}

#[cfg(test)]
mod tests;
