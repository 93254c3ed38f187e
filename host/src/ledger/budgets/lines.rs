//! Budgets and a request → what the request takes.

use jiff::tz::TimeZone;

use super::Rule;
use crate::connection::{Cost, Effect};
use crate::ledger::line::counter_name;
use crate::ledger::shortfall::{no_writes, wrong_currency};
use crate::ledger::{Budget, Line, Lines, Shortfall, SpendFacts, Subject, Unit, Window};
use crate::refusal::{FailureReason, SendFailure};
use crate::store::CounterKey;

/// What a request takes from the budgets of its tokens and of the operator.
pub(super) fn lines(rules: &[Rule], facts: &SpendFacts<'_>) -> Result<Lines, SendFailure> {
    let mut taking = Taking { facts, lines: Lines::none(), money: Vec::new() };
    for link in facts.chain {
        for budget in link.budgets.iter().filter(|budget| budget.covers(facts)) {
            let zone = zone(budget)?;
            taking.take(&Subject::Token(link.token.clone()), budget, zone.as_ref())?;
        }
    }
    for rule in rules.iter().filter(|rule| rule.is_for(facts.realm) && rule.budget.covers(facts)) {
        for subject in rule.subject.among(facts) {
            taking.take(&subject, &rule.budget, rule.zone.as_ref())?;
        }
    }
    taking.finish()
}

/// Where a refund gives room back.
pub(super) fn reopened(rules: &[Rule], facts: &SpendFacts<'_>) -> Vec<(String, CounterKey)> {
    let counted = |subject: &Subject, budget: &Budget, zone: Option<&TimeZone>| {
        let Unit::Money(currency) = &budget.unit else { return None };
        let start = budget.window.period(facts.now, zone)?.start;
        let name = counter_name(facts.realm, subject, budget);
        Some((currency.clone(), CounterKey { name, start }))
    };
    let (mut given, mut kept) = (Vec::new(), Vec::new());
    for rule in rules.iter().filter(|rule| rule.is_for(facts.realm) && rule.budget.covers(facts)) {
        for subject in rule.subject.among(facts) {
            let counter = counted(&subject, &rule.budget, rule.zone.as_ref());
            if rule.reopens {
                given.extend(counter);
            } else {
                kept.extend(counter);
            }
        }
    }
    // A token's own budgets never get anything back.
    for link in facts.chain {
        for budget in link.budgets {
            let zone = zone(budget).ok().flatten();
            kept.extend(counted(&Subject::Token(link.token.clone()), budget, zone.as_ref()));
        }
    }
    given.sort();
    given.dedup();
    given.retain(|counter| !kept.contains(counter));
    given
}

/// The lines found so far.
struct Taking<'a> {
    facts: &'a SpendFacts<'a>,
    lines: Lines,
    /// Those whose money is budgeted, and whether it is in the currency of the cost.
    money: Vec<(Subject, bool)>,
}

impl Taking<'_> {
    fn take(
        &mut self,
        subject: &Subject,
        budget: &Budget,
        zone: Option<&TimeZone>,
    ) -> Result<(), SendFailure> {
        let facts = self.facts;
        let own = self.is_own(subject);
        let amount = match &budget.unit {
            Unit::Requests => 1,
            Unit::Money(currency) => {
                // INVARIANT (0 is nothing): no write passes a budget of no money, not even one that is said to be free.
                if budget.limit == 0 && facts.effect == Effect::Write {
                    return Err(no_writes(subject, own, currency));
                }
                let fits = facts.cost.is_none_or(|cost| cost.currency == *currency);
                match self.money.iter_mut().find(|(known, _)| known == subject) {
                    Some((_, fitting)) => *fitting |= fits,
                    None => self.money.push((subject.clone(), fits)),
                }
                facts.cost.filter(|_| fits).map_or(0, minor)
            }
        };
        // What is said to be free, and may turn out to cost something, has to be counted somewhere.
        let may_cost = facts.settles && facts.cost.is_some() && budget.unit != Unit::Requests;
        if amount == 0 && !may_cost {
            return Ok(());
        }
        let period = budget.window.period(facts.now, zone).ok_or_else(|| {
            SendFailure::unsent(FailureReason::Internal, "the host's clock is wrong; tell the operator")
        })?;
        let line = Line {
            subject: subject.clone(),
            own,
            unit: budget.unit.clone(),
            window: budget.window,
            period,
            limit: budget.limit,
            amount,
            counter: CounterKey { name: counter_name(facts.realm, subject, budget), start: period.start },
        };
        match budget.window {
            Window::PerCall if amount > budget.limit => Err(Shortfall::of(&line, 0).failure()),
            // Nothing to count: what one request may take doesn't depend on any other.
            Window::PerCall => Ok(()),
            _ => {
                self.lines.push(line);
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<Lines, SendFailure> {
        if let Some(cost) = self.facts.cost
            && let Some((subject, _)) = self.money.iter().find(|(_, fitting)| !fitting)
        {
            return Err(wrong_currency(subject, self.is_own(subject), minor(cost), &cost.currency));
        }
        Ok(self.lines)
    }

    /// Whether the caller may hear how much is left.
    fn is_own(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Token(id) => self.facts.chain.first().is_some_and(|link| link.token == id),
            Subject::Conversation(_) => true,
            _ => false,
        }
    }
}

/// A cost's amount. It's never negative; if it were, it would count as more than any budget has.
fn minor(cost: &Cost) -> u64 {
    u64::try_from(cost.amount_minor).unwrap_or(u64::MAX)
}

/// A token's budget was checked when it was minted; a zone that isn't known any more refuses the request.
fn zone(budget: &Budget) -> Result<Option<TimeZone>, SendFailure> {
    let Some(name) = &budget.time_zone else { return Ok(None) };
    match TimeZone::get(name) {
        Ok(zone) => Ok(Some(zone)),
        Err(error) => Err(SendFailure::unsent(
            FailureReason::Internal,
            "a budget of this token can't be read, so nothing may be spent; tell the operator",
        )
        .because(error.to_string())),
    }
}
