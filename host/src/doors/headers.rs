//! What a caller says of its call, in headers.
//!
//! A call's id is always the host's own and comes back in `Keybearer-Call-Id`; the same header on a request is not
//! read, since an id that a caller chooses could be used twice and would say nothing in the audit trail.

use std::str::FromStr;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use crate::auth::kind_of;
use crate::ids::{ApprovalId, InvalidName};
use crate::policy::CallContext;
use crate::refusal::{Code, Refusal};
use crate::store::TokenKind;

/// The conversation that a call is part of.
pub(super) const CONVERSATION: HeaderName = HeaderName::from_static("keybearer-conversation");
/// The turn that a call is part of.
pub(super) const TURN: HeaderName = HeaderName::from_static("keybearer-turn");
/// What the caller calls this intended effect: the same write under another intent is meant to happen again.
pub(super) const INTENT: HeaderName = HeaderName::from_static("keybearer-intent");
/// The approvals that this call, and what it sends, were given: their ids, with commas between them.
pub(super) const APPROVAL: HeaderName = HeaderName::from_static("keybearer-approval");
/// `yes`: wait for a person instead of answering at once.
pub(super) const APPROVAL_WAIT: HeaderName = HeaderName::from_static("keybearer-approval-wait");
/// Where an operator's or a monitor's token may stand instead of `Authorization`.
pub(super) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// What the model calls this call.
pub(super) const MODEL_CALL: HeaderName = HeaderName::from_static("keybearer-model-call");
/// How long the caller waits, in milliseconds. More than the host allows is cut down to what it allows.
pub(super) const DEADLINE: HeaderName = HeaderName::from_static("keybearer-deadline-ms");
/// The call's id, on answers.
pub(super) const CALL_ID: HeaderName = HeaderName::from_static("keybearer-call-id");
/// W3C trace context.
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// How many approvals a call comes back with, at most: each is looked up where one is wanted.
const APPROVALS_MAX: usize = 4;

/// The bearer token: one `Authorization` header, one scheme (in any case), one token.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The bearer token; or an operator's or a monitor's that stands in `X-Api-Key`, once. Where both are there they must be the
/// same: which of two operators is meant is not for the host to guess. No agent's token is read from there.
pub(super) fn token(headers: &HeaderMap) -> Option<&str> {
    let mut keys = headers.get_all(API_KEY).iter();
    let (key, more) = (keys.next(), keys.next());
    let Some(key) = key else { return bearer(headers) };
    let is_one = |key: &str| matches!(kind_of(key), Some(TokenKind::Operator | TokenKind::Monitor));
    let key = key.to_str().ok().filter(|key| more.is_none() && is_one(key))?;
    if headers.contains_key(AUTHORIZATION) {
        bearer(headers).filter(|bearer| *bearer == key)
    } else {
        Some(key)
    }
}

/// The ids that a call carries.
///
/// # Errors
/// [`Code::BadRequest`] when an id is malformed or given twice. A malformed `traceparent` is left out, as its
/// standard asks.
pub(super) fn context(headers: &HeaderMap) -> Result<CallContext, Refusal> {
    Ok(CallContext {
        conversation: id(headers, &CONVERSATION)?,
        turn: id(headers, &TURN)?,
        intent: id(headers, &INTENT)?,
        approvals: approvals(headers)?,
        approval_wait: yes(headers, &APPROVAL_WAIT)?,
        model_call: id(headers, &MODEL_CALL)?,
        trace: trace(headers).map(str::to_owned),
    })
}

/// How long the call may take: what the caller asks for, within `max`, or `default`.
///
/// # Errors
/// [`Code::BadRequest`] when it's not a whole number of milliseconds from 1 on.
pub(super) fn deadline(headers: &HeaderMap, default: Duration, max: Duration) -> Result<Duration, Refusal> {
    let Some(text) = one(headers, &DEADLINE)? else { return Ok(default) };
    let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(ms) if digits && ms > 0 => Ok(Duration::from_millis(ms).min(max)),
        _ => Err(malformed(&DEADLINE, "give a whole number of milliseconds, for example 4000")),
    }
}

fn id<T: FromStr<Err = InvalidName>>(headers: &HeaderMap, name: &HeaderName) -> Result<Option<T>, Refusal> {
    let Some(text) = one(headers, name)? else { return Ok(None) };
    text.parse().map(Some).map_err(|error: InvalidName| malformed(name, error.rule))
}

