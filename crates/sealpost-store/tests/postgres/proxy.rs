//! A server that is lost at the worst moment: relays to the real one, and cuts the first connection that commits, after
//! the COMMIT went out and before, or after, the server did it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::backend::server;

pub(crate) struct Proxy {
    pub(crate) address: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    armed: AtomicBool,
    reaches: AtomicBool,
    cuts: AtomicUsize,
    closed: AtomicBool,
    all: Notify,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared::default());
        let (_, rest) = server().rsplit_once('@').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let target = rest.split('/').next().unwrap().to_owned();
        let of_task = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                while of_task.closed.load(Ordering::SeqCst) {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
                let server = TcpStream::connect(&target).await.unwrap();
                tokio::spawn(relay(client, server, Arc::clone(&of_task)));
            }
        });
        Self { address, shared }
    }

    /// The next COMMIT gets no answer; `reaches`: although the server did it.
    pub(crate) fn cut_next_commit(&self, reaches: bool) {
        self.shared.reaches.store(reaches, Ordering::SeqCst);
        self.shared.armed.store(true, Ordering::SeqCst);
    }

    /// As long as it is closed, nobody new gets through.
    pub(crate) fn close(&self, closed: bool) {
        self.shared.closed.store(closed, Ordering::SeqCst);
    }

    /// Every connection, whatever it is doing.
    pub(crate) fn cut_all(&self) {
        self.shared.all.notify_waiters();
    }

    pub(crate) fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

async fn relay(mut client: TcpStream, mut server: TcpStream, shared: Arc<Shared>) {
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            () = shared.all.notified() => return,
            read = client.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                let bytes = &up[..count];
                let commits = bytes.windows(7).any(|window| window == b"COMMIT\0");
                if commits && shared.armed.swap(false, Ordering::SeqCst) {
                    shared.cuts.fetch_add(1, Ordering::SeqCst);
                    if shared.reaches.load(Ordering::SeqCst) {
                        server.write_all(bytes).await.unwrap();
                        // Its answer goes nowhere.
                        let _ = server.read(&mut down).await;
                    }
                    return;
                }
                if server.write_all(bytes).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(count @ 1..) = read else { return };
                if client.write_all(&down[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
