//! From a request to a verdict: who claims the host, the floors, the policy, its senders, and what becomes of their answers.
//!
//! Every path through this file ends in a [`Decided`]; a refusal is only ever turned into an allow by [`Check::conclude`] (a policy in Shadow)
//! and by [`Check::refuse_for_host`] (all policies of a host in Shadow).

use std::{fmt, sync::Arc};

use aws_lc_rs::digest;

use super::{
    About, Allow, AllowReason, Answer, ApiKeyCarrier, Decided, Decision, Few, Forward, Header, KeyRing, Mode, Mutations, Now, Path, PendingAllow,
    PendingAnswer, Policy, PolicySet, Reason, Request, ReuseClaim, ReuseMode, Rules, Sender, SenderChecks, Step, StepOutcome, Trace, Unmatched,
    Verdict, WantedKey,
    credential::{self, Sought},
    explain::SourceNote,
    index::{Claims, Coverage, Selection, coverage},
    sender::{self, Evidence, Met, SenderSteps, Unmet},
    token::Token,
};

/// Longest value of a forwarded claim, in bytes.
const MAX_FORWARDED: usize = 1024;

/// Decides one request.
///
/// Takes the request, the policies, the fetched keys, the time and where to trace to; returns the verdict, or what has to be asked first.
#[must_use]
pub fn decide(request: &Request<'_>, policies: &PolicySet, keys: &KeyRing, now: Now, trace: &mut impl Trace) -> Decided {
    let host = request.host.as_str();
    let claims = policies.claims(host);
    let mut check = Check { request, policies, claims, keys, now, host, authorization: Header::Absent, sought: None, about: About::default(), trace };
    check.run()
}

/// One decision under way. Lent to each step and never handed on, which would be a copy of all of it.
struct Check<'c, T> {
    request: &'c Request<'c>,
    policies: &'c PolicySet,
    /// Who claims the host.
    claims: Claims<'c, 'c>,
    keys: &'c KeyRing,
    now: Now,
    host: &'c str,
    /// The `Authorization` header; not looked for where nobody asks for it.
    authorization: Header<'c>,
    /// The API key, where a sender looks for it.
    sought: Option<Sought<'c>>,
    about: About,
    trace: &'c mut T,
}

/// Why one sender does not allow.
struct Refusal<'p> {
    sender: &'p Sender,
    unmet: Unmet,
    /// The sender's issuer is the one the token names.
    issuer_matches: bool,
}

/// A sender that allows.
struct Grant<'p> {
    sender: &'p Sender,
    checks: &'p SenderChecks,
    met: Met<'p>,
    mutations: Mutations,
}

impl<'c, T: Trace> Check<'c, T> {
    fn run(&mut self) -> Decided {
        let (request, policies, host) = (self.request, self.policies, self.host);
        if policies.parts().is_pending {
            // FAIL-CLOSED: no policy is known yet, not even whether one would refuse.
            self.note("host", None, format_args!("no policies were read yet"));
            self.about.answer_unavailable = true;
            return self.deny(Reason::NoPolicy);
        }
        let is_claimed = self.claims.policies().next().is_some() || policies.unreadable_claims(host);
        let is_guarded = is_claimed || request.pin.is_some() || policies.floors(host).any(|floor| floor.mode == Mode::Enforce);
        let path = match &request.target.path {
            Err(why) if is_guarded => {
                self.fail("path", None, Reason::AmbiguousPath, format_args!("the path holds {why}"));
                return self.refuse_for_host(Reason::AmbiguousPath, None);
            }
            path => path.as_ref().ok(),
        };
        if is_guarded {
            self.authorization = request.headers.authorization();
        }
        if (is_claimed || request.pin.is_some()) && self.authorization == Header::Many {
            self.fail("headers", None, Reason::DuplicateCredential, format_args!("more than one Authorization header"));
            return self.refuse_for_host(Reason::DuplicateCredential, path);
        }
        if let Err(reason) = self.check_floors(path) {
            return self.deny(reason);
        }
        let Some(path) = path.filter(|_| is_guarded) else {
            self.note("host", None, format_args!("no policy claims `{host}`"));
            return self.unmatched(is_claimed);
        };
        match self.select(path) {
            Ok(Some(policy)) => self.check_policy(policy, path),
            Ok(None) => self.unmatched(is_claimed),
            Err(Reason::AmbiguousPath) => self.refuse_for_host(Reason::AmbiguousPath, Some(path)),
            Err(reason) => self.deny(reason),
        }
    }

