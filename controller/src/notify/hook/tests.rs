//! Which programs are run, with what, and for how long.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use pinion_proto::stage::Halt;
use serde_json::Value;

use super::*;
use crate::notify::testing::{files, message};

struct Place {
    _kept: tempfile::TempDir,
    directory: PathBuf,
}

fn place() -> Place {
    let kept = tempfile::tempdir().expect("a directory");
    let directory = kept.path().canonicalize().expect("a real path").join("notify.d");
    fs::create_dir(&directory).expect("made");
    Place { _kept: kept, directory }
}

impl Place {
    fn write(&self, script: &str) -> HookConfig {
        let path = self.directory.join("hook");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        HookConfig { path, timeout: Duration::from_secs(5) }
    }
}

async fn try_it(config: &HookConfig) -> Result<(), SendError> {
    send(config, &files(), "pve1", &message()).await
}

#[tokio::test]
async fn a_hook_gets_the_message_as_json_and_nothing_of_it_as_an_argument() {
    let place = place();
    let out = place.directory.join("out");
    let hook = place.write(&format!(
        "cat > {0}; echo \"$# $PINION_STATE $PINION_SEVERITY ${{HOME:-none}}\" > {0}.words",
        out.display()
    ));
    try_it(&hook).await.expect("it runs");
    let told: Value = serde_json::from_slice(&fs::read(&out).expect("it wrote")).expect("JSON");
    assert_eq!((&told["alarms"][0]["subject"], &told["state"]), (&"web@101".into(), &"firing".into()), "{told}");
    let words = fs::read_to_string(out.with_extension("words")).expect("it wrote");
    assert_eq!(words, "0 firing critical none\n");
}

#[tokio::test]
async fn what_others_could_have_written_is_not_run() {
    let place = place();
    let hook = place.write("exit 0");
    try_it(&hook).await.expect("trusted");
    for (path, bad) in [(&hook.path, 0o777), (&place.directory, 0o777), (&hook.path, 0o644)] {
        let before = fs::metadata(path).expect("there").permissions();
        fs::set_permissions(path, fs::Permissions::from_mode(bad)).expect("set");
        let error = try_it(&hook).await.expect_err("not run");
        assert!(error.halt() == Halt::Blocked && error.cause().contains(&*path.to_string_lossy()), "{error:?}");
        fs::set_permissions(path, before).expect("back");
    }
    fs::remove_file(&hook.path).expect("removed");
    let error = try_it(&hook).await.expect_err("not there");
    assert!(error.cause().contains("it is not there"), "{error:?}");
}

#[tokio::test]
async fn a_hook_that_fails_hangs_or_floods_is_told() {
    let place = place();
    let error = try_it(&place.write("echo no way >&2; exit 3")).await.expect_err("it fails");
    assert!(error.halt() == Halt::Waiting && error.cause().contains("exit status: 3: no way"), "{error:?}");
    let began = Instant::now();
    let slow = HookConfig { timeout: Duration::from_millis(300), ..place.write("sleep 60 & sleep 60") };
    assert_eq!(try_it(&slow).await, Err(SendError::too_slow(slow.timeout)));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    try_it(&place.write("head -c 50000000 /dev/zero; head -c 50000000 /dev/zero >&2")).await.expect("it ends well");
    try_it(&place.write("exec <&-; exit 0")).await.expect("it need not read");
}
