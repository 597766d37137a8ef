//! Feeding a program and hearing it until it has ended, or has to be ended.
//!
//! Invariant: input and both outputs move at the same time, so no full pipe holds another one up; a program is given a limited
//! time, and what it leaves behind cannot prolong that by holding a pipe open.

use std::{io, process::ExitStatus, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin},
    time::timeout,
};

use super::output::Output;

/// How long output is still read after the program has ended: what it left behind may hold the pipe for ever. A program that
/// was killed is waited for no longer than that, either; the runtime reaps one that the kernel holds up.
const DRAIN: Duration = Duration::from_millis(200);

/// How a program came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself, or by somebody else's signal.
    Exited(ExitStatus),
    /// It took too long and was ended.
    TimedOut,
    /// It said more than it may and was ended.
    TooMuch,
}

struct TooMuch;

/// Gives a program its input, and takes its standard output and error, until it has ended; at most for `patience`. `end` ends
/// a program that takes too long or says too much: [`end_group`], or something more thorough.
///
/// # Errors
/// The program cannot be waited for, or cannot be ended.
pub async fn talk(
    child: &mut Child,
    input: &[u8],
    [out, err]: [&mut Output; 2],
    patience: Duration,
    end: impl FnOnce(&mut Child) -> io::Result<()>,
) -> io::Result<Ending> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let exchange = async { tokio::try_join!(give(stdin, input), take(stdout, out), take(stderr, err)).map(drop) };
    tokio::pin!(exchange);
    let mut drained = false;
    let waited = timeout(patience, async {
        loop {
            tokio::select! {
                status = child.wait() => return status.map(Ending::Exited),
                exchanged = &mut exchange, if !drained => match exchanged {
                    Ok(()) => drained = true,
                    Err(TooMuch) => return Ok(Ending::TooMuch),
                },
            }
        }
    })
    .await;
    let ending = waited.unwrap_or(Ok(Ending::TimedOut))?;
    if !matches!(ending, Ending::Exited(_)) {
        end(child)?;
        drop(timeout(DRAIN, child.wait()).await);
    }
    if !drained
        && ending != Ending::TooMuch
        && let Ok(Err(TooMuch)) = timeout(DRAIN, exchange).await
    {
        return Ok(Ending::TooMuch);
    }
    Ok(ending)
}

/// Ends a program together with what it started in its process group.
///
/// # Errors
/// It cannot be signalled.
pub fn end_group(child: &mut Child) -> io::Result<()> {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(Err(error)) = group.map(|group| kill_process_group(group, Signal::KILL)) {
        // It may have ended this very moment.
        tracing::debug!(%error, "Could not end a program's process group");
        child.start_kill()?;
    }
    Ok(())
}

/// Writes all of it and closes the pipe. A program that does not want it may say so with its exit status.
async fn give(stdin: Option<ChildStdin>, input: &[u8]) -> Result<(), TooMuch> {
    if let Some(mut stdin) = stdin
        && let Err(error) = stdin.write_all(input).await
    {
        tracing::debug!(%error, "A program did not read its whole input");
    }
    Ok(())
}

async fn take(stream: Option<impl AsyncRead + Unpin>, output: &mut Output) -> Result<(), TooMuch> {
    let Some(mut stream) = stream else { return Ok(()) };
    let mut buffer = vec![0; 8192];
    // A failing pipe is as good as a closed one: the exit status decides.
    while let Ok(read) = stream.read(&mut buffer).await {
        match buffer.get(..read) {
            None | Some([]) => break,
            Some(bytes) if output.push(bytes) => {}
            Some(_) => return Err(TooMuch),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{path::Path, process::Stdio};

    use tokio::time::{Instant, sleep};

    use super::{
        super::{Keep, spawn},
        *,
    };

    const LONG: Duration = Duration::from_secs(30);

    async fn run(script: &str, input: &[u8], patience: Duration) -> (Ending, Vec<u8>, Vec<u8>) {
        let environment = [("PATH", "/usr/bin:/bin")];
        let child = spawn(Path::new("/bin/sh"), &["-c", script], environment, Stdio::piped()).await;
        let mut child = child.expect("started");
        let (mut out, mut err) = (Output::new(Keep::AtMost(100_000)), Output::new(Keep::Ends(3)));
        let ending = talk(&mut child, input, [&mut out, &mut err], patience, end_group).await.expect("ended");
        (ending, out.into_bytes(), err.into_bytes())
    }

    #[tokio::test]
    async fn what_goes_through_full_pipes_at_once_is_given_and_taken() {
        let input = vec![b'x'; 100_000];
        let (ending, out, err) = run("cat; printf abcdefgh >&2; exit 3", &input, LONG).await;
        assert!(matches!(ending, Ending::Exited(status) if status.code() == Some(3)), "{ending:?}");
        assert_eq!(out, input);
        assert_eq!(String::from_utf8_lossy(&err), "abc\n… 2 bytes left out …\nfgh");
        // One that does not read a megabyte.
        assert!(matches!(run("exit 0", &vec![0; 1024 * 1024], LONG).await.0, Ending::Exited(_)));
    }

    #[tokio::test]
    async fn what_takes_too_long_or_says_too_much_is_ended_with_what_it_started() {
        let is_alive = |pid: &[u8]| {
            assert!(!pid.is_empty(), "it started nothing");
            let stat = format!("/proc/{}/stat", String::from_utf8_lossy(pid).trim());
            std::fs::read_to_string(stat).is_ok_and(|stat| !stat.contains(") Z "))
        };
        let mut pid = Vec::new();
        // A busy machine may not even have started it.
        for patience in [1, 10, 30].map(Duration::from_secs) {
            let (ending, said, _) = run("sleep 1000 & echo $!; wait", b"", patience).await;
            assert_eq!(ending, Ending::TimedOut);
            pid = said;
            if !pid.is_empty() {
                break;
            }
        }
        let deadline = Instant::now() + LONG;
        while is_alive(&pid) {
            assert!(Instant::now() < deadline, "what it started still runs");
            sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(run("cat /dev/zero", b"", LONG).await.0, Ending::TooMuch);
    }

    #[tokio::test]
    async fn what_is_left_behind_holds_nobody_up() {
        let began = Instant::now();
        let (ending, pid, _) = run("sleep 60 & echo $!", b"", LONG * 2).await;
        assert!(matches!(ending, Ending::Exited(status) if status.success()), "{ending:?}");
        assert!(began.elapsed() < LONG, "the pipe was waited for");
        let pid = String::from_utf8_lossy(&pid).trim().parse().ok().and_then(Pid::from_raw);
        rustix::process::kill_process(pid.expect("a process id"), Signal::KILL).expect("it runs");
    }
}
