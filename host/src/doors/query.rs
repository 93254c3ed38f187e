//! What a request asks for behind its `?`. None of the values needs an escape, so none is understood.

use std::fmt::Display;
use std::str::FromStr;

use crate::refusal::{Code, Refusal};

/// Its keys and values, in their order. A key without a value has an empty one.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// A whole number from 1 to `max`, in digits alone.
pub(super) fn number<N>(key: &str, text: &str, max: N) -> Result<N, Refusal>
where
    N: FromStr + PartialOrd + From<u8> + Display,
{
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<N>() {
        Ok(value) if digits && value >= N::from(1) && value <= max => Ok(value),
        _ => Err(bad(&format!("{key}: give a whole number from 1 to {max}"))),
    }
}

/// It can't be read, or asks for what there isn't.
pub(super) fn bad(what: &str) -> Refusal {
    Refusal::new(Code::BadRequest, format!("the query is not valid: {what}"))
}
