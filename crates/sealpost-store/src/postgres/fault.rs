//! What goes wrong in a transaction, by what can be done about it: do it again, find out whether it happened, or tell
//! the caller.

use tokio_postgres::error::SqlState;

use crate::error::StoreError;

#[derive(Debug)]
pub(crate) enum Fault {
    /// The database said so, or the connection broke. Nothing of the transaction is stored.
    Sql(tokio_postgres::Error),
    /// No answer in time; the connection is not used again, and the server ends what it was doing by its own limits.
    TimedOut,
    /// Somebody else stored something meanwhile that has to be seen first.
    Again,
    Store(StoreError),
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The same once more: transactions collided, or the connection was lost before the end.
    Again,
    Tell,
}

impl Fault {
    pub(crate) fn remedy(&self) -> Remedy {
        match self {
            Fault::Sql(error) => match error.code() {
                Some(code) => of_code(code),
                None if is_lost(error) => Remedy::Again,
                None => Remedy::Tell,
            },
            Fault::TimedOut | Fault::Again => Remedy::Again,
            Fault::Store(_) => Remedy::Tell,
        }
    }

    pub(crate) fn for_caller(self) -> StoreError {
        match self {
            Fault::Store(error) => error,
            Fault::TimedOut => StoreError::Unreachable("it gave no answer in time".into()),
            Fault::Again => StoreError::Busy,
            Fault::Sql(error) => match error.code() {
                Some(code) if *code == SqlState::DISK_FULL => StoreError::Full,
                Some(code) if is_busy(code) => StoreError::Busy,
                Some(code) if of_code(code) == Remedy::Again => StoreError::Unreachable(text(&error)),
                None if is_lost(&error) => StoreError::Unreachable(text(&error)),
                _ => StoreError::Backend(text(&error)),
            },
        }
    }
}

/// The connection is gone or was never made. Everything else without a code is a mistake in this program or a refusal
/// to let us in.
fn is_lost(error: &tokio_postgres::Error) -> bool {
    use std::error::Error as _;
    error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>())
}

fn is_busy(code: &SqlState) -> bool {
    [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::QUERY_CANCELED,
        SqlState::TOO_MANY_CONNECTIONS,
    ]
    .contains(code)
}

fn of_code(code: &SqlState) -> Remedy {
    let again = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        // A primary that became a standby: the next connection goes to the new one.
        SqlState::READ_ONLY_SQL_TRANSACTION,
    ];
    if again.contains(code) || code.code().starts_with("08") { Remedy::Again } else { Remedy::Tell }
}

/// With the cause, which the driver keeps apart. Never a row's content: PostgreSQL's details may hold some.
fn text(error: &tokio_postgres::Error) -> String {
    use std::error::Error as _;
    match error.as_db_error() {
        Some(said) => format!("{} ({})", said.message(), said.code().code()),
        None => match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collisions_and_lost_servers_are_tried_again_and_mistakes_are_told() {
        for code in ["40001", "40P01", "55P03", "57P01", "57P03", "08006", "25006"] {
            assert_eq!(of_code(&SqlState::from_code(code)), Remedy::Again, "{code}");
        }
        for code in ["23505", "42601", "53100", "57014"] {
            assert_eq!(of_code(&SqlState::from_code(code)), Remedy::Tell, "{code}");
        }
    }
}
