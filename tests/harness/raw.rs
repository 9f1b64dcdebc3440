//! The NATS protocol by hand: the only client that learns at once, and for certain, what
//! the server refused, because the server answers in order.

use std::collections::VecDeque;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::operator;

/// How long the server may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A message that the server delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Its subject.
    pub subject: String,
    /// Where an answer would go.
    pub reply: Option<String>,
    /// Its headers as one text; empty without.
    pub headers: String,
    /// Its body.
    pub body: Vec<u8>,
}

impl Delivered {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key == name).then(|| value.trim())
        })
    }
}

/// One connection.
#[derive(Debug)]
pub struct Raw {
    stream: BufReader<TcpStream>,
    delivered: VecDeque<Delivered>,
    refused: Vec<String>,
    subscriptions: u32,
    prefix: String,
}

impl Raw {
    /// Connects to `address` (`host:port`) as the user with this seed or credentials file.
    ///
    /// # Errors
    /// What the server said when it refused.
    ///
    /// # Panics
    /// When there is no server.
    pub async fn connect(address: &str, name: &str, credential: &str) -> Result<Self, String> {
        let socket = TcpStream::connect(address).await.expect("a server listens");
        // Small operations follow each other; held back, each would wait 40 ms.
        socket.set_nodelay(true).expect("a socket option");
        let mut raw = Self {
            stream: BufReader::new(socket),
            delivered: VecDeque::new(),
            refused: Vec::new(),
            subscriptions: 0,
            prefix: format!("_INBOX_{name}"),
        };
        let info = raw.line().await.expect("a server introduces itself");
        let info: Value = serde_json::from_str(info.trim_start_matches("INFO "))
            .expect("the introduction is JSON");
        let (jwt, seed) = operator::parts(credential);
        let pair = nkeys::KeyPair::from_seed(seed).expect("a seed");
        let nonce = info["nonce"].as_str().unwrap_or_default();
        let signature = pair.sign(nonce.as_bytes()).expect("a signature");
        let mut hello = json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true,
            "lang": "raw", "version": "1", "protocol": 1, "name": name,
            "sig": URL_SAFE_NO_PAD.encode(signature),
        });
        match jwt {
            Some(jwt) => hello["jwt"] = json!(jwt),
            None => hello["nkey"] = json!(pair.public_key()),
        }
        raw.send(format!("CONNECT {hello}\r\n").as_bytes()).await;
        match raw.settle().await {
            Ok(()) => Ok(raw),
            Err(refused) => Err(refused),
        }
    }

    /// A subject of its own inbox.
    #[must_use]
    pub fn inbox(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// Publishes.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn publish(&mut self, subject: &str, body: &[u8]) -> Result<(), String> {
        self.publish_with(subject, None, &[], body).await
    }

    /// Publishes with a reply subject and headers.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn publish_with(
        &mut self,
        subject: &str,
        reply: Option<&str>,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<(), String> {
        let reply = reply.map(|reply| format!(" {reply}")).unwrap_or_default();
        let mut frame = if headers.is_empty() {
            format!("PUB {subject}{reply} {}\r\n", body.len())
        } else {
            let mut text = "NATS/1.0\r\n".to_owned();
            for (name, value) in headers {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
            text.push_str("\r\n");
            let (head, total) = (text.len(), text.len() + body.len());
            format!("HPUB {subject}{reply} {head} {total}\r\n{text}")
        }
        .into_bytes();
        frame.extend_from_slice(body);
        frame.extend_from_slice(b"\r\n");
        self.send(&frame).await;
        self.settle().await
    }

    /// Subscribes.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn subscribe(&mut self, subject: &str) -> Result<(), String> {
        self.subscribe_in(subject, "").await
    }

    /// Subscribes in a queue: each message goes to one of its members.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn subscribe_in(&mut self, subject: &str, queue: &str) -> Result<(), String> {
        self.subscriptions += 1;
        let frame = format!("SUB {subject} {queue} {}\r\n", self.subscriptions);
        self.send(frame.as_bytes()).await;
        self.settle().await
    }

    /// Publishes and returns the first answer.
    ///
    /// # Errors
    /// The server's refusal, or that nobody answered.
    pub async fn request(
        &mut self,
        subject: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Delivered, String> {
        let inbox = self.inbox(&format!("r{}", self.subscriptions));
        self.subscribe(&inbox).await?;
        self.publish_with(subject, Some(&inbox), headers, body)
            .await?;
        self.wait_for(&inbox).await
    }

    /// The next message, whatever its subject.
    ///
    /// # Errors
    /// When there is none in time, or the connection is gone.
    pub async fn next(&mut self) -> Result<Delivered, String> {
        loop {
            if let Some(found) = self.delivered.pop_front() {
                return Ok(found);
            }
            if self.read_one().await? {
                return Err("an unexpected answer to a ping".to_owned());
            }
        }
    }

    async fn wait_for(&mut self, subject: &str) -> Result<Delivered, String> {
        loop {
            let place = self.delivered.iter().position(|m| m.subject == subject);
            if let Some(found) = place.and_then(|place| self.delivered.remove(place)) {
                return Ok(found);
            }
            if self.read_one().await? {
                return Err("an unexpected answer to a ping".to_owned());
            }
        }
    }

    /// What was delivered so far; asks the server for everything before it looks.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn take_delivered(&mut self) -> Result<Vec<Delivered>, String> {
        self.settle().await?;
        Ok(self.delivered.drain(..).collect())
    }

    /// Waits until the server has closed the connection and says what it said last.
    ///
    /// # Errors
    /// When it did not within `deadline`.
    pub async fn closed(&mut self, deadline: Duration) -> Result<String, String> {
        let read = async { while self.read_one().await.is_ok() {} };
        timeout(deadline, read)
            .await
            .map_err(|_| format!("still connected after {deadline:?}"))?;
        Ok(self.refused.pop().unwrap_or_default())
    }

    async fn send(&mut self, bytes: &[u8]) {
        // A server that closed the connection shows when its last words are read.
        self.stream.get_mut().write_all(bytes).await.ok();
    }

    /// Sends a ping and reads up to its answer: whatever was refused before came first.
    async fn settle(&mut self) -> Result<(), String> {
        self.send(b"PING\r\n").await;
        while !self.read_one().await? {}
        match self.refused.is_empty() {
            true => Ok(()),
            false => Err(std::mem::take(&mut self.refused).join("; ")),
        }
    }

    /// Reads one operation; whether it was the answer to a ping.
    async fn read_one(&mut self) -> Result<bool, String> {
        let line = self.line().await.ok_or_else(|| {
            let last = self.refused.join("; ");
            format!("closed: {last}")
        })?;
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "PONG" => return Ok(true),
            "PING" => self.send(b"PONG\r\n").await,
            "-ERR" => self.refused.push(rest.trim_matches('\'').to_owned()),
            "MSG" => self.message(rest, false).await?,
            "HMSG" => self.message(rest, true).await?,
            _ => {}
        }
        Ok(false)
    }

    async fn message(&mut self, head: &str, with_headers: bool) -> Result<(), String> {
        let mut words: Vec<&str> = head.split(' ').collect();
        let mut size = || -> Result<usize, String> {
            let word = words.pop().ok_or("a message without a size")?;
            word.parse().map_err(|_| format!("`{word}` is no size"))
        };
        let total = size()?;
        let head_bytes = if with_headers { size()? } else { 0 };
        let (subject, reply) = match words.as_slice() {
            [subject, _, reply] => (*subject, Some((*reply).to_owned())),
            [subject, ..] => (*subject, None),
            [] => return Err("a message without a subject".to_owned()),
        };
        let mut bytes = vec![0; total + 2];
        timeout(PATIENCE, self.stream.read_exact(&mut bytes))
            .await
            .map_err(|_| "half a message".to_owned())?
            .map_err(|error| error.to_string())?;
        bytes.truncate(total);
        let body = bytes.split_off(head_bytes);
        self.delivered.push_back(Delivered {
            subject: subject.to_owned(),
            reply,
            headers: String::from_utf8_lossy(&bytes).into_owned(),
            body,
        });
        Ok(())
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.stream.read_line(&mut line))
            .await
            .ok()?
            .ok()?;
        (read > 0).then(|| line.trim_end().to_owned())
    }
}
