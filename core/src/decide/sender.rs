//! One sender of a policy: all that it demands, in order of cost.

use std::{fmt, sync::Arc};

use super::{
    About, Answer, ApiKeyCarrier, Audience, ClaimRule, EventGridRule, FetchedKeys, Header, KeyRing, KeySetId, KeySource, MethodRule, Now, OnMismatch,
    Reason, Request, SenderChecks, SourceRule, Step, StepOutcome, TokenFacts, TokenRule, Trace, VerifyingKey, claims,
    credential::{self, Sought},
    demands, entra,
    explain::{self, SourceNote},
    handshake::{self, Handshake},
    network::is_private,
    token::{self, Token},
};

/// What is worked out once per request, however many senders look at it.
pub(super) struct Evidence<'r> {
    request: &'r Request<'r>,
    authorization: Header<'r>,
    /// The API key, where one of the senders looks for it.
    sought: Option<Sought<'r>>,
    keys: &'r KeyRing,
    now: Now,
    token: Option<Result<Token<'r>, Reason>>,
    /// Keys that the token's signature was tried with, by address, and whether it was theirs: one nearly always, then others.
    tried: Option<(*const VerifyingKey, bool)>,
    tried_too: Vec<(*const VerifyingKey, bool)>,
}

/// What a sender's demands came to when all of them are met.
#[derive(Debug)]
pub(super) struct Met<'p> {
    /// The audience that the token matched; `None` where the sender asked for no token.
    pub(super) audience: Option<&'p Audience>,
    /// What it is answered with at the edge instead of passing.
    pub(super) answer: Option<Box<Answer>>,
    /// The source lies outside the sender's ranges, which it only observes.
    pub(super) source_mismatch: bool,
}

/// Why a sender's demands are not met.
#[derive(Debug)]
pub(super) struct Unmet {
    pub(super) reason: Reason,
    /// The set to fetch, if a newer one may hold the key.
    pub(super) wanted_key: Option<Arc<KeySetId>>,
}

impl From<Reason> for Unmet {
    fn from(reason: Reason) -> Self {
        Self { reason, wanted_key: None }
    }
}

impl<'r> Evidence<'r> {
    pub(super) fn new(request: &'r Request<'r>, authorization: Header<'r>, sought: Option<Sought<'r>>, keys: &'r KeyRing, now: Now) -> Self {
        Self { request, authorization, sought, keys, now, token: None, tried: None, tried_too: Vec::new() }
    }

    /// Whether the token that was read has a good signature of a key that was asked for.
    pub(super) fn is_verified(&self) -> bool {
        self.tried.iter().chain(&self.tried_too).any(|(_, verified)| *verified)
    }

