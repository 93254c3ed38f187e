//! The operator's budgets, from `budgets.toml`; and what a request takes from them and from its tokens'.

mod file;
mod lines;
mod live;

pub use live::LiveBudgets;

use std::io::ErrorKind;
use std::path::Path;

use jiff::tz::TimeZone;

use super::{Budget, Lines, SpendFacts, SubjectRule};
use crate::connection::{Connections, Problem, Problems};
use crate::ids::{Environment, Realm, TenantId};
use crate::refusal::SendFailure;
use crate::store::CounterKey;

/// The operator's budgets. None: only the tokens' own hold.
#[derive(Debug, Default)]
pub struct Budgets {
    rules: Vec<Rule>,
    /// Whether the file speaks of budgets at all, if only to say that there are none.
    said: bool,
}

/// One of the operator's budgets.
#[derive(Debug)]
pub struct Rule {
    /// Whom it limits.
    pub subject: SubjectRule,
    /// In this tenant only.
    pub tenant: Option<TenantId>,
    /// In this environment only.
    pub environment: Option<Environment>,
    /// Whether a refund that the upstream confirms gives room back to it.
    pub reopens: bool,
    /// The limit.
    pub budget: Budget,
    /// The budget's time zone, looked up.
    zone: Option<TimeZone>,
}

impl Budgets {
    /// Reads `budgets.toml`. A file that isn't there holds no budgets.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place: a connection or operation that isn't there among it, as a
    /// budget with a slip in its name would limit nothing.
    pub fn load(file: &Path, connections: &Connections) -> Result<Self, Problems> {
        let name = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        match std::fs::read_to_string(file) {
            Ok(text) => Self::parse(&text, &name, connections),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Problems(vec![Problem {
                file: name,
                line: 0,
                column: 0,
                key: String::new(),
                message: error.to_string(),
                hint: None,
            }])),
        }
    }

    /// Reads `budgets.toml` again, with these budgets in force. A file that is gone or has no budgets left would lift every
    /// limit: it takes one that says so to have none from now on, with `budget = []`.
    ///
    /// # Errors
    /// As for [`Self::load`], and where the budgets in force are to stay because nothing says that there are to be none.
    pub fn load_again(&self, file: &Path, connections: &Connections) -> Result<Self, Problems> {
        let now = Self::load(file, connections)?;
        if self.rules.is_empty() || now.said {
            return Ok(now);
        }
        Err(Problems(vec![Problem {
            file: file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            line: 0,
            column: 0,
            key: String::new(),
            message: "it's gone, or no budget is in it any more".to_owned(),
            hint: Some("write the budgets, or budget = [] to have none from now on".to_owned()),
        }]))
    }

    /// Reads a text; `file` is for messages.
    ///
    /// # Errors
    /// As for [`Self::load`].
    pub fn parse(text: &str, file: &str, connections: &Connections) -> Result<Self, Problems> {
        file::read(text, file, connections)
            .map(|rules| Self { said: rules.is_some(), rules: rules.unwrap_or_default() })
    }

    /// Whether the file holds no budget and doesn't say either that there are none, with `budget = []`.
    #[must_use]
    pub fn says_nothing(&self) -> bool {
        !self.said
    }

    /// The budgets.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What a request takes from all budgets that apply to it.
    ///
    /// # Errors
    /// What is refused whatever was spent so far: more than a budget allows for one request, a write under a budget of
    /// no money, a cost in a currency that isn't budgeted.
    pub fn lines(&self, facts: &SpendFacts<'_>) -> Result<Lines, SendFailure> {
        lines::lines(&self.rules, facts)
    }

    /// Where a refund gives room back, by currency: `facts` are those of a request of the operation whose money it gives
    /// back. Where budgets count together, none of them gets anything unless all say so.
    #[must_use]
    pub fn reopened(&self, facts: &SpendFacts<'_>) -> Vec<(String, CounterKey)> {
        lines::reopened(&self.rules, facts)
    }
}

impl Rule {
    /// Whether it holds in a realm.
    #[must_use]
    pub fn is_for(&self, realm: &Realm) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| *tenant == realm.tenant)
            && self.environment.as_ref().is_none_or(|environment| *environment == realm.environment)
    }
}
