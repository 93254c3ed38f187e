//! `keybearer policy prove`.

use serde_json::json;

use crate::cli::Done;
use crate::cli::context::runtime;
use crate::cli::out::Out;
use crate::ids::{RoleName, TenantId};
use crate::policy::{Policy, Proof, ProveError};

/// A claim.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Claim {
    /// Nobody is ever allowed this. (The one kind of claim there is.)
    #[arg(long, required = true)]
    never: bool,
    /// The tenant.
    #[arg(long, env = "KEYBEARER_TENANT", default_value = "default", value_name = "NAME")]
    tenant: TenantId,
    /// Only agents of this role [default: every agent of the tenant].
    #[arg(long, value_name = "NAME")]
    role: Option<RoleName>,
    /// The operation, as `stripe:create_refund`; or a tool, as `call:create_refund`.
    #[arg(long, value_name = "OPERATION")]
    operation: String,
}

pub(super) fn prove(claim: &Claim, policy: &Policy, out: &Out) -> anyhow::Result<Done> {
    debug_assert!(claim.never, "clap requires it");
    let proving = policy.prove_never(&claim.tenant, claim.role.as_ref(), &claim.operation);
    match runtime()?.block_on(proving) {
        Ok(Proof::Proved) => {
            out.line(format!("proved: {} is never allowed", claim.operation));
            out.value(&json!({ "proved": true }));
            Ok(Done::Well)
        }
        Ok(Proof::Counterexample(request)) => {
            out.line(format!("not so: this would be allowed\n{request}"));
            out.value(&json!({ "proved": false, "counterexample": request }));
            Ok(Done::Problems)
        }
        Err(error @ ProveError::NoSolver) => {
            out.note(error.to_string());
            out.value(&json!({ "proved": null, "error": error.to_string() }));
            Ok(Done::Code(2))
        }
        Err(error) => Err(error.into()),
    }
}
