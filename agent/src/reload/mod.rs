//! Checking new files in place and notifying the service.
//!
//! Answers: does the service accept the files, and does it know of them?
//! Invariants: programs and hooks get fixed arguments and never a shell; the allow-list was asked when the job was
//! resolved; a hook that anyone but root or the agent's user could have written is not run.

mod about;
mod command;
mod error;
mod docker;
mod dockerd;
mod hooks;
mod journal;
mod program;
mod standing;
mod swarm;
mod systemd;
mod touch;
mod unit;

use std::{ffi::OsString, time::Duration};

pub use about::About;
pub use error::ReloadError;
pub use standing::{Manager, Standing};

use crate::{
    config::Config,
    recipe::{Check, ReloadAction},
};
use hooks::Hook;

/// Checks files that are in place. A program that is not installed has nothing to say against them.
///
/// # Errors
/// The check fails, or cannot be made.
pub async fn check(config: &Config, check: &Check, about: &About) -> Result<(), ReloadError> {
    match check {
        Check::Nothing => Ok(()),
        Check::Program(arguments) => {
            let Some((program, rest)) = arguments.split_first() else { return Ok(()) };
            match program::find(&config.root, program) {
                Some(path) => {
                    let rest: Vec<_> = rest.iter().map(OsString::from).collect();
                    program::run(config, arguments.join(" "), &path, &rest, about).await
                }
                None => Ok(()),
            }
        }
        Check::Hook(hook) => {
            let hook = Hook::find(config, hook.as_str())?;
            hook.run(config, hook.name(), &[], about).await
        }
    }
}

/// Has a store made of files that changed, by the recipe's own program.
///
/// # Errors
/// It is not installed, or fails.
pub async fn update(config: &Config, arguments: &[String], about: &About) -> Result<(), ReloadError> {
    let Some((program, rest)) = arguments.split_first() else { return Ok(()) };
    let path = program::find(&config.root, program)
        .ok_or_else(|| ReloadError::NotThere { what: program.clone(), why: "is not installed".into() })?;
    let rest: Vec<_> = rest.iter().map(OsString::from).collect();
    program::run(config, arguments.join(" "), &path, &rest, about).await
}

/// Whether the check can be made at all, before any file is touched.
///
/// # Errors
/// Its hook is not there or not to be trusted.
pub fn can_check(config: &Config, check: &Check) -> Result<(), ReloadError> {
    match check {
        Check::Hook(hook) => Hook::find(config, hook.as_str()).map(drop),
        Check::Nothing | Check::Program(_) => Ok(()),
    }
}

/// What an action does with dockerd, which must not go while a container is between its end and its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dockerd {
    /// Nothing.
    Apart,
    /// It has dockerd do something.
    Used,
    /// It has dockerd itself start anew.
    Restarted,
}

impl Dockerd {
    /// What this action does with it.
    #[must_use]
    pub fn of(action: &ReloadAction) -> Self {
        match action {
            ReloadAction::Reload(unit) | ReloadAction::Restart(unit) if unit.as_str() == dockerd::UNIT => {
                Self::Restarted
            }
            ReloadAction::RestartContainer(_) | ReloadAction::Signal(_) | ReloadAction::Swarm(_) => Self::Used,
            _ => Self::Apart,
        }
    }
}

/// How long ago the unit that an action is about was started, where systemd has it and it runs.
///
/// # Errors
/// systemd cannot be asked.
pub async fn age(config: &Config, action: &ReloadAction, about: &About) -> Result<Option<Duration>, ReloadError> {
    match action {
        ReloadAction::Reload(unit) | ReloadAction::Restart(unit) => unit::age(config, unit, about).await,
        _ => Ok(None),
    }
}

/// Whether a service has gone back to what it had before it was notified: `docker stack deploy` gives a Swarm service the
/// secrets of its file. What cannot be asked is not known to have. `about` is asked only where it is needed, because it looks
/// at files.
pub async fn is_behind(config: &Config, action: &ReloadAction, about: impl FnOnce() -> About) -> bool {
    match action {
        ReloadAction::Swarm(secrets) => swarm::is_behind(config, secrets, &about()).await.unwrap_or(false),
        _ => false,
    }
}

