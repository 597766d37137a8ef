//! Could anybody but root have put this program here?
//!
//! Invariant: every name on the way counts, before links are followed and after. Whoever this process runs as is as good
//! as root.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use pinion_proto::trusted::{self, Name};

/// In words whose else it could be.
pub(super) fn check(program: &Path) -> Result<(), String> {
    if !program.is_absolute() {
        return Err(format!("{} is not an absolute path", program.display()));
    }
    let real = program.canonicalize().map_err(|error| format!("cannot access {}: {error}", program.display()))?;
    for path in [program, &real] {
        for part in path.ancestors() {
            check_part(part, part == real)?;
        }
    }
    Ok(())
}

fn check_part(path: &Path, is_program: bool) -> Result<(), String> {
    let shown = path.display();
    let found = fs::symlink_metadata(path).map_err(|error| format!("cannot access {shown}: {error}"))?;
    let name = match (found.is_symlink(), is_program) {
        (true, _) => Name::Link,
        (false, true) => Name::End,
        (false, false) => Name::OnTheWay,
    };
    trusted::check(found.uid(), found.mode(), name).map_err(|doubt| format!("{shown} {doubt}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use rustix::process::geteuid;

    use super::*;

    #[test]
    fn what_others_could_have_put_there_is_not_started() {
        let root = tempfile::tempdir().expect("a directory");
        let tools = root.path().join("tools");
        let program = tools.join("pct");
        fs::create_dir(&tools).expect("made");
        fs::write(&program, "").expect("written");
        check(&program).expect("this user's own");
        let link = root.path().join("link");
        symlink(&tools, &link).expect("a link");
        check(&link.join("pct")).expect("a link of this user's");
        for path in [&tools, &program] {
            let before = fs::metadata(path).expect("there").permissions();
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("set");
            let refused = check(&link.join("pct")).expect_err("everybody's");
            assert!(refused.contains("can be written by users other than root"), "{refused}");
            fs::set_permissions(path, before).expect("set");
            if geteuid().is_root() {
                chown(path, Some(998), None).expect("given away");
                check(&program).expect_err("another user's");
                chown(path, Some(0), None).expect("taken back");
            }
        }
        check(&program).expect("as before");
    }
}
