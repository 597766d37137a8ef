//! `pinion status --watch`: the status, again at each change, until somebody has seen enough.
//!
//! Invariant: a terminal is left as it was found, however the watch ends. What changes is the controller's answer; on a
//! terminal it is drawn again each second, because times are relative there.

use std::{
    io::{IsTerminal as _, stdout},
    process,
    time::Duration,
};

use pinion_proto::{
    clock::{Clock as _, SystemClock},
    exit::Exit,
    failure::Failure,
    out, outln,
    table::Look,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use super::{Session, ask, print_json, status, unexpected, wrap::wrap};
use crate::admin::protocol::{Answer, Ask, Selection, Status};

/// How often the controller is asked: a person sees no difference to more often.
const EVERY: Duration = Duration::from_secs(1);

/// What a shell makes of a program that SIGPIPE ended.
const CUT_OFF: i32 = 141;

/// The terminal's codes (ECMA-48, and xterm's private modes): another screen without a cursor, on which long lines are cut.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
/// Back to what was there before.
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// A picture is shown when it is whole, by terminals that know this.
const BEGIN: &str = "\x1b[?2026h\x1b[H";
const END: &str = "\x1b[J\x1b[?2026l";

/// Shows how everything is, until the reader goes or a signal ends it. The first answer must be one; after that a
/// controller that is away is waited for.
pub(super) async fn watch(session: &Session, selection: Selection, is_wide: bool) -> Result<Exit, Failure> {
    let mut seen = current(session, &selection).await?;
    let mut ends = Ends::new().map_err(|error| Failure::new(Exit::Internal, "cannot wait for signals").cause(error))?;
    let screen = (stdout().is_terminal() && !session.json).then(Screen::enter);
    print(session, &Ok(seen.clone()), screen.as_ref(), is_wide);
    let mut was_lost = false;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = ends.next() => break,
            _ = ticks.tick() => {}
        }
        if is_reader_gone() {
            drop(screen);
            process::exit(CUT_OFF);
        }
        let answer = tokio::select! {
            () = ends.next() => break,
            answer = current(session, &selection) => answer,
        };
        let is_changed = match &answer {
            Ok(status) => was_lost || *status != seen,
            Err(_) => !was_lost,
        };
        was_lost = answer.is_err();
        if is_changed || screen.is_some() {
            print(session, &answer, screen.as_ref(), is_wide);
        }
        if let Ok(status) = answer {
            seen = status;
        }
    }
    Ok(Exit::Reached)
}

async fn current(session: &Session, selection: &Selection) -> Result<Box<Status>, Failure> {
    match ask(session, &Ask::Status(selection.clone())).await? {
        Answer::Status(status) => Ok(status),
        other => Err(unexpected(&other)),
    }
}

fn print(session: &Session, answer: &Result<Box<Status>, Failure>, screen: Option<&Screen>, is_wide: bool) {
    match (answer, screen) {
        (Ok(status), _) if session.json => print_json(status),
        (Err(failure), _) if session.json => print_json(&failure.within(serde_json::json!({}))),
        (_, Some(screen)) => screen.draw(&text(answer, Look::of_stdout(is_wide))),
        (_, None) => outln!("{}", text(answer, Look::of_stdout(is_wide))),
    }
}

/// A block: when it was so, and how everything was.
fn text(answer: &Result<Box<Status>, Failure>, look: Look) -> String {
    let body = match answer {
        Ok(status) => status::words(status, look),
        Err(failure) => format!("{failure}\nasking again until it answers\n"),
    };
    format!("{}\n\n{body}", SystemClock.now())
}

/// What ends a watch.
struct Ends([Signal; 3]);

impl Ends {
    fn new() -> std::io::Result<Self> {
        Ok(Self([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Whether nobody reads standard output any more: nothing may change for days, and writing would not tell.
fn is_reader_gone() -> bool {
    let output = stdout();
    let mut output = [PollFd::new(&output, PollFlags::empty())];
    let no_time = Timespec { tv_sec: 0, tv_nsec: 0 };
    let is_answered = poll(&mut output, Some(&no_time)).is_ok_and(|ready| ready > 0);
    is_answered && output[0].revents().intersects(PollFlags::ERR | PollFlags::NVAL)
}

/// A terminal's other screen, as long as this value is kept.
struct Screen;

impl Screen {
    fn enter() -> Self {
        out!("{ENTER}");
        Self
    }

    /// Draws over what is there: nothing is cleared before it is drawn anew, so nothing flickers.
    fn draw(&self, text: &str) {
        let size = rustix::termios::tcgetwinsize(stdout()).ok();
        let (rows, columns) = size.map_or((24, 80), |size| (usize::from(size.ws_row), usize::from(size.ws_col)));
        out!("{BEGIN}{}{END}", page(text, rows.max(2), columns.max(20)));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        out!("{LEAVE}");
    }
}

/// As much of a text as a terminal has rows; each line ends by clearing what was behind it before.
fn page(text: &str, rows: usize, columns: usize) -> String {
    // A table's rows are as wide as they should be; sentences are wrapped. Codes for colours have no width.
    let is_sentence = |line: &str| line.contains(": ") && !line.contains('\x1b');
    let lines: Vec<String> = text
        .lines()
        .flat_map(|line| {
            let wrapped = if is_sentence(line) { wrap(line, columns, 2) } else { line.to_owned() };
            wrapped.split('\n').map(ToOwned::to_owned).collect::<Vec<_>>()
        })
        .collect();
    let fits = lines.len() <= rows;
    let shown = if fits { lines.len() } else { rows - 1 };
    let mut page: Vec<_> = lines.iter().take(shown).map(|line| format!("{line}\x1b[K")).collect();
    if !fits {
        page.push(format!("({} more lines; make the window larger, or name placements)\x1b[K", lines.len() - shown));
    }
    page.join("\r\n")
}

#[cfg(test)]
mod tests {
    use super::page;

    #[test]
    fn a_page_has_as_many_rows_as_the_terminal_and_says_what_is_missing() {
        assert_eq!(page("a\nb\n", 2, 20), "a\x1b[K\r\nb\x1b[K");
        let cut = page("a\nb\nc\n", 2, 80);
        assert_eq!(cut, "a\x1b[K\r\n(2 more lines; make the window larger, or name placements)\x1b[K");
        // A sentence counts with the rows that it takes.
        let long = page("note: one two three four five\nb\n", 3, 20);
        assert_eq!(long, "note: one two three\x1b[K\r\n  four five\x1b[K\r\nb\x1b[K");
    }
}