/// Notifies the service that its files are new; true when a unit was restarted that was to be reloaded.
///
/// # Errors
/// It is not there, or does not take them.
pub async fn notify(config: &Config, action: &ReloadAction, about: &About) -> Result<bool, ReloadError> {
    match action {
        ReloadAction::Hook(hook) => {
            let hook = Hook::find(config, hook.as_str())?;
            hook.run(config, hook.name(), &[], about).await.map(|()| false)
        }
        ReloadAction::Reload(unit) => unit::notify(config, "reload", unit, about).await.map(|verb| verb != "reload"),
        ReloadAction::Restart(unit) if unit.as_str() == dockerd::UNIT => {
            let before = dockerd::look(config, about).await;
            unit::notify(config, "restart", unit, about).await?;
            dockerd::wait(config, about, before).await;
            Ok(false)
        }
        ReloadAction::Restart(unit) => unit::notify(config, "restart", unit, about).await.map(|_| false),
        ReloadAction::RestartContainer(container) => docker::restart(config, container, about).await.map(|()| false),
        ReloadAction::Signal(signal) => docker::signal(config, signal, about).await.map(|()| false),
        ReloadAction::Touch(path) => touch::touch(config, path, &about.touchable).map(|()| false),
        ReloadAction::Swarm(secrets) => swarm::update(config, secrets, about).await.map(|()| false),
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, path::Path, time::Duration};

    use pinion_proto::spec::Part;

    use super::*;

    struct Guest {
        _kept: tempfile::TempDir,
        config: Config,
    }

    fn guest() -> Guest {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let config = Config::shipped(kept.path().canonicalize().expect("a real path"));
        std::fs::create_dir_all(&config.hooks).expect("directory");
        Guest { _kept: kept, config }
    }

    fn script(path: &Path, body: &str) {
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("directory");
        std::fs::write(path, format!("#!/bin/sh\n{body}\n")).expect("written");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("executable");
    }

    fn about() -> About {
        About { generation: 7, files: vec![(Part::Key, "/x/key.pem".into())], ..About::for_test("docker") }
    }

    fn hook(name: &str) -> ReloadAction {
        ReloadAction::Hook(name.parse().expect("a name"))
    }

    #[tokio::test]
    async fn hooks_get_what_they_need_and_nothing_else() {
        let guest = guest();
        let out = guest.config.root.join("out");
        script(&guest.config.hooks.join("h"), &format!("echo \"$# $@\" > {0}; env | sort >> {0}", out.display()));
        notify(&guest.config, &hook("h"), &about()).await.expect("it runs");
        let seen = std::fs::read_to_string(&out).expect("it wrote");
        for part in ["0 \n", "PINION_CERTIFICATE=docker\n", "PINION_GENERATION=7\n", "PINION_FILE_KEY=/x/key.pem\n"] {
            assert!(seen.contains(part), "{part:?} in {seen}");
        }
        assert!(!seen.contains("CARGO") && !seen.contains("HOME="), "{seen}");
    }

    #[tokio::test]
    async fn a_unit_without_systemd_is_its_hook_with_the_verb() {
        let guest = guest();
        let out = guest.config.root.join("out");
        let unit = ReloadAction::Restart("docker.service".parse().expect("a unit"));
        assert!(notify(&guest.config, &unit, &about()).await.expect_err("no hook").is_absence());
        script(&guest.config.hooks.join("docker.service"), &format!("echo \"$@\" > {}", out.display()));
        notify(&guest.config, &unit, &about()).await.expect("it runs");
        assert_eq!(std::fs::read_to_string(&out).expect("it wrote"), "restart\n");
    }

    #[tokio::test]
    async fn systemd_is_asked_whether_the_unit_runs_first() {
        let guest = guest();
        let at = |path: &str| guest.config.root.join(path);
        std::fs::create_dir_all(at("run/systemd/system")).expect("directory");
        script(
            &at("usr/bin/systemctl"),
            &format!(
                "if [ \"$1\" = show ]; then echo \"ActiveState=$(cat {})\"; exit 0; fi; echo \"$@\" >> {}",
                at("state").display(),
                at("calls").display()
            ),
        );
        let unit = ReloadAction::Reload("nginx.service".parse().expect("a unit"));
        let limited = About { may_restart: false, ..about() };
        std::fs::write(at("state"), "failed").expect("written");
        let error = notify(&guest.config, &unit, &limited).await.expect_err("it was restarted often enough");
        assert!(error.is_absence() && error.to_string().contains("as often as allowed"), "{error}");
        for (state, called) in [
            ("active", Some("reload")),
            ("failed", Some("restart")),
            ("activating", None),
            ("deactivating", None),
            ("inactive", None),
            ("", None),
        ] {
            std::fs::write(at("state"), state).expect("written");
            std::fs::write(at("calls"), "").expect("written");
            let notified = notify(&guest.config, &unit, &about()).await;
            let calls = std::fs::read_to_string(at("calls")).expect("read");
            match called {
                Some(verb) => assert_eq!(calls, format!("--no-ask-password {verb} nginx.service\n")),
                None => assert!(notified.expect_err(state).is_absence() && calls.is_empty()),
            }
        }
    }

    #[tokio::test]
    async fn a_systemd_that_cannot_be_asked_is_no_refusal_of_the_service() {
        let guest = guest();
        let at = |path: &str| guest.config.root.join(path);
        std::fs::create_dir_all(at("run/systemd/system")).expect("directory");
        script(&at("usr/bin/systemctl"), "echo 'Failed to connect to bus' >&2; exit 1");
        let unit = ReloadAction::Restart("nginx.service".parse().expect("a unit"));
        let error = notify(&guest.config, &unit, &about()).await.expect_err("systemctl fails");
        assert!(error.is_absence() && error.to_string().contains("Failed to connect to bus"), "{error}");
    }

    #[tokio::test]
    async fn where_systemctl_says_where_to_look_it_is_looked_there() {
        let guest = guest();
        let at = |path: &str| guest.config.root.join(path);
        std::fs::create_dir_all(at("run/systemd/system")).expect("directory");
        let refuses = "[ \"$1\" = show ] && echo ActiveState=active && exit 0; echo 'See \"journalctl\" for details.' >&2; exit 1";
        script(&at("usr/bin/systemctl"), refuses);
        let unit = ReloadAction::Reload("nginx.service".parse().expect("a unit"));
        let error = notify(&guest.config, &unit, &about()).await.expect_err("it fails").to_string();
        assert_eq!(
            error,
            "`systemctl reload nginx.service` failed with exit status: 1: See \"journalctl\" for details."
        );
        // It comes to the journal a moment later.
        let journal = format!(
            "echo \"$@\" > {0}; [ -e {1} ] && printf '2026/11/27 01:06:45 [error] 143#143: no pid\\nand so\\n'; touch {1}; exit 0",
            at("asked").display(),
            at("later").display()
        );
        script(&at("usr/bin/journalctl"), &journal);
        let error = notify(&guest.config, &unit, &about()).await.expect_err("it fails").to_string();
        assert_eq!(error, "`systemctl reload nginx.service` failed with exit status: 1: [error] no pid; and so");
        let asked = std::fs::read_to_string(at("asked")).expect("it was asked");
        assert!(asked.contains("--since=@") && asked.contains("_SYSTEMD_UNIT=nginx.service"), "{asked}");
    }

    #[tokio::test]
    async fn failures_show_what_was_said_and_hanging_hooks_end() {
        let mut guest = guest();
        script(&guest.config.hooks.join("bad"), "echo out; echo err >&2; exit 7");
        let error = notify(&guest.config, &hook("bad"), &about()).await.expect_err("it fails").to_string();
        assert!(error.contains('7') && error.contains("out") && error.contains("err"), "{error}");
        script(&guest.config.hooks.join("long"), "yes | head -c 1000000; exit 1");
        let error = notify(&guest.config, &hook("long"), &about()).await.expect_err("it fails").to_string();
        assert!(error.len() < 20_000 && error.contains("left out"), "{}", error.len());
        guest.config.hook_timeout = Duration::from_millis(200);
        let pid = guest.config.root.join("pid");
        script(&guest.config.hooks.join("hang"), &format!("sleep 60 & echo $! > {}; wait", pid.display()));
        let error = notify(&guest.config, &hook("hang"), &about()).await.expect_err("it hangs");
        assert!(matches!(error, ReloadError::TimedOut { .. }), "{error}");
        // The whole group is ended, not the shell alone.
        let child: u32 = std::fs::read_to_string(&pid).expect("it wrote").trim().parse().expect("a number");
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        let alive = || {
            let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            !state.is_empty() && !state.contains(") Z ")
        };
        while alive() {
            assert!(std::time::Instant::now() < deadline, "the hook's child still runs");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_hook_may_leave_a_daemon_behind() {
        let guest = guest();
        script(&guest.config.hooks.join("daemon"), "sleep 30 & exit 0");
        let started = std::time::Instant::now();
        notify(&guest.config, &hook("daemon"), &about()).await.expect("it succeeds");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn hooks_that_others_could_have_written_are_not_run() {
        let guest = guest();
        let path = guest.config.hooks.join("h");
        script(&path, "exit 0");
        for mode in [0o777, 0o775, 0o757, 0o644] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("mode");
            let error = notify(&guest.config, &hook("h"), &about()).await.expect_err("refused");
            let refused = matches!(error, ReloadError::Untrusted { .. } | ReloadError::NotExecutable { .. });
            assert!(refused, "{mode:o}: {error}");
        }
        std::os::unix::fs::symlink("/bin/true", guest.config.hooks.join("link")).expect("link");
        let error = notify(&guest.config, &hook("link"), &about()).await.expect_err("refused");
        assert!(matches!(error, ReloadError::Untrusted { .. }));
    }

    #[tokio::test]
    async fn a_check_by_a_missing_program_passes_and_by_a_missing_hook_waits() {
        let guest = guest();
        let program = Check::Program(vec!["nginx".into(), "-t".into()]);
        check(&guest.config, &program, &about()).await.expect("nothing to say against it");
        script(&guest.config.root.join("usr/sbin/nginx"), "test \"$1\" = -t && echo bad pair && exit 1");
        assert!(check(&guest.config, &program, &about()).await.expect_err("refused").to_string().contains("bad pair"));
        let hook = Check::Hook("none".parse().expect("a name"));
        assert!(can_check(&guest.config, &hook).expect_err("missing").is_absence());
    }
}
