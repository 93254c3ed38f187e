//! A reach as a condition on rows.

use crate::ids::{Environment, TenantId};
use crate::reach::Reach;

/// The condition on rows with the columns `tenant` and `environment`, whose `?1` and `?2` are [`parts`]. What is of a
/// tenant as a whole has no environment, so it's within no single one.
pub(super) fn condition(reach: Option<&Reach>) -> &'static str {
    match reach.map(Reach::environment) {
        None => "?1 IS NULL AND ?2 IS NULL",
        Some(None) => "tenant = ?1 AND ?2 IS NULL",
        Some(Some(_)) => "tenant = ?1 AND environment = ?2",
    }
}

/// The tenant and the environment.
pub(super) fn parts(reach: Option<&Reach>) -> (Option<&str>, Option<&str>) {
    let environment = reach.and_then(Reach::environment).map(Environment::as_str);
    (reach.map(Reach::tenant).map(TenantId::as_str), environment)
}
