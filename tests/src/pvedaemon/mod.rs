//! A stand-in for pvedaemon: the real one's grammar of requests, ways to sign in and answers, for `GET /access/permissions`; and a
//! daemon that misbehaves, when it is told to.
//!
//! Invariant: it is never more helpful than the real one. What that refuses is refused with the same status, as slowly.
//! Facts are from pve-http-server's `PVE/APIServer/AnyEvent.pm`, `Formatter.pm` and `Formatter/Standard.pm`, pve-manager's
//! `PVE/HTTPServer.pm`, and pve-access-control's `PVE/API2/AccessControl.pm`.

mod users;

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use percent_encoding::percent_decode_str;
use pinion_proto::{
    clock::{Clock, Timestamp},
    lock::lock,
};
use serde_json::{Map, Value, json};

pub use users::Privileges;
use users::Users;

/// What it does instead of its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mischief {
    /// Reads nothing and says nothing.
    Hang,
    /// Says one byte at a time, without end.
    Drip,
    /// Answers with this status and nothing else.
    Status(u16),
    /// Says that it is elsewhere.
    Redirect(String),
    /// Answers 200, and this.
    Body(String),
    /// Answers that everybody may look, in so many bytes at least.
    Flood(usize),
    /// Closes the connection in the middle of its answer.
    CutOff,
}

#[derive(Debug)]
struct Shared {
    users: Mutex<Users>,
    clock: Arc<dyn Clock>,
    mischief: Mutex<Option<Mischief>>,
    /// The first lines of the requests.
    asked: Mutex<Vec<String>>,
    stopped: AtomicBool,
}

