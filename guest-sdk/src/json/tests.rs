use proptest::prelude::*;

use super::{FromJson, JsonError, Reader, ToJson};

fn read<T: FromJson>(text: &str) -> Result<T, JsonError> {
    Reader::read(text)
}

fn wrong<T: FromJson + std::fmt::Debug>(text: &str) -> String {
    read::<T>(text).unwrap_err().to_string()
}

/// Any value at all: what a skip accepts.
struct Anything;

impl FromJson for Anything {
    fn from_json(reader: &mut Reader<'_>) -> Result<Self, JsonError> {
        reader.skip().map(|()| Self)
    }
}

#[test]
fn integers_keep_their_range() {
    assert_eq!(read::<i64>("-9223372036854775808"), Ok(i64::MIN));
    assert_eq!(read::<u64>("18446744073709551615"), Ok(u64::MAX));
    assert_eq!(read::<u8>("-0"), Ok(0));
    assert_eq!(read::<i64>("100"), Ok(100));
    assert_eq!(read::<i64>("100.00"), Ok(100));
    assert_eq!(wrong::<i64>("9223372036854775808"), "is a number out of range");
    assert_eq!(wrong::<u8>("256"), "is a number out of range");
    assert_eq!(wrong::<u32>("-1"), "is a number out of range");
    assert_eq!(wrong::<i64>("1.5"), "should be an integer, is 1.5");
    assert_eq!(wrong::<i64>("\"5\""), "should be an integer, is a string");
}

#[test]
fn integers_may_have_exponents() {
    for (text, number) in [
        ("1e3", 1000),
        ("-1E+3", -1000),
        ("1.50e1", 15),
        ("1000e-2", 10),
        ("1e16", 10_000_000_000_000_000),
        ("9007199254740993.0e0", 9_007_199_254_740_993),
        ("-9.223372036854775808e18", i64::MIN),
        ("0e99999999999999999999", 0),
        ("-0.00e-99999999999999999999", 0),
    ] {
        assert_eq!(read::<i64>(text), Ok(number), "{text}");
    }
    assert_eq!(read::<u64>("1.8446744073709551615E19"), Ok(u64::MAX));
    assert_eq!(read::<u64>("0.0000001e7"), Ok(1));
    for text in ["1e-1", "15e-1", "1.5e0", "10e-2", "-1e-99999999999999999999", "100000000000000000000.5"] {
        assert_eq!(wrong::<i64>(text), format!("should be an integer, is {text}"));
    }
    for text in ["1e19", "1e20", "1e300", "9.223372036854775808e18", "1e99999999999999999999"] {
        assert_eq!(wrong::<i64>(text), "is a number out of range", "{text}");
    }
    assert_eq!(wrong::<u8>("2.56e2"), "is a number out of range");
}

