//! The disk of an agent fails while it renews: full, without inodes, read-only; and is well again.
//!
//! Answers: is what is served kept, is somebody told, and does it go on by itself?

use std::fs;

use anyhow::{Context, Result, bail};
use pinion_proto::spec::Layout;
use pinion_tests::interrupt;
use pinion_tests::pair::Pair;

use crate::{disk::Disk, place::Place, tally::Tally};

/// Each kind of failure on each of the two disks, in these layouts.
pub(crate) fn attack(layouts: &[Layout], tally: &mut Tally) -> Result<()> {
    println!("\n### Failing disks\n");
    println!("| layout | what is on the disk | the disk is | kept serving | told | served again by itself |");
    println!("|---|---|---|---|---|---|");
    for &layout in layouts {
        for (what, inside) in [("what the agent knows", Place::STATE), ("the service's files", Place::DIRECTORY)] {
            let place = Place::served(layout, Some(inside))?;
            let disk = place.disk.as_ref().context("a disk was asked for")?;
            for fault in Fault::ALL {
                if interrupt::requested() {
                    bail!("interrupted");
                }
                eprintln!("faults: {} is {}, layout {layout}", inside, fault.words());
                let Failed { kept, told, recovered } = fail(&place, disk, fault)?;
                tally.faults += 1;
                let at = format!("{inside} was {}, layout {layout}", fault.words());
                for (went_well, what) in
                    [(kept.is_ok(), "not kept"), (told.is_ok(), "not told"), (recovered.is_ok(), "not recovered")]
                {
                    if !went_well {
                        tally.lose(&format!("{what} while {at}: {kept:?}, {told:?}, {recovered:?}"));
                    }
                }
                let yes = |is: bool| if is { "yes" } else { "**no**" };
                let cause = told.as_ref().map_or("**no**", String::as_str);
                println!(
                    "| `{layout}` | {what} | {} | {} | {cause} | {} |",
                    fault.words(),
                    yes(kept.is_ok()),
                    yes(recovered.is_ok())
                );
            }
        }
    }
    Ok(())
}

struct Failed {
    kept: Result<()>,
    /// What the status says.
    told: Result<String>,
    recovered: Result<()>,
}

/// A renewal on a disk that fails, and is well again.
fn fail(place: &Place, disk: &Disk, fault: Fault) -> Result<Failed> {
    let before = place.serial()?;
    let files = Pair::by_path(&place.key(), &place.chain()).context("read the pair")?;
    fault.begin(disk)?;
    // It cannot succeed: this only asks.
    place.host.pinion(&["ensure", "web", "--renew", "--until", "served", "--timeout", "1s"])?;
    let told = place.host.wait_placement(Place::PLACEMENT, |placement| placement.trouble.is_some());
    let told = told.and_then(|placement| Ok(placement.trouble.context("just seen")?.cause));
    let kept = place.is_served(&before).and_then(|()| {
        let now = Pair::by_path(&place.key(), &place.chain()).context("read the pair")?;
        if now == files { Ok(()) } else { bail!("the files are others") }
    });
    fault.end(disk)?;
    let another = |serial: Option<&String>| serial.is_some_and(|serial| *serial != before);
    let recovered = place.comes_to_be_served(|placement| another(placement.serial.as_ref())).and_then(|_| {
        let pair = Pair::by_path(&place.key(), &place.chain()).context("read the pair")?;
        if pair.matches() { Ok(()) } else { bail!("key and certificate are no pair") }
    });
    // Inside of a guest's root the path would mean nothing to a reader of the table.
    let root = place.guest.root().display().to_string();
    Ok(Failed { kept, told: told.map(|cause| cause.replace(&root, "")), recovered })
}

/// What is wrong with a disk.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Full,
    NoInodes,
    ReadOnly,
}

impl Fault {
    const ALL: [Self; 3] = [Self::Full, Self::NoInodes, Self::ReadOnly];

    fn words(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::NoInodes => "out of inodes",
            Self::ReadOnly => "read-only",
        }
    }

    fn begin(self, disk: &Disk) -> Result<()> {
        match self {
            Self::Full => disk.fill(),
            Self::NoInodes => disk.fill_inodes(),
            // Another mount of the same disk over itself: the agent's lock is open for writing, and only this one
            // becomes read-only.
            Self::ReadOnly => {
                disk.run(&["mount", "--bind"], &[&disk.at, &disk.at])?;
                disk.run(&["mount", "-o", "remount,bind,ro"], &[&disk.at])
            }
        }
    }

    fn end(self, disk: &Disk) -> Result<()> {
        match self {
            Self::Full | Self::NoInodes => {
                fs::remove_dir_all(disk.ballast()).with_context(|| format!("make space on {}", disk.at.display()))
            }
            Self::ReadOnly => disk.run(&["umount", "--lazy"], &[&disk.at]),
        }
    }
}