    /// Every floor that covers host and path must pass; the first that does not decides. A path of `None` is one that cannot be compared.
    fn check_floors(&mut self, path: Option<&Path<'_>>) -> Result<(), Reason> {
        self.about.shadow_floors.clear();
        for floor in self.policies.floors(self.host) {
            let coverage = path.map(|path| coverage(&floor.matches.paths, path, floor.matches.ignore_path_case));
            let result = match coverage {
                Some(Coverage::Outside) => continue,
                // FAIL-CLOSED: a floor whose path cannot be compared is one that refuses.
                Some(Coverage::SpellingMatters) | None => Err(Reason::AmbiguousPath),
                Some(Coverage::Covered) => match &floor.sources {
                    Ok(rule) => sender::check_source(self.request, rule, &mut self.about),
                    Err(_) => Err(Reason::PolicyInvalid),
                },
            };
            let outcome = result.map_or_else(StepOutcome::Fail, |_| StepOutcome::Pass);
            let (note, mode) = (SourceNote { request: self.request, result }, floor.mode);
            let detail = format_args!("{note}{}", if mode == Mode::Shadow { "; the floor is in Shadow and only counts" } else { "" });
            self.trace.step(Step { policy: Some(&floor.id.label), sender: None, stage: "floor", outcome, detail });
            match (result, mode) {
                (Ok(_), _) => {}
                (Err(reason), Mode::Shadow) => self.about.shadow_floors.push((floor.id.clone(), reason)),
                (Err(reason), Mode::Enforce) => {
                    self.about.policy = Some(floor.id.clone());
                    return Err(reason);
                }
            }
        }
        Ok(())
    }

