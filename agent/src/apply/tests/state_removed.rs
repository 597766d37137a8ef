//! What the agent remembers is removed under it.

use std::{fs, io, path::Path};

use pinion_proto::spec::Layout;
use pinion_proto::stage::Stage;

use super::guest::{CRT, DEADLINE, at_stage, issue, plain, plain_guest};

#[tokio::test]
async fn what_is_remembered_is_made_again_when_it_was_removed() {
    let guest = plain_guest();
    let web = plain(Layout::Symlink);
    let (state, ledgers) = (guest.at("var/lib/pinion-agent"), guest.at("var/lib/pinion-agent/placements"));
    let placements = guest.start().await;
    issue(&guest, &placements, &web, 1).await;
    at_stage(&placements, "web", 1, Stage::Reloaded).await;
    for directory in [&ledgers, &state] {
        // Also without anything else to do: what is in memory is written down again.
        remove(directory);
        let again = async {
            while !ledgers.join("web.json").exists() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, again).await.expect("it is remembered again");
    }
    remove(&ledgers);
    let second = issue(&guest, &placements, &web, 2).await;
    at_stage(&placements, "web", 2, Stage::Reloaded).await;
    placements.shutdown().await;
    assert_eq!(guest.serial(CRT).as_deref(), Some(second.serial()));

    // While no agent runs: it is ordered anew, and goes on.
    remove(&ledgers);
    let placements = guest.start().await;
    let third = issue(&guest, &placements, &web, 3).await;
    at_stage(&placements, "web", 3, Stage::Reloaded).await;
    placements.shutdown().await;
    assert_eq!(guest.serial(CRT).as_deref(), Some(third.serial()));
    assert!(ledgers.join("web.json").exists());
}

/// Removes a directory under an agent that may be writing into it at this moment.
fn remove(directory: &Path) {
    while let Err(error) = fs::remove_dir_all(directory) {
        assert_eq!(error.kind(), io::ErrorKind::DirectoryNotEmpty, "{error}");
    }
}
