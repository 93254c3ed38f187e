//! What a request asks for behind its `?`. None of the values needs an escape, so none is understood.

use std::fmt::Display;
use std::str::FromStr;

use http::Uri;

use crate::refusal::{Code, Refusal};

/// The values of these keys, each given at most once. A key without a value has an empty one. Any other key is an error:
/// left unread, it would widen the answer.
pub(super) fn read<'u, const N: usize>(
    uri: &'u Uri,
    keys: [&str; N],
) -> Result<[Option<&'u str>; N], Refusal> {
    let mut values = [None; N];
    for pair in uri.query().unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let slot = keys.iter().position(|known| *known == key).and_then(|at| values.get_mut(at));
        let Some(slot) = slot else {
            return Err(bad(&format!("only {} can be given", keys.join(" and "))));
        };
        if slot.replace(value).is_some() {
            return Err(bad(&format!("give {key} once")));
        }
    }
    Ok(values)
}

/// A whole number from 1 to `max`, in digits alone, if it's given.
pub(super) fn number<N>(key: &str, text: Option<&str>, max: N) -> Result<Option<N>, Refusal>
where
    N: FromStr + PartialOrd + From<u8> + Display,
{
    let Some(text) = text else { return Ok(None) };
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<N>() {
        Ok(value) if digits && value >= N::from(1) && value <= max => Ok(Some(value)),
        _ => Err(bad(&format!("{key}: give a whole number from 1 to {max}"))),
    }
}

/// It can't be read, or asks for what there isn't.
pub(super) fn bad(what: &str) -> Refusal {
    Refusal::new(Code::BadRequest, format!("the query is not valid: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(uri: &str) -> Result<(Option<u32>, Option<u64>), Refusal> {
        let uri: Uri = uri.parse().unwrap();
        let [limit, before] = read(&uri, ["limit", "before"])?;
        Ok((number("limit", limit, 1_000)?, number("before", before, u64::MAX)?))
    }

    #[test]
    fn queries_are_read_strictly() {
        for none in ["/v1/audit", "/v1/audit?", "/v1/audit?&"] {
            assert_eq!(asked(none), Ok((None, None)), "{none}");
        }
        assert_eq!(asked("/?limit=1000"), Ok((Some(1_000), None)));
        assert_eq!(asked("/?before=7&limit=2"), Ok((Some(2), Some(7))));
        for bad in [
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=+1",
            "limit=%31",
            "limit=",
            "limit",
            "limit=1&limit=1",
            "limit=1&before=7&limit=2",
            "before=0",
            "before=99999999999999999999",
            "Limit=1",
            "tenant=other",
            "limit=1&x",
        ] {
            assert_eq!(asked(&format!("/?{bad}")).unwrap_err().code, Code::BadRequest, "{bad}");
        }
    }
}
