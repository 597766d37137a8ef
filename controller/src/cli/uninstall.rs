//! `pinion uninstall`: the agents leave all guests; the packages are the administrator's to remove.

use std::{path::Path, sync::Arc};

use pinion_proto::{errln, exit::Exit, failure::Failure, keyboard, outln};
use tokio::task::JoinSet;

use super::{
    Session, ask,
    documents::{Left, Uninstalled},
    guest::{PutOut, put_out},
    print_failed, print_json, unexpected,
};
use crate::{
    admin::protocol::{Answer, Ask},
    config,
};

/// Guests at once: as many as the root process has turns for.
const AT_ONCE: usize = 8;

/// Evicts every guest, takes the agent out of each, and says what is left to do.
pub(super) async fn uninstall(session: &Session, yes: bool) -> Result<Exit, Failure> {
    let guests = match ask(session, &Ask::Guests).await? {
        Answer::Guests(guests) => guests,
        other => return Err(unexpected(&other)),
    };
    let guests: Vec<String> =
        guests.into_iter().filter(|guest| !guest.presence.missing).map(|guest| guest.guest.to_string()).collect();
    if !yes && !guests.is_empty() {
        if !keyboard::is_there() {
            let words = format!("this evicts guests and removes their agents: {}", guests.len());
            return Err(Failure::new(Exit::Usage, words).remedy("confirm it with --yes"));
        }
        let question = format!(
            "This refuses the identities of these guests, and removes the agent from them: {}. Their certificates stay, \
             and nothing renews them any more. Continue?",
            guests.join(", ")
        );
        if !keyboard::is_yes(&question).await {
            return Err(Failure::new(Exit::Usage, "nothing was changed"));
        }
    }
    let (left, failed) = put_all_out(session, &guests).await;
    let stays = what_stays(session);
    let gone = left.iter().filter(|(_, out)| out.agent.gone).count();
    let stay = || Failure::new(Exit::Blocked, format!("agents are still in guests: {}", guests.len() - gone));
    let failure = failed.or_else(|| (gone < guests.len()).then(stay));
    if session.json {
        let guests: Vec<_> =
            left.iter().map(|(guest, out)| Left { guest, done: &out.lines, agent: &out.agent }).collect();
        let document = Uninstalled { guests, gone, stays: &stays };
        match &failure {
            Some(failure) => print_failed(&document, failure),
            None => print_json(&document),
        }
    } else {
        outln!("the agent is out of {gone} of {} guests", guests.len());
        outln!("now remove the packages, as root on this host:");
        outln!("  apt remove pinion    keeps the configuration and the state, for a later installation");
        outln!("  apt purge pinion     removes them, too, and asks before it removes the keys of Pinion's CAs");
        outln!("these stay:");
        outln!("  in the guests: the certificates and keys that Pinion installed, and what is named above");
        for path in &stays {
            outln!("  on this host: {path}");
        }
        outln!("to let a guest in again after a later installation, run `pinion guest enroll G`");
    }
    Ok(failure.map_or(Exit::Reached, |failure| failure.exit()))
}

/// Puts all guests out, a few at a time, and says of each what became of it. The last that could not even be asked for.
async fn put_all_out(session: &Session, guests: &[String]) -> (Vec<(String, PutOut)>, Option<Failure>) {
    let shared = Arc::new(Session { config: session.config.clone(), json: session.json });
    let (mut tasks, mut todo) = (JoinSet::new(), guests.iter());
    let (mut left, mut failed) = (Vec::new(), None);
    loop {
        while tasks.len() < AT_ONCE
            && let Some(guest) = todo.next().cloned()
        {
            let session = shared.clone();
            tasks.spawn(async move { (put_out(&session, &guest, false, |_| {}).await, guest) });
        }
        match tasks.join_next().await {
            None => break,
            Some(Ok((Ok(out), guest))) => {
                if !session.json {
                    tell(&guest, &out);
                }
                left.push((guest, out));
            }
            Some(Ok((Err(failure), guest))) => {
                errln!("pinion: guest {guest} is not evicted: {failure}");
                failed = Some(failure);
            }
            Some(Err(error)) => {
                let failure =
                    Failure::new(Exit::Internal, "evicting a guest failed").cause(error).remedy("this is a bug");
                errln!("pinion: {failure}");
                failed = Some(failure);
            }
        }
    }
    left.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
    (left, failed)
}

fn tell(guest: &str, out: &PutOut) {
    for line in &out.agent.lines {
        outln!("guest {guest}: {line}");
    }
    if let Some(trouble) = &out.agent.trouble {
        errln!("pinion: guest {guest}: {trouble}");
    }
}

/// What `apt remove` leaves on this host, of what there is.
fn what_stays(session: &Session) -> Vec<String> {
    let config = &session.config;
    let settings = config::path(&config.root);
    let places = [
        settings.parent().unwrap_or(Path::new("/")).to_owned(),
        config.local.clone(),
        config.shared.clone(),
        config.root.join("var/lib/pinion-channel"),
    ];
    places.iter().filter(|place| place.exists()).map(|place| place.display().to_string()).collect()
}
