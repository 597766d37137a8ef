//! `pinion ensure`: the one call of scripts on the host.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, stderr},
    time::Duration,
};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use pinion_proto::{errln, exit::Exit, failure::Failure, stage::Stage};
use tokio::time::{Instant, timeout_at};

use super::{Conversation, Session, documents::Ensured, print_failed, print_json, unexpected};
use crate::admin::protocol::{Answer, Ask, Ensure, EnsureProgress, ProgressLine};

#[derive(Debug, clap::Args)]
pub(super) struct EnsureArgs {
    /// Certificates (`docker`) or placements (`docker@1001`, or with the guest's name); all if you name none.
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// Only placements in this guest: a VMID, a name, or `host`. You can repeat it.
    #[arg(long = "guest", value_name = "G")]
    pub(super) guests: Vec<String>,
    /// Get new certificates, even if the old ones are still good.
    #[arg(long, alias = "force")]
    pub(super) renew: bool,
    /// Do not wait for the placements' windows. A freeze still applies.
    #[arg(long, requires = "renew")]
    pub(super) now: bool,
    /// Wait for this stage. A placement without a probe ends at `reloaded`.
    #[arg(long, value_name = "STAGE", default_value = "served", value_parser = stages())]
    pub(super) until: Stage,
    /// How long to wait, for example 90s or 10m.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    pub(super) timeout: Duration,
    /// Also wait for what needs a person.
    #[arg(long)]
    pub(super) wait: bool,
}

/// The stages that can be waited for; `pending` is understood, and makes no sense to offer.
fn stages() -> impl TypedValueParser<Value = Stage> {
    let values = Stage::ALL.map(|stage| PossibleValue::new(stage.as_str()).hide(stage == Stage::Pending));
    PossibleValuesParser::new(values).try_map(|word| word.parse())
}

/// More lines than this do not fit a screen: beyond it, only those that are not reached are drawn.
const MAX_BARS: usize = 30;

/// Makes it so and waits.
pub(super) async fn ensure(session: &Session, ensure: Ensure, patience: Duration) -> Result<Exit, Failure> {
    let now = Instant::now();
    let deadline = now.checked_add(patience).unwrap_or(now + Duration::from_secs(365 * 86400));
    let ask = Ask::Ensure(ensure);
    let mut conversation = Conversation::start(session, &ask).await?;
    let mut view = View::new(!session.json && stderr().is_terminal());
    let mut known: BTreeMap<String, ProgressLine> = BTreeMap::new();
    loop {
        match timeout_at(deadline, conversation.next()).await {
            Ok(Ok(Answer::Progress(progress))) => {
                if !session.json {
                    view.show(&progress);
                }
                known.extend(progress.placements.into_iter().map(|line| (line.placement.clone(), line)));
            }
            Ok(Ok(Answer::Ensured(progress))) => {
                let blocked = progress.placements.iter().any(ProgressLine::is_blocked);
                let exit = if blocked { Exit::Blocked } else { Exit::Reached };
                return Ok(finish(exit, view, &progress, session));
            }
            Ok(Ok(other)) => {
                view.close();
                return Err(unexpected(&other));
            }
            Ok(Err(failure)) => {
                view.close();
                return Err(failure);
            }
            Err(_) => {
                let placements: Vec<_> = known.into_values().collect();
                let is_blocked = placements.iter().any(ProgressLine::is_blocked);
                let exit = if is_blocked { Exit::Blocked } else { Exit::TimedOut };
                return Ok(finish(exit, view, &EnsureProgress { placements }, session));
            }
        }
    }
}