    /// The token, if one was read and has the right form.
    pub(super) fn token(&self) -> Option<&Token<'r>> {
        self.token.as_ref()?.as_ref().ok()
    }

    /// What the token says of itself, for the log; there is none any more after that. `audience` is the matched one.
    pub(super) fn take_token_facts(&mut self, audience: Option<&Audience>) -> Option<TokenFacts> {
        let Some(Ok(token)) = &mut self.token else { return None };
        let facts = token.take_facts(audience.map(|audience| &*audience.value));
        self.token = None;
        Some(facts)
    }

    /// Checks everything that `checks` demands.
    pub(super) fn check<'p>(
        &mut self,
        checks: &'p SenderChecks,
        about: &mut About,
        steps: &mut SenderSteps<'_, impl Trace>,
    ) -> Result<Met<'p>, Unmet> {
        let mut source_mismatch = false;
        if let Some(rule) = &checks.sources {
            let result = check_source(self.request, rule, about);
            steps.add("source", result.map(|_| ()), format_args!("{}", SourceNote { request: self.request, result }));
            source_mismatch = result?;
        }
        if let Some(rule) = &checks.api_key {
            let result = credential::check_api_key(self.request, rule, self.sought.as_ref(), self.now);
            steps.add("api key", result, format_args!("{}", credential::KeyNote { request: self.request, rule, now: self.now }));
            result?;
        }
        if let Some(rule) = &checks.event_grid {
            let handshake = check_delivery(self.request, rule, steps)?;
            if let Some(handshake) = handshake {
                let answer = match handshake {
                    Handshake::Answer(answer) => Some(Box::new(answer)),
                    Handshake::Pass => None,
                };
                return Ok(Met { audience: None, answer, source_mismatch });
            }
        }
        let mut audience = None;
        if let Some(rule) = &checks.token {
            let result = self.check_token(rule);
            let reason = result.as_ref().map(|_| ()).map_err(|unmet| unmet.reason);
            let token = self.token();
            steps.add("token", reason, format_args!("{}", explain::TokenNote { token, rule, now: self.now, reason: reason.err() }));
            audience = Some(result?);
        }
        Ok(Met { audience, answer: None, source_mismatch })
    }

    /// Form, algorithm, claims and time first; the key and the one expensive step last.
    fn check_token<'p>(&mut self, rule: &'p TokenRule) -> Result<&'p Audience, Unmet> {
        let authorization = self.authorization;
        let token = self.token.get_or_insert_with(|| Token::parse(token::bearer(authorization)?));
        let token = token.as_ref().map_err(|reason| *reason)?;
        if !rule.algorithms.contains(token.signed.algorithm) {
            return Err(Reason::AlgorithmRefused.into());
        }
        let audience = claims::measure(&token.claims, token.payload(), rule, self.now)?;
        let key = find_key(&rule.keys, token.kid(), self.keys, self.request)?;
        if !key.serves(token.signed.algorithm) {
            return Err(Reason::AlgorithmRefused.into());
        }
        let address = std::ptr::from_ref(key);
        let known = self.tried.iter().chain(&self.tried_too).find(|(tried, _)| std::ptr::eq(*tried, address)).map(|(_, verified)| *verified);
        let verified = match known {
            Some(verified) => verified,
            None => token.with_signature(|signature| key.verifies_signed(&token.signed, signature))?,
        };
        match (known, self.tried) {
            (Some(_), _) => {}
            (None, None) => self.tried = Some((address, verified)),
            (None, Some(_)) => self.tried_too.push((address, verified)),
        }
        if !verified {
            return Err(Reason::SignatureInvalid.into());
        }
        match &rule.claims {
            ClaimRule::Nothing => {}
            ClaimRule::Entra(rule) => entra::measure(token, rule).map_err(|objection| objection.reason)?,
            ClaimRule::Values(values) => demands::measure(token, values).map_err(|(_, reason)| reason)?,
        }
        Ok(audience)
    }
}

/// What Event Grid does beside delivering: `Some` for a handshake, for which no token is asked.
fn check_delivery(request: &Request<'_>, rule: &EventGridRule, steps: &mut SenderSteps<'_, impl Trace>) -> Result<Option<Handshake>, Reason> {
    let handshake = handshake::judge(request, rule);
    match &handshake {
        Ok(None) => {}
        Ok(Some(Handshake::Answer(_))) => steps.add("handshake", Ok(()), format_args!("a handshake, answered at the edge")),
        Ok(Some(Handshake::Pass)) => steps.add("handshake", Ok(()), format_args!("a handshake and nothing else, for which no token is asked")),
        Err(reason) => steps.add("handshake", Err(*reason), format_args!("{}", explain::HandshakeNote { request, reason: *reason })),
    }
    let handshake = handshake?;
    if !rule.subscriptions.is_empty() {
        let result = handshake::check_subscription(request, rule, handshake.is_some());
        steps.add("delivery", result, format_args!("`aeg-subscription-name` is measured against {} names", rule.subscriptions.len()));
        result?;
    }
    Ok(handshake)
}

/// The key that the token names. `key_unknown` is said only where the keys were fetched after this request came: before that, the issuer
/// may have published the key already, and saying "no" would lose a genuine event.
fn find_key<'k>(source: &'k KeySource, kid: &str, ring: &'k KeyRing, request: &Request<'_>) -> Result<&'k VerifyingKey, Unmet> {
    let id = match source {
        KeySource::Given(_, keys) => return keys.get(kid).ok_or_else(|| Reason::KeyUnknown.into()),
        KeySource::Fetched(id) => id,
    };
    let Some(FetchedKeys { keys, fetch_began }) = ring.get(id) else { return Err(Reason::KeysUnavailable.into()) };
    match keys.get(kid) {
        Some(key) => Ok(key),
        None if *fetch_began > request.arrived => Err(Reason::KeyUnknown.into()),
        None => Err(Unmet { reason: Reason::KeyPending, wanted_key: Some(Arc::clone(id)) }),
    }
}

