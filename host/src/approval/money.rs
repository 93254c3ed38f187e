//! An amount as people write it.

use crate::connection::Cost;

/// Currencies without a minor unit (ISO 4217).
const WHOLE: [&str; 17] = [
    "bif", "clp", "djf", "gnf", "isk", "jpy", "kmf", "krw", "pyg", "rwf", "ugx", "uyi", "vnd", "vuv", "xaf",
    "xof", "xpf",
];
/// Currencies whose minor unit is a thousandth.
const THOUSANDTHS: [&str; 7] = ["bhd", "iqd", "jod", "kwd", "lyd", "omr", "tnd"];
/// Currencies whose minor unit is a ten-thousandth.
const TEN_THOUSANDTHS: [&str; 2] = ["clf", "uyw"];

/// `12.34 EUR (1234 minor units)`. The count is there too, since an upstream may have units of its own for a
/// currency, and it's the count that is sent.
pub(super) fn amount(cost: &Cost) -> String {
    let digits = exponent(&cost.currency);
    let scale = 10_i64.pow(digits);
    let (whole, rest) = (cost.amount_minor / scale, (cost.amount_minor % scale).unsigned_abs());
    let sign = if cost.amount_minor < 0 && whole == 0 { "-" } else { "" };
    let code = cost.currency.to_ascii_uppercase();
    let count = cost.amount_minor;
    match usize::try_from(digits) {
        Ok(width) if width > 0 => format!("{sign}{whole}.{rest:0width$} {code} ({count} minor units)"),
        _ => format!("{whole} {code} (it has no minor unit)"),
    }
}

fn exponent(currency: &str) -> u32 {
    if WHOLE.contains(&currency) {
        0
    } else if THOUSANDTHS.contains(&currency) {
        3
    } else if TEN_THOUSANDTHS.contains(&currency) {
        4
    } else {
        2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_their_currency_s_digits() {
        for (amount_minor, currency, shown) in [
            (1234, "eur", "12.34 EUR (1234 minor units)"),
            (5, "usd", "0.05 USD (5 minor units)"),
            (0, "usd", "0.00 USD (0 minor units)"),
            (5000, "jpy", "5000 JPY (it has no minor unit)"),
            (1234, "kwd", "1.234 KWD (1234 minor units)"),
            (1234, "clf", "0.1234 CLF (1234 minor units)"),
            (i64::MAX, "usd", "92233720368547758.07 USD (9223372036854775807 minor units)"),
            (-5, "usd", "-0.05 USD (-5 minor units)"),
        ] {
            assert_eq!(amount(&Cost { amount_minor, currency: currency.to_owned() }), shown);
        }
    }
}