    /// The policy that decides: the pinned one, or the most specific one.
    fn select(&mut self, path: &Path<'_>) -> Result<Option<&'c Policy>, Reason> {
        let host = self.host;
        let Some(pin) = self.request.pin else {
            return match self.claims.select(path) {
                Selection::Policy(policy) => {
                    self.pass("policy", Some(&policy.id.label), format_args!("the most specific match for `{host}` and this path"));
                    Ok(Some(policy))
                }
                Selection::Nothing => {
                    self.note("policy", None, format_args!("no policy matches `{host}` and this path"));
                    Ok(None)
                }
                Selection::SpellingMatters => {
                    self.fail("path", None, Reason::AmbiguousPath, format_args!("another policy, or none, matches another spelling of the path"));
                    Err(Reason::AmbiguousPath)
                }
            };
        };
        // FAIL-CLOSED: a pinned policy whose `match` cannot be read whole may be the right one: that is not a refusal.
        let mismatch = if self.policies.is_unreadable(pin) { Reason::PolicyInvalid } else { Reason::PinMismatch };
        let reason = match self.policies.pinned(pin) {
            Some(policy) if self.policies.permits(policy, self.host) && policy.matches.hosts.iter().any(|host| host.matches(self.host)) => {
                match coverage(&policy.matches.paths, path, policy.matches.ignore_path_case) {
                    Coverage::Covered => {
                        self.pass("policy", Some(&policy.id.label), format_args!("pinned by the route"));
                        return Ok(Some(policy));
                    }
                    Coverage::SpellingMatters => Reason::AmbiguousPath,
                    Coverage::Outside => mismatch,
                }
            }
            Some(_) | None => mismatch,
        };
        self.fail("policy", None, reason, format_args!("the route pins `{pin}`"));
        Err(reason)
    }

    /// What happens where no policy matches.
    fn unmatched(&mut self, is_claimed: bool) -> Decided {
        // FAIL-CLOSED: a policy that cannot be read may be the one for this request: that is no allow, and no refusal.
        if self.policies.unreadable_claims(self.host) {
            return self.deny(Reason::PolicyInvalid);
        }
        match self.policies.parts().unmatched {
            Unmatched::Allow if !is_claimed => {
                let allow = Allow { reason: AllowReason::Unmatched, mutations: Mutations::default() };
                Decided::Final(Verdict { decision: Decision::Allow(allow), about: self.take_about() })
            }
            Unmatched::Allow | Unmatched::Deny => self.deny(Reason::NoPolicy),
            Unmatched::Unavailable => {
                self.about.answer_unavailable = true;
                self.deny(Reason::NoPolicy)
            }
        }
    }

    fn check_policy(&mut self, policy: &'c Policy, path: &Path<'_>) -> Decided {
        self.about.policy = Some(policy.id.clone());
        let (senders, forward) = match &policy.rules {
            Rules::Senders { senders, forward } => (senders, forward),
            Rules::Invalid { problem, .. } => {
                self.fail("policy", Some(&policy.id.label), Reason::PolicyInvalid, format_args!("{problem}"));
                return Decided::Final(self.conclude(policy, Err(Reason::PolicyInvalid)));
            }
        };
        let on_path = match senders_on(path, policy, senders) {
            Ok(on_path) => on_path,
            Err(sender) => {
                let detail = format_args!("sender `{}` is good for another spelling of the path", sender.name);
                self.fail("path", Some(&policy.id.label), Reason::AmbiguousPath, detail);
                return self.refuse_for_host(Reason::AmbiguousPath, Some(path));
            }
        };
        if on_path.is_empty() {
            self.fail("sender", Some(&policy.id.label), Reason::NoPolicy, format_args!("no sender is good for this path"));
            return Decided::Final(self.conclude(policy, Err(Reason::NoPolicy)));
        }
        if on_path.iter().all(|sender| sender::check_method(self.request, &sender.methods) == Err(Reason::MethodDenied)) {
            let method = self.request.method;
            self.fail("method", Some(&policy.id.label), Reason::MethodDenied, format_args!("no sender on this path takes `{method}`"));
            return Decided::Final(self.conclude(policy, Err(Reason::MethodDenied)));
        }
        if let Err(reason) = self.check_names(policy, senders, forward) {
            return if reason == Reason::DuplicateCredential { self.refuse_for_host(reason, Some(path)) } else { self.deny(reason) };
        }
        self.check_senders(policy, &on_path, forward)
    }

    /// No credential may come in two spellings, and no proxy further on may be told to drop a header that decides something.
    fn check_names(&mut self, policy: &Policy, senders: &'c [Sender], forward: &'c Forward) -> Result<(), Reason> {
        let checks = || senders.iter().filter_map(|sender| sender.checks.as_ref().ok());
        for rule in checks().filter_map(|checks| checks.api_key.as_ref()) {
            // Nearly always all senders look for their keys in the same place.
            if self.sought.as_ref().is_some_and(|sought| sought.is_in(&rule.carrier)) {
                continue;
            }
            if self.sought.insert(Sought::new(self.request, &rule.carrier)).is_ambiguous() {
                let (ApiKeyCarrier::Query(name) | ApiKeyCarrier::Header(name)) = &rule.carrier;
                return self.refuse_doubled(policy, name);
            }
        }
        // Of a sender that cannot be used it is known at least which parameter is taken out of the upstream request.
        let is_unsound = senders.iter().any(|sender| sender.checks.is_err());
        let mut stripped = forward.strip_query.iter().filter(|_| is_unsound);
        if let Some(name) = stripped.find(|name| credential::is_ambiguous_parameter(self.request, name)) {
            return self.refuse_doubled(policy, name);
        }
        let forwarded = forward.headers.iter().map(|(name, _)| name.as_ref());
        if sender::connection_nominates(self.request, checks().flat_map(sender::headers_read).chain(forwarded)) {
            self.fail(
                "headers",
                Some(&policy.id.label),
                Reason::MalformedRequest,
                format_args!("Connection nominates a header that decides something"),
            );
            return Err(Reason::MalformedRequest);
        }
        Ok(())
    }

    fn refuse_doubled(&mut self, policy: &Policy, name: &str) -> Result<(), Reason> {
        let detail = format_args!("`{name}` is given more than once, or in another spelling");
        self.fail("api key", Some(&policy.id.label), Reason::DuplicateCredential, detail);
        Err(Reason::DuplicateCredential)
    }

    /// Asks every sender on the path. Any allow wins; which of several is reported never depends on their order.
    fn check_senders(&mut self, policy: &'c Policy, on_path: &[&'c Sender], forward: &'c Arc<Forward>) -> Decided {
        let mut evidence = Evidence::new(self.request, self.authorization, self.sought.take(), self.keys, self.now);
        let mut granted: Option<Grant<'c>> = None;
        let mut refusals: Vec<Refusal<'c>> = Vec::new();
        for sender in on_path {
            match self.check_sender(policy, sender, &mut evidence, forward) {
                Ok(grant) if granted.as_ref().is_none_or(|known| grant.rank() < known.rank()) => granted = Some(grant),
                Ok(_) => {}
                Err(unmet) => refusals.push(Refusal { sender, unmet, issuer_matches: false }),
            }
        }
        self.about.verified = evidence.is_verified();
        match granted {
            Some(Grant { met: Met { answer: Some(answer), .. }, sender, .. }) => self.answer(policy, sender, *answer, &mut evidence),
            Some(grant) => self.allow(policy, grant, &mut evidence, forward),
            None => self.refuse(policy, refusals, &mut evidence),
        }
    }

