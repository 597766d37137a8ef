//! A file's time of change becomes now, for a service that watches it and not its certificates.
//!
//! Invariant: its content is not opened; a link does not lead out of what the guest allows.

use std::io;

use pinion_proto::spec::GuestPath;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};

use super::ReloadError;
use crate::config::Config;

/// Touches a file or directory as touch(1) does, which inotify(7) tells as IN_ATTRIB: both times, because the kernel tells
/// one alone as something else (`fsnotify_change` in Linux's `include/linux/fsnotify.h`).
pub(super) fn touch(config: &Config, path: &GuestPath) -> Result<(), ReloadError> {
    let failed = |source: io::Error| ReloadError::Touch { path: path.clone(), source };
    let real = match config.under_root(path).canonicalize() {
        Ok(real) => real,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(ReloadError::NotThere { what: path.to_string(), why: "is not there".into() });
        }
        Err(e) => return Err(failed(e)),
    };
    let allowed = config.allow.touch.iter().any(|allowed| {
        let allowed = config.under_root(allowed);
        // An allowed path may itself be a link: who allowed it put it there.
        real.starts_with(&allowed) || allowed.canonicalize().is_ok_and(|allowed| real.starts_with(allowed))
    });
    if !allowed {
        return Err(ReloadError::Elsewhere { path: path.clone(), real });
    }
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    utimensat(CWD, &real, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| failed(e.into()))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink,
        time::{Duration, SystemTime},
    };

    use super::*;

    #[test]
    fn only_the_time_changes_and_links_do_not_lead_out() {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let config = Config::shipped(kept.path().canonicalize().expect("a real path"));
        let inside: GuestPath = "/etc/traefik/dynamic/tls.yml".parse().expect("a path");
        assert!(touch(&config, &inside).expect_err("nothing there").is_absence());
        let path = config.under_root(&inside);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directory");
        fs::write(&path, "tls: {}\n").expect("written");
        let old = SystemTime::now() - Duration::from_secs(86_400);
        fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(old)).expect("an old file");
        touch(&config, &inside).expect("touched");
        let age = fs::metadata(&path).and_then(|found| found.modified()).expect("a time").elapsed();
        assert!(age.unwrap_or_default() < Duration::from_secs(3600));
        assert_eq!(fs::read_to_string(&path).expect("read"), "tls: {}\n");
        touch(&config, &"/etc/traefik/dynamic".parse().expect("a path")).expect("a directory too");

        fs::write(config.root.join("etc/shadow"), "").expect("written");
        symlink(config.root.join("etc/shadow"), config.root.join("etc/traefik/dynamic/link")).expect("link");
        let error = touch(&config, &"/etc/traefik/dynamic/link".parse().expect("a path")).expect_err("refused");
        assert!(matches!(error, ReloadError::Elsewhere { .. }), "{error}");
    }
}