/// Where the steps of one sender are traced to.
pub(super) struct SenderSteps<'t, T> {
    pub(super) trace: &'t mut T,
    pub(super) policy: &'t str,
    pub(super) sender: &'t str,
}

impl<T: Trace> SenderSteps<'_, T> {
    pub(super) fn add(&mut self, stage: &'static str, result: Result<(), Reason>, detail: fmt::Arguments<'_>) {
        let outcome = result.map_or_else(StepOutcome::Fail, |()| StepOutcome::Pass);
        self.trace.step(Step { policy: Some(self.policy), sender: Some(self.sender), stage, outcome, detail });
    }
}

/// Whether the source lies in the ranges. `Ok(true)` = it does not, and that is only observed.
///
/// # Errors
/// `source_denied`, `source_unknown`.
pub(super) fn check_source(request: &Request<'_>, rule: &SourceRule, about: &mut About) -> Result<bool, Reason> {
    let reason = match request.source {
        Some(source) if rule.ranges.iter().any(|ranges| ranges.contains(source)) => return Ok(false),
        Some(source) => {
            // Where the ranges are private ones, a private client hides behind nothing.
            if is_private(source) && !rule.ranges.iter().any(|ranges| ranges.begins_private()) {
                about.hidden_client = Some(source);
            }
            Reason::SourceDenied
        }
        None => Reason::SourceUnknown,
    };
    match rule.on_mismatch {
        OnMismatch::Deny => Err(reason),
        OnMismatch::Observe => Ok(true),
    }
}

/// Whether the sender takes the request's method.
///
/// # Errors
/// `method_denied`, or `upgrade_required` for a `GET` that asks for no WebSocket.
pub(super) fn check_method(request: &Request<'_>, rule: &MethodRule) -> Result<(), Reason> {
    match rule {
        MethodRule::Any => Ok(()),
        MethodRule::OneOf(methods) if methods.iter().any(|method| **method == *request.method) => Ok(()),
        MethodRule::WebSocketUpgrade if request.method == "GET" => {
            if is_websocket_upgrade(request) {
                Ok(())
            } else {
                Err(Reason::UpgradeRequired)
            }
        }
        MethodRule::OneOf(_) | MethodRule::WebSocketUpgrade => Err(Reason::MethodDenied),
    }
}

/// RFC 6455 section 4.2.1; RFC 8441 for HTTP/2, where there is no key. Where the proxy strips `Upgrade`, key and version suffice.
fn is_websocket_upgrade(request: &Request<'_>) -> bool {
    let is_one =
        |name: &str, expected: &[u8]| matches!(request.headers.one(name), Header::One(value) if value.trim_ascii().eq_ignore_ascii_case(expected));
    let key_is_sound = match request.headers.one("sec-websocket-key") {
        Header::One(key) => is_websocket_key(key.trim_ascii()),
        Header::Absent => request.http2,
        Header::Many => false,
    };
    let asks = request.wire.strips_upgrade() || is_one("upgrade", b"websocket");
    asks && key_is_sound && is_one("sec-websocket-version", b"13")
}

/// Sixteen bytes in base64.
fn is_websocket_key(key: &[u8]) -> bool {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.decode(key).is_ok_and(|key| key.len() == 16)
}

/// Whether `Connection` nominates a header that decides something: a proxy behind this one would then drop it (CVE-2025-48865).
pub(super) fn connection_nominates<'n>(request: &Request<'_>, mut names: impl Iterator<Item = &'n str>) -> bool {
    let is_absent = request.headers.all("connection").next().is_none();
    !is_absent
        && names.any(|name| {
            let mut nominated = request.headers.all("connection").flat_map(|value| value.split(|byte| *byte == b','));
            nominated.any(|nominated| nominated.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
        })
}

/// The header names that a sender's demands are read from.
pub(super) fn headers_read(checks: &SenderChecks) -> impl Iterator<Item = &str> {
    let key = checks.api_key.as_ref().and_then(|rule| match &rule.carrier {
        ApiKeyCarrier::Header(name) => Some(name.as_ref()),
        ApiKeyCarrier::Query(_) => None,
    });
    let of_event_grid = checks.event_grid.as_ref().map_or(&[][..], |_| handshake::HEADERS);
    checks.token.as_ref().map(|_| "authorization").into_iter().chain(key).chain(of_event_grid.iter().copied())
}

#[cfg(test)]
mod tests;