    /// No sender allows: reports one refusal, and asks for a key first if that might change it.
    fn refuse(&mut self, policy: &Policy, mut refusals: Vec<Refusal<'_>>, evidence: &mut Evidence<'_>) -> Decided {
        // Of one there is nothing to pick.
        let issuer = evidence.token().filter(|_| refusals.len() > 1).and_then(Token::issuer);
        for refusal in &mut refusals {
            refusal.issuer_matches = issuer.is_some_and(|issuer| takes_issuer(refusal.sender, issuer));
        }
        let wanted = refusals.iter_mut().find_map(|refusal| refusal.unmet.wanted_key.take());
        // FAIL-CLOSED: a policy without any sender on the path was refused before; if not, it is a fault of ours.
        let Some(reported) = pick_refusal(&refusals) else { return self.deny(Reason::Internal) };
        self.about.token = evidence.take_token_facts(None);
        self.about.sender = Some(Arc::clone(&reported.sender.name));
        let verdict = self.conclude(policy, Err(reported.unmet.reason));
        match wanted {
            Some(key_set) => Decided::NeedsKey(WantedKey { key_set, otherwise: verdict }),
            None => Decided::Final(verdict),
        }
    }

    fn check_sender(&mut self, policy: &Policy, sender: &'c Sender, evidence: &mut Evidence<'c>, forward: &Arc<Forward>) -> Result<Grant<'c>, Unmet> {
        let mut steps = SenderSteps { trace: &mut *self.trace, policy: &policy.id.label, sender: &sender.name };
        let method = sender::check_method(self.request, &sender.methods);
        steps.add("method", method, format_args!("`{}`", self.request.method));
        method?;
        let checks = match &sender.checks {
            Ok(checks) => checks,
            Err(problem) => {
                steps.add("sender", Err(Reason::PolicyInvalid), format_args!("{problem}"));
                return Err(Reason::PolicyInvalid.into());
            }
        };
        let met = evidence.check(checks, &mut self.about, &mut steps)?;
        match mutations(forward, met.audience.and(evidence.token()), &met) {
            Ok(mutations) => Ok(Grant { sender, checks, met, mutations }),
            Err(unmet) => {
                steps.add("forward", Err(unmet.reason), format_args!("a claim to forward is no short scalar of printable ASCII"));
                Err(unmet)
            }
        }
    }

    /// A sender allows; where its token may be used once only, or is counted, the reuse store has the last word.
    fn allow(&mut self, policy: &Policy, grant: Grant<'_>, evidence: &mut Evidence<'_>, forward: &Arc<Forward>) -> Decided {
        self.about.sender = Some(Arc::clone(&grant.sender.name));
        self.about.source_mismatch = grant.met.source_mismatch;
        // FAIL-CLOSED: a_handshake_spends_no_token (what it carries was not judged)
        let claim = grant.met.audience.and_then(|_| claim_reuse(policy, grant.checks, evidence.token(), self.request));
        self.about.token = grant.met.audience.and_then(|audience| evidence.take_token_facts(Some(audience)));
        let allowed = self.conclude(policy, Ok(grant.mutations));
        match claim {
            None => Decided::Final(allowed),
            Some(claim) => {
                let shadow = (policy.mode == Mode::Shadow).then(|| shadow_mutations(forward));
                Decided::NeedsReuse(PendingAllow { claim, allowed, shadow })
            }
        }
    }

    /// A sender answers in the upstream's place; how often it may, others keep count of. Shadow does nothing in the upstream's place.
    fn answer(&mut self, policy: &Policy, sender: &Sender, answer: Answer, evidence: &mut Evidence<'_>) -> Decided {
        self.about.sender = Some(Arc::clone(&sender.name));
        self.about.token = evidence.take_token_facts(None);
        match policy.mode {
            Mode::Shadow => Decided::Final(self.conclude(policy, Ok(shadow_mutations(policy.rules.forward())))),
            Mode::Enforce => {
                let answered = Verdict { decision: Decision::Answer(answer), about: self.take_about() };
                Decided::NeedsTurn(PendingAnswer { policy: policy.id.clone(), answered })
            }
        }
    }

    /// The policy's answer, or what its Shadow makes of it.
    fn conclude(&mut self, policy: &Policy, answer: Result<Mutations, Reason>) -> Verdict {
        let decision = match (answer, policy.mode) {
            (Ok(mutations), _) => Decision::Allow(Allow { reason: AllowReason::Allowed, mutations }),
            (Err(reason), Mode::Enforce) => Decision::Deny(reason),
            (Err(reason), Mode::Shadow) => {
                let mutations = shadow_mutations(policy.rules.forward());
                Decision::Allow(Allow { reason: AllowReason::Shadowed(reason), mutations })
            }
        };
        Verdict { decision, about: self.take_about() }
    }

    /// Refuses what is wrong before a policy can be told apart: only where every policy that claims the host is in Shadow, and no floor
    /// stands in the way, is it let through and counted.
    fn refuse_for_host(&mut self, reason: Reason, path: Option<&Path<'_>>) -> Decided {
        let pinned = self.request.pin.map(|pin| self.policies.pinned(pin));
        let pinned_enforces = pinned.is_some_and(|pinned| pinned.is_none_or(|policy| policy.mode == Mode::Enforce));
        if pinned_enforces || !self.claims.is_shadowed() {
            return self.deny(reason);
        }
        if let Err(refused) = self.check_floors(path) {
            return self.deny(refused);
        }
        let policies = || pinned.flatten().into_iter().chain(self.claims.policies());
        let taken_out = Forward::without_all(policies().map(|policy| policy.rules.forward()));
        self.about.policy = self.about.policy.take().or_else(|| policies().next().map(|policy| policy.id.clone()));
        let allow = Allow { reason: AllowReason::Shadowed(reason), mutations: shadow_mutations(&Arc::new(taken_out)) };
        Decided::Final(Verdict { decision: Decision::Allow(allow), about: self.take_about() })
    }

    /// What the verdict is about, to be taken once it is all known: a check ends with its verdict.
    fn take_about(&mut self) -> About {
        std::mem::take(&mut self.about)
    }

    fn deny(&mut self, reason: Reason) -> Decided {
        Decided::Final(Verdict { decision: Decision::Deny(reason), about: self.take_about() })
    }

    fn pass(&mut self, stage: &'static str, policy: Option<&str>, detail: fmt::Arguments<'_>) {
        self.trace.step(Step { policy, sender: None, stage, outcome: StepOutcome::Pass, detail });
    }

    fn fail(&mut self, stage: &'static str, policy: Option<&str>, reason: Reason, detail: fmt::Arguments<'_>) {
        self.trace.step(Step { policy, sender: None, stage, outcome: StepOutcome::Fail(reason), detail });
    }

    fn note(&mut self, stage: &'static str, policy: Option<&str>, detail: fmt::Arguments<'_>) {
        self.trace.step(Step { policy, sender: None, stage, outcome: StepOutcome::Note, detail });
    }
}

