//! A file's time of change becomes now, for a service that watches it and not its certificates.
//!
//! Invariant: its content is not opened; a link does not lead out of what the guest allows, also not one that is put there
//! between the look and the touch.

use std::path::Path;

use pinion_proto::spec::GuestPath;

use super::ReloadError;
use crate::{
    config::Config,
    install::{
        files::{self, Files, RealFiles},
        place::{self, PlaceError},
    },
};

/// Touches a file or directory, its path's links followed once and then none any more.
pub(super) fn touch(config: &Config, path: &GuestPath, touchable: &[GuestPath]) -> Result<(), ReloadError> {
    touch_at(&RealFiles, config, path, touchable)
}

fn touch_at(files: &dyn Files, config: &Config, path: &GuestPath, touchable: &[GuestPath]) -> Result<(), ReloadError> {
    let failed = |source| ReloadError::Touch { path: path.clone(), source };
    let real = match place::real(files, config, path) {
        Ok(real) => real,
        Err(PlaceError::Look { source, .. }) => return Err(failed(source)),
        Err(refused) => return Err(failed(std::io::Error::other(refused))),
    };
    let allowed = touchable.iter().any(|allowed| {
        // An allowed path may itself be a link: who allowed it put it there.
        real.path.starts_with(config.under_root(allowed))
            || place::real(files, config, allowed).is_ok_and(|allowed| real.path.starts_with(allowed.path))
    });
    if !allowed {
        let seen = real.path.strip_prefix(&config.root).map_or(real.path.clone(), |inside| Path::new("/").join(inside));
        return Err(ReloadError::Elsewhere { path: path.clone(), real: seen });
    }
    if !real.is_there {
        return Err(ReloadError::NotThere { what: path.to_string(), why: "is not there".into() });
    }
    files::touch(&real.path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink,
        time::{Duration, SystemTime},
    };

    use rustix::fs::{CWD, RenameFlags, renameat_with};

    use super::*;
    use crate::install::tests::racing::Racing;

    fn allowed() -> [GuestPath; 1] {
        ["/etc/traefik/dynamic".parse().expect("a path")]
    }

    #[test]
    fn only_the_time_changes_and_links_do_not_lead_out() {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let config = Config::shipped(kept.path().canonicalize().expect("a real path"));
        let inside: GuestPath = "/etc/traefik/dynamic/tls.yml".parse().expect("a path");
        assert!(touch(&config, &inside, &allowed()).expect_err("nothing there").is_absence());
        let path = config.under_root(&inside);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directory");
        fs::write(&path, "tls: {}\n").expect("written");
        let old = SystemTime::now() - Duration::from_secs(86_400);
        fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(old)).expect("an old file");
        touch(&config, &inside, &allowed()).expect("touched");
        let age = fs::metadata(&path).and_then(|found| found.modified()).expect("a time").elapsed();
        assert!(age.unwrap_or_default() < Duration::from_secs(3600));
        assert_eq!(fs::read_to_string(&path).expect("read"), "tls: {}\n");
        touch(&config, &"/etc/traefik/dynamic".parse().expect("a path"), &allowed()).expect("a directory too");

        fs::write(config.root.join("etc/shadow"), "").expect("written");
        symlink("/etc/shadow", config.root.join("etc/traefik/dynamic/link")).expect("link");
        let error =
            touch(&config, &"/etc/traefik/dynamic/link".parse().expect("a path"), &allowed()).expect_err("refused");
        assert!(matches!(error, ReloadError::Elsewhere { .. }), "{error}");
    }

    #[test]
    fn a_directory_that_becomes_a_link_meanwhile_leads_nowhere() {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let config = Config::shipped(kept.path().canonicalize().expect("a real path"));
        let at = |path: &str| config.root.join(path);
        for directory in ["etc/traefik/dynamic/d", "outside"] {
            fs::create_dir_all(at(directory)).expect("directory");
            fs::write(at(directory).join("file"), "").expect("written");
        }
        let old = SystemTime::now() - Duration::from_secs(86_400);
        let outside = at("outside/file");
        fs::File::options().write(true).open(&outside).and_then(|file| file.set_modified(old)).expect("an old file");
        symlink("../../../outside", at("etc/traefik/dynamic/other")).expect("link");
        let path = "/etc/traefik/dynamic/d/file".parse().expect("a path");
        for exchanged_after in 0.. {
            let names = [at("etc/traefik/dynamic/d"), at("etc/traefik/dynamic/other")];
            let files = Racing::after(exchanged_after, names.clone());
            drop(touch_at(&files, &config, &path, &allowed()));
            if !files.has_happened() {
                assert!(exchanged_after >= 5, "it looks at each directory on the way");
                break;
            }
            renameat_with(CWD, &names[0], CWD, &names[1], RenameFlags::EXCHANGE).expect("back");
        }
        let now = fs::metadata(&outside).and_then(|found| found.modified()).expect("a time");
        assert_eq!(now, old, "it was touched outside");
        touch(&config, &path, &allowed()).expect("touched, when nobody is in the way");
    }
}
