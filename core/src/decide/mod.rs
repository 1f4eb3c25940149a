//! One check: a [`Request`], a [`PolicySet`], a [`KeyRing`] and the time in, one [`Decided`] out.
//!
//! Pure: nothing in here waits, reads a clock, logs or counts. Whatever is not understood is denied.
//!
//! | file | what it knows |
//! |---|---|
//! | `request` | what was asked, normalised once: host, query, headers, source |
//! | `path` | paths that every upstream reads alike, and what several spellings of one have in common |
//! | `policy` | what is allowed, as compiled: policies, senders, floors |
//! | `grants` | which namespaces may speak for a host |
//! | `host_name`, `shared_id` | what a policy is found by and told by, kept so that many policies cost no more than one |
//! | `index` | which policy speaks for a host and a path |
//! | `few` | lists that mostly hold one item |
//! | `piece`, `scan` | texts that lie within another text; searching short ones |
//! | `network` | address ranges |
//! | `jwks` | the reader of key sets, key by key |
//! | `keys` | public keys, parsed once, and the one place that verifies a signature |
//! | `token` | the strict parser of signed tokens |
//! | `claims` | what a token says, measured against a policy and the time |
//! | `entra` | what a token of Microsoft Entra says beyond that |
//! | `demands` | values that a policy asks of claims |
//! | `credential` | the API key in a query or a header |
//! | `handshake` | Event Grid's validation handshake: what is one, and its answer |
//! | `signed_url` | signatures over a request's own URL |
//! | `sender` | one sender of a policy, all its checks in order of cost |
//! | `evaluate` | from the request to the verdict: floors, policy, senders, Shadow |
//! | `verdict`, `reason` | what was decided and why |
//! | `trace`, `explain` | the steps that led there, for people |

mod base64url;
mod claims;
mod credential;
mod demands;
mod entra;
mod evaluate;
mod explain;
mod few;
mod grants;
mod handshake;
mod host_name;
mod index;
mod json;
mod jwks;
mod keys;
mod network;
mod path;
mod piece;
mod policy;
mod reason;
mod request;
mod scan;
mod sender;
mod shared_id;
mod signed_url;
mod time;
mod token;
mod trace;
mod verdict;

/// A map for lookups by what comes from the wire, filled only from the configuration: a fast hash is enough, since no stranger inserts.
pub(crate) type Map<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

pub use credential::ActiveKeys;
pub use demands::{ClaimDemand, ClaimName, ClaimValue, Decimal};
pub use entra::EntraRule;
pub use evaluate::decide;
pub use few::Few;
pub use grants::Grants;
pub use handshake::{EventGridRule, HandshakeMode};
pub use host_name::HostName;
pub use index::{PolicySet, PolicySetParts};
pub use jwks::{JwksError, KeySetReading, MAX_JWKS, MAX_KEYS, RejectedKey, read_key_set};
pub use keys::{Algorithm, AlgorithmSet, FetchedKeys, KeyRing, KeySet, KeySetId, KeySource, VerifyingKey};
pub use network::RangeSet;
pub use path::Path;
pub use policy::{
    ApiKeyCarrier, ApiKeyRule, Audience, AudienceSet, Audiences, ClaimRule, Floor, Forward, HostPattern, Issuers, Match, MethodRule, Mode,
    OnMismatch, PathPattern, Policy, PolicyId, PolicyKind, ReuseMode, Rules, Sender, SenderChecks, SourceRule, TokenRule, Unmatched, parse_guid,
    reuse_scope,
};
pub use reason::{Class, Reason};
pub use request::{Body, Header, Headers, Host, RawRequest, Request, Target, Wire};
pub use shared_id::SharedId;
pub use signed_url::{SigningKey, UrlSigning};
pub use time::Now;
pub use trace::{NoTrace, Step, StepOutcome, Trace};
pub use verdict::{
    About, Allow, AllowReason, Answer, Decided, Decision, Mutations, PendingAllow, PendingAnswer, ReuseAnswer, ReuseClaim, TokenFacts, Verdict,
    WantedKey,
};
