//! Operators: keys of whoever manages the installation. Calls of the API with them open no tenant's data; in the console
//! an operator chooses a tenant, which its audit log tells. A tenant's keys open nothing of theirs.

use sealpost_core::audit::Action;
use sealpost_core::id::OperatorId;
use sealpost_core::limits as bound;
use sealpost_core::secret::Secret;
use sealpost_core::time::Timestamp;
use sealpost_store::StoreError;
use sealpost_store::registry::Operator;

use super::App;
use super::clients::{hash, new_key};

pub const OPERATOR_PREFIX: &str = "spo_";

#[derive(Debug)]
pub struct NewOperator {
    pub operator: Operator,
    /// Shown once.
    pub key: Secret<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum OperatorRefused {
    #[error("an operator's name must be 1 to 128 bytes")]
    Name,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl App {
    /// Who an operator's key belongs to, for the audit log; `None` if it is unknown or expired.
    pub async fn authenticate_operator(&self, key: &str) -> Result<Option<String>, StoreError> {
        let Some(operator) = self.store.operator_by_key_hash(hash(key)).await? else { return Ok(None) };
        let expired = operator.expires_at.is_some_and(|at| at <= self.clock.wall());
        Ok((!expired).then(|| format!("operator {}", operator.id)))
    }

    pub async fn create_operator(
        &self,
        name: &str,
        expires_at: Option<Timestamp>,
        who: &str,
    ) -> Result<NewOperator, OperatorRefused> {
        if name.is_empty() || name.len() > bound::CLIENT_NAME_BYTES {
            return Err(OperatorRefused::Name);
        }
        let key = new_key(self.clock.as_ref(), OPERATOR_PREFIX);
        let now = self.clock.now();
        let operator = Operator {
            id: OperatorId::new(now, self.clock.chance()),
            name: name.into(),
            key_hash: hash(&key),
            created_at: now,
            expires_at,
        };
        // It is the log of tenant `default` that holds the entry.
        self.default_tenant().await?;
        self.store.create_operator(operator.clone(), self.by(who, Action::CreateOperator)).await?;
        Ok(NewOperator { operator, key: Secret::new(key) })
    }
}
