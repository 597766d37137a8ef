//! What the guest's administrator has given to a file stays with it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use pinion_proto::{
    spec::Layout,
    stage::{Halt, Stage},
};
use rustix::{
    fs::{XattrFlags, getxattr, setxattr},
    io::Errno,
};

use super::guest::{CRT, Guest, KEY, at_stage, issue, plain, plain_guest, until};
use crate::{
    apply::failure::Failure,
    install::{
        InstallError,
        acl::{ATTRIBUTE, tests::one_reader},
    },
};

/// The access control list of a file; none where it has none.
fn acl(path: &Path) -> Option<Vec<u8>> {
    let mut attribute = [0; 256];
    let length = getxattr(path, ATTRIBUTE, &mut attribute).ok()?;
    Some(attribute[..length].to_vec())
}

fn give(path: &Path) {
    setxattr(path, ATTRIBUTE, &one_reader(), XattrFlags::empty()).expect("the file system has access control lists");
}

async fn is_untouched(guest: &Guest, placements: &crate::apply::Placements) {
    let stamp = || fs::metadata(guest.at(KEY)).and_then(|found| found.modified()).expect("there");
    let before = stamp();
    // A file beside it is put right, so everything was looked at.
    fs::write(guest.at(CRT), "changed").expect("written");
    until(placements, "put right", |_| guest.serial(CRT).is_some()).await;
    assert_eq!(stamp(), before, "the list is no difference");
}

#[tokio::test]
async fn an_access_control_list_stays_at_a_renewal_a_repair_and_a_purge_of_nothing() {
    for layout in [Layout::Copy, Layout::Symlink] {
        let guest = plain_guest();
        let placements = guest.start().await;
        let web = plain(layout);
        issue(&guest, &placements, &web, 1).await;
        at_stage(&placements, "web", 1, Stage::Reloaded).await;
        give(&guest.at(KEY));
        assert_eq!(
            fs::metadata(guest.at(KEY)).expect("there").permissions().mode() & 0o777,
            0o640,
            "the mask is shown"
        );
        is_untouched(&guest, &placements).await;
        issue(&guest, &placements, &web, 2).await;
        at_stage(&placements, "web", 2, Stage::Reloaded).await;
        assert_eq!(acl(&guest.at(KEY)), Some(one_reader()), "{layout}: after a renewal");
        assert!(guest.has_pair());
        fs::write(guest.at(KEY), "changed").expect("written");
        until(&placements, "put right", |_| guest.has_pair()).await;
        assert_eq!(acl(&guest.at(KEY)), Some(one_reader()), "{layout}: after a repair");
        assert_eq!(acl(&guest.at(CRT)), None, "{layout}: nobody gave one to the certificate");
        placements.shutdown().await;
    }
}

#[tokio::test]
async fn a_list_that_a_directory_gives_to_new_files_is_kept_and_the_mode_is_as_asked() {
    let guest = plain_guest();
    let directory = guest.at("etc/ssl");
    setxattr(&directory, "system.posix_acl_default", &one_reader(), XattrFlags::empty()).expect("a default list");
    let placements = guest.start().await;
    for generation in 1..=2 {
        issue(&guest, &placements, &plain(Layout::Copy), generation).await;
        at_stage(&placements, "web", generation, Stage::Reloaded).await;
        let list = acl(&guest.at(KEY)).expect("from its directory");
        let permissions = |entry: usize| list[4 + 8 * entry + 2];
        assert_eq!([0, 1, 2, 4].map(permissions), [6, 4, 0, 0], "0600 and the further user");
    }
    is_untouched(&guest, &placements).await;
    placements.shutdown().await;
}

#[test]
fn what_the_kernel_refuses_for_ever_is_told_with_its_remedy() {
    let path = || "/etc/ssl/web.key".into();
    let operation =
        |errno: Errno| InstallError::Operation { operation: "put in place", path: path(), source: errno.into() };
    let owner = InstallError::Owner { path: path(), uid: 200_000, gid: 200_000, source: Errno::INVAL.into() };
    for (error, words) in [
        (operation(Errno::BUSY), "/etc/ssl/web.key is a mount of its own"),
        (operation(Errno::PERM), "`lsattr -d /etc/ssl /etc/ssl/web.key`"),
        (operation(Errno::ACCESS), "let the agent's user write there"),
        (owner, "user 200000 or group 200000 is outside of the numbers that this container has"),
    ] {
        let trouble = Failure::install(&error, 0).trouble(None);
        assert!(trouble.halt == Halt::Blocked && trouble.remedy.contains(words), "{trouble}");
    }
}
