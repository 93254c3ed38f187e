//! Doc comments as descriptions.

use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// The most characters of a description: what model providers take for a function.
const DESCRIPTION_CHARS_MAX: usize = 1024;

/// The description in the doc comments, up to the first heading. Lines of a paragraph are joined; items of lists, rows of
/// tables and lines of code keep their own.
///
/// # Errors
///
/// When it's too long, or isn't written as text.
pub(crate) fn description(attributes: &[Attribute]) -> syn::Result<Option<String>> {
    let mut text = Text::default();
    'comments: for value in attributes.iter().filter_map(doc) {
        for line in lines(&written(value)?) {
            if text.fence.is_none() && is_heading(line.trim()) {
                break 'comments;
            }
            text.push(&line);
        }
    }
    let text = text.written.trim_end().to_owned();
    match text.chars().count() {
        0 => Ok(None),
        1..=DESCRIPTION_CHARS_MAX => Ok(Some(text)),
        length => {
            let message = format!(
                "this description has {length} characters, and models are given {DESCRIPTION_CHARS_MAX} at most; \
                 what only developers need can stand below a heading"
            );
            let first = attributes.iter().find(|attribute| doc(attribute).is_some());
            Err(match first {
                Some(attribute) => syn::Error::new_spanned(attribute, message),
                None => syn::Error::new(proc_macro2::Span::call_site(), message),
            })
        }
    }
}

/// A description as it grows.
#[derive(Default)]
struct Text {
    written: String,
    /// The next line isn't joined to the one before.
    fresh: bool,
    /// What began the block of code that the next line is in.
    fence: Option<String>,
}

impl Text {
    fn push(&mut self, line: &str) {
        let trimmed = line.trim();
        if let Some(fence) = &self.fence {
            if ends(fence, trimmed) {
                self.fence = None;
            }
            self.fresh = true;
            // Hosts refuse tabs.
            return self.write(&line.strip_prefix(' ').unwrap_or(line).trim_end().replace('\t', "    "));
        }
        if trimmed.is_empty() {
            self.fresh = true;
            return;
        }
        self.fence = fence(trimmed).map(str::to_owned);
        let is_row = trimmed.starts_with('|');
        self.fresh |= self.fence.is_some() || is_row || is_item(trimmed);
        self.write(trimmed);
        self.fresh = is_row;
    }

    fn write(&mut self, line: &str) {
        if !self.written.is_empty() {
            self.written.push(if self.fresh { '\n' } else { ' ' });
        }
        self.written.push_str(line);
    }
}

/// A comment's lines. Those of a block comment lose the star that each of them begins with.
fn lines(comment: &str) -> Vec<String> {
    let star = |line: &str| {
        let rest = line.trim_start().strip_prefix('*')?;
        (rest.is_empty() || rest.starts_with([' ', '\t'])).then(|| rest.to_owned())
    };
    let mut others = comment.split('\n').skip(1).filter(|line| !line.trim().is_empty());
    let stars = others.all(|line| star(line).is_some());
    let lines = comment.split('\n').enumerate();
    lines
        .map(|(index, line)| match star(line) {
            Some(rest) if stars && index > 0 => rest,
            _ => line.to_owned(),
        })
        .collect()
}

/// Whether a line is a Markdown heading: one to six `#`, and then a space or nothing.
fn is_heading(line: &str) -> bool {
    let text = line.trim_start_matches('#');
    (1..=6).contains(&(line.len() - text.len())) && (text.is_empty() || text.starts_with([' ', '\t']))
}

/// Whether a line begins an item of a list: `- `, `* `, `+ `, `1. ` or `1) `.
fn is_item(line: &str) -> bool {
    let after = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let mark = match line.len() - after.len() {
        0 => after.strip_prefix(['-', '*', '+']),
        1..=9 => after.strip_prefix(['.', ')']),
        _ => None,
    };
    mark.is_some_and(|text| text.starts_with([' ', '\t']))
}

/// The fence in a line that begins a block of code: three or more of its backticks or tildes.
fn fence(line: &str) -> Option<&str> {
    let text = line.trim_start_matches(if line.starts_with('~') { '~' } else { '`' });
    let (fence, _) = line.split_at(line.len() - text.len());
    // Backticks that end in the same line are code in a sentence.
    let is_block = fence.len() >= 3 && (fence.starts_with('~') || !text.contains('`'));
    is_block.then_some(fence)
}

/// Whether a line ends the block of code that a fence began: as many of its sign or more, and nothing else.
fn ends(fence: &str, line: &str) -> bool {
    line.starts_with(fence) && line.chars().all(|c| fence.starts_with(c))
}

/// What a doc comment says, if it's one.
fn doc(attribute: &Attribute) -> Option<&Expr> {
    let Meta::NameValue(pair) = &attribute.meta else { return None };
    if !pair.path.is_ident("doc") {
        return None;
    }
    let mut value = &pair.value;
    // What came through a macro.
    while let Expr::Group(group) = value {
        value = &group.expr;
    }
    Some(value)
}

/// Its text, as it's written there. Of `include_str!` and the like, the compiler alone knows what they make.
fn written(value: &Expr) -> syn::Result<String> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text.value()),
        _ => Err(syn::Error::new_spanned(
            value,
            "a description is written as text: what a macro makes of it can't be read here",
        )),
    }
}