/// At most four: a call's own, and those of what it sends.
fn approvals(headers: &HeaderMap) -> Result<Vec<ApprovalId>, Refusal> {
    let Some(text) = one(headers, &APPROVAL)? else { return Ok(Vec::new()) };
    let ids = text.split(',').map(|id| id.trim_matches(' ').parse::<ApprovalId>());
    let ids: Vec<ApprovalId> =
        ids.collect::<Result<_, InvalidName>>().map_err(|error| malformed(&APPROVAL, error.rule))?;
    if ids.len() > APPROVALS_MAX {
        return Err(malformed(&APPROVAL, "give at most 4 ids, with commas between them"));
    }
    Ok(ids)
}

fn yes(headers: &HeaderMap, name: &HeaderName) -> Result<bool, Refusal> {
    match one(headers, name)? {
        None | Some("no") => Ok(false),
        Some("yes") => Ok(true),
        Some(_) => Err(malformed(name, "write yes or no")),
    }
}

/// The one value of a header.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Refusal> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(malformed(name, "use visible ASCII characters")),
        },
        (Some(_), Some(_)) => Err(malformed(name, "give it once")),
    }
}

fn malformed(name: &HeaderName, rule: &str) -> Refusal {
    Refusal::new(Code::BadRequest, format!("the header {name} is not valid: {rule}"))
}

/// The trace id of `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`, or a later version that begins the same way.
fn trace(headers: &HeaderMap) -> Option<&str> {
    let text = one(headers, &TRACEPARENT).ok()??;
    let mut parts = text.split('-');
    let (version, trace) = (hex(parts.next()?, 2)?, hex(parts.next()?, 32)?);
    let (parent, _flags) = (hex(parts.next()?, 16)?, hex(parts.next()?, 2)?);
    let whole = version != "ff" && (version != "00" || parts.next().is_none());
    let zero = |id: &str| id.bytes().all(|b| b == b'0');
    (whole && !zero(trace) && !zero(parent)).then_some(trace)
}

