//! What the end of a request says of its money.

use serde_json::Value;

use crate::connection::SettleRule;
use crate::refusal::{RequestSent, SendFailure};

/// What came of a request, as far as budgets are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// It was carried out. All of it counts.
    Settle {
        /// The amount in minor units that the reply confirms, if it does: that counts in place of what was reserved,
        /// be it less or more.
        confirmed: Option<u64>,
    },
    /// It surely never reached the upstream. Nothing of it counts.
    Release,
    /// The upstream refused it in a way that says that nothing was done. No money counts; the request does.
    Refused,
    /// Nobody knows whether it was carried out. Its money counts until someone finds out; the request counts.
    Hold,
}

/// Statuses that say that nothing was done: the request was malformed, not allowed, not found, too large, declined or
/// too early, by the words of RFC 9110, 6585 and 8470. Not among them, though they begin with 4:
///
/// - 408: the upstream, or something in front of it, lost its patience; what it did until then isn't known.
/// - 409: something else is under way or was done already, which may well be the same write.
/// - 424 and whatever no RFC defines (499, 460): parts may have been done, or each vendor means another thing.
///
/// 429 is among them: it's said in place of doing something. If it were held, a pause would eat a budget.
const NOTHING_DONE: &[u16] = &[
    400, 401, 402, 403, 404, 405, 406, 407, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 423, 425, 426,
    428, 429, 431, 451,
];

impl Settlement {
    /// What a reply says. `settle` is the operation's rule, if it has one; `body` the reply's body.
    ///
    /// 3xx is unknown as 5xx is: no redirect is followed, and a `303` after a POST means that it was done.
    #[must_use]
    pub fn of_reply(status: u16, settle: Option<&SettleRule>, body: &[u8]) -> Self {
        match status {
            200..=299 => Self::Settle { confirmed: settle.and_then(|rule| confirmed(rule, body)) },
            refused if NOTHING_DONE.contains(&refused) => Self::Refused,
            _ => Self::Hold,
        }
    }

    /// What a failure says: only what surely wasn't sent is given back.
    #[must_use]
    pub fn of_failure(failure: &SendFailure) -> Self {
        match failure.request_sent {
            RequestSent::No => Self::Release,
            // It answered, and the answer was thrown away: it may have been a yes.
            RequestSent::Yes | RequestSent::Unknown => Self::Hold,
        }
    }

    /// As it's recorded.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settle { .. } => "settled",
            Self::Release => "released",
            Self::Refused => "refused",
            Self::Hold => "held",
        }
    }
}

/// The amount that a reply confirms. `None`, so that the reserved amount stands, when the reply has no whole number of
/// at least 0 at that place.
fn confirmed(rule: &SettleRule, body: &[u8]) -> Option<u64> {
    let reply: Value = serde_json::from_slice(body).ok()?;
    reply.pointer(&rule.amount)?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::FailureReason;

    fn of(status: u16) -> Settlement {
        Settlement::of_reply(status, None, b"")
    }

    #[test]
    fn only_what_says_that_nothing_was_done_gives_money_back() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(of(status), Settlement::Settle { confirmed: None }, "{status}");
        }
        for status in [400, 401, 402, 403, 404, 422, 429] {
            assert_eq!(of(status), Settlement::Refused, "{status}");
        }
        for status in [300, 303, 307, 408, 409, 424, 460, 499, 500, 501, 502, 503, 504, 599] {
            assert_eq!(of(status), Settlement::Hold, "{status}");
        }
    }

    #[test]
    fn a_failure_releases_only_when_surely_nothing_was_sent() {
        let failure = |sent| SendFailure::unsent(FailureReason::Timeout, "…").sent(sent);
        assert_eq!(Settlement::of_failure(&failure(RequestSent::No)), Settlement::Release);
        assert_eq!(Settlement::of_failure(&failure(RequestSent::Yes)), Settlement::Hold);
        assert_eq!(Settlement::of_failure(&failure(RequestSent::Unknown)), Settlement::Hold);
    }

    #[test]
    fn a_reply_confirms_whole_numbers_alone() {
        let rule = SettleRule { amount: "/charge/amount".to_owned() };
        let said = |body: &str| Settlement::of_reply(200, Some(&rule), body.as_bytes());
        assert_eq!(said(r#"{"charge":{"amount":70}}"#), Settlement::Settle { confirmed: Some(70) });
        assert_eq!(said(r#"{"charge":{"amount":0}}"#), Settlement::Settle { confirmed: Some(0) });
        for odd in [
            r#"{"charge":{"amount":-70}}"#,
            r#"{"charge":{"amount":7.5}}"#,
            r#"{"charge":{"amount":"70"}}"#,
            r#"{"charge":{}}"#,
            r#"{"charge":{"amount":70}"#,
            "",
            "7",
        ] {
            assert_eq!(said(odd), Settlement::Settle { confirmed: None }, "{odd}");
        }
    }
}
