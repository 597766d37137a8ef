//! The operator's hooks: which file may be run, and running that very file.
//!
//! Invariant: what runs is what was looked at. The file is opened once, looked at by its descriptor, and run by it, whatever
//! is put in its place meanwhile.

use std::{
    ffi::OsString,
    fs::File,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use pinion_proto::trusted::{self, Distrust};

use super::{
    About, ReloadError,
    command::{self, Pipes},
};
use crate::config::Config;

/// A hook that may be run.
#[derive(Debug)]
pub(super) struct Hook {
    /// Where it was found.
    path: PathBuf,
    /// Open as long as it runs: a script's interpreter opens it anew.
    file: File,
}

impl Hook {
    /// Finds a hook by its name.
    ///
    /// # Errors
    /// It is not there, or others than root and the agent's user could have written it, or put it there.
    pub(super) fn find(config: &Config, name: &str) -> Result<Self, ReloadError> {
        let path = config.hooks.join(name);
        let opened = match trusted::open(&config.hooks, name) {
            Ok(Some(opened)) => opened,
            Ok(None) => return Err(not_there(&path, "is not there")),
            Err(Distrust::Look { .. }) => return Err(not_there(&path, "may not be looked at")),
            Err(why) => return Err(ReloadError::Untrusted { path, why }),
        };
        if opened.mode & 0o111 == 0 {
            return Err(ReloadError::NotExecutable { path });
        }
        Ok(Self { path, file: opened.file })
    }

    /// How errors call it.
    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Runs it; `what` is how errors call that.
    pub(super) async fn run(
        &self,
        config: &Config,
        what: String,
        arguments: &[OsString],
        about: &About,
    ) -> Result<(), ReloadError> {
        let program = self.program();
        let mut environment = about.environment(config);
        environment.push(("PINION_HOOK".into(), self.path.clone().into()));
        let pipes = Pipes::default();
        let done = command::call(what, &program, arguments, &environment, config.hook_timeout, pipes).await;
        done.map(drop).map_err(|error| self.in_words(error, &program))
    }

    /// The descriptor as a path, of this process and not of the one that is started: that one has closed it before a
    /// script's interpreter opens it, so that nothing else inherits it.
    fn program(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }

    /// A shell calls the script by the path that it was given.
    fn in_words(&self, error: ReloadError, program: &Path) -> ReloadError {
        let plain = |output: String| output.replace(&program.display().to_string(), &self.name());
        match error {
            ReloadError::Failed { what, status, output } => ReloadError::Failed { what, status, output: plain(output) },
            ReloadError::TimedOut { what, after, output } => {
                ReloadError::TimedOut { what, after, output: plain(output) }
            }
            other => other,
        }
    }
}

fn not_there(path: &Path, why: &str) -> ReloadError {
    ReloadError::NotThere { what: path.display().to_string(), why: why.into() }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn about() -> About {
        About::for_test("docker")
    }

    #[tokio::test]
    async fn what_was_looked_at_is_what_runs() {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let config = Config::shipped(kept.path().canonicalize().expect("a real path"));
        fs::create_dir_all(&config.hooks).expect("directory");
        let (path, out) = (config.hooks.join("h"), config.root.join("out"));
        let write = |word: &str| {
            let new = config.hooks.join("new");
            fs::write(&new, format!("#!/bin/sh\necho {word} \"$1\" \"$PINION_HOOK\" >> {}\n", out.display()))
                .expect("written");
            fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("executable");
            fs::rename(&new, &path).expect("in place");
        };
        write("good");
        let hook = Hook::find(&config, "h").expect("trusted");
        write("bad");
        hook.run(&config, "h".into(), &["verb".into()], &about()).await.expect("it runs");
        assert_eq!(fs::read_to_string(&out).expect("it wrote"), format!("good verb {}\n", path.display()));
        // A program that is no script.
        fs::copy("/bin/true", config.hooks.join("binary")).expect("copied");
        let binary = Hook::find(&config, "binary").expect("trusted");
        binary.run(&config, "binary".into(), &[], &about()).await.expect("it runs");
        // A script's own complaints name it as the operator knows it.
        fs::write(&path, "#!/bin/sh\nnonsense-that-is-no-program\n").expect("written");
        let error = Hook::find(&config, "h").expect("trusted").run(&config, "h".into(), &[], &about()).await;
        let error = error.expect_err("it fails").to_string();
        assert!(error.contains(&path.display().to_string()) && !error.contains("/proc/"), "{error}");
    }
}
