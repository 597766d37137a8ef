//! Plans over tables of what is there: every step, in its order, for both layouts and both ways.

use super::*;
use crate::install::{observed::Present, steps::temporary};

const DIRECTORY: &str = "/etc/ssl/x";

fn wanted(part: Part, content: &str) -> Wanted {
    let path: GuestPath = format!("{DIRECTORY}/{part}").parse().expect("a path");
    Wanted {
        acl: None,
        part,
        target: path.as_str().into(),
        path,
        missing: vec![DIRECTORY.into()],
        content: Zeroizing::new(content.into()),
        uid: 0,
        gid: 33,
        mode: "0640".parse().expect("a mode"),
    }
}

fn observed(in_use: Option<u64>, files: &[(&Wanted, At)]) -> Observed {
    let files = files.iter().map(|(file, at)| Present { target: file.target.clone(), at: at.clone() }).collect();
    let generations = Generations::of(Path::new(DIRECTORY), &"web".parse().expect("a name"));
    Observed { files, generations: vec![ObservedGenerations { directory: DIRECTORY.into(), generations, in_use }] }
}

fn file(wanted: &Wanted) -> At {
    At::File(wanted.saved())
}

fn alias(wanted: &Wanted) -> At {
    At::Alias(Some(wanted.saved()))
}

/// The steps as `from -> to`, below the directory.
fn steps(plan: &Plan) -> Vec<String> {
    let short = |path: &Path| path.strip_prefix(DIRECTORY).expect("below").display().to_string();
    let one = |step: &Step| match step {
        Step::Remove(path) => format!("- {}", short(path)),
        Step::Rename { to, from } => match plan.links.iter().find(|link| link.path == *from) {
            Some(link) => format!("{} -> {}", short(to), link.to.display()),
            None => short(to),
        },
    };
    plan.steps.iter().map(one).collect()
}

#[test]
fn the_certificate_is_put_in_place_after_its_key() {
    let plan = Plan::forward(Layout::Copy, Part::ALL.map(|part| wanted(part, "x")).to_vec(), 1, &observed(None, &[]));
    assert_eq!(
        steps(&plan),
        ["ca", "chain", "key", "encrypted_key", "cert", "der", "fullchain", "combined", "pkcs12", "jks"]
    );
    assert_eq!(plan.make, [PathBuf::from(DIRECTORY)]);
}

#[test]
fn nothing_is_planned_when_all_is_as_wanted() {
    let files = vec![wanted(Part::Key, "k"), wanted(Part::Cert, "c")];
    for (layout, at) in [(Layout::Copy, file as fn(&Wanted) -> At), (Layout::Symlink, alias)] {
        let present: Vec<_> = files.iter().map(|file| (file, at(file))).collect();
        let good = observed(Some(1), &present);
        assert!(Plan::forward(layout, files.clone(), 1, &good).is_empty(), "{layout}");
        for change in [
            |file: &mut SavedFile| file.mode = "0644".parse().expect("a mode"),
            |file: &mut SavedFile| file.uid = 1,
            |file: &mut SavedFile| file.gid = 1,
            |file: &mut SavedFile| file.content.push(b'!'),
        ] {
            let mut bad = good.clone();
            if let Some(At::File(file) | At::Alias(Some(file))) = bad.files.last_mut().map(|last| &mut last.at) {
                change(file);
            }
            assert_eq!(Plan::forward(layout, files.clone(), 1, &bad).writes.len(), 1, "{layout}");
        }
    }
}

#[test]
fn a_renewal_through_links_is_one_step() {
    let files = vec![wanted(Part::Cert, "new"), wanted(Part::Key, "new")];
    let (old_cert, old_key) = (wanted(Part::Cert, "old"), wanted(Part::Key, "old"));
    let before = observed(Some(4), &[(&old_cert, alias(&old_cert)), (&old_key, alias(&old_key))]);
    let plan = Plan::forward(Layout::Symlink, files, 5, &before);
    assert_eq!(steps(&plan), [".pinion/web/current -> 5"]);
    assert_eq!(plan.writes.len(), 2);
    let after = observed(Some(5), &[(&old_cert, alias(&wanted(Part::Cert, "new"))), (&old_key, At::Alias(None))]);
    let back = Plan::back(&before.saved(), &after, |path| {
        Ok::<_, ()>(Some(if path.ends_with("cert") { old_cert.saved() } else { old_key.saved() }))
    });
    assert_eq!(steps(&back.expect("a plan")), [".pinion/web/current -> 4"]);
}

