//! Which environment an operator's or a monitor's request is about.
//!
//! INVARIANT (one 403): an environment that the token doesn't reach gets one answer, whether there is anything
//! in it or not. Whatever else is beyond the token's reach is answered as what isn't there.

use crate::auth::Caller;
use crate::ids::{Environment, Realm};
use crate::refusal::{Code, Refusal};

/// The environment that a request names, or the one that its token was minted in.
///
/// # Errors
/// [`Code::Denied`] where the token doesn't reach it.
pub(super) fn realm_of(caller: &Caller, named: Option<Environment>) -> Result<Realm, Refusal> {
    let own = caller.realm();
    let environment = named.unwrap_or_else(|| own.environment.clone());
    let realm = Realm { tenant: own.tenant.clone(), environment };
    if caller.reach().covers(&realm) { Ok(realm) } else { Err(beyond(own)) }
}

/// Where an act is on record: in the environment that it's about. What is about a tenant as a whole is on record where the
/// token was minted, for a row of the trail is of one environment.
pub(super) fn recorded_in(caller: &Caller, environment: Option<&Environment>) -> Realm {
    let own = caller.realm();
    let environment = environment.unwrap_or(&own.environment).clone();
    Realm { tenant: own.tenant.clone(), environment }
}

/// The one answer for an environment beyond a token's reach.
fn beyond(own: &Realm) -> Refusal {
    let sentence = format!(
        "this token reaches the environment {} alone; leave the environment out, or use a token that was \
         minted in it or for every environment",
        own.environment
    );
    Refusal::new(Code::Denied, sentence)
}
