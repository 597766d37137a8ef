//! What a service shows once it had the time to come to what it was notified of.
//!
//! Answers: how long is a service waited for that shows something else, and one that does not answer? Invariant: a service
//! that was restarted has the time that it needs to start, and one that its manager has given up has none.

use std::time::Duration;

use pinion_proto::bundle::Leaf;
use tokio::time::{Instant, sleep};

use super::{
    attempt::Attempt,
    failure::Interrupt,
    looks::{Looks, look, was_there},
};
use crate::{
    probe::{self, Seen},
    recipe::{ProbeTarget, ReloadAction},
    reload::{Manager, Standing},
};

/// Polling for the new leaf begins so densely, because nginx has it within milliseconds, and thins out.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The manager of a service is not asked before it has not answered for so long.
const ASK_AFTER: Duration = Duration::from_millis(300);

/// So many connections in a row must show the leaf: two processes may take connections on one port, and show two certificates.
const IN_A_ROW: u32 = 5;

/// What services show in each of these places when they had the time to come to what they were notified of by these actions,
/// if that is known.
pub(super) async fn settle<'t>(
    attempt: &Attempt<'_>,
    targets: &[&'t ProbeTarget],
    leaf: &Leaf,
    actions: &[&ReloadAction],
) -> Result<Looks<'t>, Interrupt> {
    let about = attempt.about();
    let config = attempt.switch.config();
    let mut managers = Vec::with_capacity(actions.len());
    for action in actions {
        managers.push((Manager::of(config, &about, Some(*action)), action.is_disruptive()));
    }
    // All have the same time: one after the other is looked at until it shows what it should, or its time is up.
    let start = Instant::now();
    let mut seen = Vec::new();
    for target in targets {
        seen.push((*target, settled(attempt, target, leaf, &mut managers, start).await?));
    }
    Ok(Looks::of(seen))
}

/// The same for one place. Nobody knows which of the services answers there, so that each of their managers is asked.
async fn settled(
    attempt: &Attempt<'_>,
    target: &ProbeTarget,
    leaf: &Leaf,
    managers: &mut [(Manager<'_>, bool)],
    start: Instant,
) -> Result<Seen, Interrupt> {
    let switch = &*attempt.switch;
    let (mut pause, mut in_a_row) = (FIRST_PAUSE, 0);
    loop {
        let seen = look(switch, target, leaf, probe::PATIENCE.min(target.settle)).await?;
        if seen == Seen::Served && in_a_row + 1 < IN_A_ROW {
            in_a_row += 1;
            continue;
        }
        if std::mem::take(&mut in_a_row) > 0 {
            // It has begun to show it, and old workers go within milliseconds.
            pause = FIRST_PAUSE;
        }
        let waited = start.elapsed();
        let left = match &seen {
            Seen::Served | Seen::NotAllowed => return Ok(seen),
            Seen::Other(_) => target.settle.saturating_sub(waited),
            // Whatever speaks something else, and did before or was not there, is no service that is still starting.
            Seen::NoTls(unlike) if !unlike.is_silent() && !was_there(switch, target) => {
                target.settle.saturating_sub(waited)
            }
            Seen::NotListening(_) | Seen::NoTls(_) => {
                let mut standings = vec![(Standing::Unknown, managers.iter().any(|(_, restarted)| *restarted))];
                if waited >= ASK_AFTER && !managers.is_empty() {
                    standings.clear();
                    for (manager, restarted) in &mut *managers {
                        standings.push((switch.unless_stopped(manager.ask()).await?, *restarted));
                    }
                }
                match left(target, &standings, waited) {
                    Left::For(left) => left,
                    Left::Over(why) => return Ok(seen.because(&why)),
                }
            }
        };
        if left.is_zero() {
            return Ok(seen);
        }
        switch.unless_stopped(sleep(pause.min(left))).await?;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// How long a service that does not answer is waited for.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    For(Duration),
    /// It is no use: why.
    Over(String),
}

/// By what is known of each service that was notified, and whether it was restarted: the one that may take longest decides.
fn left(target: &ProbeTarget, standings: &[(Standing, bool)], waited: Duration) -> Left {
    let mut max = Duration::ZERO;
    for (standing, restarted) in standings {
        match left_of_one(target, standing, *restarted, waited) {
            Left::For(left) => max = max.max(left),
            Left::Over(why) => return Left::Over(why),
        }
    }
    Left::For(max)
}

fn left_of_one(target: &ProbeTarget, standing: &Standing, restarted: bool, waited: Duration) -> Left {
    let at_least = target.settle.saturating_sub(waited);
    match standing {
        Standing::Down(why) => Left::Over(why.clone()),
        // Its manager ends this.
        Standing::Starting => Left::For(MAX_PAUSE),
        // Someone other than Pinion may have started it: its age decides.
        Standing::Up(Some(age)) => Left::For(target.restart.saturating_sub(*age).max(at_least)),
        Standing::Up(None) | Standing::Unknown if restarted => Left::For(target.restart.saturating_sub(waited)),
        Standing::Up(None) | Standing::Unknown => Left::For(at_least),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_service_that_does_not_answer_has_the_time_that_its_start_takes() {
        let target = ProbeTarget {
            connect: ([127, 0, 0, 1], 443).into(),
            unit: None,
            server_name: None,
            starttls: None,
            proxy_protocol: None,
            settle: seconds(5),
            restart: seconds(120),
            elsewhere: false,
        };
        let up = |age| Standing::Up(Some(seconds(age)));
        for (standing, restarted, waited, expected) in [
            // Nobody to ask: what was done decides.
            (Standing::Unknown, true, 0, 120),
            (Standing::Unknown, true, 100, 20),
            (Standing::Unknown, true, 120, 0),
            (Standing::Unknown, false, 1, 4),
            (Standing::Up(None), true, 30, 90),
            (Standing::Up(None), false, 30, 0),
            // systemd knows when the unit was started, by Pinion or by someone else.
            (up(10), false, 1, 110),
            (up(10), true, 10, 110),
            (up(121), true, 3, 2),
            (up(86_400), false, 1, 4),
            (up(86_400), false, 5, 0),
            // For as long as it is starting.
            (Standing::Starting, false, 1_000, 1),
        ] {
            let found = left(&target, &[(standing.clone(), restarted)], seconds(waited));
            assert_eq!(found, Left::For(seconds(expected)), "{standing:?}, restarted {restarted}, after {waited} s");
        }
        let down = (Standing::Down("x.service has failed".into()), true);
        assert_eq!(left(&target, std::slice::from_ref(&down), seconds(1)), Left::Over("x.service has failed".into()));
        // Of several services, the one that takes longest, unless one is down for good.
        let several = [(up(86_400), false), (up(10), true)];
        assert_eq!(left(&target, &several, seconds(10)), Left::For(seconds(110)));
        assert_eq!(left(&target, &[(up(10), true), down], seconds(1)), Left::Over("x.service has failed".into()));
    }
}