#[test]
fn until_the_one_step_readers_of_regular_files_get_what_was_there() {
    let (cert, key) = (wanted(Part::Cert, "new"), wanted(Part::Key, "new"));
    let foreign = wanted(Part::Cert, "foreign");
    let before = observed(None, &[(&cert, file(&foreign)), (&key, At::Nothing)]);
    let plan = Plan::forward(Layout::Symlink, vec![cert.clone(), key.clone()], 1, &before);
    assert_eq!(
        steps(&plan),
        [
            ".pinion/web/current -> 0",
            "key -> .pinion/web/current/key",
            "cert -> .pinion/web/current/cert",
            ".pinion/web/current -> 1",
        ]
    );
    assert!(plan.writes.iter().any(|write| write.path.ends_with("0/cert") && write.file == foreign.saved()));
    let after = observed(Some(1), &[(&cert, alias(&cert)), (&key, alias(&key))]);
    let back = Plan::back(&before.saved(), &after, |_| Ok::<_, ()>(Some(foreign.saved()))).expect("a plan");
    assert_eq!(steps(&back), [".pinion/web/current -> 0", "cert", "- key", "- .pinion/web/current"]);
}

#[test]
fn where_nothing_was_before_everything_goes_at_once() {
    let (cert, key) = (wanted(Part::Cert, "new"), wanted(Part::Key, "new"));
    let before = observed(None, &[(&cert, At::Nothing), (&key, At::Nothing)]);
    let after = observed(Some(1), &[(&cert, alias(&cert)), (&key, alias(&key))]);
    let back = Plan::back(&before.saved(), &after, |_| Ok::<_, ()>(None)).expect("a plan");
    assert_eq!(steps(&back), ["- .pinion/web/current", "- cert", "- key"]);
}

#[test]
fn the_way_back_restores_what_was_and_removes_what_was_not() {
    let (old, new) = (wanted(Part::Key, "old"), wanted(Part::Key, "new"));
    let added = wanted(Part::Cert, "new");
    let before = observed(None, &[(&old, file(&old)), (&added, At::Nothing)]);
    let nothing_kept = |_: &Path| Ok::<_, ()>(None);
    let after = observed(None, &[(&new, file(&new)), (&added, file(&added))]);
    let plan = Plan::back(&before.saved(), &after, nothing_kept).expect("a plan");
    assert_eq!(steps(&plan), ["key", "- cert"]);
    assert!(Plan::back(&before.saved(), &before, nothing_kept).expect("a plan").is_empty());
    assert_eq!(temporary(&old.target).parent(), old.target.parent());
}

/// The steps with their whole paths.
fn whole_steps(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|step| step.path().display().to_string()).collect()
}

/// What is written, below the directory, and its content.
fn writes(plan: &Plan) -> Vec<(String, String)> {
    let one = |write: &Write| {
        let path = write.path.strip_prefix(DIRECTORY).expect("below").display().to_string();
        (path, String::from_utf8(write.file.content.to_vec()).expect("text"))
    };
    plan.writes.iter().map(one).collect()
}

#[test]
fn a_file_is_as_wanted_with_content_owner_group_and_mode() {
    let it = wanted(Part::Key, "k");
    let good = it.saved();
    assert!(it.is(&good));
    for bad in [
        SavedFile { uid: 1, ..good.clone() },
        SavedFile { gid: 1, ..good.clone() },
        SavedFile { mode: "0600".parse().expect("a mode"), ..good.clone() },
        SavedFile { content: Zeroizing::new(b"K".to_vec()), ..good.clone() },
    ] {
        assert!(!it.is(&bad), "{bad:?}");
    }
    let remembered = it.installed();
    assert_eq!((remembered.part, &remembered.path), (Part::Key, &it.path));
    assert_eq!(remembered.content, Fingerprint::of(b"k"));
}

#[test]
fn of_two_directories_the_one_with_the_certificate_is_switched_last() {
    let place = |part: Part, directory: &str| {
        let path: GuestPath = format!("{directory}/{part}").parse().expect("a path");
        Wanted { target: path.as_str().into(), path, missing: Vec::new(), ..wanted(part, "new") }
    };
    let seen = |directory: &str| ObservedGenerations {
        directory: directory.into(),
        generations: Generations::of(Path::new(directory), &"web".parse().expect("a name")),
        in_use: Some(4),
    };
    for (certificates, keys) in [("/etc/a", "/etc/b"), ("/etc/b", "/etc/a")] {
        let files =
            [place(Part::Cert, certificates), place(Part::Key, keys), place(Part::Fullchain, certificates)].to_vec();
        let there = files.iter().map(|file| Present { target: file.target.clone(), at: alias(file) }).collect();
        let there = Observed { files: there, generations: vec![seen("/etc/a"), seen("/etc/b")] };
        let plan = Plan::forward(Layout::Symlink, files, 5, &there);
        assert_eq!(
            whole_steps(&plan),
            [format!("{keys}/.pinion/web/current"), format!("{certificates}/.pinion/web/current")]
        );
        assert_eq!(plan.writes.len(), 3);
        assert_eq!(plan.fresh.len(), 2);
    }
}

