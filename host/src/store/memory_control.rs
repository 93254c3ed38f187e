//! A control store in memory: for fixtures, benches and tests. It's gone when it's dropped.

mod agents;
mod approvals;
mod kills;
mod policies;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{
    AgentRow, ApprovalRow, BeforeForgotten, ComponentRow, ControlStore, KillRow, PolicyRow, SecretRow,
    StoreError, TenantKeyRow, TokenRow,
};
use crate::clock::Millis;
use crate::ids::{Realm, SecretLabel, TenantId, TokenId, UserId};
use crate::reach::Reach;

/// A [`ControlStore`] that lives as long as this value.
#[derive(Default)]
pub struct MemoryControl {
    tables: Mutex<Tables>,
}

/// Whose, which, and which version of it.
type SecretKey = (Realm, Option<UserId>, SecretLabel, u32);

#[derive(Default)]
struct Tables {
    version: u64,
    /// In the order in which they were minted.
    tokens: Vec<TokenRow>,
    tenant_keys: BTreeMap<TenantId, TenantKeyRow>,
    settings: BTreeMap<String, Vec<u8>>,
    secrets: BTreeMap<SecretKey, SecretRow>,
    components: Vec<ComponentRow>,
    /// In the order in which they were registered.
    agents: Vec<AgentRow>,
    /// In the order in which they were asked for.
    approvals: Vec<ApprovalRow>,
    policies: Vec<PolicyRow>,
    /// In the order in which they were thrown.
    kills: Vec<KillRow>,
}

impl Tables {
    fn insert_token(&mut self, row: &TokenRow) -> Result<(), StoreError> {
        if self.tokens.iter().any(|known| known.id == row.id || known.hash == row.hash) {
            return Err(StoreError::Exists(format!("the token {}", row.id)));
        }
        self.tokens.push(row.clone());
        Ok(())
    }

    /// How many tokens were delegated from this one, or from one below it. A parent comes before its children.
    fn below(&self, root: &TokenId) -> usize {
        let mut all = HashSet::from([root]);
        for row in &self.tokens {
            if row.parent.as_ref().is_some_and(|parent| all.contains(parent)) {
                all.insert(&row.id);
            }
        }
        all.len() - 1
    }
}

impl MemoryControl {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tables. A panic elsewhere can't leave them half-changed: every change below is checked first and then
    /// made in one go.
    fn read(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tables, for a change: whoever reads the version afterwards sees that there was one.
    fn write(&self) -> MutexGuard<'_, Tables> {
        let mut tables = self.read();
        tables.version += 1;
        tables
    }
}

impl ControlStore for MemoryControl {
    fn version(&self) -> Result<u64, StoreError> {
        Ok(self.read().version)
    }

    fn insert_token(&self, row: &TokenRow) -> Result<(), StoreError> {
        self.write().insert_token(row)
    }

    fn insert_registered(&self, row: &TokenRow) -> Result<bool, StoreError> {
        let mut tables = self.write();
        if !tables.agents.iter().any(|agent| agent.id == row.agent) {
            return Ok(false);
        }
        tables.insert_token(row)?;
        Ok(true)
    }

    fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<TokenRow>, StoreError> {
        Ok(self.read().tokens.iter().find(|row| row.hash == *hash).cloned())
    }

    fn token_by_id(&self, id: &TokenId) -> Result<Option<TokenRow>, StoreError> {
        Ok(self.read().tokens.iter().find(|row| row.id == *id).cloned())
    }

    fn insert_delegated(&self, row: &TokenRow, root: &TokenId, most: u32) -> Result<bool, StoreError> {
        let mut tables = self.write();
        if tables.below(root) >= size(most) {
            return Ok(false);
        }
        tables.insert_token(row)?;
        Ok(true)
    }

