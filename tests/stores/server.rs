//! The server, started once for all tests, and a proxy before it that makes requests fail.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use countersign_runtime::archive::{BucketPlace, Place, Store};
use countersign_runtime::config::Archive;
use countersign_tests::python::{Program, or_skip, venv};
use tempfile::TempDir;

const REQUIREMENTS: &str = include_str!("requirements.txt");

/// The server's port; it ends with this process, which it reads from.
fn port() -> Option<u16> {
    static SERVER: OnceLock<Result<(Arc<Program>, u16), String>> = OnceLock::new();
    let started = SERVER.get_or_init(|| {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("venv-moto");
        let python = venv(&home, REQUIREMENTS)?.join("python");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("stores/server.py");
        let mut command = Command::new(python);
        command.arg(script).stdin(Stdio::piped());
        let (program, port) = Program::start(&mut command);
        let port = port.parse().map_err(|_| format!("no port: {port}"))?;
        Ok((Arc::new(program), port))
    });
    or_skip("moto, a server of the S3 protocol", started).map(|(_, port)| port)
}

/// A bucket of its own for one test.
pub(crate) struct Bucket {
    name: String,
    port: u16,
    dir: TempDir,
}

impl Bucket {
    /// `None` where there is no Python with the server's packages.
    pub(crate) fn new() -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let port = port()?;
        let name = format!("audit-{}", COUNT.fetch_add(1, Ordering::SeqCst));
        let made = exchange(
            port,
            format!("PUT /{name} HTTP/1.1\r\nHost: s3\r\n\r\n").as_bytes(),
        );
        let made = String::from_utf8(made.expect("an answer")).expect("text");
        assert!(made.contains("200 OK"), "{made}");
        let dir = tempfile::tempdir().expect("a directory");
        let bucket = Self { name, port, dir };
        let word = ["any", "thing"].concat();
        let text =
            format!("[default]\naws_access_key_id = {word}\naws_secret_access_key = {word}\n");
        std::fs::write(bucket.credentials(), text).expect("it can be written");
        let own = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(bucket.credentials(), own).expect("it is ours");
        Some(bucket)
    }

    pub(crate) fn credentials(&self) -> PathBuf {
        self.dir.path().join("credentials")
    }

    pub(crate) fn url(&self, prefix: &str) -> String {
        format!("s3://{}/{prefix}", self.name)
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A place in it, reached as an endpoint says.
    pub(crate) fn through(&self, endpoint: &str, prefix: &str) -> Place {
        let settings = Archive {
            endpoint: Some(endpoint.to_owned()),
            credentials_file: Some(self.credentials()),
            ..Archive::default()
        };
        Place::Bucket(BucketPlace::new(&self.url(prefix), &settings).expect("a place"))
    }

    pub(crate) fn place(&self, prefix: &str) -> Place {
        self.through(&self.endpoint(), prefix)
    }

    pub(crate) fn store(&self, prefix: &str) -> Store {
        Store::new(&self.place(prefix)).expect("a store")
    }

    /// A proxy before the server.
    pub(crate) fn proxy(&self, rule: impl Fn(&Request) -> Fault + Send + Sync + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let own = listener.local_addr().expect("an address");
        let (port, rule) = (self.port, Arc::new(rule));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let rule = Arc::clone(&rule);
                // One that is cut off by its client is no matter of the test.
                thread::spawn(move || drop(pass(stream, port, rule.as_ref())));
            }
        });
        format!("http://{own}")
    }
}

/// What a proxy sees of a request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
}

impl Request {
    /// Whether it writes a file whose name holds this.
    pub(crate) fn puts(&self, part: &str) -> bool {
        self.method == "PUT" && self.path.contains(part)
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is passed on.
    Nothing,
    /// It is passed on without this header.
    Without(&'static str),
    /// It is answered with this status and not passed on.
    Refused(u16),
    /// It is done, and the answer says that it failed.
    DoneAnd(u16),
    /// It is done, and the connection ends without an answer.
    DoneInSilence,
}

fn pass(client: TcpStream, port: u16, rule: &dyn Fn(&Request) -> Fault) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut client = client;
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ');
    let request = Request {
        method: words.next().unwrap_or_default().to_owned(),
        path: words.next().unwrap_or_default().to_owned(),
    };
    let fault = rule(&request);
    let (mut head, mut length) = (line, 0);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let lower = header.to_ascii_lowercase();
        let name = lower.split(':').next().unwrap_or_default();
        if name == "content-length" {
            length = lower[name.len() + 1..].trim().parse().expect("a length");
        }
        let dropped = matches!(fault, Fault::Without(other) if name == other);
        if !dropped && name != "connection" {
            head.push_str(&header);
        }
        if header.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if let Fault::Refused(status) = fault {
        return client.write_all(&refusal(status));
    }
    let answer = exchange(port, &[head.as_bytes(), &body].concat())?;
    match fault {
        Fault::DoneInSilence => Ok(()),
        Fault::DoneAnd(status) => client.write_all(&refusal(status)),
        _ => client.write_all(&answer),
    }
}

fn refusal(status: u16) -> Vec<u8> {
    let body = "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>";
    let head = format!("HTTP/1.1 {status} Slow Down\r\nConnection: close\r\nContent-Length: ");
    format!("{head}{}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Sends bytes and reads until the server, which answers one request on each connection,
/// ends it.
fn exchange(port: u16, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    server.write_all(request)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    Ok(answer)
}