#[test]
fn a_directory_that_nobody_looked_at_is_left_alone() {
    let there = Observed { files: Vec::new(), generations: Vec::new() };
    assert!(Plan::forward(Layout::Symlink, vec![wanted(Part::Key, "k")], 1, &there).is_empty());
}

#[test]
fn in_the_generation_in_use_only_what_differs_is_put_right() {
    let (cert, key, ca) = (wanted(Part::Cert, "c"), wanted(Part::Key, "k"), wanted(Part::Ca, "r"));
    let damaged = wanted(Part::Key, "damaged");
    let all = vec![cert.clone(), key.clone(), ca.clone()];
    // The key says something else behind its link; a regular file took the place of the certificate's link; the link
    // of the roots is gone.
    let there =
        observed(Some(3), &[(&cert, file(&cert)), (&key, At::Alias(Some(damaged.saved()))), (&ca, At::Nothing)]);
    let plan = Plan::forward(Layout::Symlink, all.clone(), 3, &there);
    assert_eq!(
        steps(&plan),
        [
            ".pinion/web/3/ca",
            "ca -> .pinion/web/current/ca",
            ".pinion/web/3/key",
            ".pinion/web/3/cert",
            "cert -> .pinion/web/current/cert",
        ]
    );
    assert!(plan.fresh.is_empty() && plan.make.is_empty(), "the generation is there");
    // A link that leads to nothing is only given its file.
    let there = observed(Some(3), &[(&cert, At::Alias(None)), (&key, alias(&key)), (&ca, alias(&ca))]);
    assert_eq!(steps(&Plan::forward(Layout::Symlink, all, 3, &there)), [".pinion/web/3/cert"]);
}

#[test]
fn the_first_generation_makes_its_directories_and_a_later_one_none() {
    let key = wanted(Part::Key, "new");
    let nothing = observed(None, &[(&key, At::Nothing)]);
    let plan = Plan::forward(Layout::Symlink, vec![key.clone()], 1, &nothing);
    let made: Vec<_> = plan.make.iter().map(|path| path.display().to_string()).collect();
    assert_eq!(made, [DIRECTORY, "/etc/ssl/x/.pinion", "/etc/ssl/x/.pinion/web"]);
    assert_eq!(plan.fresh, [PathBuf::from("/etc/ssl/x/.pinion/web/1")], "nothing was there, so nothing is kept");
    assert_eq!(steps(&plan), ["key -> .pinion/web/current/key", ".pinion/web/current -> 1"]);
    let there = observed(Some(1), &[(&key, alias(&wanted(Part::Key, "old")))]);
    let plan = Plan::forward(Layout::Symlink, vec![key], 2, &there);
    assert_eq!(plan.make, [PathBuf::from(DIRECTORY)]);
    assert_eq!(plan.fresh, [PathBuf::from("/etc/ssl/x/.pinion/web/2")]);
}

#[test]
fn what_is_not_asked_for_any_more_goes_along_to_the_new_generation() {
    let (key, roots) = (wanted(Part::Key, "new"), wanted(Part::Ca, "kept"));
    let there = observed(Some(4), &[(&key, alias(&wanted(Part::Key, "old"))), (&roots, alias(&roots))]);
    let plan = Plan::forward(Layout::Symlink, vec![key], 5, &there);
    assert_eq!(writes(&plan), [(".pinion/web/5/key".into(), "new".into()), (".pinion/web/5/ca".into(), "kept".into())]);
    assert_eq!(steps(&plan), [".pinion/web/current -> 5"]);
}