/// The daemon; it ends with this value.
#[derive(Debug)]
pub struct Pvedaemon {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Pvedaemon {
    /// Listens on loopback, and knows no user but `root@pam`.
    ///
    /// # Errors
    /// There is no port.
    pub fn start(clock: Arc<dyn Clock>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen as pvedaemon")?;
        let address = listener.local_addr().context("ask for the port")?;
        let shared = Arc::new(Shared {
            users: Mutex::new(Users::new()?),
            clock,
            mischief: Mutex::default(),
            asked: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let serving = shared.clone();
        let accepting = thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if serving.stopped.load(Ordering::SeqCst) {
                    break;
                }
                let shared = serving.clone();
                // Whoever asks may have gone.
                thread::spawn(move || drop(serve(stream, &shared)));
            }
        });
        Ok(Self { address, shared, accepting: Some(accepting) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// There is this user, with these privileges on `/`. One with `-` at its end is not passed on to what is below.
    pub fn user(&self, user: &str, privileges: &[&str]) {
        lock(&self.shared.users).set(user, privileges);
    }

    /// There is no such user any more.
    pub fn remove_user(&self, user: &str) {
        lock(&self.shared.users).remove(user);
    }

    /// A ticket of this user, made now.
    ///
    /// # Errors
    /// It cannot be signed.
    pub fn ticket(&self, user: &str) -> Result<String> {
        self.ticket_of(user, self.shared.clock.now())
    }

    /// A ticket of that moment.
    ///
    /// # Errors
    /// It cannot be signed.
    pub fn ticket_of(&self, user: &str, made: Timestamp) -> Result<String> {
        lock(&self.shared.users).ticket(user, made)
    }

    /// Makes an API token `anna@pve!page`; with privileges of its own it has those of its user's that are among them.
    #[must_use]
    pub fn token(&self, id: &str, own: Option<&[&str]>) -> String {
        let secret = "4ba4bb94-2c41-4b2a-9f0c-0123456789ab";
        lock(&self.shared.users).set_token(id, secret, own);
        format!("{id}={secret}")
    }

    /// Removes an API token.
    pub fn remove_token(&self, id: &str) {
        lock(&self.shared.users).remove_token(id);
    }

    /// From now on it does this, or its work.
    pub fn behave(&self, mischief: Option<Mischief>) {
        *lock(&self.shared.mischief) = mischief;
    }

    /// The first lines of all requests that it has read.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        lock(&self.shared.asked).clone()
    }
}

impl Drop for Pvedaemon {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes it.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

/// Unauthorized calls are answered after this time.
const DELAY: Duration = Duration::from_secs(3);

const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 8 * 1024;

/// While it does nothing, it looks this often whether it is to end.
const LOOK: Duration = Duration::from_millis(20);

/// A request, as far as it matters here.
struct Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
}

struct Answer {
    status: u16,
    reason: String,
    content: String,
}

impl Answer {
    fn of(status: u16, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), content: String::new() }
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mischief = lock(&shared.mischief).clone();
    if mischief == Some(Mischief::Hang) {
        return wait(shared, None);
    }
    let mut read = BufReader::new(stream);
    let request = match receive(&mut read, shared)? {
        Ok(request) => request,
        Err(refused) => return send(read.get_mut(), &refused),
    };
    let stream = read.get_mut();
    if let Some(mischief) = mischief {
        return misbehave(stream, &mischief, shared);
    }
    let answer = match signed_in(&request, shared) {
        Ok(who) => answer(&request, &who, shared),
        Err(why) => {
            wait(shared, Some(DELAY))?;
            Answer::of(401, why)
        }
    };
    send(stream, &answer)
}

/// Reads a request, or says with what it is refused.
fn receive(read: &mut impl BufRead, shared: &Shared) -> io::Result<Result<Request, Answer>> {
    let mut first = String::new();
    read.read_line(&mut first)?;
    let first = first.trim_end();
    lock(&shared.asked).push(first.to_owned());
    let mut words = first.split(' ');
    let (Some(method), Some(uri), Some(version)) = (words.next(), words.next(), words.next()) else {
        return Ok(Err(Answer::of(400, "bad request")));
    };
    if !version.starts_with("HTTP/1.") {
        return Ok(Err(Answer::of(506, "http protocol version not supported")));
    }
    let mut headers = BTreeMap::new();
    let mut size = 0;
    for count in 1.. {
        let mut line = String::new();
        read.read_line(&mut line)?;
        size += line.len();
        if count >= MAX_HEADERS || size >= MAX_HEADER_BYTES {
            // It says so in its log, and nothing to the caller.
            return Err(io::ErrorKind::InvalidData.into());
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else {
            return Ok(Err(Answer::of(506, "unable to parse request header")));
        };
        headers.insert(name.trim().to_lowercase(), value.trim().to_owned());
    }
    if !["GET", "POST", "PUT", "DELETE"].contains(&method) {
        return Ok(Err(Answer::of(501, format!("method '{method}' not available"))));
    }
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let query = query.split(['&', ';']).filter_map(|pair| pair.split_once('='));
    let query = query.map(|(name, value)| (unescaped(name), unescaped(&value.replace('+', " ")))).collect();
    Ok(Ok(Request { method: method.to_owned(), path: unescaped(path), query, headers }))
}

/// `uri_unescape`.
fn unescaped(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// `extract_auth_value`: what is after the key, at the beginning or after a space, up to a semicolon.
fn auth_value(header: Option<&String>, key: &str) -> Option<String> {
    let header = header?;
    let after = |at: usize| header.get(at + key.len()..)?.strip_prefix(['=', ' ']);
    let starts = header.match_indices(key).filter(|(at, _)| *at == 0 || header[..*at].ends_with(' '));
    let value = starts.filter_map(|(at, _)| after(at)).next()?;
    Some(unescaped(value.split(';').next().unwrap_or_default())).filter(|value| !value.is_empty())
}

/// Who asks, in the order in which the real one looks: the cookie, a ticket in the header, an API token.
fn signed_in(request: &Request, shared: &Shared) -> Result<String, String> {
    let header = |name: &str| request.headers.get(name);
    let ticket = auth_value(header("cookie"), "PVEAuthCookie");
    let ticket = ticket.or_else(|| auth_value(header("authorization"), "PVEAuthCookie"));
    let users = lock(&shared.users);
    match (ticket, auth_value(header("authorization"), "PVEAPIToken")) {
        (Some(ticket), _) => users.verify_ticket(&ticket, shared.clock.now()),
        (None, Some(token)) => users.verify_token(&token),
        (None, None) => Err("No ticket".to_owned()),
    }
}

fn answer(request: &Request, who: &str, shared: &Shared) -> Answer {
    let Some(path) = request.path.strip_prefix("/api2/json/") else { return Answer::of(501, "no such uri") };
    if (request.method.as_str(), path) != ("GET", "access/permissions") {
        return Answer::of(501, format!("Method '{} /{path}' not implemented", request.method));
    }
    if request.query.keys().any(|name| !["path", "userid"].contains(&name.as_str())) {
        return Answer::of(400, "Parameter verification failed.");
    }
    if request.query.get("userid").is_some_and(|user| user != who) {
        return Answer::of(403, "Permission check failed (/access, Sys.Audit)");
    }
    let privileges = lock(&shared.users).permissions(who);
    // Perl has ones and zeros.
    let privileges: Map<_, _> = privileges.into_iter().map(|(name, on)| (name, json!(u8::from(on)))).collect();
    let data = match request.query.get("path").map(String::as_str) {
        None | Some("/") => json!({ "/": Value::Object(privileges) }),
        Some(below) => json!({ below: {} }),
    };
    Answer { status: 200, reason: "OK".to_owned(), content: json!({ "data": data }).to_string() }
}

fn send(stream: &mut TcpStream, answer: &Answer) -> io::Result<()> {
    let Answer { status, reason, content } = answer;
    let reason = reason.lines().next().unwrap_or_default();
    write!(
        stream,
        "HTTP/1.1 {status} {reason}\r\nCache-Control: max-age=0\r\nConnection: close\r\nPragma: no-cache\r\nServer: \
         pve-api-daemon/3.0\r\nContent-Length: {}\r\nContent-Type: application/json;charset=UTF-8\r\n\r\n{content}",
        content.len()
    )
}

fn misbehave(stream: &mut TcpStream, mischief: &Mischief, shared: &Shared) -> io::Result<()> {
    match mischief {
        Mischief::Hang => Ok(()),
        Mischief::Drip => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nX: ")?;
            while !shared.stopped.load(Ordering::SeqCst) {
                stream.write_all(b"x")?;
                thread::sleep(LOOK);
            }
            Ok(())
        }
        Mischief::Status(status) => send(stream, &Answer::of(*status, "So")),
        Mischief::Redirect(to) => {
            write!(stream, "HTTP/1.1 307 There\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        }
        Mischief::Body(content) => {
            send(stream, &Answer { status: 200, reason: "OK".to_owned(), content: content.clone() })
        }
        Mischief::Flood(bytes) => {
            let content = format!("{{\"data\":{{\"/\":{{\"Sys.Audit\":1}}}},\"x\":\"{}\"}}", "x".repeat(*bytes));
            send(stream, &Answer { status: 200, reason: "OK".to_owned(), content })
        }
        Mischief::CutOff => stream.write_all(b"HTTP/1.1 2"),
    }
}

/// Waits for so long, or until it is to end.
fn wait(shared: &Shared, time: Option<Duration>) -> io::Result<()> {
    let began = Instant::now();
    while time.is_none_or(|time| began.elapsed() < time) {
        if shared.stopped.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        thread::sleep(LOOK);
    }
    Ok(())
}
