//! The bounds of numbers: Rust's literals → JSON.

use std::ops::RangeInclusive;

use syn::{Error, Expr, ExprGroup, ExprLit, ExprUnary, Lit, Result, UnOp};

/// What an integer type of this name holds.
pub(crate) fn range(name: &str) -> Option<RangeInclusive<i128>> {
    Some(match name {
        "i8" => i8::MIN.into()..=i8::MAX.into(),
        "u8" => u8::MIN.into()..=u8::MAX.into(),
        "i16" => i16::MIN.into()..=i16::MAX.into(),
        "u16" => u16::MIN.into()..=u16::MAX.into(),
        "i32" => i32::MIN.into()..=i32::MAX.into(),
        "u32" => u32::MIN.into()..=u32::MAX.into(),
        "i64" => i64::MIN.into()..=i64::MAX.into(),
        "u64" => u64::MIN.into()..=u64::MAX.into(),
        _ => return None,
    })
}

/// A bound of a field whose type has this name, as JSON text.
///
/// # Errors
///
/// For what is no number, or none that the type holds. What another name stands for is taken to hold any.
pub(crate) fn json(value: &Expr, name: &str) -> Result<String> {
    let refuse = |message: &str| Err(Error::new_spanned(value, message));
    let value = ungrouped(value);
    let (sign, literal) = match value {
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => ("-", ungrouped(expr)),
        other => ("", other),
    };
    match (literal, range(name)) {
        (Expr::Lit(ExprLit { lit: Lit::Int(number), .. }), own) => {
            // Not every reader of JSON knows integers of more than 64 bits; the host doesn't.
            let held = own.unwrap_or(i64::MIN.into()..=u64::MAX.into());
            match format!("{sign}{}", number.base10_digits()).parse::<i128>() {
                Ok(number) if held.contains(&number) => Ok(number.to_string()),
                _ => {
                    let (least, most) = held.into_inner();
                    refuse(&format!("this bound is out of range: an integer here is from {least} to {most}"))
                }
            }
        }
        (Expr::Lit(ExprLit { lit: Lit::Float(_), .. }), Some(_)) => {
            refuse(&format!("a whole number stands here, for example `1`: this field is of type `{name}`"))
        }
        (Expr::Lit(ExprLit { lit: Lit::Float(number), .. }), None) => {
            match format!("{sign}{}", number.base10_digits()).parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(format!("{number:?}")),
                _ => refuse("this bound is out of range: it's larger than any `f64`"),
            }
        }
        _ => refuse("a number stands here, for example `1`"),
    }
}

/// Whether one bound is less than another. Both are JSON numbers as [`json`] writes them; integers are compared exactly.
pub(crate) fn is_less(one: &str, other: &str) -> bool {
    match (one.parse::<i128>(), other.parse::<i128>()) {
        (Ok(one), Ok(other)) => one < other,
        _ => matches!((one.parse::<f64>(), other.parse::<f64>()), (Ok(one), Ok(other)) if one < other),
    }
}

/// An expression without what another macro put around it.
fn ungrouped(value: &Expr) -> &Expr {
    match value {
        Expr::Group(ExprGroup { expr, .. }) => ungrouped(expr),
        other => other,
    }
}
