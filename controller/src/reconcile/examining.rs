//! Questions that guests' agents are asked for a person: `pinion discover`, and `pinion doctor`.
//!
//! Invariant: an answer counts only from the guest that was asked, once, and for who asked; nothing of it is kept. Who waits
//! is let go when every guest has answered, or after [`PATIENCE`].

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use pinion_proto::{
    clock::Timestamp,
    examination::{Examined, Subject},
    id::Guest,
};
use tokio::{sync::mpsc, time::Instant};

use super::effects::Effects;
use crate::{
    admin::protocol::{Answer, ExaminedGuest},
    world::{Link, World},
};

/// An agent's own limits add up to 20 s, and another question may be before this one.
const PATIENCE: Duration = Duration::from_secs(45);

/// An asker whose queue is full is offered its answers again after this long.
const AGAIN: Duration = Duration::from_millis(20);

/// Everyone who waits for guests.
#[derive(Debug, Default)]
pub(super) struct Examining {
    /// The number of the last question.
    last: u64,
    askers: Vec<Asker>,
}

#[derive(Debug)]
struct Asker {
    answers: mpsc::Sender<Answer>,
    /// The guests that have not answered, by the number of the question.
    asked: BTreeMap<u64, (Guest, Option<String>)>,
    /// What did not find room in the queue yet.
    ready: VecDeque<Answer>,
    until: Instant,
}

impl Examining {
    /// Asks guests; none means all that are linked.
    pub(super) fn ask(
        &mut self,
        guests: Option<Vec<Guest>>,
        subject: Subject,
        answers: mpsc::Sender<Answer>,
        world: &World,
        effects: &mut Effects,
    ) {
        let mut guests = guests.unwrap_or_else(|| {
            let linked = world.reports().guests().filter(|(_, entry)| matches!(entry.link(), Link::Linked { .. }));
            linked.map(|(guest, _)| guest).collect()
        });
        guests.sort_unstable();
        guests.dedup();
        let until = Instant::now() + PATIENCE;
        let mut asker = Asker { answers, asked: BTreeMap::new(), ready: VecDeque::new(), until };
        for guest in guests {
            let name = match guest {
                Guest::Host => None,
                Guest::Vmid(vmid) => world.inventory().name(vmid).map(ToOwned::to_owned),
            };
            match unable(world, guest) {
                Some(why) => asker.ready.push_back(unanswered(guest, name, why)),
                None => {
                    self.last += 1;
                    asker.asked.insert(self.last, (guest, name));
                    effects.examine(guest, self.last, subject);
                }
            }
        }
        self.askers.push(asker);
    }

    /// A guest has answered, now.
    pub(super) fn answered(&mut self, guest: Guest, examined: Examined, now: Timestamp) {
        let number = examined.number;
        let asked = |asker: &&mut Asker| asker.asked.get(&number).is_some_and(|(asked, _)| *asked == guest);
        if let Some(asker) = self.askers.iter_mut().find(asked)
            && let Some((guest, name)) = asker.asked.remove(&number)
        {
            // Now, and not when the last guest has answered.
            let clock_difference = Some(examined.now.unix() - now.unix());
            let examined = ExaminedGuest { guest, name, examined: Some(examined), unanswered: None, clock_difference };
            asker.ready.push_back(Answer::Examined(Box::new(examined)));
        }
    }

    /// Hands out what there is, and lets those go who have everything or have waited long enough.
    pub(super) fn step(&mut self, world: &World, now: Instant) {
        self.askers.retain_mut(|asker| !asker.is_done(world, now));
    }

    /// When somebody is to be seen to although nothing has happened.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let at = |asker: &Asker| if asker.ready.is_empty() { asker.until } else { Instant::now() + AGAIN };
        self.askers.iter().map(at).min()
    }
}

impl Asker {
    fn is_done(&mut self, world: &World, now: Instant) -> bool {
        if self.answers.is_closed() {
            return true;
        }
        let is_late = now >= self.until;
        // Who is gone answers nothing any more.
        let gone = |guest: Guest| !matches!(world.reports().link(guest), Link::Linked { .. });
        let left: Vec<u64> =
            self.asked.iter().filter(|(_, (guest, _))| is_late || gone(*guest)).map(|(number, _)| *number).collect();
        for number in left {
            if let Some((guest, name)) = self.asked.remove(&number) {
                let why = format!("its agent did not answer within {} s", PATIENCE.as_secs());
                let why = if gone(guest) { "its link ended".to_owned() } else { why };
                self.ready.push_back(unanswered(guest, name, why));
            }
        }
        while let Some(answer) = self.ready.pop_front() {
            if let Err(error) = self.answers.try_send(answer) {
                self.ready.push_front(error.into_inner());
                return false;
            }
        }
        self.asked.is_empty() && self.answers.try_send(Answer::End).is_ok()
    }
}

