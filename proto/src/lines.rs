//! Local sockets: one JSON document a line, each way, with a limit on its length.
//!
//! Both programs answer their command lines this way; what the documents say is theirs to define.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::UnixListener,
};

/// The longest line that is read (bytes): 3,000 guests' status fits, an endless line does not.
const MAX_LINE: u64 = 64 * 1024 * 1024;

/// A daemon that was killed may leave its socket to a program that it was starting, until that one runs.
const LEFT_OPEN: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Reads the next document; none at the end of the stream.
///
/// # Errors
/// The connection fails, the line is too long or cut off, or it is not the document expected.
pub async fn read<T: DeserializeOwned>(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<T>> {
    read_limited(stream, MAX_LINE).await
}

/// As [`read`], for a reader that expects no more than `max` bytes.
///
/// # Errors
/// As [`read`].
pub async fn read_limited<T: DeserializeOwned>(
    stream: &mut (impl AsyncBufRead + Unpin),
    max: u64,
) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    stream.take(max).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') {
        let why = if line.len() as u64 >= max { "the line is too long" } else { "the line is cut off" };
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    serde_json::from_slice(&line).map(Some).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// Writes a document as one line.
///
/// # Errors
/// The connection fails.
pub async fn write<T: Serialize + Sync>(stream: &mut (impl AsyncWrite + Unpin), document: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(document).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    stream.flush().await
}

/// Binds a daemon's socket, in place of one that an earlier daemon left behind, with these permission bits. Waits a
/// little for one that has just ended; blocks until then.
///
/// # Errors
/// Another daemon answers there, or the directory cannot be written.
pub fn bind(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent().filter(|directory| !directory.is_dir()) {
        fs::create_dir_all(directory)?;
        // Whatever the umask: the socket's own permission bits say who may open it.
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    }
    let deadline = Instant::now() + LEFT_OPEN;
    while std::os::unix::net::UnixStream::connect(path).is_ok() {
        if Instant::now() >= deadline {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon already listens on this socket"));
        }
        thread::sleep(PAUSE);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(listener)
}
