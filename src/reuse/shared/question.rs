//! What a store is asked about a token, and what its answer means.

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use redis::{Pipeline, RedisError, Value, aio::MultiplexedConnection};
use ringfence_core::decide::ReuseClaim;

use super::Outcome;
use crate::clock::TOLERATED_STEP;

/// Before every key.
const PREFIX: &str = "ringfence:used:";
/// The value where the wire has no request id.
const NO_REQUEST: &str = "-";
/// A key that no token has, remembered for a moment to see whether the store would remember.
const TRIAL: &str = "ringfence:trial";
const TRIAL_MS: i64 = 1_000;
/// The longest that is asked for, in milliseconds: a hundred years. Redis refuses what overflows its own clock.
const LONGEST_MS: i64 = 100 * 365 * 24 * 3_600 * 1_000;

/// One token to be remembered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// The claim's digest, which holds nothing of the token.
    key: String,
    /// The digest of the request's id: the same again is a retried check, whichever replica is asked.
    value: String,
    lifetime_ms: i64,
}

impl Question {
    /// Remembered from the effective time `now_ms` until the token has expired for good: effective time may still fall back by the tolerated step,
    /// and another replica's be behind.
    pub(super) fn new(claim: &ReuseClaim, now_ms: i64) -> Self {
        let step = i64::try_from(TOLERATED_STEP.as_millis()).unwrap_or(i64::MAX);
        let lifetime = claim.expires_ms.saturating_add(step).saturating_sub(now_ms);
        Self {
            key: format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(claim.key)),
            value: claim.request_id.as_deref().map_or_else(|| NO_REQUEST.to_owned(), |id| request_digest(&claim.key, id)),
            lifetime_ms: lifetime.clamp(1, LONGEST_MS),
        }
    }

    /// One that stands for no token: whether the store would remember one.
    pub(super) fn trial() -> Self {
        Self { key: TRIAL.to_owned(), value: NO_REQUEST.to_owned(), lifetime_ms: TRIAL_MS }
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&self, connection: &mut MultiplexedConnection) -> Outcome {
        match self.put(connection).await {
            Ok(replies) => self.outcome(&replies),
            Err(error) if error.is_io_error() || error.is_connection_dropped() => Outcome::Disconnected,
            Err(_) => Outcome::Refused,
        }
    }

    /// The error that the store answers, if it does.
    pub(super) async fn try_out(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let replies = self.put(connection).await?;
        replies.into_iter().try_for_each(|reply| reply.extract_error().map(drop))
    }

    async fn put(&self, connection: &mut MultiplexedConnection) -> Result<Vec<Value>, RedisError> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("SET").arg(&self.key).arg(&self.value).arg("NX").arg("PX").arg(self.lifetime_ms);
        pipeline.cmd("GET").arg(&self.key);
        connection.send_packed_commands(&pipeline, 0, 2).await
    }

    /// What the answers to both commands mean.
    // FAIL-CLOSED: whatever_is_not_expected_is_unclear
    fn outcome(&self, replies: &[Value]) -> Outcome {
        match replies {
            [Value::ServerError(_), _] | [_, Value::ServerError(_)] => Outcome::Refused,
            [Value::Okay, Value::BulkString(_)] => Outcome::First,
            [Value::Nil, Value::BulkString(known)] if self.value != NO_REQUEST && known == self.value.as_bytes() => Outcome::First,
            [Value::Nil, Value::BulkString(_)] => Outcome::Reused,
            // It was there and is gone: it expired in between, or somebody deletes what must not be forgotten.
            _ => Outcome::Unclear,
        }
    }
}

/// Half of a SHA-256 over the claim's key and the request's id.
fn request_digest(key: &[u8; 32], id: &str) -> String {
    let digest = digest::digest(&digest::SHA256, &[key.as_slice(), id.as_bytes()].concat());
    URL_SAFE_NO_PAD.encode(digest.as_ref().get(..16).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use ringfence_core::decide::{PolicyId, PolicyKind, ReuseMode};

    use super::*;

    const NOW: i64 = 1_790_000_000_000;

    fn claim(request_id: Option<&str>) -> ReuseClaim {
        ReuseClaim {
            key: [7; 32],
            expires_ms: NOW + 300_000,
            policy: PolicyId::new(PolicyKind::CallbackPolicy, "contoso", "center", "uid-1").into(),
            mode: ReuseMode::Deny,
            request_id: request_id.map(Into::into),
        }
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn a_key_is_a_digest_and_lives_as_long_as_its_token() {
        let question = Question::new(&claim(Some("17")), NOW);
        assert_eq!(question.key, "ringfence:used:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc");
        assert_eq!(question.lifetime_ms, 360_000);
        assert_eq!(Question::new(&claim(None), NOW + 1_000_000).lifetime_ms, 1);
        let endless = ReuseClaim { expires_ms: i64::MAX, ..claim(None) };
        assert_eq!(Question::new(&endless, NOW).lifetime_ms, LONGEST_MS);
    }

    #[test]
    fn a_retried_check_is_known_by_its_request_id_and_its_token() {
        let question = Question::new(&claim(Some("17")), NOW);
        assert_eq!(question.outcome(&[Value::Okay, text(&question.value)]), Outcome::First);
        assert_eq!(question.outcome(&[Value::Nil, text(&question.value)]), Outcome::First);
        for (other, known) in [
            (claim(Some("18")), question.value.as_str()),
            (claim(None), question.value.as_str()),
            (claim(Some("17")), NO_REQUEST),
            (claim(None), NO_REQUEST),
            (ReuseClaim { key: [8; 32], ..claim(Some("17")) }, question.value.as_str()),
        ] {
            assert_eq!(Question::new(&other, NOW).outcome(&[Value::Nil, text(known)]), Outcome::Reused, "{other:?} after {known}");
        }
    }

    #[test]
    fn whatever_is_not_expected_is_unclear() {
        let question = Question::new(&claim(Some("17")), NOW);
        let odd = [
            vec![],
            vec![Value::Okay],
            vec![Value::Nil],
            vec![Value::Nil, Value::Nil],
            vec![Value::Okay, Value::Nil],
            vec![Value::Int(1), text("x")],
            vec![Value::SimpleString("QUEUED".into()), text("x")],
            vec![text("OK"), text("x")],
            vec![Value::Nil, Value::SimpleString(question.value.clone())],
            vec![Value::Okay, text("x"), text("x")],
        ];
        for replies in odd {
            assert_eq!(question.outcome(&replies), Outcome::Unclear, "{replies:?}");
        }
    }

    #[test]
    fn an_error_is_no_answer() {
        let question = Question::new(&claim(Some("17")), NOW);
        let error = || {
            let parsed = redis::parse_redis_value(b"-OOM command not allowed when used memory > 'maxmemory'.\r\n").unwrap();
            assert!(matches!(parsed, Value::ServerError(_)));
            parsed
        };
        for replies in [[error(), Value::Nil], [Value::Okay, error()], [error(), error()], [error(), text(&question.value)]] {
            assert_eq!(question.outcome(&replies), Outcome::Refused, "{replies:?}");
        }
    }
}