    fn forget_tokens(&self, before: Millis, first: BeforeForgotten<'_>) -> Result<(), StoreError> {
        let end = |row: &TokenRow| row.revoked_at.map_or(row.expires_at, |at| at.min(row.expires_at));
        let which = |row: &TokenRow| (row.realm.clone(), row.id.clone());
        let over: Vec<_> = self.read().tokens.iter().filter(|row| end(row) < before).map(which).collect();
        first(&over)?;
        let over: HashSet<_> = over.iter().map(|(_, id)| id).collect();
        self.write().tokens.retain(|row| !over.contains(&row.id));
        Ok(())
    }

    fn tokens(&self, reach: Option<&Reach>) -> Result<Vec<TokenRow>, StoreError> {
        let tables = self.read();
        let within = |row: &&TokenRow| reach.is_none_or(|reach| row.is_within(reach));
        let mut rows: Vec<_> = tables.tokens.iter().rev().filter(within).cloned().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.created_at));
        Ok(rows)
    }

    fn token_page(
        &self,
        reach: Option<&Reach>,
        after: Option<&TokenId>,
        limit: u32,
    ) -> Result<Vec<TokenRow>, StoreError> {
        let rows = self.tokens(reach)?.into_iter();
        let rest = rows.skip_while(|row| after.is_some_and(|after| row.id != *after));
        Ok(rest.skip(usize::from(after.is_some())).take(size(limit)).collect())
    }

    fn revoke_token(&self, id: &TokenId, reach: Option<&Reach>, at: Millis) -> Result<bool, StoreError> {
        let mut tables = self.write();
        let found = tables
            .tokens
            .iter_mut()
            .find(|row| row.id == *id && reach.is_none_or(|reach| row.is_within(reach)));
        if let Some(row) = found {
            row.revoked_at.get_or_insert(at);
            return Ok(true);
        }
        Ok(false)
    }

    fn tenant_key(&self, tenant: &TenantId) -> Result<Option<TenantKeyRow>, StoreError> {
        Ok(self.read().tenant_keys.get(tenant).cloned())
    }

    fn tenant_keys(&self) -> Result<Vec<TenantKeyRow>, StoreError> {
        Ok(self.read().tenant_keys.values().cloned().collect())
    }

    fn ensure_tenant_key(
        &self,
        row: &TenantKeyRow,
        in_use: &str,
    ) -> Result<Option<TenantKeyRow>, StoreError> {
        let mut tables = self.write();
        if let Some(stored) = tables.tenant_keys.get(&row.tenant) {
            return Ok(Some(stored.clone()));
        }
        if tables.settings.get(in_use).map(Vec::as_slice) != Some(row.master.as_bytes()) {
            return Ok(None);
        }
        tables.tenant_keys.insert(row.tenant.clone(), row.clone());
        Ok(Some(row.clone()))
    }

    fn replace_tenant_keys(
        &self,
        was: &[TenantKeyRow],
        now: &[TenantKeyRow],
        in_use: &str,
        master: &str,
    ) -> Result<(), StoreError> {
        let mut tables = self.write();
        if !tables.tenant_keys.values().eq(was) {
            return Err(StoreError::Failed("a tenant's key was added or changed meanwhile".to_owned()));
        }
        tables.tenant_keys.extend(now.iter().map(|row| (row.tenant.clone(), row.clone())));
        tables.settings.insert(in_use.to_owned(), master.as_bytes().to_vec());
        Ok(())
    }

    fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read().settings.get(name).cloned())
    }

    fn ensure_setting(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        Ok(self.write().settings.entry(name.to_owned()).or_insert_with(|| value.to_vec()).clone())
    }

    fn put_setting(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.write().settings.insert(name.to_owned(), value.to_vec());
        Ok(())
    }

    fn insert_next_secret(
        &self,
        row: &SecretRow,
        counter: &str,
        was: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let mut tables = self.write();
        if tables.settings.get(counter).map(Vec::as_slice) != was {
            return Err(StoreError::Exists(format!("version {} of the secret {}", row.version, row.label)));
        }
        let key = (row.realm.clone(), row.user.clone(), row.label.clone(), row.version);
        if tables.secrets.contains_key(&key) {
            return Err(StoreError::Exists(format!("version {} of the secret {}", row.version, row.label)));
        }
        tables.secrets.insert(key, row.clone());
        tables.settings.insert(counter.to_owned(), row.version.to_string().into_bytes());
        Ok(())
    }

    fn newest_secret(
        &self,
        realm: &Realm,
        user: Option<&UserId>,
        label: &SecretLabel,
    ) -> Result<Option<SecretRow>, StoreError> {
        let key = |version| (realm.clone(), user.cloned(), label.clone(), version);
        Ok(self.read().secrets.range(key(0)..=key(u32::MAX)).next_back().map(|(_, row)| row.clone()))
    }

    fn secrets(&self, tenant: Option<&TenantId>) -> Result<Vec<SecretRow>, StoreError> {
        let tables = self.read();
        let of_tenant = |row: &&SecretRow| tenant.is_none_or(|tenant| row.realm.tenant == *tenant);
        Ok(tables.secrets.values().filter(of_tenant).cloned().collect())
    }

    fn user_secrets(&self, realm: &Realm, user: &UserId) -> Result<Vec<SecretRow>, StoreError> {
        let own = |row: &&SecretRow| row.realm == *realm && row.user.as_ref() == Some(user);
        Ok(self.read().secrets.values().filter(own).cloned().collect())
    }

    fn remove_secret(
        &self,
        realm: &Realm,
        user: Option<&UserId>,
        label: &SecretLabel,
        version: Option<u32>,
    ) -> Result<u32, StoreError> {
        let mut tables = self.write();
        let before = tables.secrets.len();
        let is_one = |(r, u, l, v): &SecretKey| {
            r == realm && u.as_ref() == user && l == label && version.is_none_or(|one| one == *v)
        };
        tables.secrets.retain(|key, _| !is_one(key));
        Ok(u32::try_from(before - tables.secrets.len()).unwrap_or(u32::MAX))
    }

    fn activate_component(&self, row: &ComponentRow) -> Result<(), StoreError> {
        let mut tables = self.write();
        tables.components.retain(|known| known.name != row.name || known.digest != row.digest);
        for known in &mut tables.components {
            known.active &= known.name != row.name;
        }
        tables.components.push(ComponentRow { active: true, ..row.clone() });
        Ok(())
    }

    fn components(&self) -> Result<Vec<ComponentRow>, StoreError> {
        let mut rows = self.read().components.clone();
        rows.sort_by_key(|row| !row.active);
        Ok(rows)
    }

    fn deactivate_component(&self, name: &str) -> Result<bool, StoreError> {
        let mut tables = self.write();
        let active = tables.components.iter_mut().find(|row| row.active && row.name == name);
        Ok(active.map(|row| row.active = false).is_some())
    }
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ComponentKind;

    #[test]
    fn every_change_changes_the_version() {
        let store = MemoryControl::new();
        let before = store.version().unwrap();
        store.ensure_setting("a", b"b").unwrap();
        assert_ne!(store.version().unwrap(), before);
    }

    #[test]
    fn one_component_of_a_name_is_active() {
        let store = MemoryControl::new();
        let row = |byte: u8| ComponentRow {
            name: "stripe".into(),
            kind: ComponentKind::Tool,
            digest: crate::ids::Digest([byte; 32]),
            described: "[]".into(),
            connections: vec![],
            added_at: Millis(0),
            active: true,
        };
        store.activate_component(&row(1)).unwrap();
        store.activate_component(&row(2)).unwrap();
        let digests =
            || store.components().unwrap().iter().map(|r| (r.digest.0[0], r.active)).collect::<Vec<_>>();
        assert_eq!(digests(), [(2, true), (1, false)]);
        store.activate_component(&row(1)).unwrap();
        assert_eq!(digests(), [(1, true), (2, false)]);
        assert!(store.deactivate_component("stripe").unwrap());
        assert!(!store.deactivate_component("stripe").unwrap());
    }
}
