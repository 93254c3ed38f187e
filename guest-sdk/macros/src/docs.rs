//! Doc comments as descriptions.

use syn::{Attribute, Expr, Lit, Meta};

/// The most characters of a description: what model providers take for a function.
const DESCRIPTION_CHARS_MAX: usize = 1024;

/// The description in the doc comments, up to the first heading. Lines of a paragraph are joined.
///
/// # Errors
///
/// When it's too long.
pub(crate) fn description(attributes: &[Attribute]) -> syn::Result<Option<String>> {
    let mut text = String::new();
    let mut fresh = true;
    let lines = |text: String| text.split('\n').map(|line| line.trim().to_owned()).collect::<Vec<_>>();
    for line in attributes.iter().filter_map(doc).flat_map(lines) {
        // A block comment's lines may begin with a star.
        let line = line.strip_prefix("* ").unwrap_or(if line == "*" { "" } else { &line });
        if is_heading(line) {
            break;
        }
        if line.is_empty() {
            fresh = true;
            continue;
        }
        if !text.is_empty() {
            text.push(if fresh { '\n' } else { ' ' });
        }
        text.push_str(line);
        fresh = false;
    }
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

/// Whether a line is a Markdown heading: one to six `#`, and then a space or nothing.
fn is_heading(line: &str) -> bool {
    let text = line.trim_start_matches('#');
    (1..=6).contains(&(line.len() - text.len())) && (text.is_empty() || text.starts_with([' ', '\t']))
}

fn doc(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else { return None };
    if !pair.path.is_ident("doc") {
        return None;
    }
    match &pair.value {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}