#[test]
fn escapes() {
    assert_eq!(read::<String>(r#""a\"\\\/\b\f\n\r\tA😀é""#).unwrap(), "a\"\\/\u{8}\u{c}\n\r\tA😀é");
    for half in [r#""\ud83d""#, r#""\ud83dx""#, r#""\ud83dA""#, r#""\ude00""#, r#""\u12""#, r#""\x""#, "\"\\"]
    {
        assert!(read::<String>(half).is_err(), "{half}");
    }
    assert_eq!(wrong::<String>(r#""\ud83d""#), "a string holds half a surrogate pair (at byte 8)");
    assert!(read::<String>("\"a\nb\"").is_err());
    assert!(read::<String>("\"a").is_err());
}

#[test]
fn half_a_surrogate_pair_is_nothing_to_whoever_skips_it() {
    for text in [r#""cut \ud83d""#, r#"{"cut \ud83d": ["\ude00", "\ud83dx"]}"#] {
        assert!(read::<Anything>(text).is_ok(), "{text}");
    }
    for text in [r#""\ud83""#, r#""\ud8+d""#, r#""\x""#, r#""\"#, "\"\n\""] {
        assert!(read::<Anything>(text).is_err(), "{text}");
    }
    assert_eq!(read::<crate::NoArgs>(r#"{"\ud83d": 1}"#).unwrap_err().path(), r"\ud83d");
}

#[test]
fn errors_name_the_place() {
    assert_eq!(wrong::<Vec<Vec<i64>>>("[[1], [2, true]]"), "`[1][1]`: should be an integer, is a boolean");
    let error = JsonError::new("is missing").in_field("amount").in_item(2).in_field("lines");
    assert_eq!(error.to_string(), "`lines[2].amount`: is missing");
}

#[test]
fn deep_texts_are_refused_not_overflown() {
    let deep = "[".repeat(100_000);
    assert!(read::<Anything>(&deep).is_err());
    assert!(read::<Anything>(&format!("{}{}", "[".repeat(128), "]".repeat(128))).is_ok());
}

#[test]
fn options() {
    assert_eq!(read::<Option<i64>>("null"), Ok(None));
    assert_eq!(read::<Option<i64>>("1"), Ok(Some(1)));
    assert!(read::<Option<i64>>("nul").is_err());
}

#[test]
fn numbers_that_json_lacks_are_named() {
    let mut out = String::new();
    vec![1.0_f64, -0.0, 1e300, 1e-7].to_json(&mut out).unwrap();
    assert_eq!(out, "[1.0,-0.0,1e300,1e-7]");
    let wrong =
        |number: f64| vec![Some(1.0), Some(number)].to_json(&mut String::new()).unwrap_err().to_string();
    assert_eq!(wrong(f64::NAN), "`[1]`: is NaN, not a finite number");
    assert_eq!(wrong(f64::NEG_INFINITY), "`[1]`: is -inf, not a finite number");
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1e15..1e15).prop_map(|number: f64| number.into()),
        ".*".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map(".*", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// The reader takes exactly the texts that a full parser takes, whole and cut or changed anywhere.
    #[test]
    fn agrees_with_a_full_parser(value in json(), pretty: bool, at: prop::sample::Index, junk in "[\\[\\]{}\",:0-9eE.+\\-tfnu\\\\ ]{0,3}|\\\\ud83d") {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        prop_assert!(read::<Anything>(&text).is_ok(), "{}", text);
        let cut = (0..=at.index(text.len() + 1)).rev().find(|&at| text.is_char_boundary(at)).unwrap();
        for changed in [text[..cut].to_owned(), format!("{}{junk}{}", &text[..cut], &text[cut..])] {
            let full = serde_json::from_str::<serde::de::IgnoredAny>(&changed).is_ok();
            prop_assert_eq!(read::<Anything>(&changed).is_ok(), full, "{}", changed);
        }
    }

    #[test]
    fn strings_round_trip(text: String) {
        let mut out = String::new();
        text.to_json(&mut out).unwrap();
        prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text.clone());
        prop_assert_eq!(read::<String>(&out).unwrap(), text.clone());
        let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        prop_assert_eq!(read::<String>(&format!("\"{escaped}\"")).unwrap(), text);
    }

    #[test]
    fn integers_are_exact_however_they_are_written(integer: i64, places in 0..40_usize) {
        prop_assume!(integer != 0);
        let zeros = "0".repeat(places);
        let above = format!("{integer}{zeros}e-{places}");
        prop_assert_eq!(read::<i64>(&above), Ok(integer));
        let (sign, digits) = (if integer < 0 { "-" } else { "" }, integer.unsigned_abs().to_string());
        let below = format!("{sign}0.{zeros}{digits}E+{}", places + digits.len());
        prop_assert_eq!(read::<i64>(&below), Ok(integer));
    }

    #[test]
    fn numbers_round_trip(integer: i64, float in -1e300..1e300f64) {
        let mut out = String::new();
        integer.to_json(&mut out).unwrap();
        prop_assert_eq!(read::<i64>(&out).unwrap(), integer);
        out.clear();
        f64::to_json(&float, &mut out).unwrap();
        prop_assert_eq!(read::<f64>(&out).unwrap(), float);
    }
}
