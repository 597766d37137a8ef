//! A reader opens key and certificate again and again while they are switched as fast as the disk allows.
//!
//! What switches is the agent's own `install`, in this process: the reader meets far more switches than renewals could
//! give it. Everything is synced as in a guest. Files are root's and nginx's group's, as nginx's recipe has them, and the reader
//! is nginx's user.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Context, Result, anyhow, bail};
use pinion_agent::install::{
    execute::write, files::RealFiles, generations::Generations, observed::Observed, plan::Plan, plan::Wanted,
};
use pinion_proto::{
    id::CertificateName,
    spec::{Layout, Part},
};
use pinion_tests::{
    account::Account,
    interrupt,
    pair::{Pair, Reads},
};
use rcgen::generate_simple_self_signed;
use rustix::process::getuid;

use crate::tally::Tally;

const KEY: &str = "web.key";
const CHAIN: &str = "web.crt";

/// At least so many switches and so many pairs for each kind of reader.
pub(crate) fn attack(switches: usize, pairs: usize, tally: &mut Tally) -> Result<()> {
    println!("\n### Readers during switches\n");
    println!("| layout | opened | switches | pairs read | mismatched | opened anew | not readable |");
    println!("|---|---|---:|---:|---:|---:|---:|");
    for (layout, how, promised) in
        [(Layout::Symlink, How::Handle, true), (Layout::Symlink, How::Path, false), (Layout::Copy, How::Path, false)]
    {
        let (switched, reads) = race(layout, how, switches, pairs)?;
        let Reads { pairs, mismatched, again, unreadable, why, .. } = reads;
        if promised {
            tally.tear(mismatched, "a pair in one directory did not match");
        }
        tally.tear(unreadable, &format!("a file could not be read: {}", why.unwrap_or_default()));
        println!("| `{layout}` | {} | {switched} | {pairs} | {mismatched} | {again} | {unreadable} |", how.words());
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum How {
    Handle,
    Path,
}

impl How {
    fn words(self) -> &'static str {
        match self {
            Self::Handle => "through the directory handle of `current`",
            Self::Path => "each by its path",
        }
    }
}

/// How often was switched, and what was read meanwhile.
fn race(layout: Layout, how: How, switches: usize, pairs: usize) -> Result<(usize, Reads)> {
    let kept = tempfile::tempdir().context("make a directory to switch in")?;
    let directory = kept.path().canonicalize().context("find the directory to switch in")?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).context("let the reader in")?;
    let account = Account::of(READER)?;
    let sets = (0..SETS).map(|_| made()).collect::<Result<Vec<_>>>()?;
    let certificate: CertificateName = "web".parse().context("a name")?;
    switch(&directory, &certificate, layout, &sets, account, 1)?;

    let (switched, read) = (&AtomicUsize::new(0), &AtomicUsize::new(0));
    let enough = move || switched.load(Ordering::Relaxed) >= switches && read.load(Ordering::Relaxed) >= pairs;
    let place = &directory;
    let (switching, reading) = thread::scope(|scope| {
        let reading = scope.spawn(move || -> Result<Reads> {
            account.take_over()?;
            let current = Generations::of(place, &"web".parse().context("a name")?).current();
            let mut reads = Reads::default();
            while !enough() && !interrupt::requested() && switched.load(Ordering::Relaxed) != FAILED {
                reads.count(match how {
                    How::Handle => Pair::by_handle(&current, KEY.as_ref(), CHAIN.as_ref()),
                    How::Path => by_path(place),
                });
                read.store(reads.pairs, Ordering::Relaxed);
            }
            Ok(reads)
        });
        let mut generation = 1;
        let mut switching = Ok(());
        while switching.is_ok() && !enough() && !interrupt::requested() {
            generation += 1;
            switching = switch(place, &certificate, layout, &sets, account, generation);
            switched.fetch_add(1, Ordering::Relaxed);
        }
        let count = switched.load(Ordering::Relaxed);
        if switching.is_err() {
            switched.store(FAILED, Ordering::Relaxed);
        }
        (switching.map(|()| count), reading.join())
    });
    if interrupt::requested() {
        bail!("interrupted");
    }
    let reads = reading.map_err(|_| anyhow!("the reader panicked"))??;
    Ok((switching?, reads))
}

/// Both by their paths; none where the kernel was on its way through a directory that was removed, which is over with the
/// next try.
fn by_path(place: &Path) -> io::Result<Option<Pair>> {
    let read = || Pair::by_path(&place.join(KEY), &place.join(CHAIN));
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => read().map(|_| None),
        read => read.map(Some),
    }
}

/// Puts the next set in place, as the agent does.
fn switch(
    place: &Path,
    name: &CertificateName,
    layout: Layout,
    sets: &[Pair],
    reader: Account,
    generation: usize,
) -> Result<()> {
    let set = sets.get(generation % sets.len()).context("there are sets")?;
    let generation = u64::try_from(generation).context("count generations")?;
    let wanted = [(Part::Key, KEY, &set.key), (Part::Fullchain, CHAIN, &set.chain)]
        .into_iter()
        .map(|(part, file, content)| {
            Ok(Wanted {
                part,
                path: format!("/etc/ssl/{file}").parse().context("a path")?,
                target: place.join(file),
                missing: Vec::new(),
                content: content.clone().into(),
                uid: getuid().as_raw(),
                gid: reader.group(),
                mode: "0640".parse().context("a mode")?,
                acl: None,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let observed = Observed::look(&RealFiles, name, wanted.iter().map(|file| file.target.as_path()))?;
    let plan = Plan::forward(layout, wanted, generation, &observed);
    write(&RealFiles, &plan)?.sync(None)?.exchange()?.sync(&RealFiles)?;
    Generations::of(place, name).tidy(&RealFiles, None);
    Ok(())
}

fn made() -> Result<Pair> {
    let made = generate_simple_self_signed(["web.internal.example".to_owned()]).context("make a pair")?;
    Ok(Pair { key: made.signing_key.serialize_pem().into_bytes(), chain: made.cert.pem().into_bytes() })
}

/// nginx's user in Debian.
const READER: &str = "www-data";

/// More than there are generations at once.
const SETS: usize = 16;

/// Said to a reader whose switches have failed.
const FAILED: usize = usize::MAX;
