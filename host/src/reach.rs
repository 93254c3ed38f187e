//! How far an operator reaches: one environment of a tenant, or all of them.

use crate::ids::{Environment, Realm, TenantId};

/// One environment of a tenant, or the whole tenant.
///
/// INVARIANT (environments): whatever an operator's token sees, changes or decides is within its reach. What lies beyond
/// doesn't exist for it, as another tenant doesn't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    tenant: TenantId,
    environment: Option<Environment>,
}

impl Reach {
    /// This environment alone.
    #[must_use]
    pub fn one(realm: Realm) -> Self {
        Self { tenant: realm.tenant, environment: Some(realm.environment) }
    }

    /// Every environment of a tenant, and what is the tenant's as a whole.
    #[must_use]
    pub fn every(tenant: TenantId) -> Self {
        Self { tenant, environment: None }
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The one environment; `None`: every one.
    #[must_use]
    pub fn environment(&self) -> Option<&Environment> {
        self.environment.as_ref()
    }

    /// Whether what is of this realm is within reach.
    #[must_use]
    pub fn covers(&self, realm: &Realm) -> bool {
        self.covers_part(&realm.tenant, Some(&realm.environment))
    }

    /// The same for what is of one environment or, where that's `None`, of a tenant as a whole: the latter changes what
    /// holds in every environment, so reaching one isn't enough.
    #[must_use]
    pub fn covers_part(&self, tenant: &TenantId, environment: Option<&Environment>) -> bool {
        self.tenant == *tenant && (self.environment.is_none() || self.environment.as_ref() == environment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_environment_reaches_neither_another_nor_the_whole() {
        let realm = |tenant: &str, environment: &str| Realm {
            tenant: tenant.parse().unwrap(),
            environment: environment.parse().unwrap(),
        };
        let (dev, prod) = (realm("acme", "dev"), realm("acme", "prod"));
        let (one, every) = (Reach::one(dev.clone()), Reach::every(dev.tenant.clone()));
        assert!(one.covers(&dev) && every.covers(&dev) && every.covers(&prod));
        assert!(!one.covers(&prod));
        assert!(!one.covers_part(&dev.tenant, None) && every.covers_part(&dev.tenant, None));
        for other in [realm("beta", "dev"), realm("beta", "prod")] {
            assert!(!one.covers(&other) && !every.covers(&other));
            assert!(!every.covers_part(&other.tenant, None));
        }
    }
}
