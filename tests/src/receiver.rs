//! A small service that takes JSON by HTTP POST and keeps it, and behaves badly when it is told to.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use pinion_proto::lock::lock;
use rustix::net::{Shutdown, shutdown};
use serde_json::Value;

use crate::wait::{self, PATIENCE};

/// What it does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    /// Keeps it, and answers with this status.
    Answer(u16),
    /// Keeps it, and says that it is elsewhere.
    Redirect(String),
    /// Reads nothing and says nothing.
    Hang,
    /// Answers one byte at a time, without end.
    Drip,
    /// Answers with so many bytes.
    Flood(usize),
    /// Closes the connection in the middle of its answer.
    CutOff,
}

/// What it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The path, with the query.
    pub path: String,
    /// The headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Value,
}

#[derive(Debug)]
struct Shared {
    manner: Mutex<Manner>,
    received: Mutex<Vec<Received>>,
    connections: Mutex<usize>,
    stopped: AtomicBool,
}

/// The service; it ends with this value.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    listener: TcpListener,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Listens on loopback.
    ///
    /// # Errors
    /// There is no port.
    pub fn start(manner: Manner) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen for messages")?;
        let address = listener.local_addr().context("ask for the port")?;
        let accepts = listener.try_clone().context("share the listener")?;
        let shared = Arc::new(Shared {
            manner: Mutex::new(manner),
            received: Mutex::default(),
            connections: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let serving = shared.clone();
        let accepting = thread::spawn(move || {
            while let Ok((stream, _)) = accepts.accept() {
                if serving.stopped.load(Ordering::SeqCst) {
                    break;
                }
                *lock(&serving.connections) += 1;
                let shared = serving.clone();
                thread::spawn(move || drop(serve(stream, &shared)));
            }
        });
        Ok(Self { address, listener, shared, accepting: Some(accepting) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of this path at it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// From now on it does this.
    pub fn behave(&self, manner: Manner) {
        *lock(&self.shared.manner) = manner;
    }

    /// Everything that it was sent.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }

    /// How many connections were made to it.
    #[must_use]
    pub fn connections(&self) -> usize {
        *lock(&self.shared.connections)
    }

    /// Waits for the message of this number, counted from 0.
    ///
    /// # Errors
    /// It does not come within [`PATIENCE`].
    pub fn wait(&self, number: usize) -> Result<Received> {
        wait::until("a message", PATIENCE, || {
            let received = self.received();
            received.get(number).cloned().ok_or_else(|| format!("{} messages: {received:?}", received.len()))
        })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes it, in whichever network it is.
        shutdown(&self.listener, Shutdown::Both).ok();
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

/// The longest body (bytes).
const MAX_BODY: usize = 1024 * 1024;

/// While it does nothing, it looks this often whether it is to end.
const LOOK: Duration = Duration::from_millis(20);

fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let manner = lock(&shared.manner).clone();
    let is_over = || shared.stopped.load(Ordering::SeqCst);
    if manner == Manner::Hang {
        while !is_over() {
            thread::sleep(LOOK);
        }
        return Ok(());
    }
    let mut read = BufReader::new(stream);
    let received = receive(&mut read)?;
    let mut stream = read.into_inner();
    match manner {
        Manner::Answer(status) => {
            lock(&shared.received).push(received);
            write!(stream, "HTTP/1.1 {status} So\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        }
        Manner::Redirect(to) => {
            lock(&shared.received).push(received);
            write!(stream, "HTTP/1.1 307 There\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        }
        Manner::Drip => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nX: ")?;
            while !is_over() {
                stream.write_all(b"x")?;
                thread::sleep(LOOK);
            }
            Ok(())
        }
        Manner::Flood(bytes) => {
            write!(stream, "HTTP/1.1 500 No\r\nContent-Length: {bytes}\r\n\r\n")?;
            for _ in 0..bytes / 65536 {
                stream.write_all(&[b'x'; 65536])?;
            }
            Ok(())
        }
        Manner::CutOff => stream.write_all(b"HTTP/1.1 2"),
        Manner::Hang => Ok(()),
    }
}

fn receive(read: &mut impl BufRead) -> io::Result<Received> {
    let mut line = String::new();
    read.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        read.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0_usize);
    let mut body = vec![0; length.min(MAX_BODY)];
    read.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Ok(Received { path, headers, body })
}
