//! What the audit log says of a change or a reading: who, what, when.

use crate::time::Timestamp;

/// Everything that leaves an entry. Changes leave it in their own transaction; readings before anything is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    CreateTenant,
    ChangeQuota,
    ChangeAnalytics,
    DeleteTenant,
    RotateMasterKey,
    OpenTenant,
    CreateClient,
    DeleteClient,
    CreateOperator,
    DeleteOperator,
    CreateWebhook,
    ChangeWebhook,
    ChangeSettings,
    RotateSecret,
    RotateToken,
    DeleteWebhook,
    PutEventType,
    DeleteEventType,
    RotateKeys,
    RotateTokenKeys,
    CreateDomain,
    ChangeDomain,
    DeleteDomain,
    VerifyDomain,
    Redeliver,
    RedeliverAll,
    CancelDelivery,
    ErasePayloads,
    MakePortalLink,
    ReadSecret,
    ReadPayload,
}

impl Action {
    /// As the log keeps it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::CreateTenant => "create tenant",
            Action::ChangeQuota => "change quota",
            Action::ChangeAnalytics => "change analytics",
            Action::DeleteTenant => "delete tenant",
            Action::RotateMasterKey => "rotate master key",
            Action::OpenTenant => "open tenant",
            Action::CreateClient => "create client",
            Action::DeleteClient => "delete client",
            Action::CreateOperator => "create operator",
            Action::DeleteOperator => "delete operator",
            Action::CreateWebhook => "create webhook",
            Action::ChangeWebhook => "change webhook",
            Action::ChangeSettings => "change settings",
            Action::RotateSecret => "rotate secret",
            Action::RotateToken => "rotate token",
            Action::DeleteWebhook => "delete webhook",
            Action::PutEventType => "put event type",
            Action::DeleteEventType => "delete event type",
            Action::RotateKeys => "rotate keys",
            Action::RotateTokenKeys => "rotate token keys",
            Action::CreateDomain => "create domain",
            Action::ChangeDomain => "change domain",
            Action::DeleteDomain => "delete domain",
            Action::VerifyDomain => "verify domain",
            Action::Redeliver => "redeliver",
            Action::RedeliverAll => "redeliver all",
            Action::CancelDelivery => "cancel delivery",
            Action::ErasePayloads => "erase payloads",
            Action::MakePortalLink => "make portal link",
            Action::ReadSecret => "read secret",
            Action::ReadPayload => "read payload",
        }
    }
}

/// Who does what, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct By {
    /// A client, an operator, the command line, or the installation itself.
    pub who: String,
    pub action: Action,
    pub at: Timestamp,
}

impl By {
    pub fn new(who: impl Into<String>, action: Action, at: Timestamp) -> Self {
        Self { who: who.into(), action, at }
    }
}