/// The senders that are good for the path, nearly always one.
///
/// # Errors
/// The first sender that is good for another spelling of it.
fn senders_on<'p>(path: &Path<'_>, policy: &Policy, senders: &'p [Sender]) -> Result<Few<&'p Sender>, &'p Sender> {
    let covering = senders.iter().filter_map(|sender| match coverage(&sender.paths, path, policy.matches.ignore_path_case) {
        Coverage::Covered => Some(Ok(sender)),
        Coverage::SpellingMatters => Some(Err(sender)),
        Coverage::Outside => None,
    });
    covering.collect()
}

impl<'p> Grant<'p> {
    /// Which of several grants counts: the smallest, so that the order of senders never matters. What is answered at the edge needs nobody else.
    fn rank(&self) -> (bool, u8, &'p str) {
        let reuse = match reuse_of(self.checks) {
            ReuseMode::Allow => 0,
            ReuseMode::Observe => 1,
            ReuseMode::Deny => 2,
        };
        (self.met.answer.is_none(), reuse, &self.sender.name)
    }
}

/// The refusal to report: "cannot decide" first, then the sender whose issuer the token names, then the one that got furthest, then the
/// table's order, then the name. A sender that refuses the method only counts where all do.
fn pick_refusal<'r, 'p>(refusals: &'r [Refusal<'p>]) -> Option<&'r Refusal<'p>> {
    refusals.iter().min_by_key(|refusal| {
        let reason = refusal.unmet.reason;
        let furthest = std::cmp::Reverse(reason.stage());
        (reason == Reason::MethodDenied, !reason.is_undecided(), !refusal.issuer_matches, furthest, reason, &refusal.sender.name)
    })
}

