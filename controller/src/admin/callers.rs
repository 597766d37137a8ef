//! How many ask on the controller's socket at once, and how long may a question be on its way?
//!
//! Invariant: nobody who may only look takes a place from root or the controller's own user, nor all places of the others;
//! a place is held for as long as its connection, and a question that does not come frees it.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use pinion_proto::{length::Length, lines, lock::lock};
use tokio::{
    io::{AsyncBufRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::protocol::{Answer, Ask};

/// Connections at once of all users but root and the controller's own.
const MAX_CALLERS: usize = 64;

/// Of these, one user's.
const MAX_OF_ONE: usize = 16;

/// Connections at once of root, and of the controller's own user.
const MAX_TRUSTED: usize = 256;

/// The longest question (bytes): thousands of names.
pub(super) const MAX_QUESTION: u64 = 64 * 1024;

/// The longest question of root and of the controller's own user (bytes): a manifest of 10,000 placements.
const MAX_TRUSTED_QUESTION: u64 = 8 * 1024 * 1024;

/// Of a question that is too long, so much more is read and thrown away (bytes).
const MAX_PASSED_OVER: u64 = 16 * MAX_QUESTION;

/// How long a caller may take to ask.
pub(super) const ASK_TIME: Duration = Duration::from_secs(10);

/// Who is connected.
#[derive(Debug)]
pub struct Callers {
    /// The user that the controller runs as.
    own: u32,
    by_user: Arc<Mutex<BTreeMap<u32, usize>>>,
}

/// A connection's place, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    user: u32,
    by_user: Arc<Mutex<BTreeMap<u32, usize>>>,
}

impl Callers {
    /// Of a controller that runs as this process's user.
    #[must_use]
    pub fn new() -> Self {
        Self { own: rustix::process::geteuid().as_raw(), by_user: Arc::default() }
    }

    /// The longest question that this user may ask (bytes).
    pub(super) fn max_question(&self, user: u32) -> u64 {
        if self.trusts(user) { MAX_TRUSTED_QUESTION } else { MAX_QUESTION }
    }

    fn trusts(&self, user: u32) -> bool {
        user == 0 || user == self.own
    }

    /// A place for one more connection of this user.
    ///
    /// # Errors
    /// There is none, in words.
    pub(super) fn enter(&self, user: u32) -> Result<Place, String> {
        let trusted = |user: u32| self.trusts(user);
        let mut by_user = lock(&self.by_user);
        let of_one = by_user.get(&user).copied().unwrap_or(0);
        let of_all: usize = by_user.iter().filter(|(user, _)| !trusted(**user)).map(|(_, count)| count).sum();
        let max = if trusted(user) { MAX_TRUSTED } else { MAX_OF_ONE };
        if of_one >= max {
            return Err(format!("uid {user} already has {max} connections to the controller: end one, and try again"));
        }
        if !trusted(user) && of_all >= MAX_CALLERS {
            return Err(format!("the controller already has {MAX_CALLERS} callers: try again later"));
        }
        by_user.insert(user, of_one + 1);
        Ok(Place { user, by_user: self.by_user.clone() })
    }
}

impl Default for Callers {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_user = lock(&self.by_user);
        match by_user.get_mut(&self.user) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(by_user.remove(&self.user)),
        }
    }
}

/// The question, of at most `max` bytes; none where the caller has gone.
///
/// # Errors
/// It is too long, is no question, or does not come in `time`.
pub(super) async fn question(
    read: &mut (impl AsyncBufRead + Unpin),
    max: u64,
    time: Duration,
) -> io::Result<Option<Ask>> {
    match timeout(time, lines::read_limited::<Ask>(read, max)).await {
        Ok(read) => read,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("it did not arrive within {}", Length(time)))),
    }
}

/// Answers a question that is none, and reads what is left of it, for at most `time`: a socket that is closed with bytes
/// unread takes the answer from its caller, who would not hear why.
///
/// # Errors
/// The caller has gone.
pub(super) async fn refuse(
    read: &mut (impl AsyncBufRead + Unpin),
    write: &mut (impl AsyncWrite + Unpin),
    answer: &Answer,
    time: Duration,
) -> io::Result<()> {
    lines::write(write, answer).await?;
    write.shutdown().await?;
    drop(timeout(time, tokio::io::copy(&mut read.take(MAX_PASSED_OVER), &mut tokio::io::sink())).await);
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{BufReader, duplex};

    use super::*;

    #[test]
    fn who_may_only_look_leaves_places_to_the_others() {
        let callers = Callers { own: 998, by_user: Arc::default() };
        let mut places = Vec::new();
        for user in 1000..1004 {
            places.extend((0..16).map(|_| callers.enter(user).expect("a place")));
            assert!(callers.enter(user).expect_err("enough").contains("16 connections"), "{user}");
        }
        assert!(callers.enter(1004).expect_err("all are taken").contains("64 callers"));
        assert_eq!([0, 998, 1000].map(|user| callers.max_question(user) > MAX_QUESTION), [true, true, false]);
        for user in [0, 998] {
            places.extend((0..16).map(|_| callers.enter(user).expect("never taken by others")));
        }
        places.clear();
        callers.enter(1004).expect("all are free again");
        assert!(callers.by_user.lock().expect("not poisoned").is_empty());
    }

    #[tokio::test]
    async fn a_question_comes_soon_and_is_short() {
        let (mut caller, stream) = duplex(4096);
        let mut read = BufReader::new(stream);
        let late = question(&mut read, MAX_QUESTION, Duration::from_millis(50)).await.expect_err("nothing comes");
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        caller.write_all(b"\"plan\"\n").await.expect("written");
        let writing = tokio::spawn(async move {
            // Whoever reads no further ends it.
            drop(caller.write_all(&vec![b' '; 1024 * 1024]).await);
        });
        let asked = question(&mut read, MAX_QUESTION, ASK_TIME).await;
        assert!(matches!(asked, Ok(Some(Ask::Plan))), "{asked:?}");
        let long = question(&mut read, MAX_QUESTION, ASK_TIME).await.expect_err("too long");
        assert!(long.to_string().contains("too long"), "{long}");
        drop(read);
        writing.await.expect("it ends");
    }

    #[test]
    fn root_has_places_of_its_own_and_not_without_end() {
        let callers = Callers { own: 998, by_user: Arc::default() };
        let mut places: Vec<_> = (0..256).map(|_| callers.enter(0).expect("a place")).collect();
        assert!(callers.enter(0).expect_err("enough").contains("256 connections"));
        callers.enter(1000).expect("none of the others'");
        drop(places.pop());
        callers.enter(0).expect("one is free again");
    }
}
