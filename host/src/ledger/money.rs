//! Amounts as people write them. The ledger itself counts minor units and knows no exponents.

/// ISO 4217: currencies without a minor unit.
const NONE: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF";
/// Currencies with a minor unit of a thousandth.
const THOUSANDTH: &str = "BHD IQD JOD KWD LYD OMR TND";
/// Currencies with four decimals.
const FOUR: &str = "CLF UYW";
/// Currencies with a minor unit of a hundredth.
const HUNDREDTH: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD \
     CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR \
     ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN \
     NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC \
     SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD YER ZAR ZMW ZWG";

/// How many decimals a currency's amounts have. `None` for a code that ISO 4217 doesn't list.
#[must_use]
pub fn exponent(currency: &str) -> Option<u32> {
    let code = currency.to_ascii_uppercase();
    let lists = |list: &str| list.split_ascii_whitespace().any(|listed| listed == code);
    [(2, HUNDREDTH), (0, NONE), (3, THOUSANDTH), (4, FOUR)]
        .into_iter()
        .find(|(_, list)| lists(list))
        .map(|(exponent, _)| exponent)
}

/// An amount of minor units as people write it: `12.50 USD`, `1250 JPY`, `1.250 KWD`.
#[must_use]
pub fn shown(minor: u64, currency: &str) -> String {
    let code = currency.to_ascii_uppercase();
    match exponent(currency) {
        None => format!("{minor} minor units of {code}"),
        Some(0) => format!("{minor} {code}"),
        Some(exponent) => {
            let unit = 10_u64.pow(exponent);
            format!("{}.{:0width$} {code}", minor / unit, minor % unit, width = exponent as usize)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_their_currency_s_decimals() {
        for (minor, currency, text) in [
            (1_250, "usd", "12.50 USD"),
            (5, "eur", "0.05 EUR"),
            (0, "gbp", "0.00 GBP"),
            (1_250, "jpy", "1250 JPY"),
            (1_250, "kwd", "1.250 KWD"),
            (7, "bhd", "0.007 BHD"),
            (12_345, "clf", "1.2345 CLF"),
            (9, "zzz", "9 minor units of ZZZ"),
            (u64::MAX, "usd", "184467440737095516.15 USD"),
        ] {
            assert_eq!(shown(minor, currency), text);
        }
    }

    #[test]
    fn no_currency_is_listed_twice() {
        let all: Vec<_> =
            [NONE, THOUSANDTH, FOUR, HUNDREDTH].iter().flat_map(|l| l.split_whitespace()).collect();
        let mut once = all.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), all.len());
        assert!(all.iter().all(|code| code.len() == 3));
    }
}
