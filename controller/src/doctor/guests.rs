//! What agents see in their guests, as far as the guests let them look.

use std::collections::BTreeMap;

use pinion_proto::examination::Examined;

use super::report::{Area, Findings, few};
use crate::admin::protocol::ExaminedGuest;

const AREA: Area = Area::Guests;

/// From this difference of the clocks on, a certificate may not be valid yet where it is used (seconds).
const MAX_DIFFERENCE: u64 = 60;

pub(super) fn check(guests: &[ExaminedGuest], found: &mut Findings) {
    let (mut good, mut left_out) = (Vec::new(), BTreeMap::<&str, Vec<String>>::new());
    for guest in guests {
        let number = guest.guest.to_string();
        let Some(examined) = &guest.examined else {
            let why = guest.unanswered.as_deref().unwrap_or("it did not answer");
            left_out.entry(why).or_default().push(number);
            continue;
        };
        for why in &examined.left_out {
            left_out.entry(why).or_default().push(number.clone());
        }
        let before = found.0.len();
        one(&number, examined, guest.clock_difference.unwrap_or_default(), found);
        if found.0.len() == before {
            good.push(number);
        }
    }
    if !good.is_empty() {
        let what = "their clocks, disks, files and identities, and the way to this host";
        found.good(AREA, format!("The agents looked at {what}, and found nothing wrong in {}.", few(&good)));
    }
    for (why, guests) in left_out {
        found.skipped(AREA, format!("In {}: {why}.", few(&guests)));
    }
}

/// What is wrong in one guest.
fn one(number: &str, examined: &Examined, difference: i64, found: &mut Findings) {
    if difference.unsigned_abs() > MAX_DIFFERENCE {
        let remedy = "synchronise the guest's clock, with chrony for example; a container has its host's clock";
        let message = format!("In guest {number}: its clock differs by {difference:+} s from this host's.");
        found.problem(AREA, message, remedy);
    }
    for finding in examined.findings.iter().filter(|finding| finding.is_problem) {
        let message = format!("In guest {number}: {}", finding.message);
        found.problem(AREA, message, format!("in guest {number}: {}", finding.remedy));
    }
}

#[cfg(test)]
mod tests {
    use pinion_proto::{clock::Timestamp, examination::GuestFinding};

    use super::{super::report::Level, *};

    #[test]
    fn what_is_wrong_is_told_of_each_guest_and_what_is_good_of_all() {
        let now = Timestamp::from_unix(1_800_000_000);
        let guest = |number: u32, seconds: i64, problem: Option<&str>| {
            let finding = |message: &str, is_problem| {
                let (message, remedy) = (message.to_owned(), "do something".to_owned());
                GuestFinding { is_problem, message, remedy }
            };
            let findings = problem.map(|why| finding(why, true)).into_iter().chain([finding("all is well", false)]);
            let examined = Examined {
                number: 1,
                now,
                left_out: Vec::new(),
                findings: findings.collect(),
                listeners: Vec::new(),
                certificates: Vec::new(),
            };
            let guest = number.to_string().parse().expect("a guest");
            let clock_difference = Some(seconds);
            ExaminedGuest { guest, name: None, examined: Some(examined), unanswered: None, clock_difference }
        };
        let silent = ExaminedGuest { examined: None, unanswered: Some("its link ended".into()), ..guest(104, 0, None) };
        let mut found = Findings::default();
        let guests = [guest(101, 60, None), guest(102, -61, None), guest(103, 0, Some("/etc is full.")), silent];
        check(&guests, &mut found);
        let told =
            |level| -> Vec<_> { found.0.iter().filter(|one| one.level == level).map(|one| &*one.message).collect() };
        assert_eq!(
            told(Level::Problem),
            ["In guest 102: its clock differs by -61 s from this host's.", "In guest 103: /etc is full."]
        );
        assert!(told(Level::Good).concat().ends_with("found nothing wrong in 101."), "{found:?}");
        assert_eq!(told(Level::Skipped), ["In 104: its link ended."]);
    }
}
