//! The first admin key of a new store: in a file that only its owner may read, since a screen may be a log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sealpost_core::id::TenantNo;
use sealpost_core::role::Role;
use sealpost_core::secret::Secret;

use super::ServeError;
use crate::app::App;
use crate::app::clients::ClientRefused;
use crate::app::tenants::INSTALLATION;

const NAME: &str = "first admin key";

/// Makes the key if the tenant has no client yet. A crash half way leaves `<file>.new`; the next start then forgets
/// the key that nobody has seen and makes another.
pub(super) async fn ensure(
    app: &App,
    tenant: TenantNo,
    file: &Path,
) -> Result<Option<Secret<String>>, ServeError> {
    let begun = file.with_extension("key.new");
    let clients = app.store.clients(tenant).await?;
    if begun.exists() {
        for unseen in clients.iter().filter(|client| client.name == NAME) {
            app.delete_client(tenant, unseen.id, INSTALLATION).await?;
        }
    } else if !clients.is_empty() {
        return Ok(None);
    }
    let failed = |error: io::Error| ServeError::FirstKey { path: file.to_owned(), why: error.to_string() };
    let _leftover = fs::remove_file(&begun);
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&begun).map_err(failed)?;
    let new =
        app.create_client(tenant, NAME, Role::Admin, None, None, INSTALLATION).await.map_err(|refused| {
            match refused {
                ClientRefused::Store(error) => ServeError::Store(error),
                other => ServeError::FirstKey { path: file.to_owned(), why: other.to_string() },
            }
        })?;
    let mut keep = || {
        out.write_all(new.key.reveal().as_bytes())?;
        out.write_all(b"\n")?;
        out.sync_all()?;
        fs::rename(&begun, file)?;
        File::open(crate::config::folder_of(file))?.sync_all()
    };
    keep().map_err(failed)?;
    Ok(Some(new.key))
}
