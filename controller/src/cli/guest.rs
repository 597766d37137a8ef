//! `pinion guest list`, `enroll`, `wake`, `accept-name`, `unlock`, `forget` and `evict`.

use std::time::Duration;

use pinion_proto::{clock::Timestamp, errln, exit::Exit, failure::Failure, out, outln};
use tokio::time::{Instant, timeout_at};

use super::{
    Conversation, Session, ask,
    documents::{Done, Enrolled, Evicted},
    print_failed, print_json,
    table::table,
    unexpected,
};
use crate::admin::protocol::{AgentRemoval, Answer, Ask, IdentityStatus};

/// Prints every guest that the manifest names or that has an identity.
pub(super) async fn list(session: &Session) -> Result<Exit, Failure> {
    match ask(session, &Ask::Guests).await? {
        Answer::Guests(guests) => {
            if session.json {
                print_json(&guests);
            } else {
                let rows: Vec<_> = guests.into_iter().map(row).collect();
                let head = ["GUEST", "NAME", "KIND", "STATE", "HOSTNAME", "JOINED", "IDENTITY", "RENEWED", "LOCKED"];
                out!("{}", table(head, &rows));
            }
            Ok(Exit::Reached)
        }
        other => Err(unexpected(&other)),
    }
}

/// Brings an agent and an identity into a guest, and waits until it is linked.
pub(super) async fn enroll(session: &Session, guest: String, patience: Duration) -> Result<Exit, Failure> {
    let deadline = Instant::now() + patience;
    let mut conversation = Conversation::start(session, &Ask::Enroll(guest.clone())).await?;
    let failed = |failure: Failure, words: &str| {
        if session.json {
            print_failed(&Enrolled { exit: failure.exit().code(), guest: &guest, told: words }, &failure);
        }
        errln!("{words}");
        Ok(failure.exit())
    };
    loop {
        match timeout_at(deadline, conversation.next()).await {
            Ok(Ok(Answer::Step(step))) => {
                if !session.json {
                    errln!("guest {guest}: {step}");
                }
            }
            Ok(Ok(Answer::Enrolled(words))) => {
                if session.json {
                    print_json(&Enrolled { exit: Exit::Reached.code(), guest: &guest, told: &words });
                } else {
                    errln!("{words}");
                }
                return Ok(Exit::Reached);
            }
            Ok(Ok(Answer::NotEnrolled(trouble))) => {
                return failed(Failure::of_trouble(Exit::Blocked, &trouble), &trouble.to_string());
            }
            Ok(Ok(other)) => return Err(unexpected(&other)),
            Ok(Err(failure)) => return Err(failure),
            Err(_) => {
                let words = format!("timed out; the controller keeps trying to enrol guest {guest}");
                return failed(Failure::new(Exit::TimedOut, &words), &words);
            }
        }
    }
}

/// Has a guest looked at now.
pub(super) async fn wake(session: &Session, guest: String) -> Result<Exit, Failure> {
    let done = format!("the controller checks guest {guest} now");
    tell(session, &ask(session, &Ask::Wake(guest)).await?, &done)
}

/// Lets a name in the manifest mean the guest that has it now.
pub(super) async fn accept_name(session: &Session, name: String) -> Result<Exit, Failure> {
    let done = format!("the manifest's guest {name} is from now on the one that has this name on Proxmox");
    tell(session, &ask(session, &Ask::AcceptName(name)).await?, &done)
}

/// Lets a locked guest join again.
pub(super) async fn unlock(session: &Session, guest: String) -> Result<Exit, Failure> {
    let done = format!(
        "guest {guest} is unlocked; to let it join, run `pinion token create --guest {guest}` here and \
            `pinion-agent join` in the guest"
    );
    tell(session, &ask(session, &Ask::Unlock(guest)).await?, &done)
}

/// Puts a guest out, and takes the agent out of it. One whose agent stays although Pinion tried makes it 4.
pub(super) async fn evict(session: &Session, guest: String, compromised: bool) -> Result<Exit, Failure> {
    let say = |line: &str| {
        if !session.json {
            outln!("{line}");
        }
    };
    let PutOut { lines, agent } = put_out(session, &guest, compromised, say).await?;
    let document = || Evicted { guest: &guest, compromised, done: &lines, agent: &agent };
    let Some(trouble) = &agent.trouble else {
        if session.json {
            print_json(&document());
        }
        return Ok(Exit::Reached);
    };
    if session.json {
        print_failed(&document(), &Failure::of_trouble(Exit::Blocked, trouble));
    }
    errln!("pinion: {trouble}");
    Ok(Exit::Blocked)
}

/// What became of a guest that was put out.
#[derive(Debug)]
pub(super) struct PutOut {
    /// What was done and what could not be.
    pub(super) lines: Vec<String>,
    /// What became of its agent.
    pub(super) agent: AgentRemoval,
}

/// Has a guest put out, and says each line as it comes.
pub(super) async fn put_out(
    session: &Session,
    guest: &str,
    compromised: bool,
    say: impl Fn(&str),
) -> Result<PutOut, Failure> {
    let mut conversation = Conversation::start(session, &Ask::Evict { guest: guest.to_owned(), compromised }).await?;
    let lines = match conversation.next().await? {
        Answer::Evicted(lines) => lines,
        other => return Err(unexpected(&other)),
    };
    say(&format!("guest {guest} is evicted: its identity is refused from now on"));
    lines.iter().for_each(|line| say(line));
    match conversation.next().await? {
        Answer::AgentRemoval(agent) => {
            agent.lines.iter().for_each(|line| say(line));
            Ok(PutOut { lines, agent: *agent })
        }
        other => Err(unexpected(&other)),
    }
}

/// Forgets a guest.
pub(super) async fn forget(session: &Session, guest: String) -> Result<Exit, Failure> {
    let done = format!(
        "guest {guest} is forgotten; the files that its agent installed stay in the guest. If someone else may have \
         its keys, run `pinion guest evict --compromised {guest}`"
    );
    tell(session, &ask(session, &Ask::Forget(guest)).await?, &done)
}

fn tell(session: &Session, answer: &Answer, done: &str) -> Result<Exit, Failure> {
    match answer {
        Answer::End => {
            if session.json {
                print_json(&Done { done });
            } else {
                errln!("{done}");
            }
            Ok(Exit::Reached)
        }
        other => Err(unexpected(other)),
    }
}

/// A guest's line in the table.
pub(super) fn row(guest: IdentityStatus) -> [String; 9] {
    let moment = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    let identity = if guest.generation == 0 { "none".to_owned() } else { format!("number {}", guest.generation) };
    [
        guest.guest.to_string(),
        guest.name.unwrap_or_default(),
        guest.presence.kind.map(|kind| kind.to_string()).unwrap_or_default(),
        guest.presence.words(),
        guest.hostname,
        moment(guest.joined_at),
        identity,
        moment(guest.issued_at),
        guest.locked.unwrap_or_default(),
    ]
}