#[test]
fn a_regular_file_in_a_links_place_is_kept_in_the_generation_in_use_before_it_is_replaced() {
    let (cert, key) = (wanted(Part::Cert, "new"), wanted(Part::Key, "new"));
    let foreign = wanted(Part::Cert, "foreign");
    let there = observed(Some(4), &[(&cert, file(&foreign)), (&key, alias(&wanted(Part::Key, "old")))]);
    let plan = Plan::forward(Layout::Symlink, vec![cert, key], 5, &there);
    assert_eq!(
        steps(&plan),
        [".pinion/web/4/cert", "cert -> .pinion/web/current/cert", ".pinion/web/current -> 5"],
        "its readers get what was there until the last step"
    );
    let kept = temporary(Path::new("/etc/ssl/x/.pinion/web/4/cert"));
    assert!(plan.writes.iter().any(|write| write.path == kept && write.file == foreign.saved()));
    assert_eq!(plan.fresh, [PathBuf::from("/etc/ssl/x/.pinion/web/5")], "the generation in use is not emptied");
}

#[test]
fn the_way_back_through_links_puts_right_what_the_old_generation_has_lost() {
    let (old_cert, old_key) = (wanted(Part::Cert, "old"), wanted(Part::Key, "old"));
    let before = observed(Some(4), &[(&old_cert, alias(&old_cert)), (&old_key, alias(&old_key))]);
    let after = observed(Some(5), &[(&old_cert, alias(&wanted(Part::Cert, "new"))), (&old_key, file(&old_key))]);
    // The old generation has its certificate still, and its key says something else.
    let kept = |path: &Path| {
        Ok::<_, ()>(Some(if path.ends_with("4/cert") { old_cert.saved() } else { wanted(Part::Key, "?").saved() }))
    };
    let plan = Plan::back(&before.saved(), &after, kept).expect("a plan");
    assert_eq!(steps(&plan), [".pinion/web/4/key", ".pinion/web/current -> 4", "key -> .pinion/web/current/key"]);
    let made: Vec<_> = plan.make.iter().map(|path| path.display().to_string()).collect();
    assert_eq!(made, ["/etc/ssl/x/.pinion", "/etc/ssl/x/.pinion/web", "/etc/ssl/x/.pinion/web/4"]);
    // Nothing of it is kept any more.
    let plan = Plan::back(&before.saved(), &after, |_| Ok::<_, ()>(None)).expect("a plan");
    assert_eq!(steps(&plan)[..2], [".pinion/web/4/cert", ".pinion/web/4/key"]);
    Plan::back(&before.saved(), &after, |_| Err("the disk")).expect_err("what is kept cannot be told");
}

#[test]
fn the_way_back_to_where_everything_is_still_has_no_step() {
    let (cert, key) = (wanted(Part::Cert, "old"), wanted(Part::Key, "old"));
    for there in [
        observed(Some(4), &[(&cert, alias(&cert)), (&key, alias(&key))]),
        observed(None, &[(&cert, file(&cert)), (&key, At::Nothing)]),
        observed(None, &[]),
    ] {
        let kept = |path: &Path| Ok::<_, ()>(Some(if path.ends_with("cert") { cert.saved() } else { key.saved() }));
        let plan = Plan::back(&there.saved(), &there, kept).expect("a plan");
        assert!(plan.is_empty(), "{plan:?}");
    }
}

#[test]
fn the_way_back_from_links_to_regular_files_removes_current_last() {
    let (cert, key) = (wanted(Part::Cert, "new"), wanted(Part::Key, "new"));
    let old = wanted(Part::Key, "old");
    let before = observed(None, &[(&cert, At::Nothing), (&key, file(&old))]);
    // The new generation is in use, and the certificate's link was not made yet.
    let after = observed(Some(1), &[(&cert, At::Nothing), (&key, alias(&key))]);
    let back = Plan::back(&before.saved(), &after, |_| Ok::<_, ()>(None)).expect("a plan");
    assert_eq!(
        steps(&back),
        [".pinion/web/0/key", ".pinion/web/current -> 0", "key", "- .pinion/web/current"],
        "a reader of the link gets the old key at once, also where its copy is lost"
    );
    // Half of the way back was gone before the power went.
    let half = observed(Some(0), &[(&cert, At::Nothing), (&key, file(&old))]);
    let back = Plan::back(&before.saved(), &half, |_| Ok::<_, ()>(Some(old.saved()))).expect("a plan");
    assert_eq!(steps(&back), ["- .pinion/web/current"]);
}

#[test]
fn what_was_not_there_before_goes_however_it_is_there() {
    let key = wanted(Part::Key, "new");
    for at in [file(&key), alias(&key), At::Alias(None)] {
        let (before, after) = (observed(None, &[(&key, At::Nothing)]), observed(None, &[(&key, at)]));
        let back = Plan::back(&before.saved(), &after, |_| Ok::<_, ()>(None)).expect("a plan");
        assert_eq!(steps(&back), ["- key"]);
    }
}
