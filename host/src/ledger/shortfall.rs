//! What a caller is told when a budget has no room.

use super::{Line, Subject, Unit, Window, money};
use crate::clock::Millis;
use crate::refusal::{FailureReason, SendFailure};

/// A budget without room for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortfall {
    /// Whose budget it is.
    pub subject: Subject,
    /// Whether the caller may hear how much is left.
    pub own: bool,
    /// Of what.
    pub unit: Unit,
    /// Over which time.
    pub window: Window,
    /// How much there may be in all.
    pub limit: u64,
    /// How much was asked for.
    pub asked: u64,
    /// How much was left.
    pub left: u64,
    /// When the window ends, and all of it is there again.
    pub ends: Option<Millis>,
}

impl Shortfall {
    /// What a line lacks when so much is counted already.
    pub(super) fn of(line: &Line, counted: u64) -> Self {
        Self {
            subject: line.subject.clone(),
            own: line.own,
            unit: line.unit.clone(),
            window: line.window,
            limit: line.limit,
            asked: line.amount,
            left: line.limit.saturating_sub(counted),
            ends: line.period.ends,
        }
    }

    /// Whether the same request may find room later without anybody's doing.
    #[must_use]
    pub fn passes(&self) -> bool {
        let renewed = match self.window {
            Window::AtOnce => true,
            Window::Minute | Window::Hour | Window::Day | Window::Month => self.unit == Unit::Requests,
            Window::PerCall | Window::Total => false,
        };
        // What is larger than the limit never fits.
        renewed && self.asked <= self.limit
    }

    /// The refusal. What others have spent isn't in it, and no limit of theirs: only what kind of limit was hit.
    #[must_use]
    pub fn failure(&self) -> SendFailure {
        let reason = if self.passes() { FailureReason::RateLimited } else { FailureReason::OverBudget };
        SendFailure::unsent(reason, self.message()).because(format!(
            "{} {} {}: limit {}, asked {}, left {}",
            self.subject,
            self.unit,
            self.window.as_str(),
            self.limit,
            self.asked,
            self.left
        ))
    }

    fn message(&self) -> String {
        let whose = self.subject.possessive(self.own);
        let span = span(self.window);
        let until = match self.ends {
            Some(ends) if self.limit > 0 && self.asked <= self.limit => {
                format!("; there's room again from {ends} on")
            }
            _ if self.window == Window::AtOnce && self.passes() => {
                "; try again when one of them has ended".to_owned()
            }
            _ => String::new(),
        };
        if !self.own {
            let what = match &self.unit {
                Unit::Requests => "requests".to_owned(),
                Unit::Money(currency) => currency.to_ascii_uppercase(),
            };
            return format!(
                "this would exceed {whose} budget: its cap on {what}{span} has no room for it{until}"
            );
        }
        let (limit, asked, left) = (self.amount(self.limit), self.amount(self.asked), self.amount(self.left));
        match self.unit {
            Unit::Money(_) => format!(
                "this would exceed {whose} spending cap of {limit}{span}: it costs {asked}, and {left} are left{until}"
            ),
            Unit::Requests => format!("{whose} cap of {limit}{span} is reached{until}"),
        }
    }

    fn amount(&self, amount: u64) -> String {
        match &self.unit {
            Unit::Money(currency) => money::shown(amount, currency),
            Unit::Requests => format!("{amount} requests"),
        }
    }
}

fn span(window: Window) -> &'static str {
    match window {
        Window::PerCall => " for one request",
        Window::AtOnce => " at once",
        Window::Minute => " a minute",
        Window::Hour => " an hour",
        Window::Day => " a day",
        Window::Month => " a month",
        Window::Total => " in all",
    }
}

/// The refusal of a cost in a currency of which a subject that has budgets of money has none.
pub(super) fn wrong_currency(subject: &Subject, own: bool, cost: u64, currency: &str) -> SendFailure {
    let whose = subject.possessive(own);
    SendFailure::unsent(
        FailureReason::OverBudget,
        format!(
            "this costs {}, and {whose} budget has nothing in {}: its spending cap in that currency is 0",
            money::shown(cost, currency),
            currency.to_ascii_uppercase()
        ),
    )
    .because(format!("{subject} has budgets of money and none in {currency}"))
}

/// The refusal of a write under a budget of no money.
pub(super) fn no_writes(subject: &Subject, own: bool, currency: &str) -> SendFailure {
    let whose = subject.possessive(own);
    SendFailure::unsent(
        FailureReason::OverBudget,
        format!(
            "{whose} spending cap is {}: that allows no write at all, whatever it costs",
            money::shown(0, currency)
        ),
    )
    .because(format!("{subject} has a budget of 0 {currency}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortfall(unit: &str, window: Window, own: bool) -> Shortfall {
        let subject = if own { Subject::Conversation("chat-7".parse().unwrap()) } else { Subject::Tenant };
        let unit = unit.parse().unwrap();
        Shortfall {
            subject,
            own,
            unit,
            window,
            limit: 5_000,
            asked: 2_000,
            left: 1_250,
            ends: Some(Millis(0)),
        }
    }

    #[test]
    fn its_own_budget_is_told_in_full() {
        let failure = shortfall("usd", Window::Day, true).failure();
        assert_eq!(failure.reason, FailureReason::OverBudget);
        assert_eq!(
            failure.message,
            "this would exceed the conversation's spending cap of 50.00 USD a day: it costs 20.00 USD, and 12.50 USD \
             are left; there's room again from 1970-01-01T00:00:00.000Z on"
        );
    }

    #[test]
    fn another_s_budget_keeps_its_numbers() {
        let failure = shortfall("usd", Window::Total, false).failure();
        assert!(failure.message.starts_with("this would exceed the tenant's budget: its cap on USD in all"));
        for number in ["50", "20", "12", "5000", "2000", "1250"] {
            assert!(!failure.message.split(" from ").next().unwrap().contains(number), "{}", failure.message);
        }
    }

    #[test]
    fn only_what_passes_by_itself_may_be_tried_again() {
        let limited =
            |unit, window| shortfall(unit, window, true).failure().reason == FailureReason::RateLimited;
        for window in [Window::AtOnce, Window::Minute, Window::Hour, Window::Day, Window::Month] {
            assert!(limited("requests", window), "{window:?}");
        }
        assert!(limited("usd", Window::AtOnce));
        assert!(!limited("requests", Window::Total) && !limited("requests", Window::PerCall));
        assert!(!limited("usd", Window::Minute));
        let never = Shortfall { limit: 0, asked: 1, left: 0, ..shortfall("requests", Window::Minute, true) };
        assert_eq!(never.failure().reason, FailureReason::OverBudget);
    }

    #[test]
    fn every_message_speaks_of_a_cap() {
        for own in [true, false] {
            for unit in ["usd", "requests"] {
                assert!(shortfall(unit, Window::Hour, own).failure().message.contains("cap"));
            }
            assert!(no_writes(&Subject::Tenant, own, "usd").message.contains("cap"));
            assert!(wrong_currency(&Subject::Tenant, own, 5, "eur").message.contains("cap"));
        }
    }
}
