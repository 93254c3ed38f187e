//! Proofs over all requests there could be, by Cedar's symbolic compiler and the solver cvc5.

use cedar_policy::{Policy as Cedar, PolicyId as CedarId, PolicySet};
use cedar_policy_symcc::solver::LocalSolver;
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicySet};

use super::{Policy, names};
use crate::ids::{RoleName, TenantId};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// No such request is ever allowed.
    Proved,
    /// This one would be, in Cedar's words.
    Counterexample(String),
}

/// Why nothing was found.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// There's no solver on this machine.
    #[error(
        "no solver is installed, so nothing was proved: get cvc5 (1.3.1 or later) from \
         https://github.com/cvc5/cvc5/releases, and put it on the PATH or name it in CVC5"
    )]
    NoSolver,
    /// There is no such action.
    #[error("there is no action {0:?}: `keybearer policy schema` prints them all")]
    Unknown(String),
    /// The policies can't be analysed, or the solver gave up.
    #[error("nothing was proved: {0}")]
    Failed(String),
}

impl Policy {
    /// Proves that nobody of this tenant (in this role, if one is given) is ever allowed an action, as
    /// `stripe:create_refund`, or finds a request that is. What is proved holds in every environment: what only one of them
    /// forbids is left out.
    ///
    /// Cedar skips policies that it can't evaluate, where this host denies: so what is proved holds here, too, and a
    /// counterexample may be one that is denied for an error. An agent has one role, at most.
    ///
    /// # Errors
    /// [`ProveError`]: nothing is proved then.
    pub async fn prove_never(
        &self,
        tenant: &TenantId,
        role: Option<&RoleName>,
        action: &str,
    ) -> Result<Proof, ProveError> {
        let set = self.inner.set.load_full();
        let failed = |error: &dyn std::fmt::Display| ProveError::Failed(error.to_string());
        let rules: Vec<Cedar> = set.rules_anywhere(tenant).map(|rule| rule.cedar.clone()).collect();
        let claim = claim(&rules, tenant, role);
        let claim = Cedar::parse(Some(CedarId::new("the claim")), claim).map_err(|e| failed(&e))?;
        let policies = PolicySet::from_policies(rules.into_iter().chain([claim])).map_err(|e| failed(&e))?;
        let uid = names::action(action);
        let environments: Vec<_> = set.schema().request_envs().filter(|env| *env.action() == uid).collect();
        if environments.is_empty() {
            return Err(ProveError::Unknown(action.to_owned()));
        }
        let solver = LocalSolver::cvc5().map_err(|_| ProveError::NoSolver)?;
        let mut compiler = CedarSymCompiler::new(solver).map_err(|e| failed(&e))?;
        for environment in &environments {
            let compiled = CompiledPolicySet::compile(&policies, environment, set.schema());
            let compiled = compiled.map_err(|e| failed(&e))?;
            let found = compiler.check_always_denies_with_counterexample_opt(&compiled).await;
            if let Some(found) = found.map_err(|e| failed(&e))? {
                return Ok(Proof::Counterexample(found.request.to_string()));
            }
        }
        Ok(Proof::Proved)
    }
}

/// Forbids everyone that the claim isn't about: whoever is still allowed refutes it.
fn claim(rules: &[Cedar], tenant: &TenantId, role: Option<&RoleName>) -> String {
    let mut about = format!("principal in {}", names::tenant(tenant));
    if let Some(role) = role {
        let role = names::role(tenant, role);
        about.push_str(&format!(" && principal in {role}"));
        // The solver would put an agent into several roles.
        let mut others: Vec<String> = rules
            .iter()
            .flat_map(Cedar::entity_literals)
            .filter(|uid| uid.type_name() == role.type_name() && *uid != role)
            .map(|uid| format!(" && !(principal in {uid})"))
            .collect();
        others.sort();
        others.dedup();
        about.push_str(&others.concat());
    }
    format!("forbid (principal, action, resource) unless {{ {about} }};")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_leaves_one_role_alone() {
        let rule: Cedar = "permit (principal in Role::\"acme/billing\", action, resource)
            when { principal in Role::\"acme/reads\" };"
            .parse()
            .unwrap();
        assert_eq!(
            claim(&[rule], &"acme".parse().unwrap(), Some(&"reads".parse().unwrap())),
            "forbid (principal, action, resource) unless { principal in Tenant::\"acme\" && principal in \
             Role::\"acme/reads\" && !(principal in Role::\"acme/billing\") };"
        );
    }
}
