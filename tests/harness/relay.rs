//! A relay between one service and the server that can be cut at one exact publish: the
//! server then knows all that the service said before, and nothing after.

use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// What to tell of the publish on this subject, if it is the one to cut before.
type Wanted = Box<dyn FnMut(&str) -> Option<String> + Send>;

/// What may pass from the service to the server.
#[derive(Default)]
enum Gate {
    #[default]
    Open,
    /// All up to a certain publish, of which somebody waits to hear.
    UpTo(Wanted, oneshot::Sender<String>),
    Cut,
}

impl Gate {
    /// Whether what comes next may pass, which is a publish where it has a subject.
    fn lets_pass(&mut self, subject: Option<&str>) -> bool {
        let found = match (&mut *self, subject) {
            (Self::Open, _) | (Self::UpTo(..), None) => return true,
            (Self::Cut, _) => return false,
            (Self::UpTo(wanted, _), Some(subject)) => wanted(subject),
        };
        let Some(found) = found else {
            return true;
        };
        if let Self::UpTo(_, told) = std::mem::replace(self, Self::Cut) {
            // Whoever does not wait any more has failed already.
            told.send(found).ok();
        }
        false
    }
}

/// The gate of the connections that are made from now on.
#[derive(Default)]
struct Gates(Mutex<Arc<Mutex<Gate>>>);

impl Gates {
    fn now(&self) -> Arc<Mutex<Gate>> {
        Arc::clone(&self.0.lock().expect("nobody panics with it"))
    }
}

/// A relay. Dropping it ends every connection through it.
pub struct Relay {
    url: String,
    gates: Arc<Gates>,
    _connections: JoinSet<()>,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("url", &self.url).finish()
    }
}

impl Relay {
    /// A relay to the server at `url`, without TLS.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start(url: &str) -> Self {
        let server = url.trim_start_matches("nats://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let gates = Arc::new(Gates::default());
        let mut connections = JoinSet::new();
        connections.spawn(accept(listener, server, Arc::clone(&gates)));
        Self {
            url: format!("nats://{address}"),
            gates,
            _connections: connections,
        }
    }

    /// Where the service finds it.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Cuts every connection that stands now before the first publish of whose subject
    /// `wanted` has something to tell, and returns that: neither this publish nor anything
    /// after it reaches the server. What connects later passes.
    ///
    /// # Panics
    /// When the connections end before.
    pub async fn cut_before(
        &self,
        wanted: impl FnMut(&str) -> Option<String> + Send + 'static,
    ) -> String {
        let (told, cut) = oneshot::channel();
        let gate = self.gates.now();
        *gate.lock().expect("nobody panics with it") = Gate::UpTo(Box::new(wanted), told);
        let found = cut.await.expect("the service said more");
        *self.gates.0.lock().expect("nobody panics with it") = Arc::default();
        found
    }
}

async fn accept(listener: TcpListener, server: String, gates: Arc<Gates>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let server = TcpStream::connect(&server)
            .await
            .expect("the server listens");
        for socket in [&client, &server] {
            // Small operations follow each other; held back, each would wait 40 ms.
            socket.set_nodelay(true).expect("a socket option");
        }
        connections.spawn(carry(client, server, gates.now()));
    }
}

/// Carries one connection until either side ends it.
async fn carry(client: TcpStream, server: TcpStream, gate: Arc<Mutex<Gate>>) {
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    tokio::select! {
        _ = guarded(from_client, to_server, &gate) => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}

/// Carries what a service says, one operation after the other.
async fn guarded(
    from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    gate: &Mutex<Gate>,
) -> std::io::Result<()> {
    let mut from = BufReader::new(from);
    let mut operation = Vec::new();
    loop {
        operation.clear();
        if from.read_until(b'\n', &mut operation).await? == 0 {
            return Ok(());
        }
        let line = String::from_utf8_lossy(&operation).into_owned();
        let mut words = line.split_ascii_whitespace();
        let mut subject = None;
        if let Some("PUB" | "HPUB") = words.next() {
            subject = words.next();
            let size: usize = words
                .next_back()
                .and_then(|size| size.parse().ok())
                .expect("a publish says its size");
            let head = operation.len();
            operation.resize(head + size + 2, 0);
            from.read_exact(&mut operation[head..]).await?;
        }
        let passes = gate
            .lock()
            .expect("nobody panics with it")
            .lets_pass(subject);
        if passes {
            to.write_all(&operation).await?;
        }
    }
}