fn finish(exit: Exit, mut view: View, progress: &EnsureProgress, session: &Session) -> Exit {
    let lines = &progress.placements;
    let missing: Vec<_> = lines.iter().filter(|line| !line.reached).collect();
    let missing: Vec<_> = missing.iter().map(|line| format!("{}: {}", line.placement, why(line))).collect();
    let end = end(exit, lines);
    let document = || Ensured { exit: exit.code(), placements: lines };
    match (session.json, exit) {
        (false, _) => view.show(progress),
        (true, Exit::Reached) => print_json(&document()),
        (true, _) => print_failed(&document(), &Failure::new(exit, &end).cause(missing.join("; "))),
    }
    view.close();
    for line in missing {
        errln!("{line}");
    }
    errln!("{end}");
    exit
}

/// How it ended, in a line.
fn end(exit: Exit, lines: &[ProgressLine]) -> String {
    let (reached, all) = (lines.iter().filter(|line| line.reached).count(), lines.len());
    match exit {
        Exit::Reached if all == 0 => "nothing to do: the manifest has no such placements".to_owned(),
        Exit::Reached => format!("{reached} of {all} reached"),
        Exit::TimedOut => format!("timed out with {reached} of {all} reached; the controller keeps trying"),
        _ => {
            let blocked = lines.iter().filter(|line| line.is_blocked()).count();
            let others = match all - reached - blocked {
                0 => String::new(),
                others => format!("; the controller keeps trying the other {others}"),
            };
            format!("{reached} of {all} reached, {blocked} blocked: needs a person{others}")
        }
    }
}

/// How far it is, and what holds it up.
pub(super) fn why(line: &ProgressLine) -> String {
    match &line.trouble {
        Some(trouble) => format!("{}: {trouble}", line.stage),
        None => format!("{}: {}", line.stage, line.now),
    }
}

/// What is new about a placement that is held up: trouble that stays the same is tried again and again, and said once.
pub(super) fn news(line: &ProgressLine) -> Option<String> {
    let trouble = line.trouble.as_ref().filter(|_| !line.reached)?;
    Some(format!("{}: {}: {}", trouble.halt, trouble.attempt, trouble.cause))
}

/// Progress on a terminal, or as plain lines.
enum View {
    Bars { all: MultiProgress, bars: BTreeMap<String, ProgressBar>, style: ProgressStyle },
    Lines { told: BTreeMap<String, String> },
}

impl View {
    fn new(terminal: bool) -> Self {
        if !terminal {
            return Self::Lines { told: BTreeMap::new() };
        }
        let style = ProgressStyle::with_template("{spinner} {prefix:<28} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        Self::Bars { all: MultiProgress::new(), bars: BTreeMap::new(), style }
    }

    fn show(&mut self, progress: &EnsureProgress) {
        match self {
            Self::Bars { all, bars, style } => {
                for line in &progress.placements {
                    let key = line.placement.clone();
                    if !bars.contains_key(&key) {
                        if bars.len() >= MAX_BARS {
                            continue;
                        }
                        let bar =
                            all.add(ProgressBar::new_spinner().with_style(style.clone()).with_prefix(key.clone()));
                        bar.enable_steady_tick(Duration::from_millis(120));
                        bars.insert(key.clone(), bar);
                    }
                    if let Some(bar) = bars.get(&key).filter(|bar| !bar.is_finished()) {
                        if line.reached {
                            bar.finish_with_message(reached(line));
                        } else {
                            bar.set_message(why(line));
                        }
                    }
                }
            }
            Self::Lines { told } => {
                for line in &progress.placements {
                    let text = if line.reached { reached(line) } else { why(line) };
                    let news = news(line).unwrap_or_else(|| text.clone());
                    if told.get(&line.placement) != Some(&news) {
                        errln!("{}: {text}", line.placement);
                        told.insert(line.placement.clone(), news);
                    }
                }
            }
        }
    }

    fn close(&mut self) {
        if let Self::Bars { bars, .. } = self {
            for bar in bars.values().filter(|bar| !bar.is_finished()) {
                bar.abandon();
            }
        }
    }
}

/// How far it has come.
pub(super) fn reached(line: &ProgressLine) -> String {
    match &line.serial {
        Some(serial) => format!("{} (serial {serial})", line.stage),
        None => line.stage.to_string(),
    }
}