/// Why a guest cannot be asked, if so.
fn unable(world: &World, guest: Guest) -> Option<String> {
    if !matches!(world.reports().link(guest), Link::Linked { .. }) {
        return Some("its agent is not linked".into());
    }
    let facts = world.facts(guest)?;
    (!facts.examines)
        .then(|| format!("its agent is of version {}, which cannot be asked this: upgrade it", facts.agent_version))
}

fn unanswered(guest: Guest, name: Option<String>, why: String) -> Answer {
    let unanswered = Some(why);
    Answer::Examined(Box::new(ExaminedGuest { guest, name, examined: None, unanswered, clock_difference: None }))
}

#[cfg(test)]
mod tests {
    use pinion_proto::{message::Hello, report::GuestFacts};

    use super::*;
    use crate::reconcile::{
        effects::Effect,
        testing::{at, world},
    };

    const NOTHING: &str = r#"{ "version": 1, "certificates": [] }"#;

    fn guest(number: u32) -> Guest {
        number.to_string().parse().expect("a guest")
    }

    fn link(world: &mut World, number: u32, examines: bool) {
        let facts = GuestFacts { examines, agent_version: "0.1.0".into(), ..GuestFacts::default() };
        let hello = Hello { facts, identity_generation: 1, link_count: 0, reports: Vec::new(), roots: Vec::new() };
        world.linked(guest(number), hello, at(0));
    }

    fn examined(number: u64) -> Examined {
        let (left_out, findings, listeners, certificates) = Default::default();
        Examined { number, now: Timestamp::from_unix(1), left_out, findings, listeners, certificates }
    }

    /// What was asked of which guest.
    fn asked(effects: Effects) -> Vec<(Guest, u64)> {
        let asked = effects.into_iter().filter_map(|effect| match effect {
            Effect::Examine(guest, number, Subject::Discover) => Some((guest, number)),
            _ => None,
        });
        asked.collect()
    }

    /// The next answer: the guest, and why it did not answer.
    fn next(answers: &mut mpsc::Receiver<Answer>) -> Option<(Guest, Option<String>)> {
        match answers.try_recv() {
            Ok(Answer::Examined(examined)) => Some((examined.guest, examined.unanswered)),
            Ok(Answer::End) => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_guest_answers_once_for_itself_and_then_it_is_over() {
        let mut world = world(NOTHING);
        link(&mut world, 101, true);
        link(&mut world, 102, false);
        link(&mut world, 103, true);
        let (mut examining, mut effects) = (Examining::default(), Effects::at(at(0)));
        let (sender, mut answers) = mpsc::channel(8);
        let all = Some([101, 102, 103, 104, 101].map(guest).to_vec());
        examining.ask(all, Subject::Discover, sender, &world, &mut effects);
        assert_eq!(asked(effects), [(guest(101), 1), (guest(103), 2)]);
        examining.step(&world, Instant::now());
        let old = next(&mut answers).expect("one that is too old");
        assert!(old.0 == guest(102) && old.1.as_deref().is_some_and(|why| why.contains("0.1.0")), "{old:?}");
        assert_eq!(next(&mut answers), Some((guest(104), Some("its agent is not linked".into()))));
        // Another guest's number, one that nobody asked, and the right one, twice.
        examining.answered(guest(103), examined(1), at(0));
        examining.answered(guest(101), examined(7), at(0));
        examining.answered(guest(101), examined(1), at(0));
        examining.answered(guest(101), examined(1), at(5));
        examining.step(&world, Instant::now());
        match answers.try_recv() {
            Ok(Answer::Examined(told)) if told.guest == guest(101) => {
                assert_eq!(told.clock_difference, Some(1 - at(0).unix()), "when it came");
            }
            other => panic!("{other:?}"),
        }
        answers.try_recv().expect_err("nothing more yet");
        examining.step(&world, Instant::now() + PATIENCE);
        let late = next(&mut answers).expect("one that does not answer");
        assert!(late.0 == guest(103) && late.1.as_deref().is_some_and(|why| why.contains("45 s")), "{late:?}");
        assert_eq!(next(&mut answers), None);
        assert_eq!(examining.wake_at(), None, "nobody waits any more");
    }

    #[test]
    fn a_slow_asker_gets_everything_and_one_that_went_nothing() {
        let mut world = world(NOTHING);
        (101..111).for_each(|number| link(&mut world, number, true));
        let mut examining = Examining::default();
        let (sender, mut answers) = mpsc::channel(2);
        examining.ask(None, Subject::Discover, sender, &world, &mut Effects::at(at(0)));
        (101..111).zip(1..).for_each(|(number, question)| examining.answered(guest(number), examined(question), at(0)));
        let mut count = 0;
        while examining.wake_at().is_some() {
            examining.step(&world, Instant::now());
            while let Ok(answer) = answers.try_recv() {
                count += usize::from(matches!(answer, Answer::Examined(_)));
            }
        }
        assert_eq!(count, 10);
        let (sender, answers) = mpsc::channel(2);
        examining.ask(None, Subject::Discover, sender, &world, &mut Effects::at(at(0)));
        drop(answers);
        examining.step(&world, Instant::now());
        assert_eq!(examining.wake_at(), None);
    }
}
