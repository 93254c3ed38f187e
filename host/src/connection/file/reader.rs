//! Reads a TOML file key by key, keeping every value's place and every problem.

use std::cell::RefCell;
use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::connection::problem::{Problem, did_you_mean, place};

/// One file being read, and what was found wrong with it so far.
pub(super) struct Context<'f> {
    file: &'f str,
    text: &'f str,
    problems: RefCell<Vec<Problem>>,
}

impl<'f> Context<'f> {
    pub(super) fn new(file: &'f str, text: &'f str) -> Self {
        Self { file, text, problems: RefCell::default() }
    }

    /// Notes a problem.
    pub(super) fn problem(
        &self,
        span: &Range<usize>,
        key: &str,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        let (line, column) = place(self.text, span);
        self.problems.borrow_mut().push(Problem {
            file: self.file.to_owned(),
            line,
            column,
            key: key.to_owned(),
            message: message.into(),
            hint,
        });
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// A table whose keys are asked for one by one; [`Table::finish`] reports those that nobody asked for.
pub(super) struct Table<'c, 'i> {
    context: &'c Context<'c>,
    key: String,
    span: Range<usize>,
    entries: &'c DeTable<'i>,
    known: Vec<&'static str>,
}

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Field<'c, 'i> {
    context: &'c Context<'c>,
    /// Its key, dotted from the file's top.
    pub(super) key: String,
    /// The last part of its key.
    pub(super) name: String,
    span: Range<usize>,
    value: &'c DeValue<'i>,
}

impl<'c, 'i> Table<'c, 'i> {
    pub(super) fn top(context: &'c Context<'c>, document: &'c Spanned<DeTable<'i>>) -> Self {
        // The whole file's span would point at its end; what a file lacks is reported at its first character.
        Self { context, key: String::new(), span: 0..0, entries: document.get_ref(), known: Vec::new() }
    }

    /// The value of a key that may be absent.
    pub(super) fn optional(&mut self, key: &'static str) -> Option<Field<'c, 'i>> {
        self.known.push(key);
        let entries = self.entries;
        let (name, value) = entries.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(self.field(name.get_ref(), value))
    }

    /// The value of a key that must be there; its absence is a problem.
    pub(super) fn required(&mut self, key: &'static str, hint: &str) -> Option<Field<'c, 'i>> {
        let field = self.optional(key);
        if field.is_none() {
            let meant = self.unknown().find(|name| did_you_mean(name, &[key]).is_some());
            // A misspelt key is reported once, as unknown with its hint.
            if meant.is_none() {
                self.context.problem(&self.span, &join(&self.key, key), "is missing", Some(hint.to_owned()));
            }
        }
        field
    }

    /// All values, for tables whose keys are names.
    pub(super) fn fields(&self) -> Vec<Field<'c, 'i>> {
        let entries = self.entries;
        entries.iter().map(|(name, value)| self.field(name.get_ref(), value)).collect()
    }

    /// Notes a problem of the table as a whole.
    pub(super) fn problem(&self, message: impl Into<String>, hint: Option<&str>) {
        self.context.problem(&self.span, &self.key, message, hint.map(str::to_owned));
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self) {
        for (name, _) in
            self.entries.iter().filter(|(name, _)| !self.known.contains(&name.get_ref().as_ref()))
        {
            let hint = match did_you_mean(name.get_ref(), &self.known) {
                Some(known) => format!("did you mean {known}?"),
                None => format!("known keys here: {}", self.known.join(", ")),
            };
            self.context.problem(&name.span(), &join(&self.key, name.get_ref()), "unknown key", Some(hint));
        }
    }

    fn unknown(&self) -> impl Iterator<Item = &'c str> {
        let entries = self.entries;
        entries.iter().map(|(name, _)| name.get_ref().as_ref()).filter(|name| !self.known.contains(name))
    }

    fn field(&self, name: &str, value: &'c Spanned<DeValue<'i>>) -> Field<'c, 'i> {
        Field {
            context: self.context,
            key: join(&self.key, name),
            name: name.to_owned(),
            span: value.span(),
            value: value.get_ref(),
        }
    }
}

impl<'c, 'i> Field<'c, 'i> {
    /// Notes a problem of this value.
    pub(super) fn problem(&self, message: impl Into<String>) {
        self.context.problem(&self.span, &self.key, message, None);
    }

    /// Notes a problem of this value and what to write instead.
    pub(super) fn problem_hint(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.context.problem(&self.span, &self.key, message, Some(hint.into()));
    }

    /// Notes the problem of a result, and keeps its value.
    pub(super) fn ok<T, E: ToString>(&self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.problem(error.to_string())).ok()
    }

    pub(super) fn string(&self) -> Option<&'c str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => self.wrong("a string"),
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(value) => Some(*value),
            _ => self.wrong("true or false"),
        }
    }

    pub(super) fn integer(&self) -> Option<i64> {
        match self.value {
            DeValue::Integer(number) => {
                let value = i64::from_str_radix(number.as_str(), number.radix()).ok();
                if value.is_none() {
                    self.problem("doesn't fit 64 bits");
                }
                value
            }
            _ => self.wrong("an integer"),
        }
    }

    pub(super) fn number(&self) -> Option<f64> {
        let text = match self.value {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => return self.wrong("a number"),
        };
        let value = text.parse::<f64>().ok().filter(|value| value.is_finite());
        if value.is_none() {
            self.problem("must be a finite number");
        }
        value
    }

    /// A text, a number or a truth value, as JSON has it.
    pub(super) fn constant(&self) -> Option<Value> {
        match self.value {
            DeValue::String(text) => Some(Value::from(text.to_string())),
            DeValue::Integer(_) => self.integer().map(Value::from),
            DeValue::Float(_) => self.number().map(Value::from),
            DeValue::Boolean(value) => Some(Value::Bool(*value)),
            _ => self.wrong("a string, a number, true or false"),
        }
    }

    /// An integer within bounds, for limits.
    pub(super) fn within(&self, least: u64, most: u64) -> Option<u64> {
        let value = u64::try_from(self.integer()?).ok().filter(|value| (least..=most).contains(value));
        if value.is_none() {
            self.problem(format!("must be from {least} to {most}"));
        }
        value
    }

    pub(super) fn table(&self) -> Option<Table<'c, 'i>> {
        match self.value {
            DeValue::Table(entries) => Some(Table {
                context: self.context,
                key: self.key.clone(),
                span: self.span.clone(),
                entries,
                known: Vec::new(),
            }),
            _ => self.wrong("a table"),
        }
    }

    pub(super) fn array(&self) -> Option<Vec<Self>> {
        let DeValue::Array(items) = self.value else {
            return self.wrong("an array");
        };
        let item = |(index, value): (usize, &'c Spanned<DeValue<'i>>)| Self {
            context: self.context,
            key: format!("{}[{index}]", self.key),
            name: self.name.clone(),
            span: value.span(),
            value: value.get_ref(),
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// An array whose items are strings that `parse` takes; items that it doesn't take are problems.
    pub(super) fn list<T, E: ToString>(&self, parse: impl Fn(&str) -> Result<T, E>) -> Option<Vec<T>> {
        let items = self.array()?;
        Some(items.iter().filter_map(|item| item.ok(parse(item.string()?))).collect())
    }

    fn wrong<T>(&self, expected: &str) -> Option<T> {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.problem(format!("must be {expected}, not {found}"));
        None
    }
}

/// `a.b`, with quotes around a part that TOML would need them for.
fn join(prefix: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let part = if bare { key.to_owned() } else { format!("{key:?}") };
    if prefix.is_empty() { part } else { format!("{prefix}.{part}") }
}