fn hex(text: &str, digits: usize) -> Option<&str> {
    let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (text.len() == digits && text.bytes().all(lower_hex)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn one_bearer_token_is_read() {
        for good in ["Bearer t", "bearer t", "BEARER   t", "bEaReR t "] {
            assert_eq!(bearer(&headers(&[(AUTHORIZATION, good)])), Some("t"), "{good:?}");
        }
        for bad in ["", "Bearer", "Bearer ", "t", "Basic t", "Bearert", "Bearer\tt"] {
            assert_eq!(bearer(&headers(&[(AUTHORIZATION, bad)])), None, "{bad:?}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }

    #[test]
    fn two_tokens_are_none() {
        let twice = headers(&[(AUTHORIZATION, "Bearer a"), (AUTHORIZATION, "Bearer b")]);
        assert_eq!(bearer(&twice), None);
        let same = headers(&[(AUTHORIZATION, "Bearer a"), (AUTHORIZATION, "Bearer a")]);
        assert_eq!(bearer(&same), None);
    }

    #[test]
    fn an_operator_s_key_stands_in_one_place() {
        let key = |pairs: &[(HeaderName, &str)]| token(&headers(pairs)).map(str::to_owned);
        assert_eq!(key(&[(API_KEY, "kbo_a")]).as_deref(), Some("kbo_a"));
        assert_eq!(key(&[(API_KEY, "kbm_a")]).as_deref(), Some("kbm_a"));
        assert_eq!(key(&[(AUTHORIZATION, "Bearer kbo_a")]).as_deref(), Some("kbo_a"));
        assert_eq!(key(&[(API_KEY, "kbo_a"), (AUTHORIZATION, "Bearer kbo_a")]).as_deref(), Some("kbo_a"));
        for pairs in [
            &[(API_KEY, "kbo_a"), (AUTHORIZATION, "Bearer kbo_b")][..],
            &[(API_KEY, "kbm_a"), (AUTHORIZATION, "Bearer kbo_a")],
            &[(API_KEY, "kbo_a"), (AUTHORIZATION, "Basic kbo_a")],
            &[(API_KEY, "kbo_a"), (AUTHORIZATION, "")],
            &[(API_KEY, "kbo_a"), (API_KEY, "kbo_a")],
            &[(API_KEY, "kbt_a")],
            &[(API_KEY, "")],
            &[(API_KEY, "Bearer kbo_a")],
            &[(API_KEY, "kbt_a"), (AUTHORIZATION, "Bearer kbo_a")],
        ] {
            assert_eq!(key(pairs), None, "{pairs:?}");
        }
    }

    #[test]
    fn ids_are_checked_and_given_once() {
        let good = [(CONVERSATION, "conv-1"), (TURN, "t:1"), (MODEL_CALL, "toolu_01/+=")];
        let good = context(&headers(&good)).unwrap();
        assert_eq!(good.conversation.unwrap().as_str(), "conv-1");
        assert_eq!(good.turn.unwrap().as_str(), "t:1");
        assert_eq!(good.model_call.unwrap().as_str(), "toolu_01/+=");
        for bad in [
            headers(&[(CONVERSATION, "a b")]),
            headers(&[(CONVERSATION, "")]),
            headers(&[(TURN, "../x")]),
            headers(&[(MODEL_CALL, "a b")]),
            headers(&[(MODEL_CALL, &"a".repeat(129))]),
            headers(&[(MODEL_CALL, "a"), (MODEL_CALL, "b")]),
            headers(&[(CONVERSATION, "a"), (CONVERSATION, "a")]),
        ] {
            let refusal = context(&bad).unwrap_err();
            assert_eq!(refusal.code, Code::BadRequest);
            assert!(refusal.message.contains("keybearer-"), "{}", refusal.message);
        }
    }

    #[test]
    fn approvals_are_a_short_list() {
        let (one, two) = ("apr_000000000000000000000001", "apr_000000000000000000000002");
        let read = |text: &str| {
            let said = context(&headers(&[(APPROVAL, text)]))?.approvals;
            Ok::<_, Refusal>(said.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>())
        };
        assert!(context(&HeaderMap::new()).unwrap().approvals.is_empty());
        assert_eq!(read(one).unwrap(), [one]);
        for both in [format!("{one},{two}"), format!(" {one} , {two} ")] {
            assert_eq!(read(&both).unwrap(), [one, two], "{both:?}");
        }
        assert_eq!(read(&[one, two, one, two].join(",")).unwrap().len(), 4);
        for bad in ["", ",", "yes", &format!("{one},"), &format!("{one} {two}"), &format!("{one};{two}")] {
            assert_eq!(read(bad).unwrap_err().code, Code::BadRequest, "{bad:?}");
        }
        let five = read(&[one; 5].join(",")).unwrap_err();
        assert!(five.message.contains("at most 4"), "{}", five.message);
        assert!(context(&headers(&[(APPROVAL, one), (APPROVAL, two)])).is_err());
    }

    #[test]
    fn deadlines_are_bounded() {
        let read = |text: &str| {
            deadline(&headers(&[(DEADLINE, text)]), Duration::from_secs(4), Duration::from_secs(60))
        };
        assert_eq!(read("250").unwrap(), Duration::from_millis(250));
        assert_eq!(read("999999999").unwrap(), Duration::from_secs(60));
        for bad in ["", "0", "-1", "+5", "1.5", "4s", "9999999999", "0x10", " 5"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        let default = deadline(&HeaderMap::new(), Duration::from_secs(4), Duration::from_secs(60));
        assert_eq!(default.unwrap(), Duration::from_secs(4));
    }

    #[test]
    fn a_malformed_trace_is_left_out() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let read = |text: &str| trace(&headers(&[(TRACEPARENT, text)])).map(str::to_owned);
        assert_eq!(read(&format!("00-{id}-00f067aa0ba902b7-01")).as_deref(), Some(id));
        assert_eq!(read(&format!("cc-{id}-00f067aa0ba902b7-01-more")).as_deref(), Some(id));
        for bad in [
            String::new(),
            id.to_owned(),
            format!("00-{id}-00f067aa0ba902b7"),
            format!("00-{id}-00f067aa0ba902b7-01-more"),
            format!("ff-{id}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", id.to_uppercase()),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{id}-{}-01", "0".repeat(16)),
        ] {
            assert_eq!(read(&bad), None, "{bad:?}");
        }
    }
}
