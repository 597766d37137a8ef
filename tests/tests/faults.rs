//! `cargo xtask faults` in small: some kills, switches and failing disks, from a seed that is shown when it goes wrong.

use std::{process::Command, time::Duration};

use pinion_tests::{process, program};

#[test]
fn nothing_is_torn_and_nothing_is_lost() {
    let program = program::own("faults").expect("it is built");
    let finished = process::run(Command::new(program).arg("--short"), b"", MAX).expect("it ends");
    let finished = finished.succeeded().expect("it finds nothing");
    for line in ["kills: 16", "faults: 6", "torn: 0", "lost: 0"] {
        assert!(finished.stdout.lines().any(|told| told == line), "no `{line}` in {finished}");
    }
}

/// It takes a quarter of a minute where nobody else works.
const MAX: Duration = Duration::from_secs(240);