fn takes_issuer(sender: &Sender, issuer: &str) -> bool {
    sender.checks.as_ref().is_ok_and(|checks| checks.token.as_ref().is_some_and(|rule| rule.issuers.contains(issuer)))
}

fn reuse_of(checks: &SenderChecks) -> ReuseMode {
    checks.token.as_ref().map_or(ReuseMode::Allow, |rule| rule.reuse)
}

/// What the reuse store has to be asked; `None` where reuse is allowed or there is no token.
fn claim_reuse(policy: &Policy, checks: &SenderChecks, token: Option<&Token<'_>>, request: &Request<'_>) -> Option<ReuseClaim> {
    let rule = checks.token.as_ref().filter(|rule| rule.reuse != ReuseMode::Allow)?;
    let token = token?;
    Some(ReuseClaim {
        key: reuse_key(&rule.reuse_scope, token.signed.digest().as_ref()),
        expires_ms: token.claims.expires_ms?.saturating_add(rule.clock_skew_ms),
        policy: policy.id.clone(),
        mode: rule.reuse,
        request_id: request.id.map(Into::into),
    })
}

/// SHA-256 over policy and key set (in `scope`) and what was signed (by its digest, which the signature is over as well): never `jti`, which
/// may be absent, nor the signature, which may be malleable.
fn reuse_key(scope: &[u8; 32], signed: &[u8]) -> [u8; 32] {
    // In one piece, since a context of its own costs as much as the hashing.
    let mut message = [0; 32 + digest::MAX_OUTPUT_LEN];
    message.iter_mut().zip(scope.iter().chain(signed)).for_each(|(to, from)| *to = *from);
    let message = message.get(..32 + signed.len()).unwrap_or_default();
    let mut key = [0; 32];
    key.iter_mut().zip(digest::digest(&digest::SHA256, message).as_ref()).for_each(|(to, from)| *to = *from);
    key
}

/// What an allow does to the upstream request: every configured header is set from a verified claim or removed.
fn mutations(forward: &Arc<Forward>, token: Option<&Token<'_>>, met: &Met<'_>) -> Result<Mutations, Unmet> {
    let values = forward.headers.iter().map(|(_, claim)| forwarded_value(token, claim, met)).collect::<Result<_, _>>()?;
    Ok(Mutations { forward: Some(Arc::clone(forward)), values })
}

/// A claim as a header value: the matched audience for `aud`, else a scalar of printable ASCII.
fn forwarded_value(token: Option<&Token<'_>>, claim: &str, met: &Met<'_>) -> Result<Option<Box<str>>, Unmet> {
    let Some(token) = token else { return Ok(None) };
    let value = match (claim, met.audience) {
        ("aud", Some(audience)) => return Ok(Some(audience.value.as_ref().into())),
        _ => token.claim(claim),
    };
    let text = match value {
        None => return Ok(None),
        Some(serde_json::Value::String(text)) => text,
        Some(serde_json::Value::Number(number)) => number.to_string(),
        Some(serde_json::Value::Bool(flag)) => flag.to_string(),
        Some(serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_)) => return Err(Reason::ClaimMismatch.into()),
    };
    let is_sound = text.len() <= MAX_FORWARDED && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && text.trim().len() == text.len();
    if is_sound { Ok(Some(text.into())) } else { Err(Reason::ClaimMismatch.into()) }
}

/// What a shadowed refusal does to the upstream request: keys are stripped all the same, and no identity is vouched for.
fn shadow_mutations(forward: &Arc<Forward>) -> Mutations {
    Mutations { forward: Some(Arc::clone(forward)), values: Few::default() }
}

#[cfg(test)]
mod tests;
