//! The admin socket: how commands reach a store that a running server holds.
//!
//! One connection carries one call: a JSON line there, a JSON line back. The socket is for its owner alone: its mode
//! is 0600, and whoever connects must be the same user or root.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::app::App;
use crate::app::admin::{AdminAnswer, AdminCall, AdminError};

/// A thousand ids and some.
const CALL_BYTES_MAX: u64 = 256 * 1024;
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// A call is written by a program: it arrives at once.
const CALL_WITHIN: Duration = Duration::from_secs(5);
const CALLS_AT_ONCE: usize = 8;
/// Of `sun_path`, with a margin.
const SOCKET_PATH_BYTES: usize = 100;

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
enum Reply {
    Done(AdminAnswer),
    Refused(AdminError),
}

#[derive(Debug)]
pub struct AdminSocket {
    path: PathBuf,
    serving: JoinHandle<()>,
}

impl AdminSocket {
    /// Must be called under the store's lock: a socket that is there was left by a process that is gone.
    pub fn listen(path: &Path, app: App) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = with_short_path(path, |short| UnixListener::bind(short))?;
        // Until this line others might connect; they are turned away by who they are.
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(Self { path: path.to_owned(), serving: tokio::spawn(serve(listener, app)) })
    }

    /// Takes no further calls.
    pub fn stop(&self) {
        self.serving.abort();
        let _gone_already = fs::remove_file(&self.path);
    }
}

/// Paths of sockets must be short; the kernel's name for an open folder is.
fn with_short_path<T>(path: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= SOCKET_PATH_BYTES {
        return act(path);
    }
    let folder = File::open(crate::config::folder_of(path))?;
    let name = path.file_name().unwrap_or_default();
    act(&Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name))
}

async fn serve(listener: UnixListener, app: App) {
    let slots = Arc::new(Semaphore::new(CALLS_AT_ONCE));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let app = app.clone();
                tokio::spawn(async move {
                    if let Err(error) = one_call(stream, &app).await {
                        tracing::warn!(%error, "a call on the admin socket failed");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin socket could not accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn one_call(mut stream: UnixStream, app: &App) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    let own = rustix::process::geteuid().as_raw();
    if peer != own && peer != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("user {peer} is not the owner")));
    }
    let mut line = String::new();
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read.take(CALL_BYTES_MAX));
    timeout(CALL_WITHIN, read.read_line(&mut line)).await??;
    let reply = match serde_json::from_str::<AdminCall>(&line) {
        Err(error) => Reply::Refused(AdminError::Refused(format!(
            "the server does not understand the call ({error}); are command and server of one version?"
        ))),
        Ok(call) => match app.admin(call, &format!("admin socket, user {peer}")).await {
            Ok(answer) => Reply::Done(answer),
            Err(error) => Reply::Refused(error),
        },
    };
    let mut text = serde_json::to_string(&reply).map_err(io::Error::other)?;
    text.push('\n');
    write.write_all(text.as_bytes()).await?;
    write.shutdown().await
}

/// Asks a running server. The outer error: it cannot be reached, or broke off.
pub async fn call(path: &Path, call: &AdminCall) -> io::Result<Result<AdminAnswer, AdminError>> {
    let stream = with_short_path(path, |short| {
        let stream = std::os::unix::net::UnixStream::connect(short)?;
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    })?;
    let (read, mut write) = stream.into_split();
    let mut text = serde_json::to_string(call).map_err(io::Error::other)?;
    if text.len() as u64 >= CALL_BYTES_MAX {
        return Ok(Err(AdminError::Refused("the call is too large; split it".into())));
    }
    text.push('\n');
    write.write_all(text.as_bytes()).await?;
    let mut line = String::new();
    BufReader::new(read.take(ANSWER_BYTES_MAX)).read_line(&mut line).await?;
    match serde_json::from_str(&line) {
        Ok(Reply::Done(answer)) => Ok(Ok(answer)),
        Ok(Reply::Refused(error)) => Ok(Err(error)),
        Err(_) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server broke off")),
    }
}
